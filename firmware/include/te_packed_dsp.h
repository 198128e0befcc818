/* te_packed_dsp.h - several numbers to a word: instructions beside those of te_dsp.h, and rescaling
 * in four instructions.
 */
#ifndef TE_PACKED_DSP_H
#define TE_PACKED_DSP_H

#include "te_dsp.h"

#if defined(__ARM_FEATURE_DSP) && defined(__thumb2__)

TE_DSP_3(smlatt, "smlatt")
TE_DSP_2(smultb, "smultb")
TE_DSP_2(smultt, "smultt")
TE_DSP_2(qadd16, "qadd16")
TE_DSP_2(shadd16, "shadd16")

/* the larger of four bytes each, signed */
static inline uint32_t te_max_4(uint32_t a, uint32_t b)
{
    uint32_t d;
    __asm__("ssub8 %0, %1, %2\n\tsel %0, %1, %2" : "=&r"(d) : "r"(a), "r"(b) : "cc");
    return d;
}

static inline uint32_t te_min_4(uint32_t a, uint32_t b)
{
    uint32_t d;
    __asm__("ssub8 %0, %1, %2\n\tsel %0, %2, %1" : "=&r"(d) : "r"(a), "r"(b) : "cc");
    return d;
}

/* halves of `least` where those of x are negative, else of `most` */
static inline int32_t te_by_sign(int32_t x, int32_t most, int32_t least)
{
    int32_t d;
    __asm__("ssub16 %0, %1, %2\n\tsel %0, %3, %4"
            : "=&r"(d)
            : "r"(x), "r"(0), "r"(most), "r"(least)
            : "cc");
    return d;
}

static inline int32_t te_ssat16(int32_t x)
{
    int32_t d;
    __asm__("ssat %0, #16, %1" : "=r"(d) : "r"(x));
    return d;
}

#else

static inline int32_t te_smlatt(int32_t a, int32_t b, int32_t c)
{
    return te_high(a) * te_high(b) + c;
}

static inline int32_t te_smultb(int32_t a, int32_t b)
{
    return te_high(a) * te_low(b);
}

static inline int32_t te_smultt(int32_t a, int32_t b)
{
    return te_high(a) * te_high(b);
}

static inline int32_t te_ssat16(int32_t x)
{
    return te_clamp(x, INT16_MIN, INT16_MAX);
}

static inline int32_t te_qadd16(int32_t a, int32_t b)
{
    return te_halves(te_ssat16(te_low(a) + te_low(b)), te_ssat16(te_high(a) + te_high(b)));
}

static inline int32_t te_shadd16(int32_t a, int32_t b)
{
    return te_halves(te_shift_floor(te_low(a) + te_low(b), 1),
                     te_shift_floor(te_high(a) + te_high(b), 1));
}

static inline uint32_t te_max_4(uint32_t a, uint32_t b)
{
    uint32_t d = 0u;
    for (uint32_t i = 0u; i < 4u; i++) {
        const uint32_t from = te_byte(a, i) >= te_byte(b, i) ? a : b;
        d |= from & UINT32_C(255) << 8u * i;
    }
    return d;
}

static inline uint32_t te_min_4(uint32_t a, uint32_t b)
{
    return ~te_max_4(~a, ~b);
}

static inline int32_t te_by_sign(int32_t x, int32_t most, int32_t least)
{
    return te_halves(te_low(te_low(x) < 0 ? least : most), te_high(te_high(x) < 0 ? least : most));
}

#endif

/* two halves from any address */
static inline int32_t te_load_halves(const int16_t *from)
{
    int32_t word;
    memcpy(&word, from, sizeof word);
    return word;
}

static inline void te_store_word(void *to, int32_t word)
{
    memcpy(to, &word, sizeof word);
}

static inline uint32_t te_four_times(int32_t byte)
{
    return ((uint32_t)byte & 255u) * UINT32_C(0x1010101);
}

/* The low bytes of four numbers. */
static inline uint32_t te_four_bytes(int32_t a, int32_t b, int32_t c, int32_t d)
{
    return ((uint32_t)a & 255u) | ((uint32_t)b & 255u) << 8 | ((uint32_t)c & 255u) << 16 |
           (uint32_t)d << 24;
}

/* A factor below 1/2 as te_rescale wants it; shift 0: it cannot have it. */
typedef struct te_rescaling {
    int32_t multiplier; /* twice the factor's, less 2^32 */
    int32_t half, shift;
} te_rescaling;

/* For |x| <= 2^30, as te_rescale wants it. */
static inline te_rescaling te_rescaling_of(int32_t multiplier, int32_t shift)
{
    te_rescaling r = {0, 0, 0};
    if (shift < 0 && shift > -32 && multiplier >= 1 << 30) {
        r.multiplier = (int32_t)((uint32_t)multiplier << 1);
        r.half = 1 << (-shift - 1);
        r.shift = -shift;
    }
    return r;
}

/* te_requantise: round(x / 2^n) with ties away from 0 is floor((x + half - (x < 0)) / 2^n). */
static inline int32_t te_rescale(int32_t x, te_rescaling r)
{
    const int32_t scaled = te_smmlar(x, r.multiplier, x);
    return te_asr(scaled + te_shift_floor(x, 31) + r.half, r.shift);
}

#endif
