/* te_bias_grad_f32.c - see te_kernels_f32.h. */
#include "te_kernels_f32.h"

void te_bias_grad_f32(int32_t rows, int32_t channels, const float *restrict d, float *restrict d_b)
{
    for (int32_t k = 0; k < channels; k++) {
        d_b[k] = 0.0f;
    }
    for (int32_t row = 0; row < rows; row++) {
        for (int32_t k = 0; k < channels; k++) {
            d_b[k] += d[k];
        }
        d += channels;
    }
}
