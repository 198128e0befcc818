/* te_conv2d_s8_bwd_input_s16_mve.c - see te_kernels_mve.h.
 *
 * 1x1: four pixels at a time. Their scaled gradients lie on the stack; a gathering load takes a
 * channel's weights to eight outputs, which are multiplied and summed for each of the pixels.
 */
#define TE_GRAD_BITS 16
#include <stddef.h>

#include "te_kernels_mve.h"
#include "te_mve_grad.h"

#if TE_HAS_MVE

enum {
    TE_PIXELS = 4,
    TE_FACTORS = 1152,  /* four pixels of 288 output channels, two of 576 */
    TE_BITS_LEAST = 15, /* of a scale, so that the scaled gradient has 16 bits too */
    TE_ROW_MAX = 9000   /* a half-word's offset in a gathering load reaches over 7 rows */
};

typedef struct te_job {
    const te_conv2d_grad *p;
    const int16_t *d_y, *scale;
    int32_t shift;   /* with the exponents */
    int32_t columns; /* pixels at a time: 4 or 2 */
    int32_t count;   /* of them that exist */
    int32x4_t peak;
    int16_t factors[TE_FACTORS];
} te_job;

/* d' of `count` pixels from `pixel` on; 0 for those that do not exist. */
static void te_load_factors(te_job *job, int32_t pixel)
{
    const int32_t out_c = job->p->conv.out_c, bits = job->p->bits;
    for (int32_t i = 0; i < job->columns; i++) {
        const int16_t *d = job->d_y + (pixel + i) * out_c;
        int16_t *to = job->factors + i * out_c;
        for (int32_t k = 0; k < out_c; k += 4) {
            const mve_pred16_t rest = vctp32q((uint32_t)(out_c - k));
            int32x4_t q = vdupq_n_s32(0);
            if (i < job->count) {
                q = vmulq_s32(vldrhq_z_s32(d + k, rest), vldrhq_z_s32(job->scale + k, rest));
            }
            vstrhq_p_s32(to + k, vrshlq_n_s32(q, -bits), rest);
        }
    }
}

/* Sums of one input channel of four pixels: w is its weight to output 0, the next is `row` on. */
TE_INLINE int32x4_t te_sum_4(const te_job *job, const int8_t *w, int32_t row, uint16x8_t offsets)
{
    const int32_t n = job->p->conv.out_c, far = job->columns == TE_PIXELS ? 2 * n : 0;
    const int16_t *f0 = job->factors, *f1 = f0 + n, *f2 = f0 + far, *f3 = f1 + far;
    int32_t a0 = 0, a1 = 0, a2 = 0, a3 = 0;
    for (int32_t i = n / 8; i > 0; i--) {
        const int16x8_t column = vldrbq_gather_offset_s16(w, offsets);
        a0 = vmladavaq_s16(a0, vldrhq_s16(f0), column);
        a1 = vmladavaq_s16(a1, vldrhq_s16(f1), column);
        a2 = vmladavaq_s16(a2, vldrhq_s16(f2), column);
        a3 = vmladavaq_s16(a3, vldrhq_s16(f3), column);
        w += 8 * row, f0 += 8, f1 += 8, f2 += 8, f3 += 8;
    }
    if (n % 8 != 0) {
        const mve_pred16_t rest = vctp16q((uint32_t)(n % 8));
        const int16x8_t column = vldrbq_gather_offset_z_s16(w, offsets, rest);
        a0 = vmladavaq_s16(a0, vldrhq_z_s16(f0, rest), column);
        a1 = vmladavaq_s16(a1, vldrhq_z_s16(f1, rest), column);
        a2 = vmladavaq_s16(a2, vldrhq_z_s16(f2, rest), column);
        a3 = vmladavaq_s16(a3, vldrhq_z_s16(f3, rest), column);
    }
    return te_four(a0, a1, a2, a3);
}

/* The c channels of one weight tensor; d_x is at the first of the first pixel. */
static void te_add_part(te_job *job, const int8_t *weight, int32_t c, int16_t *d_x)
{
    const uint16x8_t offsets = vmulq_n_u16(vidupq_n_u16(0u, 1), (uint16_t)c);
    const uint32_t step = (uint32_t)job->p->conv.in_c * sizeof *d_x;
    const uint32x4_t steps = vmulq_n_u32(vidupq_n_u32(0u, 1), step);
    const mve_pred16_t rest = vctp32q((uint32_t)job->count);
    const int32x4_t multiplier = vdupq_n_s32(job->p->factor.multiplier);
    const int32x4_t shift = vdupq_n_s32(job->shift);
    int32x4_t peak = job->peak;
    for (int32_t i = 0; i < c; i++) {
        const int32x4_t sum = te_sum_4(job, weight + i, c, offsets);
        const int32x4_t q = te_put_4(&peak, te_requantised_by(sum, multiplier, shift));
        vstrhq_scatter_offset_p_s32(d_x + i, steps, q, rest);
    }
    job->peak = peak;
}

static int te_fits(const te_conv2d_grad *p)
{
    const te_window *g = &p->conv.window;
    return g->kernel_h == 1 && g->kernel_w == 1 && g->stride_h == 1 && g->stride_w == 1 &&
           g->in_h == g->out_h && g->in_w == g->out_w && 2 * p->conv.out_c <= TE_FACTORS &&
           p->conv.in_c <= TE_ROW_MAX && p->bits >= TE_BITS_LEAST;
}

#endif

void te_conv2d_s8_bwd_input_s16_mve(const te_conv2d_grad *p, const int16_t *d_y,
                                    const int8_t *weight, const int16_t *scale,
                                    const int8_t *frozen, const int32_t *e_d, int32_t *state,
                                    int16_t *d_x, int32_t *e, int32_t *scratch)
{
#if TE_HAS_MVE
    if (te_fits(p)) {
        const int32_t pixels = p->conv.window.in_h * p->conv.window.in_w, in_c = p->conv.in_c;
        te_output_grad out = te_grad_begin(state, e);
        te_job job;
        job.p = p;
        job.d_y = d_y, job.scale = scale;
        job.shift = te_grad_shift(p->factor.shift, e_d, &out);
        job.columns = TE_PIXELS * p->conv.out_c <= TE_FACTORS ? TE_PIXELS : TE_PIXELS / 2;
        job.peak = vdupq_n_s32(0);
        for (int32_t i = 0; i < pixels; i += job.columns) {
            job.count = te_min(job.columns, pixels - i);
            te_load_factors(&job, i);
            te_add_part(&job, weight, p->conv.learn_c, d_x + i * in_c);
            if (frozen != NULL) {
                te_add_part(&job, frozen, in_c - p->conv.learn_c,
                            d_x + i * in_c + p->conv.learn_c);
            }
        }
        out.peak = te_joined(job.peak);
        te_grad_end(&out, state);
        return;
    }
#endif
    te_conv2d_s8_bwd_input_s16(p, d_y, weight, scale, frozen, e_d, state, d_x, e, scratch);
}
