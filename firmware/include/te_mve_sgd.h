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

#endif
#endif
