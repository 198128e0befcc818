/* te_sgd_f32_mve.c - see te_kernels_mve.h. Four weights at a time. They are changed in place, so
 * Helium is asked for each four whether it was exact before they are stored.
 */
#include "te_kernels_mve.h"
#include "te_mve_f32.h"

#if TE_HAS_MVE_F32

#define TE_FLOAT_LIMIT 65536.0f /* as in te_sgd_f32.c */

/* False where something was not exact or is no number: nothing is stored. */
TE_INLINE int te_step_4(float *w, const float *g, float factor, mve_pred16_t some)
{
    float32x4_t d = vldrwq_z_f32(g, some);
    TE_PIN(d);
    float32x4_t moved = vsubq_f32(vldrwq_z_f32(w, some), vmulq_n_f32(d, factor));
    TE_PIN(moved);
    if (vcmpeqq_f32(moved, moved) != UINT16_MAX || !te_exact_end()) {
        return 0;
    }
    const float32x4_t low = vmaxnmq_f32(moved, vdupq_n_f32(-TE_FLOAT_LIMIT));
    vstrwq_p_f32(w, vminnmq_f32(low, vdupq_n_f32(TE_FLOAT_LIMIT)), some);
    return 1;
}

#endif

void te_sgd_f32_mve(int32_t count, uint32_t every, float *w, const float *g, const float *ratio,
                    const te_hyper *hyper)
{
#if TE_HAS_MVE_F32
    const float factor = ratio[0] * hyper->lr;
    if (hyper->step % every != every - 1u) {
        return;
    }
    te_exact_begin();
    for (; count > 0; count -= 4, w += 4, g += 4) {
        const mve_pred16_t some = vctp32q((uint32_t)count);
        if (!te_step_4(w, g, factor, some)) {
            te_sgd_f32(te_min(count, 4), every, w, g, ratio, hyper);
            te_exact_begin();
        }
    }
#else
    te_sgd_f32(count, every, w, g, ratio, hyper);
#endif
}
