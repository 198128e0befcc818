/* te_sgd_s8_master16_mve.c - see te_kernels_mve.h. Four weights of a row at a time; a row that
 * Helium does not compute exactly goes to the portable kernel.
 */
#include <stddef.h>

#include "te_kernels_mve.h"
#include "te_mve_f32.h"
#include "te_mve_sgd.h"

#if TE_HAS_MVE_F32

/* Whether all steps of a row are exact: nothing is written. */
static TE_NOINLINE int te_is_exact(int32_t count, const float *g, float rate)
{
    int32x4_t seen = vdupq_n_s32(0);
    te_exact_begin();
    for (; count > 0; count -= 4, g += 4) {
        float32x4_t d = vldrwq_z_f32(g, vctp32q((uint32_t)count));
        TE_PIN(d);
        d = vmulq_n_f32(vmulq_n_f32(d, rate), 256.0f);
        seen = vorrq_s32(seen, vcvtnq_s32_f32(d));
    }
    TE_PIN(seen);
    return te_exact_end();
}

static void te_move_row(int32_t count, const float *g, float rate, int8_t *w, int8_t *fraction)
{
    for (; count > 0; count -= 4, g += 4, w += 4, fraction += 4) {
        const mve_pred16_t some = vctp32q((uint32_t)count);
        const float32x4_t delta = vmulq_n_f32(vldrwq_z_f32(g, some), rate);
        const float32x4_t step = vnegq_f32(vmulq_n_f32(delta, 256.0f));
        te_move_4(w, fraction, vcvtnq_s32_f32(step), some);
    }
}

#endif

void te_sgd_s8_master16_mve(const te_sgd_s8 *p, int32_t k0, int32_t k1, int8_t *w,
                            int8_t *fraction, const float *g, const float *ratio,
                            const te_hyper *hyper)
{
#if TE_HAS_MVE_F32
    const int32_t n = p->taps * p->channels; /* of a row, which has one rate */
    if (p->learns == NULL && !p->ratio_by_channel) {
        for (int32_t k = k0; k < k1 && te_is_due(hyper, p->every); k++, g += n) {
            if (te_is_exact(n, g, ratio[k] * hyper->lr)) {
                te_move_row(n, g, ratio[k] * hyper->lr, w + k * n, fraction + k * n);
            } else {
                te_sgd_s8_master16(p, k, k + 1, w, fraction, g, ratio, hyper);
            }
        }
        return;
    }
#endif
    te_sgd_s8_master16(p, k0, k1, w, fraction, g, ratio, hyper);
}
