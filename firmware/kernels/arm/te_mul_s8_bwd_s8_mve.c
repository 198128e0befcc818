/* te_mul_s8_bwd_s8_mve.c - see te_kernels_mve.h. */
#define TE_GRAD_BITS 8
#include "te_kernels_mve.h"
#include "te_mve_maps.h"

void te_mul_s8_bwd_s8_mve(const te_mul_grad *p, const int8_t *d_y, const int8_t *other,
                           const int32_t *e_d, int32_t *state, int8_t *d_x, int32_t *e)
{
#if TE_HAS_MVE
    te_mul_gradient(p, d_y, other, e_d, state, d_x, e);
#else
    te_mul_s8_bwd_s8(p, d_y, other, e_d, state, d_x, e);
#endif
}
