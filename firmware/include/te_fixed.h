/* te_fixed.h - rounding, saturation and requantisation of integers.
 *
 * Equals tinyengine/ops/fixed.py bit for bit. Sources: the TFLite 8-bit quantisation
 * specification; gemmlowp's fixed-point conventions (double rounding). This is the only place
 * that shifts negative numbers; gcc and clang define that as an arithmetic shift.
 */
#ifndef TE_FIXED_H
#define TE_FIXED_H

#include <stdint.h>

/* floor(x / 2^exponent), exponent in 0..31 */
static inline int32_t te_shift_floor(int32_t x, int32_t exponent)
{
    return x >> exponent;
}

/* The same for 64 bits; exponent in 0..63. */
static inline int64_t te_shift_floor_64(int64_t x, int32_t exponent)
{
    return x >> exponent;
}

static inline int32_t te_clamp(int32_t x, int32_t lo, int32_t hi)
{
    return x < lo ? lo : (x > hi ? hi : x);
}

static inline int32_t te_saturate(int64_t x)
{
    return x < INT32_MIN ? INT32_MIN : (x > INT32_MAX ? INT32_MAX : (int32_t)x);
}

/* Two's complement sum; it has overflowed where its sign differs from that of both operands. */
static inline int32_t te_add_sat(int32_t a, int32_t b)
{
    const int32_t sum = (int32_t)((uint32_t)a + (uint32_t)b);
    if (((a ^ sum) & (b ^ sum)) < 0) {
        return a < 0 ? INT32_MIN : INT32_MAX;
    }
    return sum;
}

/* round(a * b / 2^31). The reference adds +-2^30 by the product's sign and divides towards zero;
 * that is the same as adding 2^30 and flooring. Only INT32_MIN * INT32_MIN saturates. */
static inline int32_t te_high_mul(int32_t a, int32_t b)
{
    const int64_t product = (int64_t)a * b;
    return te_saturate((product + (INT64_C(1) << 30)) >> 31);
}

/* round(x / 2^exponent), ties away from zero; exponent in 0..31 */
static inline int32_t te_rounding_shift(int32_t x, int32_t exponent)
{
    const int32_t mask = (int32_t)((UINT32_C(1) << exponent) - 1u);
    const int32_t threshold = (mask >> 1) + (x < 0 ? 1 : 0);
    return (x >> exponent) + ((x & mask) > threshold ? 1 : 0);
}

/* The same for 64 bits; exponent in 0..62. */
static inline int64_t te_rounding_shift_64(int64_t x, int32_t exponent)
{
    const int64_t mask = (INT64_C(1) << exponent) - 1;
    const int64_t threshold = (mask >> 1) + (x < 0 ? 1 : 0);
    return (x >> exponent) + ((x & mask) > threshold ? 1 : 0);
}

/* te_requantise for factors of 2 and more, which are rare. Out of line: inlined, it makes the
 * compiler carry 64 bits through the common path too. */
__attribute__((noinline, unused)) static int32_t te_requantise_left(int32_t x, int32_t multiplier,
                                                                    int32_t shift)
{
    return te_high_mul(te_saturate((int64_t)x * (INT64_C(1) << shift)), multiplier);
}

/* x * multiplier * 2^(shift - 31) with the reference double rounding; shift in -31..30, multiplier
 * not negative. The left shift saturates. */
static inline int32_t te_requantise(int32_t x, int32_t multiplier, int32_t shift)
{
    if (shift > 0) {
        return te_requantise_left(x, multiplier, shift);
    }
    const int64_t product = (int64_t)x * multiplier;
    return te_rounding_shift((int32_t)((product + (INT64_C(1) << 30)) >> 31), -shift);
}

/* clamp(x + zero, lo, hi) for any x: the sum itself could leave 32 bits. lo, hi fit int8. */
static inline int8_t te_output(int32_t x, int32_t zero, int32_t lo, int32_t hi)
{
    return (int8_t)(te_clamp(x, lo - zero, hi - zero) + zero);
}

#endif
