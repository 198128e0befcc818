/* te_depthwise_s8_bwd_input_s8_mve.c - see te_kernels_mve.h. */
#define TE_GRAD_BITS 8
#include <string.h>

#include "te_kernels_mve.h"
#include "te_mve_depthwise.h"

void te_depthwise_s8_bwd_input_s8_mve(const te_conv2d *p, const int8_t *d_y,
                                      const int8_t *weight, const int32_t *multiplier,
                                      const int32_t *shift, const int32_t *e_d, int32_t *state,
                                      int8_t *d_x, int32_t *e, int32_t *scratch)
{
#if TE_HAS_MVE
    if (te_lists(p)) {
        te_depthwise_input_gradient(p, d_y, weight, multiplier, shift, e_d, state, d_x, e,
                                    scratch);
        return;
    }
#endif
    te_depthwise_s8_bwd_input_s8(p, d_y, weight, multiplier, shift, e_d, state, d_x, e, scratch);
}
