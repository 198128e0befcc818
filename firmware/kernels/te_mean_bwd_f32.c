/* te_mean_bwd_f32.c - see te_kernels_f32.h. */
#include "te_kernels_f32.h"

void te_mean_bwd_f32(int32_t outer, int32_t reduced, int32_t inner, const float *d_y, float *d_x)
{
    const float share = 1.0f / (float)reduced;
    for (int32_t o = 0; o < outer; o++) {
        for (int32_t r = 0; r < reduced; r++) {
            for (int32_t i = 0; i < inner; i++) {
                *d_x++ = d_y[i] * share;
            }
        }
        d_y += inner;
    }
}
