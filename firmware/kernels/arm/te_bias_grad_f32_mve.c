/* te_bias_grad_f32_mve.c - see te_kernels_mve.h. Four channels at a time stay in a register. */
#include "te_kernels_mve.h"
#include "te_mve_f32.h"

#if TE_HAS_MVE_F32

static TE_NOINLINE void te_sum_rows(int32_t rows, int32_t channels, const float *d, float *d_b)
{
    for (int32_t k = 0; k < channels; k += 4) {
        const mve_pred16_t rest = vctp32q((uint32_t)(channels - k));
        const float *from = d + k;
        float32x4_t sum = vdupq_n_f32(0.0f);
        if (channels - k >= 4) {
            for (int32_t row = rows; row > 0; row--, from += channels) {
                sum = vaddq_f32(sum, vldrwq_f32(from));
            }
        } else {
            for (int32_t row = rows; row > 0; row--, from += channels) {
                sum = vaddq_f32(sum, vldrwq_z_f32(from, rest));
            }
        }
        vstrwq_p_f32(d_b + k, sum, rest);
    }
}

#endif

void te_bias_grad_f32_mve(int32_t rows, int32_t channels, const float *d, float *d_b)
{
#if TE_HAS_MVE_F32
    te_exact_begin();
    te_sum_rows(rows, channels, d, d_b);
    if (te_exact_end()) {
        return;
    }
#endif
    te_bias_grad_f32(rows, channels, d, d_b);
}
