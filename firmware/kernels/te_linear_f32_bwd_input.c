/* te_linear_f32_bwd_input.c - see te_kernels_f32.h. */
#include "te_kernels_f32.h"

void te_linear_f32_bwd_input(int32_t in_c, int32_t out_c, const float *d_y, const float *weight,
                             float *d_x)
{
    for (int32_t c = 0; c < in_c; c++) {
        d_x[c] = 0.0f;
    }
    for (int32_t k = 0; k < out_c; k++) {
        for (int32_t c = 0; c < in_c; c++) {
            d_x[c] += d_y[k] * weight[c];
        }
        weight += in_c;
    }
}
