/* te_conv2d_s8.c - see te_kernels_s8.h. Four output channels share each load of x. */
#include <stddef.h>

#include "te_fixed.h"
#include "te_kernels_s8.h"

enum { TE_ROWS = 4 };

/* One output pixel: the kernel positions that see real pixels, and the input of position (0, 0). */
typedef struct te_patch {
    te_span ys, xs;
    int32_t y, x;
} te_patch;

static inline void te_dot_4(const int8_t *x, const int8_t *const *w, int32_t at, int32_t n,
                            int32_t zero, int32_t *acc)
{
    const int8_t *w0 = w[0] + at, *w1 = w[1] + at, *w2 = w[2] + at, *w3 = w[3] + at;
    int32_t a0 = acc[0], a1 = acc[1], a2 = acc[2], a3 = acc[3];
    for (int32_t i = 0; i < n; i++) {
        const int16_t centred = (int16_t)(x[i] - zero);
        a0 += centred * (int16_t)w0[i];
        a1 += centred * (int16_t)w1[i];
        a2 += centred * (int16_t)w2[i];
        a3 += centred * (int16_t)w3[i];
    }
    acc[0] = a0;
    acc[1] = a1;
    acc[2] = a2;
    acc[3] = a3;
}

/* Adds the part of one weight tensor: w, the rows of four output channels with c channels, which
 * meet the input's channels from `first` on. */
static void te_add_part(const te_conv2d *p, const te_patch *at, const int8_t *x, int32_t first,
                        const int8_t *const *w, int32_t c, int32_t *acc)
{
    const te_window *g = &p->window;
    /* neighbouring taps lie side by side in memory: one run per kernel row */
    const int32_t merged = g->dilation_w == 1 && c == p->in_c ? at->xs.end - at->xs.first : 1;
    for (int32_t ky = at->ys.first; ky < at->ys.end; ky++) {
        const int8_t *row = x + (at->y + ky * g->dilation_h) * g->in_w * p->in_c + first;
        for (int32_t kx = at->xs.first; kx < at->xs.end; kx += merged) {
            te_dot_4(row + (at->x + kx * g->dilation_w) * p->in_c, w,
                     (ky * g->kernel_w + kx) * c, merged * c, p->in_zero, acc);
        }
    }
}

static void te_rows_of(const int8_t *weight, int32_t row, int32_t k, int32_t out_c,
                       const int8_t **w)
{
    for (int32_t i = 0; i < TE_ROWS; i++) {
        w[i] = weight + te_min(k + i, out_c - 1) * row; /* past the end: the last row again */
    }
}

void te_conv2d_s8(const te_conv2d *p, const int8_t *x, const int8_t *weight, const int32_t *bias,
                  const int32_t *multiplier, const int32_t *shift, const int8_t *frozen, int8_t *y)
{
    const te_window *g = &p->window;
    const int32_t taps = g->kernel_h * g->kernel_w, rest_c = p->in_c - p->learn_c;
    for (int32_t oy = 0; oy < g->out_h; oy++) {
        te_patch at = {te_taps_h(g, oy), {0, 0}, oy * g->stride_h - g->pad_top, 0};
        for (int32_t ox = 0; ox < g->out_w; ox++) {
            at.xs = te_taps_w(g, ox);
            at.x = ox * g->stride_w - g->pad_left;
            for (int32_t k = 0; k < p->out_c; k += TE_ROWS) {
                const int8_t *w[TE_ROWS];
                int32_t acc[TE_ROWS] = {0, 0, 0, 0};
                te_rows_of(weight, taps * p->learn_c, k, p->out_c, w);
                te_add_part(p, &at, x, 0, w, p->learn_c, acc);
                if (frozen != NULL) {
                    te_rows_of(frozen, taps * rest_c, k, p->out_c, w);
                    te_add_part(p, &at, x, p->learn_c, w, rest_c, acc);
                }
                for (int32_t i = k; i < te_min(k + TE_ROWS, p->out_c); i++) {
                    const int32_t sum = te_add_sat(acc[i - k], bias[i]);
                    *y++ = te_output(te_requantise(sum, multiplier[i], shift[i]), p->out_zero,
                                     p->lo, p->hi);
                }
            }
        }
    }
}
