/* te_mul_s8_bwd_s16_mve.c - see te_kernels_mve.h. */
#define TE_GRAD_BITS 16
#include "te_kernels_mve.h"
#include "te_mve_maps.h"

void te_mul_s8_bwd_s16_mve(const te_mul_grad *p, const int16_t *d_y, const int8_t *other,
                           const int32_t *e_d, int32_t *state, int16_t *d_x, int32_t *e)
{
#if TE_HAS_MVE
    te_mul_gradient(p, d_y, other, e_d, state, d_x, e);
#else
    te_mul_s8_bwd_s16(p, d_y, other, e_d, state, d_x, e);
#endif
}
