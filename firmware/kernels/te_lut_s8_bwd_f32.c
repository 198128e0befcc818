/* te_lut_s8_bwd_f32.c - see te_kernels_f32.h. */
#include "te_kernels_f32.h"

void te_lut_s8_bwd_f32(int32_t count, const float *d_y, const int8_t *x, const float *slope,
                       float *d_x)
{
    for (int32_t i = 0; i < count; i++) {
        d_x[i] = d_y[i] * slope[x[i] + 128];
    }
}
