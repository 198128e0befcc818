/* te_linear_f32_bwd_weight.c - see te_kernels_f32.h. */
#include "te_kernels_f32.h"

void te_linear_f32_bwd_weight(int32_t in_c, int32_t out_c, const float *d_y, const float *x,
                              float *d_w)
{
    for (int32_t k = 0; k < out_c; k++) {
        for (int32_t c = 0; c < in_c; c++) {
            d_w[c] = d_y[k] * x[c];
        }
        d_w += in_c;
    }
}
