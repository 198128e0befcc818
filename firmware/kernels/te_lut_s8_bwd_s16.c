/* te_lut_s8_bwd_s16.c - see te_kernels_grad.h. */
#define TE_GRAD_BITS 16
#include "te_grad_maps.h"

void te_lut_s8_bwd_s16(int32_t count, const te_factor *p, const int16_t *d_y, const int8_t *x,
                       const int16_t *slope, const int32_t *e_d, int32_t *state, int16_t *d_x,
                       int32_t *e)
{
    te_lut_bwd_grad(count, p, d_y, x, slope, e_d, state, d_x, e);
}
