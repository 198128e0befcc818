/* te_kernels_mve.h - Helium twins of kernels: same arguments, same bits. Without Helium each calls
 * the portable kernel.
 */
#ifndef TE_KERNELS_MVE_H
#define TE_KERNELS_MVE_H

#include "te_kernels_f32.h"
#include "te_kernels_grad.h"
#include "te_kernels_layout.h"
#include "te_kernels_s8.h"
#include "te_kernels_update.h"
#include "te_stream.h"

void te_conv2d_s8_mve(const te_conv2d *p, const int8_t *x, const int8_t *weight,
                      const int32_t *bias, const int32_t *multiplier, const int32_t *shift,
                      const int8_t *frozen, int8_t *y);

void te_depthwise_conv2d_s8_mve(const te_conv2d *p, const int8_t *x, const int8_t *weight,
                                const int32_t *bias, const int32_t *multiplier,
                                const int32_t *shift, int8_t *y);

void te_conv2d_s8_bwd_input_f32_mve(const te_conv2d *p, const float *d_y, const int8_t *weight,
                                    const float *scale, const int8_t *frozen, float *d_x);

void te_conv2d_s8_bwd_weight_f32_mve(const te_conv2d *p, const float *d_y, const int8_t *x,
                                     int32_t k0, int32_t k1, float *d_w);
void te_depthwise_s8_bwd_input_f32_mve(const te_conv2d *p, const float *d_y, const int8_t *weight,
                                       const float *scale, float *d_x);
void te_depthwise_s8_bwd_weight_f32_mve(const te_conv2d *p, const float *d_y, const int8_t *x,
                                        float *d_w);
void te_linear_f32_mve(int32_t in_c, int32_t out_c, const float *x, const float *weight,
                       const float *bias, float *y);
void te_linear_f32_bwd_input_mve(int32_t in_c, int32_t out_c, const float *d_y,
                                 const float *weight, float *d_x);
void te_linear_f32_bwd_weight_mve(int32_t in_c, int32_t out_c, const float *d_y, const float *x,
                                  float *d_w);
void te_grad_add_f32_mve(int32_t count, const float *a, const float *b, float *y);
void te_bias_grad_f32_mve(int32_t rows, int32_t channels, const float *d, float *d_b);
void te_mask_grad_f32_mve(int32_t count, const float *d, const uint8_t *bits, float *y);
void te_add_s8_mve(const te_binary *p, const int8_t *a, const int8_t *b, int8_t *y);
void te_mul_s8_mve(const te_binary *p, const int8_t *a, const int8_t *b, int8_t *y);
void te_avg_pool_s8_mve(const te_pool *p, const int8_t *x, int8_t *y);
void te_max_pool_s8_mve(const te_pool *p, const int8_t *x, int8_t *y);
void te_mean_s8_mve(const te_mean *p, const int8_t *x, int8_t *y);
void te_gather_channels_x8_mve(int32_t rows, int32_t in_c, int32_t out_c,
                               const uint16_t *channels, const void *x, void *y);
void te_gather_channels_x16_mve(int32_t rows, int32_t in_c, int32_t out_c,
                                const uint16_t *channels, const void *x, void *y);
void te_slide_s8_mve(int32_t bytes, const int8_t *from, int8_t *to);
void te_inside_s8_mve(int32_t count, int32_t lo, int32_t hi, const int8_t *y, uint8_t *bits);

void te_conv2d_s8_bwd_input_s16_mve(const te_conv2d_grad *p, const int16_t *d_y,
                                    const int8_t *weight, const int16_t *scale,
                                    const int8_t *frozen, const int32_t *e_d, int32_t *state,
                                    int16_t *d_x, int32_t *e, int32_t *scratch);
void te_conv2d_s8_bwd_input_s8_mve(const te_conv2d_grad *p, const int8_t *d_y,
                                   const int8_t *weight, const int16_t *scale,
                                   const int8_t *frozen, const int32_t *e_d, int32_t *state,
                                   int8_t *d_x, int32_t *e, int32_t *scratch);
void te_depthwise_s8_bwd_input_s16_mve(const te_conv2d *p, const int16_t *d_y,
                                       const int8_t *weight, const int32_t *multiplier,
                                       const int32_t *shift, const int32_t *e_d, int32_t *state,
                                       int16_t *d_x, int32_t *e, int32_t *scratch);
void te_depthwise_s8_bwd_input_s8_mve(const te_conv2d *p, const int8_t *d_y,
                                      const int8_t *weight, const int32_t *multiplier,
                                      const int32_t *shift, const int32_t *e_d, int32_t *state,
                                      int8_t *d_x, int32_t *e, int32_t *scratch);
void te_mask_grad_s16_mve(int32_t count, const int16_t *d, const uint8_t *bits, int16_t *y);
void te_mask_grad_s8_mve(int32_t count, const int8_t *d, const uint8_t *bits, int8_t *y);
void te_conv2d_s8_bwd_weight_s16_mve(const te_conv2d *p, int32_t shift, const int16_t *d_y,
                                     const int8_t *x, int32_t k0, int32_t k1, int32_t *d_w);
void te_conv2d_s8_bwd_weight_s8_mve(const te_conv2d *p, int32_t shift, const int8_t *d_y,
                                    const int8_t *x, int32_t k0, int32_t k1, int32_t *d_w);
void te_bias_grad_s16_mve(int32_t rows, int32_t channels, const int16_t *d, int32_t *d_b);
void te_grad_add_s16_mve(int32_t count, const int16_t *a, const int16_t *b, const int32_t *e_a,
                         const int32_t *e_b, int32_t *state, int16_t *y, int32_t *e);
void te_depthwise_s8_bwd_weight_s16_mve(const te_conv2d *p, int32_t shift, const int16_t *d_y,
                                        const int8_t *x, int32_t *d_w);
void te_avg_pool_bwd_s16_mve(const te_pool_grad *p, const int16_t *d_y, const int32_t *e_d,
                             int32_t *state, int16_t *d_x, int32_t *e, int32_t *scratch);
void te_max_pool_s8_bwd_s16_mve(const te_pool *p, const int16_t *d_y, const int8_t *x,
                                const int32_t *e_d, int32_t *state, int16_t *d_x, int32_t *e);
void te_mul_s8_bwd_s16_mve(const te_mul_grad *p, const int16_t *d_y, const int8_t *other,
                           const int32_t *e_d, int32_t *state, int16_t *d_x, int32_t *e);
void te_quantize_grad_s16_mve(int32_t count, const float *d, int32_t *state, int16_t *y,
                              int32_t *e);
void te_depthwise_s8_bwd_weight_s8_mve(const te_conv2d *p, int32_t shift, const int8_t *d_y,
                                        const int8_t *x, int32_t *d_w);
void te_avg_pool_bwd_s8_mve(const te_pool_grad *p, const int8_t *d_y, const int32_t *e_d,
                             int32_t *state, int8_t *d_x, int32_t *e, int32_t *scratch);
void te_max_pool_s8_bwd_s8_mve(const te_pool *p, const int8_t *d_y, const int8_t *x,
                                const int32_t *e_d, int32_t *state, int8_t *d_x, int32_t *e);
void te_mul_s8_bwd_s8_mve(const te_mul_grad *p, const int8_t *d_y, const int8_t *other,
                           const int32_t *e_d, int32_t *state, int8_t *d_x, int32_t *e);
void te_quantize_grad_s8_mve(int32_t count, const float *d, int32_t *state, int8_t *y,
                              int32_t *e);
void te_channel_sum_s16_mve(int32_t rows, int32_t channels, const int16_t *d, const int32_t *e_d,
                            int32_t *state, int16_t *y, int32_t *e);
void te_channel_sum_s8_mve(int32_t rows, int32_t channels, const int8_t *d, const int32_t *e_d,
                            int32_t *state, int8_t *y, int32_t *e);
void te_bias_grad_s8_mve(int32_t rows, int32_t channels, const int8_t *d, int32_t *d_b);
void te_grad_add_s8_mve(int32_t count, const int8_t *a, const int8_t *b, const int32_t *e_a,
                        const int32_t *e_b, int32_t *state, int8_t *y, int32_t *e);

void te_sgd_s8_stochastic_mve(const te_sgd_s8 *p, int32_t k0, int32_t k1, int8_t *w, const float *g,
                              const float *ratio, const te_hyper *hyper);
void te_sgd_s32_stochastic_mve(const te_sgd_s32 *p, int32_t *b, const float *g, const float *ratio,
                               const te_hyper *hyper);
void te_sgd_s8_nearest_mve(const te_sgd_s8 *p, int32_t k0, int32_t k1, int8_t *w, const float *g,
                           const float *ratio, const te_hyper *hyper);
void te_sgd_s32_nearest_mve(const te_sgd_s32 *p, int32_t *b, const float *g, const float *ratio,
                            const te_hyper *hyper);
void te_sgd_s8_master16_mve(const te_sgd_s8 *p, int32_t k0, int32_t k1, int8_t *w,
                            int8_t *fraction, const float *g, const float *ratio,
                            const te_hyper *hyper);
void te_sgd_s8_s32_nearest_mve(const te_sgd_s8 *p, int32_t k0, int32_t k1, int8_t *w,
                               const int32_t *g, const float *ratio, const int32_t *e,
                               const te_hyper *hyper);
void te_sgd_s8_s32_master16_mve(const te_sgd_s8 *p, int32_t k0, int32_t k1, int8_t *w,
                                int8_t *fraction, const int32_t *g, const float *ratio,
                                const int32_t *e, const te_hyper *hyper);
void te_sgd_f32_mve(int32_t count, uint32_t every, float *w, const float *g, const float *ratio,
                    const te_hyper *hyper);
void te_sgd_s8_s32_stochastic_mve(const te_sgd_s8 *p, int32_t k0, int32_t k1, int8_t *w,
                                  const int32_t *g, const float *ratio, const int32_t *e,
                                  const te_hyper *hyper);
void te_sgd_s32_s32_stochastic_mve(const te_sgd_s32 *p, int32_t *b, const int32_t *g,
                                   const float *ratio, const int32_t *e, const te_hyper *hyper);

#endif
