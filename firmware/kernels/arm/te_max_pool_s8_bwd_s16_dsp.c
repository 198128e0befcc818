/* te_max_pool_s8_bwd_s16_dsp.c - see te_kernels_dsp.h. */
#define TE_GRAD_BITS 16
#include "te_kernels_dsp.h"
#include "te_max_pool_dsp.h"

void te_max_pool_s8_bwd_s16_dsp(const te_pool *p, const int16_t *d_y, const int8_t *x,
                                 const int32_t *e_d, int32_t *state, int16_t *d_x, int32_t *e)
{
    if (!te_max_pool_fits(p, e_d, state)) {
        te_max_pool_s8_bwd_s16(p, d_y, x, e_d, state, d_x, e);
        return;
    }
    te_max_pool_bwd_dsp(p, d_y, x, e_d, state, d_x, e);
}
