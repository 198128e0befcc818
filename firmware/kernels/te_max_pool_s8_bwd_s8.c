/* te_max_pool_s8_bwd_s8.c - see te_kernels_grad.h. */
#define TE_GRAD_BITS 8
#include "te_grad_pools.h"

void te_max_pool_s8_bwd_s8(const te_pool *p, const int8_t *d_y, const int8_t *x, const int32_t *e_d,
                           int32_t *state, int8_t *d_x, int32_t *e)
{
    te_max_pool_bwd_grad(p, d_y, x, e_d, state, d_x, e);
}
