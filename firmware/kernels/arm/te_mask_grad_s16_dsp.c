/* te_mask_grad_s16_dsp.c - see te_kernels_dsp.h.
 *
 * Four bits select two words of mask from a table. 32 elements at a time; y may be d.
 */
#include "te_kernels_dsp.h"

#if defined(__ARM_FEATURE_DSP) && defined(__thumb2__)

/* Elements a, b (two each), whose bits begin at bit `at` of r8. %4 = masks */
#define TE_MASK(at, a, b)               \
    "ubfx r9, r8, #" #at ", #4\n\t"     \
    "add r9, %4, r9, lsl #3\n\t"        \
    "ldrd r9, r12, [r9]\n\t"            \
    "and " a ", " a ", r9\n\t"          \
    "and " b ", " b ", r12\n\t"

#define TE_MASK_8(at, next)                     \
    "ldmia.w %1!, {r3, r4, r5, r6}\n\t"         \
    TE_MASK(at, "r3", "r4")                     \
    TE_MASK(next, "r5", "r6")                   \
    "stmia.w %2!, {r3, r4, r5, r6}\n\t"

static inline void te_mask_32(int32_t blocks, const int16_t *d, const uint8_t *bits, int16_t *y)
{
    static const uint32_t masks[16][2] = {
        {0u, 0u},           {0xFFFFu, 0u},
        {0xFFFF0000u, 0u},  {0xFFFFFFFFu, 0u},
        {0u, 0xFFFFu},      {0xFFFFu, 0xFFFFu},
        {0xFFFF0000u, 0xFFFFu},      {0xFFFFFFFFu, 0xFFFFu},
        {0u, 0xFFFF0000u},           {0xFFFFu, 0xFFFF0000u},
        {0xFFFF0000u, 0xFFFF0000u},  {0xFFFFFFFFu, 0xFFFF0000u},
        {0u, 0xFFFFFFFFu},           {0xFFFFu, 0xFFFFFFFFu},
        {0xFFFF0000u, 0xFFFFFFFFu},  {0xFFFFFFFFu, 0xFFFFFFFFu},
    };
    __asm__ volatile("1:\n\t"
                     "ldr r8, [%3], #4\n\t"
                     TE_MASK_8(0, 4) TE_MASK_8(8, 12) TE_MASK_8(16, 20) TE_MASK_8(24, 28)
                     "subs %0, %0, #1\n\t"
                     "bne 1b\n\t"
                     : "+r"(blocks), "+r"(d), "+r"(y), "+r"(bits)
                     : "r"(masks)
                     : "r3", "r4", "r5", "r6", "r8", "r9", "r12", "cc", "memory");
}

void te_mask_grad_s16_dsp(int32_t count, const int16_t *d, const uint8_t *bits, int16_t *y)
{
    const int aligned = ((uintptr_t)d | (uintptr_t)y) % 4u == 0u;
    const int32_t blocks = aligned ? count / 32 : 0, whole = 32 * blocks;
    if (blocks > 0) {
        te_mask_32(blocks, d, bits, y);
    }
    te_mask_grad_s16(count - whole, d + whole, bits + 4 * blocks, y + whole);
}

#else

void te_mask_grad_s16_dsp(int32_t count, const int16_t *d, const uint8_t *bits, int16_t *y)
{
    te_mask_grad_s16(count, d, bits, y);
}

#endif
