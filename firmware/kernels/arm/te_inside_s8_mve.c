/* te_inside_s8_mve.c - see te_kernels_mve.h. A predicate has one bit per byte, as it is asked. */
#include "te_kernels_mve.h"
#include "te_mve.h"

void te_inside_s8_mve(int32_t count, int32_t lo, int32_t hi, const int8_t *y, uint8_t *bits)
{
#if TE_HAS_MVE
    const int8_t above = (int8_t)lo, below = (int8_t)hi; /* limits of int8 values */
    const int32_t whole = count / 16 * 16;
    for (int32_t i = 0; i < whole; i += 16) {
        const int8x16_t q = vldrbq_s8(y + i);
        const uint32_t inside = vcmpltq_m_n_s8(q, below, vcmpgtq_n_s8(q, above));
        bits[i / 8] = (uint8_t)inside;
        bits[i / 8 + 1] = (uint8_t)(inside >> 8);
    }
    te_inside_s8(count - whole, lo, hi, y + whole, bits + whole / 8);
#else
    te_inside_s8(count, lo, hi, y, bits);
#endif
}
