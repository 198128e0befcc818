/* te_grad.h - what the integer gradient kernels share; TE_GRAD_BITS is 16 or 8.
 *
 * Equals tinyengine/ops/exponent.py bit for bit.
 */
#ifndef TE_GRAD_H
#define TE_GRAD_H

#include "te_fixed.h"
#include "te_kernels_grad.h"

#if TE_GRAD_BITS == 16
typedef int16_t te_grad;
enum { TE_GRAD_LIMIT = 32767, TE_GRAD_TARGET = 14 };
#else
typedef int8_t te_grad;
enum { TE_GRAD_LIMIT = 127, TE_GRAD_TARGET = 7 };
#endif

enum { TE_EXPONENT_LOWEST = -100, TE_EXPONENT_HIGHEST = 30, TE_EXPONENT_STATE_BITS = 4 };

/* An output in the making: its exponent, and the OR of all magnitudes before saturation, whose bit
 * length is that of the largest. */
typedef struct te_output_grad {
    int32_t exponent;
    uint32_t peak;
} te_output_grad;

static inline te_output_grad te_grad_begin(const int32_t *state, int32_t *e)
{
    const te_output_grad out = {te_shift_floor(*state, TE_EXPONENT_STATE_BITS), 0u};
    *e = out.exponent;
    return out;
}

static inline te_grad te_grad_put(te_output_grad *out, int32_t q)
{
    out->peak |= (uint32_t)(q ^ te_shift_floor(q, 31));
    return (te_grad)te_clamp(q, -TE_GRAD_LIMIT, TE_GRAD_LIMIT);
}

/* The exponent of the next step: up at once, down by a sixteenth. */
static inline void te_grad_end(const te_output_grad *out, int32_t *state)
{
    int32_t wanted = out->exponent - TE_GRAD_TARGET;
    if (out->peak == 0u) {
        return;
    }
    for (uint32_t peak = out->peak; peak != 0u; peak >>= 1) {
        wanted++;
    }
    wanted = te_clamp(wanted, TE_EXPONENT_LOWEST, TE_EXPONENT_HIGHEST);
    *state = wanted >= out->exponent ? wanted * 16 + 15 : *state - 1;
}

/* The shift of a factor with the exponents joined in. */
static inline int32_t te_grad_shift(int32_t shift, const int32_t *e_d, const te_output_grad *out)
{
    return te_clamp(shift + *e_d - out->exponent, -31, 30);
}

/* How far a gradient is shifted to be in units of the output's exponent. */
static inline int32_t te_grad_align(const int32_t *e_d, const te_output_grad *out)
{
    return te_clamp(*e_d - out->exponent, -31, 31);
}

/* x * 2^n, n in -31..31, rounded half away from zero or saturated. */
static inline int32_t te_grad_shifted(int32_t x, int32_t n)
{
    return n < 0 ? te_rounding_shift(x, -n) : te_saturate((int64_t)x * (INT64_C(1) << n));
}

/* How a gradient comes to units of another exponent that is not lower. */
typedef struct te_grad_right {
    int32_t sign, half, by; /* sign: -1, or 0 where nothing is shifted */
} te_grad_right;

static inline te_grad_right te_grad_right_of(int32_t shift)
{
    const te_grad_right none = {0, 0, 0}, right = {-1, shift < 0 ? 1 << (-shift - 1) : 0, -shift};
    return shift < 0 ? right : none;
}

/* te_rounding_shift of 16 bits */
static inline int32_t te_grad_move(int32_t x, te_grad_right r)
{
    return te_shift_floor(x + (te_shift_floor(x, 31) & r.sign) + r.half, r.by);
}

#endif
