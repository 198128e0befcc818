/* te_conv2d_s8_bwd_weight_s8_dsp.c - see te_kernels_dsp.h. */
#define TE_GRAD_BITS 8
#include "te_kernels_dsp.h"
#include "te_weight_dsp.h"

void te_conv2d_s8_bwd_weight_s8_dsp(const te_conv2d *p, int32_t shift, const int8_t *d_y,
                                     const int8_t *x, int32_t k0, int32_t k1, int32_t *d_w,
                                     int32_t *scratch)
{
    te_conv2d_bwd_weight_dsp(p, shift, d_y, x, k0, k1, d_w, (te_meeting *)scratch);
}
