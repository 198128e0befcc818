/* te_mve_weight.h - integer weight gradients of convolutions on Helium; see te_grad_conv.h.
 *
 * Lanes are eight pixels of a run. A run's gradients are gathered into 16 bits once; then six
 * channels of x at a time meet them, their sums in core registers.
 */
#ifndef TE_MVE_WEIGHT_H
#define TE_MVE_WEIGHT_H

#include <string.h>

#include "te_mve_grad.h"
#include "te_mve_tile.h"

#if TE_HAS_MVE

enum {
    TE_RUN = 128,      /* pixels, at most */
    TE_OFFSETS = 65535 /* a gathering load's, in half-words */
};

/* The pixels of an output line that a tap serves: x is what the first of them meets, its next
 * is `step` on. The assembly below reads the first words. */
typedef struct te_run {
    int32_t start; /* what the sums lack because x is not centred */
    int32_t count;
    int32_t step_8; /* of eight pixels */
    int16_t d[TE_RUN];
    const te_grad *d_y;
    const int8_t *x;
    uint32_t step;
} te_run;

#if TE_GRAD_BITS == 16
#define TE_GATHER_GRAD "vldrh.u16 q0, [%[from], %q[pixels], uxtw #1]\n\t"
#else
#define TE_GATHER_GRAD "vldrb.s16 q0, [%[from], %q[pixels]]\n\t"
#endif

/* round(d / 2^shift) of a run, ties away from zero: 2 * d * 1 >> 16 is -1 where d is negative. */
TE_INLINE void te_stage(te_run *run, int32_t out_c, int32_t shift, int32_t zero)
{
    const uint16x8_t pixels = vmulq_n_u16(vidupq_n_u16(0u, 1), (uint16_t)out_c);
    const te_grad *from = run->d_y;
    int16_t *to = run->d;
    int32_t total = 0;
    __asm__ volatile("dlstp.16 lr, %[n]\n"
                     "1:\n\t" TE_GATHER_GRAD
                     "vqdmlah.s16 q0, q0, %[some]\n\t"
                     "vrshl.s16 q0, %[right]\n\t"
                     "vstrh.16 q0, [%[to]], #16\n\t"
                     "vaddva.s16 %[total], q0\n\t"
                     "add %[from], %[from], %[step]\n\t"
                     "letp lr, 1b"
                     : [from] "+&r"(from), [to] "+&l"(to), [total] "+&Te"(total)
                     : [n] "r"(run->count), [some] "r"(shift > 0 ? 1 : 0), [right] "r"(-shift),
                       [step] "r"(8 * out_c * (int32_t)sizeof *from), [pixels] "w"(pixels)
                     : "lr", "q0", "memory");
    run->start = -total * zero;
}

/* sums[i] = start + sum of d * x[offset i] over the run. r0, r2 .. r10: the sums; r12: step_8;
 * q6: d, q7: x. */
TE_INLINE void te_add_tile(const te_run *run, const te_tile *tile, const int8_t *x, int32_t *sums)
{
    __asm__ volatile("ldrd r0, r12, [%[run]], #12\n\t"
                     "dlstp.16 lr, r12\n\t"
                     "ldr r12, [%[run], #-4]\n\t"
                     "mov r2, r0\n\t"
                     "mov r4, r0\n\t"
                     "mov r6, r0\n\t"
                     "mov r8, r0\n\t"
                     "mov r10, r0\n"
                     "1:\n\t"
                     "vldrh.u16 q6, [%[run]], #16\n\t"
                     "vldrb.s16 q7, [%[x], %q[t0]]\n\t"
                     "vmladava.s16 r0, q6, q7\n\t"
                     "vldrb.s16 q7, [%[x], %q[t1]]\n\t"
                     "vmladava.s16 r2, q6, q7\n\t"
                     "vldrb.s16 q7, [%[x], %q[t2]]\n\t"
                     "vmladava.s16 r4, q6, q7\n\t"
                     "vldrb.s16 q7, [%[x], %q[t3]]\n\t"
                     "vmladava.s16 r6, q6, q7\n\t"
                     "vldrb.s16 q7, [%[x], %q[t4]]\n\t"
                     "vmladava.s16 r8, q6, q7\n\t"
                     "vldrb.s16 q7, [%[x], %q[t5]]\n\t"
                     "vmladava.s16 r10, q6, q7\n\t"
                     "add %[x], %[x], r12\n\t"
                     "letp lr, 1b\n\t"
                     "strd r0, r2, [%[sums]]\n\t"
                     "strd r4, r6, [%[sums], #8]\n\t"
                     "strd r8, r10, [%[sums], #16]"
                     : [run] "+r"(run), [x] "+r"(x)
                     : [sums] "r"(sums), [t0] "w"(tile->at[0]), [t1] "w"(tile->at[1]),
                       [t2] "w"(tile->at[2]), [t3] "w"(tile->at[3]), [t4] "w"(tile->at[4]),
                       [t5] "w"(tile->at[5])
                     : "lr", "r0", "r2", "r4", "r6", "r8", "r10", "r12", "q6", "q7", "memory");
}

/* The sums of a run into d_w (in_c), or onto what is there. */
TE_INLINE void te_add_run(te_run *run, int32_t in_c, int first, int32_t *d_w)
{
    const te_tile whole = te_tile_of(run->step, TE_TILE - 1);
    int32_t c = 0, sums[TE_TILE];
    for (; first && c + TE_TILE <= in_c; c += TE_TILE) {
        te_add_tile(run, &whole, run->x + c, d_w + c);
    }
    for (; c < in_c; c += TE_TILE) {
        const int32_t n = te_min(TE_TILE, in_c - c);
        const te_tile part = te_tile_of(run->step, n - 1);
        te_add_tile(run, &part, run->x + c, sums);
        for (int32_t i = 0; i < n; i++) {
            d_w[c + i] = sums[i] + (first ? 0 : d_w[c + i]);
        }
    }
}

/* One tap of one output channel; d_y is at the channel. */
static TE_NOINLINE void te_weight_tap(const te_conv2d *p, int32_t shift, const te_grad *d_y,
                                      const int8_t *x, int32_t dy, int32_t dx, int32_t *d_w)
{
    const te_window *g = &p->window;
    const te_span ys = te_reach(dy, g->stride_h, g->in_h, g->out_h);
    const te_span xs = te_reach(dx, g->stride_w, g->in_w, g->out_w);
    te_run run;
    int first = 1;
    run.step = (uint32_t)(g->stride_w * p->in_c), run.step_8 = 8 * g->stride_w * p->in_c;
    for (int32_t oy = ys.first; oy < ys.end; oy++) {
        for (int32_t ox = xs.first; ox < xs.end; ox += TE_RUN) {
            run.d_y = d_y + (oy * g->out_w + ox) * p->out_c;
            run.x = x + ((oy * g->stride_h + dy) * g->in_w + ox * g->stride_w + dx) * p->in_c;
            run.count = te_min(TE_RUN, xs.end - ox);
            te_stage(&run, p->out_c, shift, p->in_zero);
            te_add_run(&run, p->in_c, first, d_w);
            first = 0;
        }
    }
    if (first) {
        memset(d_w, 0, (size_t)p->in_c * sizeof *d_w);
    }
}

static inline int te_weight_fits(const te_conv2d *p)
{
    return 7 * p->out_c <= TE_OFFSETS && 7 * p->window.stride_w * p->in_c + TE_TILE <= TE_OFFSETS;
}

/* Any window, tap by tap and line by line. */
static inline void te_weight_by_taps(const te_conv2d *p, int32_t shift, const te_grad *d_y,
                                     const int8_t *x, int32_t k0, int32_t k1, int32_t *d_w)
{
    const te_window *g = &p->window;
    for (int32_t k = k0; k < k1; k++) {
        for (int32_t ky = 0; ky < g->kernel_h; ky++) {
            for (int32_t kx = 0; kx < g->kernel_w; kx++) {
                te_weight_tap(p, shift, d_y + k, x, ky * g->dilation_h - g->pad_top,
                              kx * g->dilation_w - g->pad_left, d_w);
                d_w += p->in_c;
            }
        }
    }
}

/* A whole map of a 1x1 convolution is one run. */
static inline void te_weight_gradient(const te_conv2d *p, int32_t shift, const te_grad *d_y,
                                      const int8_t *x, int32_t k0, int32_t k1, int32_t *d_w)
{
    const int32_t pixels = p->window.in_h * p->window.in_w;
    te_run run;
    if (!te_is_pointwise(&p->window) || pixels > TE_RUN) {
        te_weight_by_taps(p, shift, d_y, x, k0, k1, d_w);
        return;
    }
    run.x = x;
    run.count = pixels;
    run.step = (uint32_t)p->in_c, run.step_8 = 8 * p->in_c;
    for (int32_t k = k0; k < k1; k++) {
        run.d_y = d_y + k;
        te_stage(&run, p->out_c, shift, p->in_zero);
        te_add_run(&run, p->in_c, 1, d_w);
        d_w += p->in_c;
    }
}

#endif
#endif
