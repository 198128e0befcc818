/* te_linear_f32_bwd_input_mve.c - see te_kernels_mve.h. Eight input channels at a time stay in
 * registers.
 */
#include "te_kernels_mve.h"
#include "te_mve_f32.h"

#if TE_HAS_MVE_F32

static TE_NOINLINE void te_rows(int32_t in_c, int32_t out_c, const float *d_y, const float *weight,
                                float *d_x)
{
    int32_t c = 0;
    for (; c + 8 <= in_c; c += 8) {
        float32x4_t a = vdupq_n_f32(0.0f), b = a;
        const float *w = weight + c, *d = d_y;
        for (int32_t k = out_c; k > 0; k--, w += in_c) {
            const float factor = *d++;
            a = vaddq_f32(a, vmulq_n_f32(vldrwq_f32(w), factor));
            b = vaddq_f32(b, vmulq_n_f32(vldrwq_f32(w + 4), factor));
        }
        vstrwq_f32(d_x + c, a);
        vstrwq_f32(d_x + c + 4, b);
    }
    for (; c < in_c; c += 4) {
        const mve_pred16_t some = vctp32q((uint32_t)(in_c - c));
        float32x4_t a = vdupq_n_f32(0.0f);
        for (int32_t k = 0; k < out_c; k++) {
            a = vaddq_f32(a, vmulq_n_f32(vldrwq_z_f32(weight + k * in_c + c, some), d_y[k]));
        }
        vstrwq_p_f32(d_x + c, a, some);
    }
}

#endif

void te_linear_f32_bwd_input_mve(int32_t in_c, int32_t out_c, const float *d_y,
                                 const float *weight, float *d_x)
{
#if TE_HAS_MVE_F32
    te_exact_begin();
    te_rows(in_c, out_c, d_y, weight, d_x);
    if (te_exact_end()) {
        return;
    }
#endif
    te_linear_f32_bwd_input(in_c, out_c, d_y, weight, d_x);
}
