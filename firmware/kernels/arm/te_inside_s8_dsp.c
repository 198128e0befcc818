/* te_inside_s8_dsp.c - see te_kernels_dsp.h.
 *
 * lo < q < hi is q - (lo + 1) < hi - (lo + 1) for unsigned bytes: a subtraction whose borrows
 * select the bit of each byte, and a sum of the bytes. Sixteen elements at a time.
 */
#include "te_kernels_dsp.h"

#if defined(__ARM_FEATURE_DSP) && defined(__thumb2__)

/* q becomes its bits, `add` sums them up. */
#define TE_INSIDE(q, which, add)                  \
    "usub8 " q ", " q ", %[limits]\n\t"           \
    "usub8 r5, " q ", %[widths]\n\t"              \
    "sel " q ", %[zero], %[" which "]\n\t" add

#define TE_INSIDE_8                                                  \
    "ldrd r3, r4, [%[y]], #8\n\t"                                    \
    TE_INSIDE("r3", "low", "usad8 r3, r3, %[zero]\n\t")              \
    TE_INSIDE("r4", "high", "usada8 r3, r4, %[zero], r3\n\t")        \
    "strb r3, [%[bits]], #1\n\t"

static inline void te_inside_16(int32_t blocks, uint32_t limits, uint32_t widths, const int8_t *y,
                                uint8_t *bits)
{
    __asm__ volatile("1:\n\t"
                     TE_INSIDE_8 TE_INSIDE_8
                     "subs %[n], %[n], #1\n\t"
                     "bne 1b\n\t"
                     : [n] "+r"(blocks), [y] "+r"(y), [bits] "+r"(bits)
                     : [limits] "r"(limits), [widths] "r"(widths), [zero] "r"(0u),
                       [low] "r"(0x08040201u), [high] "r"(0x80402010u)
                     : "r3", "r4", "r5", "cc", "memory");
}

void te_inside_s8_dsp(int32_t count, int32_t lo, int32_t hi, const int8_t *y, uint8_t *bits)
{
    const int32_t blocks = (uintptr_t)y % 4u == 0u ? count / 16 : 0;
    const uint32_t width = hi > lo ? (uint32_t)(hi - lo - 1) : 0u;
    if (blocks > 0) {
        te_inside_16(blocks, ((uint32_t)(lo + 1) & 255u) * 0x1010101u, width * 0x1010101u, y, bits);
    }
    te_inside_s8(count - 16 * blocks, lo, hi, y + 16 * blocks, bits + 2 * blocks);
}

#else

void te_inside_s8_dsp(int32_t count, int32_t lo, int32_t hi, const int8_t *y, uint8_t *bits)
{
    te_inside_s8(count, lo, hi, y, bits);
}

#endif
