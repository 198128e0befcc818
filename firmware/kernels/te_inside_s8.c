/* te_inside_s8.c - see te_kernels_s8.h. */
#include "te_kernels_s8.h"

void te_inside_s8(int32_t count, int32_t lo, int32_t hi, const int8_t *y, uint8_t *bits)
{
    for (int32_t i = 0; i < count; i += 8) {
        const int32_t n = te_min(8, count - i);
        uint32_t byte = 0u;
        for (int32_t j = 0; j < n; j++) {
            const int32_t q = y[i + j];
            byte |= (lo < q && q < hi ? 1u : 0u) << j;
        }
        bits[i / 8] = (uint8_t)byte;
    }
}
