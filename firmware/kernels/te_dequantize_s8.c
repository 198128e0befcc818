/* te_dequantize_s8.c - see te_kernels_s8.h. */
#include "te_kernels_s8.h"

void te_dequantize_s8(int32_t count, int32_t zero, float scale, const int8_t *x, float *y)
{
    for (int32_t i = 0; i < count; i++) {
        y[i] = (float)(x[i] - zero) * scale;
    }
}
