/* te_kernels_update.h - stochastic gradient descent on the real values, written in integers.
 *
 * Each element moves by delta = gradient * (ratio * lr), both products rounded to float32. All
 * work in place. On steps with step % every != every - 1 nothing moves.
 */
#ifndef TE_KERNELS_UPDATE_H
#define TE_KERNELS_UPDATE_H

#include <stdint.h>

#include "te_model.h"

/* An int8 weight seen as (rows, taps, channels). numbers (channels) and channels_total: where w
 * holds only some channels, their indices in the whole tensor, so that a pruned update draws the
 * same random numbers; else NULL and `channels`. learns (channels): 0 where a channel stays, or
 * NULL. ratio_by_channel: ratio has one entry per channel, else one per row. */
typedef struct te_sgd_s8 {
    int32_t taps, channels, channels_total;
    int32_t ratio_by_channel;
    const uint16_t *numbers;
    const uint8_t *learns;
    uint32_t key, every;
} te_sgd_s8;

/* Rows k0 <= k < k1 of w, saturated to [-127, 127]; g and ratio as described, g holds just those
 * rows, w and ratio are whole. A weight whose step rounds to 0 is not touched. */
void te_sgd_s8_nearest(const te_sgd_s8 *p, int32_t k0, int32_t k1, int8_t *w, const float *g,
                       const float *ratio, const te_hyper *hyper);
void te_sgd_s8_stochastic(const te_sgd_s8 *p, int32_t k0, int32_t k1, int8_t *w, const float *g,
                          const float *ratio, const te_hyper *hyper);
/* fraction: like w, in 1/256 of its steps */
void te_sgd_s8_master16(const te_sgd_s8 *p, int32_t k0, int32_t k1, int8_t *w, int8_t *fraction,
                        const float *g, const float *ratio, const te_hyper *hyper);

typedef struct te_sgd_s32 {
    int32_t count;
    uint32_t key, every;
} te_sgd_s32;

/* An int32 bias, saturating; ratio (count). */
void te_sgd_s32_nearest(const te_sgd_s32 *p, int32_t *b, const float *g, const float *ratio,
                        const te_hyper *hyper);
void te_sgd_s32_stochastic(const te_sgd_s32 *p, int32_t *b, const float *g, const float *ratio,
                           const te_hyper *hyper);

/* A float32 tensor, within +-65536; ratio (1). A step that is not a number is not taken. */
void te_sgd_f32(int32_t count, uint32_t every, float *w, const float *g, const float *ratio,
                const te_hyper *hyper);

/* The same from int32 gradients with exponent e (real = g * 2^e): the step is the exact product
 * -g * (ratio * lr) * 2^e, rounded half away from zero, or stochastically. */
void te_sgd_s8_s32_nearest(const te_sgd_s8 *p, int32_t k0, int32_t k1, int8_t *w, const int32_t *g,
                           const float *ratio, const int32_t *e, const te_hyper *hyper);
void te_sgd_s8_s32_stochastic(const te_sgd_s8 *p, int32_t k0, int32_t k1, int8_t *w,
                              const int32_t *g, const float *ratio, const int32_t *e,
                              const te_hyper *hyper);
void te_sgd_s8_s32_master16(const te_sgd_s8 *p, int32_t k0, int32_t k1, int8_t *w,
                            int8_t *fraction, const int32_t *g, const float *ratio,
                            const int32_t *e, const te_hyper *hyper);
void te_sgd_s32_s32_nearest(const te_sgd_s32 *p, int32_t *b, const int32_t *g, const float *ratio,
                            const int32_t *e, const te_hyper *hyper);
void te_sgd_s32_s32_stochastic(const te_sgd_s32 *p, int32_t *b, const int32_t *g,
                               const float *ratio, const int32_t *e, const te_hyper *hyper);

/* sum = g on the first of `every` steps, else sum + g. */
void te_accumulate_f32(int32_t count, uint32_t every, float *sum, const float *g,
                       const te_hyper *hyper);
/* The same; g is int32 with exponent e and is added as (float)g * 2^e. */
void te_accumulate_s32(int32_t count, uint32_t every, float *sum, const int32_t *g,
                       const int32_t *e, const te_hyper *hyper);

#endif
