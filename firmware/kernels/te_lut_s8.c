/* te_lut_s8.c - see te_kernels_s8.h. */
#include "te_kernels_s8.h"

void te_lut_s8(int32_t count, const int8_t *x, const int8_t *table, int8_t *y)
{
    for (int32_t i = 0; i < count; i++) {
        y[i] = table[x[i] + 128];
    }
}
