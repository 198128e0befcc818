/* te_mve.h - what the Helium kernels share: four sums become four int8 values.
 *
 * TE_HAS_MVE: integer Helium is there; without it a Helium kernel is its portable twin.
 */
#ifndef TE_MVE_H
#define TE_MVE_H

#include "te_kernels_s8.h"

#if defined(__ARM_FEATURE_MVE)
#define TE_HAS_MVE 1
#else
#define TE_HAS_MVE 0
#endif

#if TE_HAS_MVE

#include <arm_mve.h>

#define TE_INLINE static inline __attribute__((always_inline))
#define TE_NOINLINE __attribute__((noinline))

/* One output channel. offset: what the products' sum lacks because x was not centred. left, right:
 * the two directions of the shift, at most one is not 0; right is not positive. */
typedef struct te_scale {
    int32_t offset, bias, multiplier, left, right;
} te_scale;

/* Where four outputs go and what bounds them. */
typedef struct te_target {
    uint32x4_t steps; /* offsets of the four in y */
    int32x4_t lo, hi;
    int32_t zero;
} te_target;

TE_INLINE te_scale te_scale_of(const int32_t *bias, const int32_t *multiplier, const int32_t *shift,
                               int32_t k)
{
    const int32_t s = shift[k];
    const te_scale scale = {0, bias[k], multiplier[k], s > 0 ? s : 0, s > 0 ? 0 : s};
    return scale;
}

TE_INLINE te_target te_target_of(const te_conv2d *p, int32_t step)
{
    const te_target target = {vmulq_n_u32(vidupq_n_u32(0u, 1), (uint32_t)step),
                              vdupq_n_s32(p->lo), vdupq_n_s32(p->hi), p->out_zero};
    return target;
}

/* round(x / 2^-right), ties away from zero: one less where x is negative, then ties upwards. */
TE_INLINE int32x4_t te_shifted_4(int32x4_t x, int32_t right)
{
    const int32x4_t sign = vshrq_n_s32(vandq_s32(x, vdupq_n_s32(right)), 31);
    return vrshlq_n_s32(vqaddq_s32(x, sign), right);
}

/* The same, right not positive: 2 * x * 1 >> 32 is -1 where x is negative. */
TE_INLINE int32x4_t te_rounded_4(int32x4_t x, int32_t right)
{
    return vrshlq_n_s32(vqdmlahq_n_s32(x, x, right < 0 ? 1 : 0), right);
}

/* The int8 values of four sums, in 32 bits. */
TE_INLINE int32x4_t te_scaled_4(int32x4_t sum, const te_scale *scale, const te_target *target)
{
    sum = vqaddq_n_s32(vaddq_n_s32(sum, scale->offset), scale->bias);
    sum = vqrdmulhq_n_s32(vqshlq_r_s32(sum, scale->left), scale->multiplier);
    sum = vqaddq_n_s32(te_shifted_4(sum, scale->right), target->zero);
    return vminq_s32(vmaxq_s32(sum, target->lo), target->hi);
}

TE_INLINE int32x4_t te_four(int32_t a, int32_t b, int32_t c, int32_t d)
{
    int32x4_t v = vdupq_n_s32(a);
    v = vsetq_lane_s32(b, v, 1);
    v = vsetq_lane_s32(c, v, 2);
    return vsetq_lane_s32(d, v, 3);
}

/* to[i] = value */
TE_INLINE void te_fill(int8_t *to, int32_t value, int32_t n)
{
    for (; n > 0; n -= 16, to += 16) {
        vstrbq_p_s8(to, vdupq_n_s8((int8_t)value), vctp8q((uint32_t)n));
    }
}

#endif
#endif
