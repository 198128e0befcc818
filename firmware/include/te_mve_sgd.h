/* te_mve_sgd.h - four stochastic steps of an update at once on Helium; see te_sgd_exact.h.
 *
 * floor((product + random) / 2^right), random in 0 .. 2^right, has `product` shifted by right - 32
 * first: then the random bits are a word, and the step is the upper word of their sum.
 */
#ifndef TE_MVE_SGD_H
#define TE_MVE_SGD_H

#include "te_mve.h"
#include "te_sgd_exact.h"

#if TE_HAS_MVE

enum {
    TE_WORD_BITS = 32,
    TE_SHIFT_MOST = 64 /* of a product of 55 bits: only its sign is left */
};

TE_INLINE uint32x4_t te_mix32_4(uint32x4_t x)
{
    x = veorq_u32(x, vshrq_n_u32(x, 16));
    x = vmulq_n_u32(x, UINT32_C(0x7feb352d));
    x = veorq_u32(x, vshrq_n_u32(x, 15));
    x = vmulq_n_u32(x, UINT32_C(0x846ca68b));
    return veorq_u32(x, vshrq_n_u32(x, 16));
}

/* upper word of lower + bits, where `upper` is that of `lower` */
TE_INLINE int32x4_t te_carried(int32x4_t upper, uint32x4_t lower, uint32x4_t bits)
{
    const mve_pred16_t carry = vcmphiq_u32(bits, vaddq_u32(lower, bits));
    return vaddq_m_n_s32(upper, upper, 1, carry);
}

/* One row's rate for te_nearest_4: 2^-(over + 32) * mantissa; over is not 0. */
typedef struct te_row_rate {
    uint32_t mantissa;
    int32_t over;
    int is_negative;
} te_row_rate;

/* 0 where a step is not what the upper word of its product says. */
TE_INLINE int te_row_rate_of(te_rate rate, te_row_rate *to)
{
    to->is_negative = rate.mantissa < 0;
    to->mantissa = (uint32_t)(to->is_negative ? -rate.mantissa : rate.mantissa);
    to->over = te_min(rate.right - TE_WORD_BITS, 31); /* of 23 bits nothing is left */
    return rate.right > TE_WORD_BITS;
}

/* round(-g * rate), ties away from zero: half of a step is in the upper word of the product. */
TE_INLINE int32x4_t te_nearest_4(int32x4_t g, const te_row_rate *rate)
{
    const uint32x4_t size = vreinterpretq_u32_s32(vabsq_s32(g));
    const uint32x4_t high = vmulhq_u32(size, vdupq_n_u32(rate->mantissa));
    const int32x4_t step = vreinterpretq_s32_u32(vrshlq_n_u32(high, -rate->over));
    const mve_pred16_t down = rate->is_negative ? vcmpltq_n_s32(g, 0) : vcmpgtq_n_s32(g, 0);
    return vnegq_m_s32(step, step, down);
}

/* Moves the 16-bit values w * 256 + fraction; see te_sgd_s8_master16.c. */
TE_INLINE void te_move_4(int8_t *w, int8_t *fraction, int32x4_t step, mve_pred16_t some)
{
    const mve_pred16_t moved = vcmpneq_m_n_s32(step, 0, some);
    const int32x4_t old = vshlq_n_s32(vldrbq_z_s32(w, moved), 8);
    int32x4_t value = vqaddq_s32(vaddq_s32(old, vldrbq_z_s32(fraction, moved)), step);
    value = vminq_s32(vmaxq_s32(value, vdupq_n_s32(-32640)), vdupq_n_s32(32639));
    const int32x4_t whole = vshrq_n_s32(vaddq_n_s32(value, 128), 8);
    vstrbq_p_s32(w, whole, moved);
    vstrbq_p_s32(fraction, vsubq_s32(value, vshlq_n_s32(whole, 8)), moved);
}

#endif
#endif
