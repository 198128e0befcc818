/* te_mul_s8_bwd_s8.c - see te_kernels_grad.h. */
#define TE_GRAD_BITS 8
#include "te_grad_maps.h"

void te_mul_s8_bwd_s8(const te_mul_grad *p, const int8_t *d_y, const int8_t *other,
                      const int32_t *e_d, int32_t *state, int8_t *d_x, int32_t *e)
{
    te_mul_bwd_grad(p, d_y, other, e_d, state, d_x, e);
}
