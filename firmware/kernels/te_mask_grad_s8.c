/* te_mask_grad_s8.c - see te_kernels_grad.h. */
#define TE_GRAD_BITS 8
#include "te_grad_maps.h"

void te_mask_grad_s8(int32_t count, const int8_t *d, const uint8_t *bits, int8_t *y)
{
    te_mask_grad(count, d, bits, y);
}
