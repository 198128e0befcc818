/* te_conv2d_s8_bwd_input_s8_dsp.c - see te_kernels_dsp.h. */
#define TE_GRAD_BITS 8
#include "te_grad_dsp.h"
#include "te_kernels_dsp.h"

void te_conv2d_s8_bwd_input_s8_dsp(const te_conv2d_grad *p, const int8_t *d_y,
                                    const int8_t *weight, const int16_t *scale,
                                    const int8_t *frozen, const int32_t *e_d, int32_t *state,
                                    int8_t *d_x, int32_t *e, int32_t *scratch)
{
    if (p->tiles > 0 && te_grad_is_pointwise(&p->conv.window)) {
        te_conv2d_bwd_input_dsp(p, d_y, weight, scale, frozen, e_d, state, d_x, e, scratch);
    } else {
        te_conv2d_bwd_input_grad(p, d_y, weight, scale, frozen, e_d, state, d_x, e, scratch);
    }
}
