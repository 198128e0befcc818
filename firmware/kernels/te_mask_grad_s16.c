/* te_mask_grad_s16.c - see te_kernels_grad.h. */
#define TE_GRAD_BITS 16
#include "te_grad_maps.h"

void te_mask_grad_s16(int32_t count, const int16_t *d, const uint8_t *bits, int16_t *y)
{
    te_mask_grad(count, d, bits, y);
}
