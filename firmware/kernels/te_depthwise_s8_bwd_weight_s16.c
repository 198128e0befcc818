/* te_depthwise_s8_bwd_weight_s16.c - see te_kernels_grad.h. */
#define TE_GRAD_BITS 16
#include "te_grad_depthwise.h"

void te_depthwise_s8_bwd_weight_s16(const te_conv2d *p, int32_t shift, const int16_t *d_y,
                                    const int8_t *x, int32_t *d_w)
{
    te_depthwise_bwd_weight_grad(p, shift, d_y, x, d_w);
}
