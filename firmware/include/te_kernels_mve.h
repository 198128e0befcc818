/* te_kernels_mve.h - Helium twins of kernels: same arguments, same bits. Without Helium each calls
 * the portable kernel.
 */
#ifndef TE_KERNELS_MVE_H
#define TE_KERNELS_MVE_H

#include "te_kernels_f32.h"
#include "te_kernels_s8.h"

void te_conv2d_s8_mve(const te_conv2d *p, const int8_t *x, const int8_t *weight,
                      const int32_t *bias, const int32_t *multiplier, const int32_t *shift,
                      const int8_t *frozen, int8_t *y);

void te_depthwise_conv2d_s8_mve(const te_conv2d *p, const int8_t *x, const int8_t *weight,
                                const int32_t *bias, const int32_t *multiplier,
                                const int32_t *shift, int8_t *y);

void te_conv2d_s8_bwd_input_f32_mve(const te_conv2d *p, const float *d_y, const int8_t *weight,
                                    const float *scale, const int8_t *frozen, float *d_x);

#endif
