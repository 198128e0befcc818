/* te_avg_pool_bwd_s8_mve.c - see te_kernels_mve.h. */
#define TE_GRAD_BITS 8
#include "te_kernels_mve.h"
#include "te_mve_pools.h"

void te_avg_pool_bwd_s8_mve(const te_pool_grad *p, const int8_t *d_y, const int32_t *e_d,
                             int32_t *state, int8_t *d_x, int32_t *e, int32_t *scratch)
{
#if TE_HAS_MVE
    if (te_pool_lists(&p->pool)) {
        te_avg_pool_gradient(p, d_y, e_d, state, d_x, e);
        return;
    }
#endif
    te_avg_pool_bwd_s8(p, d_y, e_d, state, d_x, e, scratch);
}
