/* te_sgd_s8_s32_nearest_mve.c - see te_kernels_mve.h. Four weights of a row at a time. */
#include <stddef.h>

#include "te_kernels_mve.h"
#include "te_mve_sgd.h"

#if TE_HAS_MVE

static void te_move_row(const te_row_rate *rate, int32_t count, const int32_t *g, int8_t *w)
{
    const int32x4_t hi = vdupq_n_s32(127), lo = vdupq_n_s32(-127);
    for (; count > 0; count -= 4, g += 4, w += 4) {
        const mve_pred16_t some = vctp32q((uint32_t)count);
        const int32x4_t step = te_nearest_4(vldrwq_z_s32(g, some), rate);
        const mve_pred16_t moved = vcmpneq_m_n_s32(step, 0, some);
        const int32x4_t sum = vaddq_s32(vldrbq_z_s32(w, moved), step);
        vstrbq_p_s32(w, vmaxq_s32(vminq_s32(sum, hi), lo), moved);
    }
}

#endif

void te_sgd_s8_s32_nearest_mve(const te_sgd_s8 *p, int32_t k0, int32_t k1, int8_t *w,
                               const int32_t *g, const float *ratio, const int32_t *e,
                               const te_hyper *hyper)
{
#if TE_HAS_MVE
    const int32_t n = p->taps * p->channels; /* of a row, which has one rate */
    if (p->learns == NULL && !p->ratio_by_channel) {
        for (int32_t k = k0; k < k1 && te_is_due(hyper, p->every); k++, g += n) {
            te_row_rate rate;
            if (te_row_rate_of(te_rate_of(ratio[k] * hyper->lr, *e), &rate)) {
                te_move_row(&rate, n, g, w + k * n);
            } else {
                te_sgd_s8_s32_nearest(p, k, k + 1, w, g, ratio, e, hyper);
            }
        }
        return;
    }
#endif
    te_sgd_s8_s32_nearest(p, k0, k1, w, g, ratio, e, hyper);
}
