/* te_kernels_grad.h - gradients in int16 (s16) and int8 (s8) with power-of-two exponents.
 *
 * Contract as in te_kernels_s8.h. A gradient is real = q * 2^e, |q| <= 32767 or 127. e_d: the
 * exponent of an incoming gradient. state: this output's exponent in sixteenths, moved on by the
 * kernel; e: what it was, which is the output's exponent. Sums are 32 bits wide and were proven to
 * fit when the code was generated. A gradient d_x is written whole, not added to.
 */
#ifndef TE_KERNELS_GRAD_H
#define TE_KERNELS_GRAD_H

#include <stdint.h>

#include "te_kernels_s8.h"

/* A convolution's input gradient: d' = floor(d_y * scale / 2^bits + 1/2) meets the weights, their
 * sum is scaled by `factor`. */
typedef struct te_conv2d_grad {
    te_conv2d conv;
    int32_t bits;
    te_factor factor;
    int32_t tiles; /* DSP, pointwise: of four pixels that scratch has room for */
} te_conv2d_grad;

/* d_x = (d_y * (other - zero)) * factor; `other` as in te_mul_bwd. */
typedef struct te_mul_grad {
    int32_t count, other_count;
    int32_t zero;
    te_factor factor;
} te_mul_grad;

/* Shares of 2^bits / pixels, their sum is scaled by `factor`. */
typedef struct te_pool_grad {
    te_pool pool;
    int32_t bits;
    te_factor factor;
} te_pool_grad;

/* d_y (outer, inner) -> d_x (outer, reduced, inner) */
typedef struct te_mean_grad {
    int32_t outer, reduced, inner;
    te_factor factor;
} te_mean_grad;

/* One prototype of each kernel for both formats. te_..._bwd_weight: d_w in int32 with the exponent
 * of d_y, which is shifted right by `shift` first, rounding; else as in te_kernels_f32.h. scratch:
 * one int32 per channel of d_x (conv2d, avg_pool) or d_y (depthwise). */
#define TE_GRADIENT_KERNELS(q, f)                                                                  \
    void te_quantize_grad_##f(int32_t count, const float *d, int32_t *state, q *y, int32_t *e);    \
    void te_mask_grad_##f(int32_t count, const q *d, const uint8_t *bits, q *y);                   \
    void te_grad_add_##f(int32_t count, const q *a, const q *b, const int32_t *e_a,                \
                         const int32_t *e_b, int32_t *state, q *y, int32_t *e);                    \
    void te_bias_grad_##f(int32_t rows, int32_t channels, const q *d, int32_t *d_b);               \
    void te_channel_sum_##f(int32_t rows, int32_t channels, const q *d, const int32_t *e_d,        \
                            int32_t *state, q *y, int32_t *e);                                     \
    void te_conv2d_s8_bwd_input_##f(const te_conv2d_grad *p, const q *d_y, const int8_t *weight,   \
                                    const int16_t *scale, const int8_t *frozen,                    \
                                    const int32_t *e_d, int32_t *state, q *d_x, int32_t *e,        \
                                    int32_t *scratch);                                             \
    void te_conv2d_s8_bwd_weight_##f(const te_conv2d *p, int32_t shift, const q *d_y,              \
                                     const int8_t *x, int32_t k0, int32_t k1, int32_t *d_w);       \
    void te_depthwise_s8_bwd_input_##f(const te_conv2d *p, const q *d_y, const int8_t *weight,     \
                                       const int32_t *multiplier, const int32_t *shift,            \
                                       const int32_t *e_d, int32_t *state, q *d_x, int32_t *e,     \
                                       int32_t *scratch);                                          \
    void te_depthwise_s8_bwd_weight_##f(const te_conv2d *p, int32_t shift, const q *d_y,           \
                                        const int8_t *x, int32_t *d_w);                            \
    void te_mul_s8_bwd_##f(const te_mul_grad *p, const q *d_y, const int8_t *other,                \
                           const int32_t *e_d, int32_t *state, q *d_x, int32_t *e);                \
    void te_avg_pool_bwd_##f(const te_pool_grad *p, const q *d_y, const int32_t *e_d,              \
                             int32_t *state, q *d_x, int32_t *e, int32_t *scratch);                \
    void te_max_pool_s8_bwd_##f(const te_pool *p, const q *d_y, const int8_t *x,                   \
                                const int32_t *e_d, int32_t *state, q *d_x, int32_t *e);           \
    void te_mean_bwd_##f(const te_mean_grad *p, const q *d_y, const int32_t *e_d, int32_t *state,  \
                         q *d_x, int32_t *e);                                                      \
    void te_lut_s8_bwd_##f(int32_t count, const te_factor *p, const q *d_y, const int8_t *x,       \
                           const int16_t *slope, const int32_t *e_d, int32_t *state, q *d_x,       \
                           int32_t *e)

TE_GRADIENT_KERNELS(int16_t, s16);
TE_GRADIENT_KERNELS(int8_t, s8);

#endif
