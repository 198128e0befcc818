/* te_mve_window.h - integer input gradients of convolutions with any window on Helium; see
 * te_grad_conv.h.
 *
 * The taps that serve a pixel are listed. Lanes are eight output channels: a tap's scaled gradients
 * d' are made once, then six input channels at a time meet them, their sums in core registers.
 */
#ifndef TE_MVE_WINDOW_H
#define TE_MVE_WINDOW_H

#include "te_mve_input.h"
#include "te_mve_taps.h"
#include "te_mve_tile.h"

#if TE_HAS_MVE

enum {
    TE_FACTORS = 64,     /* output channels at a time */
    TE_REACH_MAX = 65535 /* a gathering load's, in half-words */
};

/* The assembly below reads the first words. */
typedef struct te_factors {
    int32_t count, step_8; /* of d, and from eight rows of weights to the next */
    int16_t d[TE_FACTORS];
} te_factors;

typedef struct te_window_job {
    const te_conv2d_grad *p;
    const int16_t *scale;
    const int8_t *weight, *frozen;
    int32_t *sums; /* of one pixel */
    te_factors factors;
    te_tap taps[TE_TAPS];
} te_window_job;

/* d' of n output channels */
TE_INLINE void te_load_some(te_factors *to, const te_grad *d, const int16_t *scale, int32_t n,
                            int32_t bits)
{
    to->count = n;
    for (int32_t i = 0; i < n; i += 8) {
        const mve_pred16_t some = vctp16q((uint32_t)(n - i));
        const int16x8_t q = te_scaled_8(te_load_grad(d + i, some), vldrhq_z_s16(scale + i, some),
                                        bits);
        vstrhq_s16(to->d + i, q);
    }
}

#define TE_ONE_OF_SIX(t, sum) \
    "vldrb.s16 q7, [%[w], %q[" t "]]\n\tvmladava.s16 " sum ", q6, q7\n\t"

/* sums[i] += sum of d' * w[offset i]. r0, r2 .. r10: the sums; r12: step_8; q6: d', q7: w. */
TE_INLINE void te_add_six(const te_factors *d, const te_tile *six, const int8_t *w, int32_t *sums)
{
    __asm__ volatile("ldr r12, [%[d]], #4\n\t"
                     "dlstp.16 lr, r12\n\t"
                     "ldr r12, [%[d]], #4\n\t"
                     "ldrd r0, r2, [%[sums]]\n\t"
                     "ldrd r4, r6, [%[sums], #8]\n\t"
                     "ldrd r8, r10, [%[sums], #16]\n"
                     "1:\n\t"
                     "vldrh.u16 q6, [%[d]], #16\n\t"
                     TE_ONE_OF_SIX("t0", "r0") TE_ONE_OF_SIX("t1", "r2")
                     TE_ONE_OF_SIX("t2", "r4") TE_ONE_OF_SIX("t3", "r6")
                     TE_ONE_OF_SIX("t4", "r8") TE_ONE_OF_SIX("t5", "r10")
                     "add %[w], %[w], r12\n\t"
                     "letp lr, 1b\n\t"
                     "strd r0, r2, [%[sums]]\n\t"
                     "strd r4, r6, [%[sums], #8]\n\t"
                     "strd r8, r10, [%[sums], #16]"
                     : [d] "+r"(d), [w] "+r"(w)
                     : [sums] "r"(sums), [t0] "w"(six->at[0]), [t1] "w"(six->at[1]),
                       [t2] "w"(six->at[2]), [t3] "w"(six->at[3]), [t4] "w"(six->at[4]),
                       [t5] "w"(six->at[5])
                     : "lr", "r0", "r2", "r4", "r6", "r8", "r10", "r12", "q6", "q7", "memory");
}

/* Adds the c channels of one weight tensor; w: the tap's weights to the first output. */
static TE_NOINLINE void te_add_channels(te_window_job *job, const int8_t *w, int32_t c,
                                        int32_t *sums)
{
    const int32_t row = job->p->conv.window.kernel_h * job->p->conv.window.kernel_w * c;
    const te_tile six = te_tile_of((uint32_t)row, TE_TILE - 1);
    const int32_t rest = c % TE_TILE;
    job->factors.step_8 = 8 * row;
    for (int32_t n = c / TE_TILE; n > 0; n--, w += TE_TILE, sums += TE_TILE) {
        te_add_six(&job->factors, &six, w, sums);
    }
    if (rest > 0) {
        const te_tile some = te_tile_of((uint32_t)row, rest - 1);
        int32_t six_sums[TE_TILE] = {0};
        te_add_six(&job->factors, &some, w, six_sums);
        for (int32_t i = 0; i < rest; i++) {
            sums[i] += six_sums[i];
        }
    }
}

/* Adds all output channels of one tap. */
static inline void te_add_window_tap(te_window_job *job, const te_tap *tap)
{
    const te_conv2d *p = &job->p->conv;
    const int32_t taps = p->window.kernel_h * p->window.kernel_w, rest_c = p->in_c - p->learn_c;
    const int32_t number = (int32_t)(tap->w - job->weight) / p->out_c;
    const te_grad *d = (const te_grad *)(const void *)tap->d;
    const int32_t bits = job->p->bits + 16 - TE_GRAD_BITS;
    for (int32_t k = 0; k < p->out_c; k += TE_FACTORS) {
        const int32_t n = te_min(TE_FACTORS, p->out_c - k);
        te_load_some(&job->factors, d + k, job->scale + k, n, bits);
        te_add_channels(job, job->weight + (k * taps + number) * p->learn_c, p->learn_c,
                        job->sums);
        if (job->frozen != NULL) {
            te_add_channels(job, job->frozen + (k * taps + number) * rest_c, rest_c,
                            job->sums + p->learn_c);
        }
    }
}

/* Requantises and stores the sums of a pixel. */
static inline te_grad_range te_put_pixel(const te_window_job *job, const te_grad_scale *by,
                                         te_grad_range range, te_grad *d_x)
{
    for (int32_t c = 0; c < job->p->conv.in_c; c += 4) {
        const mve_pred16_t some = vctp32q((uint32_t)(job->p->conv.in_c - c));
        const int32x4_t q = te_grad_scaled(vldrwq_z_s32(job->sums + c, some), by, 0);
        range = te_ranged(range, q);
        te_store_4_p(d_x + c, te_limited_4(q), some);
    }
    return range;
}

static inline int te_window_fits(const te_conv2d_grad *p)
{
    const int32_t taps = p->conv.window.kernel_h * p->conv.window.kernel_w;
    return taps <= TE_TAPS && 7 * taps * p->conv.in_c + TE_TILE <= TE_REACH_MAX;
}

static inline void te_window_gradient(const te_conv2d_grad *p, const te_grad *d_y,
                                      const int8_t *weight, const int16_t *scale,
                                      const int8_t *frozen, const int32_t *e_d, int32_t *state,
                                      te_grad *d_x, int32_t *e, int32_t *scratch)
{
    const te_window *g = &p->conv.window;
    te_output_grad out = te_grad_begin(state, e);
    const te_grad_scale by =
        te_grad_scale_of(p->factor.multiplier, te_grad_shift(p->factor.shift, e_d, &out));
    te_grad_range range = te_range_begin();
    te_window_job job;
    job.p = p;
    job.scale = scale, job.weight = weight, job.frozen = frozen, job.sums = scratch;
    for (int32_t i = 0; i < g->in_h * g->in_w; i++, d_x += p->conv.in_c) {
        const int32_t n = te_list_taps(&p->conv, d_y, (int32_t)sizeof *d_y, weight, i / g->in_w,
                                       i % g->in_w, job.taps);
        memset(scratch, 0, (size_t)p->conv.in_c * sizeof *scratch);
        for (int32_t tap = 0; tap < n; tap++) {
            te_add_window_tap(&job, &job.taps[tap]);
        }
        range = te_put_pixel(&job, &by, range, d_x);
    }
    out.peak = te_range_peak(&range);
    te_grad_end(&out, state);
}

#endif
#endif
