/* te_mean_bwd_s8.c - see te_kernels_grad.h. */
#define TE_GRAD_BITS 8
#include "te_grad_maps.h"

void te_mean_bwd_s8(const te_mean_grad *p, const int8_t *d_y, const int32_t *e_d, int32_t *state,
                    int8_t *d_x, int32_t *e)
{
    te_mean_bwd_grad(p, d_y, e_d, state, d_x, e);
}
