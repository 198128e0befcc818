/* te_mve_f32.h - float32 on Helium with the bits of scalar code.
 *
 * Helium's products and sums are rounded as scalar ones, but it takes and gives subnormal numbers
 * as 0. It tells in FPSCR that it did, and a kernel then computes everything again with its
 * portable twin. That costs time in a case that hardly occurs, never bits.
 */
#ifndef TE_MVE_F32_H
#define TE_MVE_F32_H

#include "te_mve.h"

#if defined(__ARM_FEATURE_MVE) && (__ARM_FEATURE_MVE & 2)
#define TE_HAS_MVE_F32 1
#else
#define TE_HAS_MVE_F32 0
#endif

#if TE_HAS_MVE_F32

/* FPSCR: input denormal, underflow, invalid operation (its NaN would be another) */
#define TE_FPSCR_INEXACT (UINT32_C(0x80) | UINT32_C(0x08) | UINT32_C(0x01))

static inline void te_exact_begin(void)
{
    __builtin_arm_set_fpscr(__builtin_arm_get_fpscr() & ~TE_FPSCR_INEXACT);
}

/* The compiler moves Helium's arithmetic past the flags. Where both are in one function, operands
 * are pinned behind te_exact_begin, and results before te_exact_end. */
#define TE_PIN(q) __asm__ volatile("" : "+w"(q))

/* True where nothing since te_exact_begin was subnormal. */
static inline int te_exact_end(void)
{
    return (__builtin_arm_get_fpscr() & TE_FPSCR_INEXACT) == 0u;
}

#endif
#endif
