/* te_mul_s8_bwd_f32.c - see te_kernels_f32.h. */
#include "te_kernels_f32.h"

void te_mul_s8_bwd_f32(const te_mul_bwd *p, const float *d_y, const int8_t *other, float *d_x)
{
    for (int32_t i = 0; i < p->count; i += p->other_count) {
        for (int32_t j = 0; j < p->other_count; j++) {
            d_x[i + j] = d_y[i + j] * p->scale * (float)(other[j] - p->zero);
        }
    }
}
