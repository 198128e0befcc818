/* te_max_pool_s8_bwd_s16_mve.c - see te_kernels_mve.h. */
#define TE_GRAD_BITS 16
#include "te_kernels_mve.h"
#include "te_mve_pools.h"

void te_max_pool_s8_bwd_s16_mve(const te_pool *p, const int16_t *d_y, const int8_t *x,
                                const int32_t *e_d, int32_t *state, int16_t *d_x, int32_t *e)
{
#if TE_HAS_MVE
    if (te_pool_lists(p)) {
        te_max_pool_gradient(p, d_y, x, e_d, state, d_x, e);
        return;
    }
#endif
    te_max_pool_s8_bwd_s16(p, d_y, x, e_d, state, d_x, e);
}
