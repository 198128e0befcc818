/* te_grad_add_f32.c - see te_kernels_f32.h. */
#include "te_kernels_f32.h"

void te_grad_add_f32(int32_t count, const float *a, const float *b, float *y)
{
    for (int32_t i = 0; i < count; i++) {
        y[i] = a[i] + b[i];
    }
}
