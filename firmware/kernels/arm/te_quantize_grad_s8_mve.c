/* te_quantize_grad_s8_mve.c - see te_kernels_mve.h. */
#define TE_GRAD_BITS 8
#include "te_kernels_mve.h"
#include "te_mve_maps.h"

void te_quantize_grad_s8_mve(int32_t count, const float *d, int32_t *state, int8_t *y,
                              int32_t *e)
{
#if TE_HAS_MVE_F32
    te_quantised_grad(count, d, state, y, e);
#else
    te_quantize_grad_s8(count, d, state, y, e);
#endif
}
