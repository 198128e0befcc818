/* te_dsp.h - the instructions of the Armv7E-M DSP extension that kernels use, by their own names.
 *
 * Without the extension each is plain C of the same meaning: a folder that was generated for a
 * board with DSP builds anywhere and gives the same bits.
 */
#ifndef TE_DSP_H
#define TE_DSP_H

#include <stdint.h>
#include <string.h>

#include "te_fixed.h"

/* A word from any address. */
static inline uint32_t te_load(const int8_t *from)
{
    uint32_t word;
    memcpy(&word, from, sizeof word);
    return word;
}

#if defined(__ARM_FEATURE_DSP) && defined(__thumb2__)

#define TE_DSP_2(name, text)                                        \
    static inline int32_t te_##name(int32_t a, int32_t b)           \
    {                                                               \
        int32_t d;                                                  \
        __asm__(text " %0, %1, %2" : "=r"(d) : "r"(a), "r"(b));     \
        return d;                                                   \
    }
#define TE_DSP_3(name, text)                                                   \
    static inline int32_t te_##name(int32_t a, int32_t b, int32_t c)           \
    {                                                                          \
        int32_t d;                                                             \
        __asm__(text " %0, %1, %2, %3" : "=r"(d) : "r"(a), "r"(b), "r"(c));    \
        return d;                                                              \
    }
TE_DSP_3(smlad, "smlad")
TE_DSP_3(smlabb, "smlabb")
TE_DSP_3(smlabt, "smlabt")
TE_DSP_3(smlatb, "smlatb")
TE_DSP_3(smmlar, "smmlar")
TE_DSP_2(smulbb, "smulbb")
TE_DSP_2(smulbt, "smulbt")
TE_DSP_2(qadd, "qadd")
TE_DSP_2(qdadd, "qdadd")
TE_DSP_2(asr, "asr")

/* halves of a + the bytes 0 and 2 of word */
static inline int32_t te_sxtab16(int32_t a, uint32_t word)
{
    int32_t d;
    __asm__("sxtab16 %0, %1, %2" : "=r"(d) : "r"(a), "r"(word));
    return d;
}

/* halves of a + the bytes 1 and 3 of word */
static inline int32_t te_sxtab16_odd(int32_t a, uint32_t word)
{
    int32_t d;
    __asm__("sxtab16 %0, %1, %2, ror #8" : "=r"(d) : "r"(a), "r"(word));
    return d;
}

/* bytes 0 and 2 of word as halves */
static inline int32_t te_sxtb16(uint32_t word)
{
    int32_t d;
    __asm__("sxtb16 %0, %1" : "=r"(d) : "r"(word));
    return d;
}

/* bytes 1 and 3 of word as halves */
static inline int32_t te_sxtb16_odd(uint32_t word)
{
    int32_t d;
    __asm__("sxtb16 %0, %1, ror #8" : "=r"(d) : "r"(word));
    return d;
}

/* (low half of a, low half of b) */
static inline int32_t te_low_halves(int32_t a, int32_t b)
{
    int32_t d;
    __asm__("pkhbt %0, %1, %2, lsl #16" : "=r"(d) : "r"(a), "r"(b));
    return d;
}

/* (high half of a, high half of b) */
static inline int32_t te_high_halves(int32_t a, int32_t b)
{
    int32_t d;
    __asm__("pkhtb %0, %1, %2, asr #16" : "=r"(d) : "r"(b), "r"(a));
    return d;
}

static inline int32_t te_ssat8(int32_t x)
{
    int32_t d;
    __asm__("ssat %0, #8, %1" : "=r"(d) : "r"(x));
    return d;
}

#else

static inline int32_t te_low(int32_t x)
{
    return (int16_t)(uint16_t)((uint32_t)x & 0xFFFFu);
}

static inline int32_t te_high(int32_t x)
{
    return te_shift_floor(x, 16);
}

/* two halves as one word */
static inline int32_t te_halves(int32_t low, int32_t high)
{
    return (int32_t)(((uint32_t)low & 0xFFFFu) | (uint32_t)high << 16);
}

static inline int32_t te_smlad(int32_t a, int32_t b, int32_t c)
{
    return te_low(a) * te_low(b) + te_high(a) * te_high(b) + c;
}

static inline int32_t te_smlabb(int32_t a, int32_t b, int32_t c)
{
    return te_low(a) * te_low(b) + c;
}

static inline int32_t te_smlabt(int32_t a, int32_t b, int32_t c)
{
    return te_low(a) * te_high(b) + c;
}

static inline int32_t te_smlatb(int32_t a, int32_t b, int32_t c)
{
    return te_high(a) * te_low(b) + c;
}

static inline int32_t te_smulbb(int32_t a, int32_t b)
{
    return te_low(a) * te_low(b);
}

static inline int32_t te_smulbt(int32_t a, int32_t b)
{
    return te_low(a) * te_high(b);
}

/* c + round(a * b / 2^32), ties upwards */
static inline int32_t te_smmlar(int32_t a, int32_t b, int32_t c)
{
    const int64_t product = (int64_t)a * b + (INT64_C(1) << 31);
    return (int32_t)((uint32_t)c + (uint32_t)(product >> 32));
}

static inline int32_t te_qadd(int32_t a, int32_t b)
{
    return te_add_sat(a, b);
}

/* a + 2 b, both steps saturating */
static inline int32_t te_qdadd(int32_t a, int32_t b)
{
    return te_add_sat(a, te_add_sat(b, b));
}

/* The exponent's low byte counts; 32 and more leave the sign. */
static inline int32_t te_asr(int32_t x, int32_t exponent)
{
    const uint32_t count = (uint32_t)exponent & 255u;
    return te_shift_floor(x, count > 31u ? 31 : (int32_t)count);
}

static inline int32_t te_byte(uint32_t word, uint32_t index)
{
    return (int8_t)(uint8_t)(word >> 8u * index & 255u);
}

static inline int32_t te_sxtab16(int32_t a, uint32_t word)
{
    return te_halves(te_low(a) + te_byte(word, 0u), te_high(a) + te_byte(word, 2u));
}

static inline int32_t te_sxtab16_odd(int32_t a, uint32_t word)
{
    return te_halves(te_low(a) + te_byte(word, 1u), te_high(a) + te_byte(word, 3u));
}

static inline int32_t te_sxtb16(uint32_t word)
{
    return te_sxtab16(0, word);
}

static inline int32_t te_sxtb16_odd(uint32_t word)
{
    return te_sxtab16_odd(0, word);
}

static inline int32_t te_low_halves(int32_t a, int32_t b)
{
    return te_halves(te_low(a), te_low(b));
}

static inline int32_t te_high_halves(int32_t a, int32_t b)
{
    return te_halves(te_high(a), te_high(b));
}

static inline int32_t te_ssat8(int32_t x)
{
    return te_clamp(x, INT8_MIN, INT8_MAX);
}

#endif

/* A constant in both halves of a word. */
static inline int32_t te_twice(int32_t x)
{
    return (int32_t)(((uint32_t)x & 0xFFFFu) * 0x10001u);
}

/* Channel factors for te_scale: three words a channel, made by codegen/scales.py. */
typedef struct te_scaling {
    int32_t multiplier;
    int32_t exponent; /* 1..18 */
    int32_t addend;   /* (2 * zero point + 1) * 2^(exponent - 1) */
} te_scaling;

/* clamp(requantise(saturate(sum + bias)) + zero point, -128, 127) in six instructions, twice the
 * bias saturated. codegen/scales.py: why this has the reference's bits for every bias and
 * every |sum| < 2^28. */
static inline int32_t te_scale(int32_t sum, int32_t bias_twice, te_scaling f)
{
    const int32_t twice = te_qdadd(bias_twice, sum);
    const int32_t scaled = te_smmlar(twice, f.multiplier, f.addend) + te_shift_floor(twice, 31);
    return te_ssat8(te_asr(scaled, f.exponent));
}

/* The same for any multiplier and shift, and without conditions. */
static inline int32_t te_scale_exact(int32_t sum, int32_t bias, int32_t multiplier, int32_t shift,
                                     int32_t zero)
{
    return te_output(te_requantise(te_add_sat(sum, bias), multiplier, shift), zero, INT8_MIN,
                     INT8_MAX);
}

#endif
