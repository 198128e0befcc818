/* te_sgd_s8_s32_master16_mve.c - see te_kernels_mve.h. Four weights of a row at a time. */
#include <stddef.h>

#include "te_kernels_mve.h"
#include "te_mve_sgd.h"

#if TE_HAS_MVE

static void te_move_row(const te_row_rate *rate, int32_t count, const int32_t *g, int8_t *w,
                        int8_t *fraction)
{
    for (; count > 0; count -= 4, g += 4, w += 4, fraction += 4) {
        const mve_pred16_t some = vctp32q((uint32_t)count);
        te_move_4(w, fraction, te_nearest_4(vldrwq_z_s32(g, some), rate), some);
    }
}

#endif

void te_sgd_s8_s32_master16_mve(const te_sgd_s8 *p, int32_t k0, int32_t k1, int8_t *w,
                                int8_t *fraction, const int32_t *g, const float *ratio,
                                const int32_t *e, const te_hyper *hyper)
{
#if TE_HAS_MVE
    const int32_t n = p->taps * p->channels; /* of a row, which has one rate */
    if (p->learns == NULL && !p->ratio_by_channel) {
        for (int32_t k = k0; k < k1 && te_is_due(hyper, p->every); k++, g += n) {
            te_row_rate rate;
            if (te_row_rate_of(te_rate_of(ratio[k] * hyper->lr, *e + 8), &rate)) {
                te_move_row(&rate, n, g, w + k * n, fraction + k * n);
            } else {
                te_sgd_s8_s32_master16(p, k, k + 1, w, fraction, g, ratio, e, hyper);
            }
        }
        return;
    }
#endif
    te_sgd_s8_s32_master16(p, k0, k1, w, fraction, g, ratio, e, hyper);
}
