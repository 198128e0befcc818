/* te_kernels_f32.h - the float32 head, the loss, and float32 gradients.
 *
 * Contract as in te_kernels_s8.h. Every sum runs in the order that the operator's Python names;
 * products that are exactly zero may be left out, since a sum that starts from +0 never becomes
 * -0. A gradient d_x is written whole, not added to.
 */
#ifndef TE_KERNELS_F32_H
#define TE_KERNELS_F32_H

#include <stdint.h>

#include "te_kernels_s8.h"

/* y[k] = bias[k] + sum over c of x[c] * weight[k][c] */
void te_linear_f32(int32_t in_c, int32_t out_c, const float *x, const float *weight,
                   const float *bias, float *y);

/* d_x[c] = sum over k of d_y[k] * weight[k][c] */
void te_linear_f32_bwd_input(int32_t in_c, int32_t out_c, const float *d_y, const float *weight,
                             float *d_x);

/* d_w[k][c] = d_y[k] * x[c] */
void te_linear_f32_bwd_weight(int32_t in_c, int32_t out_c, const float *d_y, const float *x,
                              float *d_w);

/* Softmax cross-entropy of n logits: *loss, and d (n). label < n. */
void te_softmax_xent_f32(int32_t n, const float *logits, uint32_t label, float *loss, float *d);

/* y[i] = d[i] where bit i is set, else +0; y may be d. */
void te_mask_grad_f32(int32_t count, const float *d, const uint8_t *bits, float *y);

/* y = a + b; y may be a or b. */
void te_grad_add_f32(int32_t count, const float *a, const float *b, float *y);

/* d_b[k] = sum over rows of d[row][k] */
void te_bias_grad_f32(int32_t rows, int32_t channels, const float *d, float *d_b);

/* d_x = sum over taps, then output channels k, of (d_y[k] * scale[k]) * weight; weight and frozen
 * as in te_conv2d_s8. */
void te_conv2d_s8_bwd_input_f32(const te_conv2d *p, const float *d_y, const int8_t *weight,
                                const float *scale, const int8_t *frozen, float *d_x);

/* Rows k0 <= k < k1 of the weight gradient, each (kernel_h, kernel_w, in_c), into d_w:
 * sum over outputs in raster order of d_y[k] * (x - in_zero). */
void te_conv2d_s8_bwd_weight_f32(const te_conv2d *p, const float *d_y, const int8_t *x, int32_t k0,
                                 int32_t k1, float *d_w);

/* d_x may begin before d_y and run over it. Every variant, integer ones too, makes d_x row by row
 * and writes a row only where rows of d_y lie that no later row needs (Op.lead_bytes). */
void te_depthwise_s8_bwd_input_f32(const te_conv2d *p, const float *d_y, const int8_t *weight,
                                   const float *scale, float *d_x);

/* d_w (kernel_h, kernel_w, out_c) */
void te_depthwise_s8_bwd_weight_f32(const te_conv2d *p, const float *d_y, const int8_t *x,
                                    float *d_w);

/* d_x = (d_y * scale) * (other - zero); `other` has `other_count` elements, a divisor of count,
 * and is repeated. d_x may be d_y. */
typedef struct te_mul_bwd {
    int32_t count, other_count;
    int32_t zero;
    float scale;
} te_mul_bwd;

void te_mul_s8_bwd_f32(const te_mul_bwd *p, const float *d_y, const int8_t *other, float *d_x);

void te_avg_pool_bwd_f32(const te_pool *p, const float *d_y, float *d_x);

/* d_y goes to the first pixel in raster order that holds the window's largest value. */
void te_max_pool_s8_bwd_f32(const te_pool *p, const float *d_y, const int8_t *x, float *d_x);

/* d_y (outer, inner) -> d_x (outer, reduced, inner): d_y * (1 / reduced), repeated. */
void te_mean_bwd_f32(int32_t outer, int32_t reduced, int32_t inner, const float *d_y, float *d_x);

/* d_x = d_y * slope[x + 128]; d_x may be d_y. */
void te_lut_s8_bwd_f32(int32_t count, const float *d_y, const int8_t *x, const float *slope,
                       float *d_x);

#endif
