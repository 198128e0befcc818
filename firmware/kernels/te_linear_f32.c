/* te_linear_f32.c - see te_kernels_f32.h. */
#include "te_kernels_f32.h"

void te_linear_f32(int32_t in_c, int32_t out_c, const float *x, const float *weight,
                   const float *bias, float *y)
{
    for (int32_t k = 0; k < out_c; k++) {
        float sum = bias[k];
        for (int32_t c = 0; c < in_c; c++) {
            sum += x[c] * weight[c];
        }
        y[k] = sum;
        weight += in_c;
    }
}
