/* te_quantize_grad_s16.c - see te_kernels_grad.h. */
#define TE_GRAD_BITS 16
#include "te_grad_maps.h"

void te_quantize_grad_s16(int32_t count, const float *d, int32_t *state, int16_t *y, int32_t *e)
{
    te_quantize_grad(count, d, state, y, e);
}
