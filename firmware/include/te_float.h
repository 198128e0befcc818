/* te_float.h - float32 functions whose bits are the same on every target.
 *
 * Equals tinyengine/ops/fixed.py and sgd.py bit for bit: a written order of single operations,
 * compiled with -ffp-contract=off and never with -ffast-math. No library function is called.
 */
#ifndef TE_FLOAT_H
#define TE_FLOAT_H

#include <float.h>
#include <stdint.h>
#include <string.h>

#include "te_random.h"

#if defined(FLT_EVAL_METHOD) && FLT_EVAL_METHOD != 0 && FLT_EVAL_METHOD != 16
#error "float32 must be evaluated as float32 (on x86 use SSE: -mfpmath=sse)"
#endif

#define TE_TWO_23 8388608.0f /* from here on every float32 is an integer */

/* Nearest integer, ties to even. Adding 2^23 pushes the fraction out, by the unit's rounding. */
static inline float te_round_even(float x)
{
    if (x >= 0.0f) {
        return x < TE_TWO_23 ? (x + TE_TWO_23) - TE_TWO_23 : x;
    }
    return x > -TE_TWO_23 ? (x - TE_TWO_23) + TE_TWO_23 : x; /* also NaN */
}

/* Largest integer not above x. */
static inline float te_floor(float x)
{
    if (!(x > -TE_TWO_23 && x < TE_TWO_23)) {
        return x; /* also NaN and the infinities */
    }
    const float whole = (float)(int32_t)x;
    return whole > x ? whole - 1.0f : whole;
}

/* An integer-valued float as int32, saturated; NaN becomes 0. */
static inline int32_t te_to_i32(float x)
{
    if (x >= 2147483648.0f) {
        return INT32_MAX;
    }
    if (x <= -2147483648.0f) {
        return INT32_MIN;
    }
    return x == x ? (int32_t)x : 0;
}

static inline float te_float_of_bits(uint32_t bits)
{
    float x;
    memcpy(&x, &bits, sizeof x);
    return x;
}

static inline uint32_t te_bits_of_float(float x)
{
    uint32_t bits;
    memcpy(&bits, &x, sizeof bits);
    return bits;
}

/* exp(x), relative error 2e-7: 2^n * e^r with |r| <= ln 2 / 2, Taylor from 1/7! down. x is clipped
 * to [-87, 88]. */
static inline float te_exp_f32(float x)
{
    x = x < -87.0f ? -87.0f : (x > 88.0f ? 88.0f : x);
    const float n = te_round_even(x * 0x1.715476p+0f);       /* log2 e */
    const float r = (x - n * 0.693359375f) - n * -0x1.bd0106p-13f; /* ln 2 in two parts */
    float y = 0x1.a01a02p-13f;
    y = y * r + 0x1.6c16c2p-10f;
    y = y * r + 0x1.111112p-7f;
    y = y * r + 0x1.555556p-5f;
    y = y * r + 0x1.555556p-3f;
    y = y * r + 0.5f;
    y = y * r + 1.0f;
    y = y * r + 1.0f;
    return y * te_float_of_bits((uint32_t)(te_to_i32(n) + 127) << 23);
}

/* log(x) for normal x > 0: exponent * ln 2 + 2 artanh((m - 1) / (m + 1)), m in (0.7, 1.42]. */
static inline float te_log_f32(float x)
{
    const uint32_t bits = te_bits_of_float(x);
    int32_t exponent = (int32_t)(bits >> 23) - 127;
    float mantissa = te_float_of_bits((bits & UINT32_C(0x007FFFFF)) | UINT32_C(0x3F800000));
    if (mantissa > 0x1.6a09e6p+0f) {
        mantissa = mantissa * 0.5f;
        exponent += 1;
    }
    const float s = (mantissa - 1.0f) / (mantissa + 1.0f);
    const float z = s * s;
    float y = 0x1.c71c72p-4f; /* 1/9 */
    y = y * z + 0x1.24924ap-3f;
    y = y * z + 0x1.99999ap-3f;
    y = y * z + 0x1.555556p-2f;
    y = y * z + 1.0f;
    return (float)exponent * 0x1.62e43p-1f + (s + s) * y;
}

/* The random stream of tensor `key` at one step. */
static inline uint32_t te_stream(uint32_t key, uint32_t seed, uint32_t step)
{
    return te_mix32(te_mix32(seed + key) ^ step);
}

/* float32 in [0, 1): number `index` of a stream, whatever the order of work. */
static inline float te_uniform(uint32_t stream, uint32_t index)
{
    return (float)(te_mix32(index + stream) >> 8) * 0x1p-24f;
}

#endif
