/* te_bias_grad_s8.c - see te_kernels_grad.h. */
#define TE_GRAD_BITS 8
#include "te_grad_maps.h"

void te_bias_grad_s8(int32_t rows, int32_t channels, const int8_t *d, int32_t *d_b)
{
    te_bias_grad(rows, channels, d, d_b);
}
