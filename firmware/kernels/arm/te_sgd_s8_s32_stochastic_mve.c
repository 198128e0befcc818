/* te_sgd_s8_s32_stochastic_mve.c - see te_kernels_mve.h. Four weights of a row at a time. */
#include <stddef.h>

#include "te_kernels_mve.h"
#include "te_mve_sgd.h"

#if TE_HAS_MVE

/* What the weights of a row share. right: over 32. base: the stream's number of the first. */
typedef struct te_row_step {
    const te_sgd_s8 *p;
    int32_t mantissa, right;
    uint32_t base;
} te_row_step;

static inline void te_step_row(const te_row_step *row, const int32_t *g, int8_t *w)
{
    const te_sgd_s8 *p = row->p;
    const int32_t down = te_min(row->right - TE_WORD_BITS, TE_SHIFT_MOST);
    const int32x4_t mantissa = vdupq_n_s32(-row->mantissa);
    uint32x4_t next = vidupq_n_u32(0u, 1);
    for (int32_t c = 0; c < p->channels; c += 4) {
        const mve_pred16_t rest = vctp32q((uint32_t)(p->channels - c));
        const uint32x4_t number = p->numbers != NULL ? vldrhq_z_u32(p->numbers + c, rest) : next;
        const uint32x4_t bits = te_mix32_4(vaddq_n_u32(number, row->base));
        const int32x4_t d = vldrwq_z_s32(g + c, rest), high = vmulhq_s32(d, mantissa);
        const uint32x4_t low = vreinterpretq_u32_s32(vmulq_s32(d, mantissa));
        const uint32x4_t lower = vorrq_u32(
            vshlq_r_u32(low, -down), vreinterpretq_u32_s32(vshlq_r_s32(high, TE_WORD_BITS - down)));
        const int32x4_t step = te_carried(vshlq_r_s32(high, -down), lower, bits);
        const mve_pred16_t moved = vcmpneq_m_n_s32(step, 0, rest);
        const int32x4_t sum = vaddq_s32(vldrbq_z_s32(w + c, moved), step);
        const int32x4_t bound = vmaxq_s32(vminq_s32(sum, vdupq_n_s32(127)), vdupq_n_s32(-127));
        vstrbq_p_s32(w + c, bound, moved);
        next = vaddq_n_u32(next, 4u);
    }
}

#endif

void te_sgd_s8_s32_stochastic_mve(const te_sgd_s8 *p, int32_t k0, int32_t k1, int8_t *w,
                                  const int32_t *g, const float *ratio, const int32_t *e,
                                  const te_hyper *hyper)
{
#if TE_HAS_MVE
    if (!te_is_due(hyper, p->every)) {
        return;
    }
    if (p->learns == NULL && !p->ratio_by_channel) {
        const uint32_t stream = te_stream(p->key, hyper->seed, hyper->step);
        for (int32_t k = k0; k < k1; k++) {
            const te_rate rate = te_rate_of(ratio[k] * hyper->lr, *e);
            te_row_step row = {p, rate.mantissa, rate.right, 0u};
            if (rate.right <= TE_WORD_BITS) {
                te_sgd_s8_s32_stochastic(p, k, k + 1, w, g, ratio, e, hyper);
                g += p->taps * p->channels;
                continue;
            }
            for (int32_t i = k * p->taps; i < (k + 1) * p->taps; i++, g += p->channels) {
                row.base = stream + (uint32_t)i * (uint32_t)p->channels_total;
                te_step_row(&row, g, w + i * p->channels);
            }
        }
        return;
    }
#endif
    te_sgd_s8_s32_stochastic(p, k0, k1, w, g, ratio, e, hyper);
}
