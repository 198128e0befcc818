/* te_depthwise_s8_bwd_input_s8_dsp.c - see te_kernels_dsp.h. */
#define TE_GRAD_BITS 8
#include "te_kernels_dsp.h"
#include "te_depthwise_grad_dsp.h"

void te_depthwise_s8_bwd_input_s8_dsp(const te_conv2d *p, const int8_t *d_y,
                                       const int8_t *weight, const int32_t *multiplier,
                                       const int32_t *shift, const int32_t *e_d, int32_t *state,
                                       int8_t *d_x, int32_t *e, int32_t *scratch)
{
    if (te_goes_by_channel(p)) {
        te_depthwise_bwd_input_dsp(p, d_y, weight, multiplier, shift, e_d, state, d_x, e, scratch);
    } else {
        te_depthwise_s8_bwd_input_s8(p, d_y, weight, multiplier, shift, e_d, state, d_x, e,
                                     scratch);
    }
}
