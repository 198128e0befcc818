/* te_depthwise_s8_bwd_weight_s8_mve.c - see te_kernels_mve.h. */
#define TE_GRAD_BITS 8
#include "te_kernels_mve.h"
#include "te_mve_depthwise_weight.h"

void te_depthwise_s8_bwd_weight_s8_mve(const te_conv2d *p, int32_t shift, const int8_t *d_y,
                                        const int8_t *x, int32_t *d_w)
{
#if TE_HAS_MVE
    if (p->in_c == p->out_c) {
        te_depthwise_weight_gradient(p, shift, d_y, x, d_w);
        return;
    }
#endif
    te_depthwise_s8_bwd_weight_s8(p, shift, d_y, x, d_w);
}
