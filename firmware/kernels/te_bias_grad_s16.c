/* te_bias_grad_s16.c - see te_kernels_grad.h. */
#define TE_GRAD_BITS 16
#include "te_grad_maps.h"

void te_bias_grad_s16(int32_t rows, int32_t channels, const int16_t *d, int32_t *d_b)
{
    te_bias_grad(rows, channels, d, d_b);
}
