/* te_mask_grad_f32.c - see te_kernels_f32.h. */
#include "te_kernels_f32.h"

void te_mask_grad_f32(int32_t count, const float *d, const uint8_t *bits, float *y)
{
    for (int32_t i = 0; i < count; i += 8) {
        const int32_t n = te_min(8, count - i);
        const uint32_t byte = bits[i / 8];
        for (int32_t j = 0; j < n; j++) {
            y[i + j] = ((byte >> j) & 1u) != 0u ? d[i + j] : 0.0f;
        }
    }
}
