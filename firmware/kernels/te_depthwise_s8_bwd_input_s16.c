/* te_depthwise_s8_bwd_input_s16.c - see te_kernels_grad.h. */
#define TE_GRAD_BITS 16
#include "te_grad_depthwise.h"

void te_depthwise_s8_bwd_input_s16(const te_conv2d *p, const int16_t *d_y, const int8_t *weight,
                                   const int32_t *multiplier, const int32_t *shift,
                                   const int32_t *e_d, int32_t *state, int16_t *d_x, int32_t *e,
                                   int32_t *scratch)
{
    te_depthwise_bwd_input_grad(p, d_y, weight, multiplier, shift, e_d, state, d_x, e, scratch);
}
