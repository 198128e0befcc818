/* te_kernels_dsp.h - forward kernels for the Armv7E-M DSP extension (Cortex-M4, M7, M33 with DSP).
 *
 * They have the bits of the kernel of the same name without `_dsp`, whose contract holds too. What
 * is prepared when the code is generated: three words of scaling for every channel (te_dsp.h), and
 * the list of `exact` channels, whose factors te_scale cannot take: theirs are multiplier and shift
 * as they are. The output range is -128..127. `scratch` starts at a multiple of 8.
 */
#ifndef TE_KERNELS_DSP_H
#define TE_KERNELS_DSP_H

#include "te_dsp.h"
#include "te_kernels_f32.h"
#include "te_kernels_grad.h"
#include "te_kernels_s8.h"

typedef struct te_conv2d_dsp {
    te_conv2d shape;
    const int32_t *scale; /* out_c times multiplier, exponent, addend */
    const uint16_t *exact;
    int32_t exact_count;
    int32_t band; /* depthwise: output rows at a time */
} te_conv2d_dsp;

/* At most 8,224 products a sum. Rows of `weight` and `frozen` start at multiples of 4 bytes: the
 * kernel_h * kernel_w * channels bytes of an output channel are followed by up to three of any
 * value. Where both are there, learn_c is a multiple of 4, and in_c too unless the kernel is 1x1.
 * scratch: 8 bytes per element of a row, and a row if in_c is no multiple of 4 and the kernel is
 * not 1x1. */
void te_conv2d_s8_dsp(const te_conv2d_dsp *p, const int8_t *x, const int8_t *weight,
                      const int32_t *bias, const int8_t *frozen, int8_t *y, int32_t *scratch);

/* Kernels of 3x3, 5x5 and 7x7, strides 1x1 and 2x2, no dilation, out_c = in_c, 4 or more channels.
 * scratch: for four channels kernel_h * (kernel_w - 1) + 12 words each, and the input lines of a
 * band as 16-bit numbers: (band - 1) * stride + kernel_h lines, each te_depthwise_line words. */
void te_depthwise_3x3_s8_dsp(const te_conv2d_dsp *p, const int8_t *x, const int8_t *weight,
                             const int32_t *bias, int8_t *y, int32_t *scratch);
void te_depthwise_5x5_s8_dsp(const te_conv2d_dsp *p, const int8_t *x, const int8_t *weight,
                             const int32_t *bias, int8_t *y, int32_t *scratch);
void te_depthwise_7x7_s8_dsp(const te_conv2d_dsp *p, const int8_t *x, const int8_t *weight,
                             const int32_t *bias, int8_t *y, int32_t *scratch);

/* a, b (256): twice what the input contributes to the sum, by its byte; no sum leaves 31 bits.
 * out.exponent may be up to 22 here. */
typedef struct te_add_dsp {
    int32_t count;
    const int32_t *a, *b;
    te_scaling out;
} te_add_dsp;

/* As te_add_s8 for inputs of one size. y may be a or b. */
void te_add_s8_dsp(const te_add_dsp *p, const int8_t *a, const int8_t *b, int8_t *y);

/* As without `_dsp`; fast with four channels (mean: inner numbers) or more, factors below 1/2. */
void te_mul_s8_dsp(const te_binary *p, const int8_t *a, const int8_t *b, int8_t *y);
void te_avg_pool_s8_dsp(const te_pool *p, const int8_t *x, int8_t *y);
void te_max_pool_s8_dsp(const te_pool *p, const int8_t *x, int8_t *y);
void te_mean_s8_dsp(const te_mean *p, const int8_t *x, int8_t *y);

/* As without `_dsp`; fast where all but `bits` starts at multiples of 4. */
void te_inside_s8_dsp(int32_t count, int32_t lo, int32_t hi, const int8_t *y, uint8_t *bits);
void te_mask_grad_s16_dsp(int32_t count, const int16_t *d, const uint8_t *bits, int16_t *y);

void te_quantize_grad_s16_dsp(int32_t count, const float *d, int32_t *state, int16_t *y,
                              int32_t *e);
void te_grad_add_s16_dsp(int32_t count, const int16_t *a, const int16_t *b, const int32_t *e_a,
                         const int32_t *e_b, int32_t *state, int16_t *y, int32_t *e);
void te_bias_grad_s16_dsp(int32_t rows, int32_t channels, const int16_t *d, int32_t *d_b);
void te_channel_sum_s16_dsp(int32_t rows, int32_t channels, const int16_t *d, const int32_t *e_d,
                            int32_t *state, int16_t *y, int32_t *e);

/* As without `_dsp`. scratch: 6 words for every two output pixels, 64 times at most, and two. */
void te_conv2d_s8_bwd_weight_s16_dsp(const te_conv2d *p, int32_t shift, const int16_t *d_y,
                                     const int8_t *x, int32_t k0, int32_t k1, int32_t *d_w,
                                     int32_t *scratch);
void te_conv2d_s8_bwd_weight_s8_dsp(const te_conv2d *p, int32_t shift, const int8_t *d_y,
                                    const int8_t *x, int32_t k0, int32_t k1, int32_t *d_w,
                                    int32_t *scratch);

/* As without `_dsp`; fast with one output channel per input channel. */
void te_depthwise_s8_bwd_weight_s16_dsp(const te_conv2d *p, int32_t shift, const int16_t *d_y,
                                        const int8_t *x, int32_t *d_w);
void te_depthwise_s8_bwd_weight_s8_dsp(const te_conv2d *p, int32_t shift, const int8_t *d_y,
                                       const int8_t *x, int32_t *d_w);

/* As without `_dsp`; fast with factors below 1/2. */
void te_mul_s8_bwd_s16_dsp(const te_mul_grad *p, const int16_t *d_y, const int8_t *other,
                           const int32_t *e_d, int32_t *state, int16_t *d_x, int32_t *e);

/* As without `_dsp`; fast where windows do not overlap. */
void te_max_pool_s8_bwd_s16_dsp(const te_pool *p, const int16_t *d_y, const int8_t *x,
                                const int32_t *e_d, int32_t *state, int16_t *d_x, int32_t *e);
void te_max_pool_s8_bwd_s8_dsp(const te_pool *p, const int8_t *d_y, const int8_t *x,
                               const int32_t *e_d, int32_t *state, int8_t *d_x, int32_t *e);

/* As without `_dsp`; fast where the kernel is 1x1 and p->tiles is not 0. scratch is then, for out_c
 * rounded up to a multiple of 8, two words per output channel, d' of the tiles, and 8 bytes. */
void te_conv2d_s8_bwd_input_s16_dsp(const te_conv2d_grad *p, const int16_t *d_y,
                                    const int8_t *weight, const int16_t *scale,
                                    const int8_t *frozen, const int32_t *e_d, int32_t *state,
                                    int16_t *d_x, int32_t *e, int32_t *scratch);
void te_conv2d_s8_bwd_input_s8_dsp(const te_conv2d_grad *p, const int8_t *d_y,
                                   const int8_t *weight, const int16_t *scale,
                                   const int8_t *frozen, const int32_t *e_d, int32_t *state,
                                   int8_t *d_x, int32_t *e, int32_t *scratch);

/* As without `_dsp`, but channel by channel where te_goes_by_channel: there d_x may be d_y and must
 * not meet it otherwise. scratch: pairs of weights, and a channel of d_y as 16-bit numbers, in
 * lines of te_lay_out's pitch. */
enum { TE_PLANE_PIXELS = 1024 }; /* of larger maps portable kernels go by rows */
void te_depthwise_s8_bwd_input_s16_dsp(const te_conv2d *p, const int16_t *d_y,
                                       const int8_t *weight, const int32_t *multiplier,
                                       const int32_t *shift, const int32_t *e_d, int32_t *state,
                                       int16_t *d_x, int32_t *e, int32_t *scratch);
void te_depthwise_s8_bwd_input_s8_dsp(const te_conv2d *p, const int8_t *d_y, const int8_t *weight,
                                      const int32_t *multiplier, const int32_t *shift,
                                      const int32_t *e_d, int32_t *state, int8_t *d_x, int32_t *e,
                                      int32_t *scratch);

/* As without `_dsp`: the same order of float operations in each sum. Fast on cores with an FPU. */
void te_conv2d_s8_bwd_input_f32_dsp(const te_conv2d *p, const float *d_y, const int8_t *weight,
                                    const float *scale, const int8_t *frozen, float *d_x);
void te_conv2d_s8_bwd_weight_f32_dsp(const te_conv2d *p, const float *d_y, const int8_t *x,
                                     int32_t k0, int32_t k1, float *d_w);

#endif
