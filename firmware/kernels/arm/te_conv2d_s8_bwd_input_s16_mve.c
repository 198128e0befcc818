/* te_conv2d_s8_bwd_input_s16_mve.c - see te_kernels_mve.h. */
#define TE_GRAD_BITS 16
#include "te_kernels_mve.h"
#include "te_mve_window.h"

void te_conv2d_s8_bwd_input_s16_mve(const te_conv2d_grad *p, const int16_t *d_y,
                                    const int8_t *weight, const int16_t *scale,
                                    const int8_t *frozen, const int32_t *e_d, int32_t *state,
                                    int16_t *d_x, int32_t *e, int32_t *scratch)
{
#if TE_HAS_MVE
    if (te_input_fits(p)) {
        te_input_gradient(p, d_y, weight, scale, frozen, e_d, state, d_x, e, scratch);
        return;
    }
    if (te_window_fits(p)) {
        te_window_gradient(p, d_y, weight, scale, frozen, e_d, state, d_x, e, scratch);
        return;
    }
#endif
    te_conv2d_s8_bwd_input_s16(p, d_y, weight, scale, frozen, e_d, state, d_x, e, scratch);
}
