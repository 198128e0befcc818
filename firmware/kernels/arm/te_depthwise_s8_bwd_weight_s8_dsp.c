/* te_depthwise_s8_bwd_weight_s8_dsp.c - see te_kernels_dsp.h. */
#define TE_GRAD_BITS 8
#include "te_depthwise_weight_dsp.h"
#include "te_kernels_dsp.h"

void te_depthwise_s8_bwd_weight_s8_dsp(const te_conv2d *p, int32_t shift, const int8_t *d_y,
                                        const int8_t *x, int32_t *d_w)
{
    if (p->in_c != p->out_c || p->out_c < TE_FOUR) {
        te_depthwise_s8_bwd_weight_s8(p, shift, d_y, x, d_w);
        return;
    }
    te_depthwise_bwd_weight_dsp(p, shift, d_y, x, d_w);
}
