/* te_patch_mve.h - what windows see, brought together in columns: one for each output.
 */
#ifndef TE_PATCH_MVE_H
#define TE_PATCH_MVE_H

#include "te_mve.h"

#if TE_HAS_MVE

/* `count` outputs of row oy. */
typedef struct te_pixel {
    int32_t oy, ox, count;
} te_pixel;

enum { TE_COPIED = 16 /* bytes of a register */ };

/* Copies n bytes to each of `count` columns. */
static void te_copy_runs(const int8_t *from, int32_t step, int8_t *to, int32_t pitch,
                         int32_t count, int32_t n)
{
    for (; n > 0; n -= TE_COPIED, from += TE_COPIED, to += TE_COPIED) {
        const mve_pred16_t some = vctp8q((uint32_t)n);
        const int8_t *x = from;
        int8_t *column = to;
        __asm__ volatile("dls lr, %[count]\n"
                         "1:\n\tvpstt\n\tvldrbt.8 q0, [%[x]]\n\tvstrbt.8 q0, [%[column]]\n\t"
                         "add %[x], %[x], %[step]\n\tadd %[column], %[column], %[pitch]\n\t"
                         "le lr, 1b"
                         : [x] "+&r"(x), [column] "+&r"(column)
                         : "Up"(some), [count] "r"(count), [step] "r"(step),
                           [pitch] "r"(pitch)
                         : "lr", "q0", "memory");
    }
}

/* Copies c channels, from x on, of every tap of `count` outputs from (oy, ox) on that see the same
 * taps; padding is the zero point. */
static void te_gather(const te_conv2d *p, const int8_t *x, int32_t c, te_pixel at, int8_t *to,
                      int32_t pitch)
{
    const te_window *g = &p->window;
    const int32_t iy = at.oy * g->stride_h - g->pad_top, ix = at.ox * g->stride_w - g->pad_left;
    const te_span ys = te_taps_h(g, at.oy), xs = te_taps_w(g, at.ox);
    const int is_run = g->dilation_w == 1 && c == p->in_c;
    const int32_t taps = is_run ? xs.end - xs.first : 1, step = g->stride_w * p->in_c;
    if ((ys.end - ys.first) * (xs.end - xs.first) < g->kernel_h * g->kernel_w) {
        for (int32_t i = 0; i < at.count; i++) {
            te_fill(to + i * pitch, p->in_zero, g->kernel_h * g->kernel_w * c);
        }
    }
    for (int32_t ky = ys.first; ky < ys.end; ky++) {
        const int8_t *line = x + (iy + ky * g->dilation_h) * g->in_w * p->in_c;
        for (int32_t kx = xs.first; kx < xs.end; kx += taps) {
            te_copy_runs(line + (ix + kx * g->dilation_w) * p->in_c, step,
                         to + (ky * g->kernel_w + kx) * c, pitch, at.count, taps * c);
        }
    }
}

/* Outputs from (oy, ox) on in this row that see the same columns of taps, at most `most`. */
static te_pixel te_alike(const te_window *g, int32_t oy, int32_t ox, int32_t most)
{
    const int32_t across = (g->kernel_w - 1) * g->dilation_w;
    const int32_t first = (g->pad_left + g->stride_w - 1) / g->stride_w;
    const int32_t last = (g->in_w - 1 - across + g->pad_left) / g->stride_w;
    const int32_t end = te_min(last + 1, g->out_w);
    const te_pixel at = {oy, ox, ox >= first && ox < end ? te_min(end - ox, most) : 1};
    return at;
}

#endif
#endif
