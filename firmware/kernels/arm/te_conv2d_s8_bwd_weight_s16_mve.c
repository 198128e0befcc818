/* te_conv2d_s8_bwd_weight_s16_mve.c - see te_kernels_mve.h. */
#define TE_GRAD_BITS 16
#include "te_kernels_mve.h"
#include "te_mve_weight.h"

void te_conv2d_s8_bwd_weight_s16_mve(const te_conv2d *p, int32_t shift, const int16_t *d_y,
                                     const int8_t *x, int32_t k0, int32_t k1, int32_t *d_w)
{
#if TE_HAS_MVE
    if (te_weight_fits(p)) {
        te_weight_gradient(p, shift, d_y, x, k0, k1, d_w);
        return;
    }
#endif
    te_conv2d_s8_bwd_weight_s16(p, shift, d_y, x, k0, k1, d_w);
}
