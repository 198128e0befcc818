/* te_bias_grad_s16_mve.c - see te_kernels_mve.h. 16 channels at a time stay in registers. */
#define TE_GRAD_BITS 16
#include "te_kernels_mve.h"
#include "te_mve_maps.h"

void te_bias_grad_s16_mve(int32_t rows, int32_t channels, const int16_t *d, int32_t *d_b)
{
#if TE_HAS_MVE
    te_bias_sums(rows, channels, d, d_b);
#else
    te_bias_grad_s16(rows, channels, d, d_b);
#endif
}
