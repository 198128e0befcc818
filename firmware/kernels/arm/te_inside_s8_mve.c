/* te_inside_s8_mve.c - see te_kernels_mve.h. A predicate has one bit per byte, as it is asked. */
#include "te_kernels_mve.h"
#include "te_mve.h"

void te_inside_s8_mve(int32_t count, int32_t lo, int32_t hi, const int8_t *y, uint8_t *bits)
{
#if TE_HAS_MVE
    if (count >= 16) {
        uint32_t inside;
        __asm__ volatile("dls lr, %[n]\n"
                         "1:\n\tvldrb.8 q0, [%[y]], #16\n\t"
                         "vpt.s8 gt, q0, %[lo]\n\tvcmpt.s8 lt, q0, %[hi]\n\t"
                         "vmrs %[inside], p0\n\tstrh %[inside], [%[bits]], #2\n\tle lr, 1b"
                         : [y] "+r"(y), [bits] "+r"(bits), [inside] "=&r"(inside)
                         : [n] "r"(count / 16), [lo] "r"(lo), [hi] "r"(hi)
                         : "lr", "q0", "memory");
    }
    te_inside_s8(count % 16, lo, hi, y, bits);
#else
    te_inside_s8(count, lo, hi, y, bits);
#endif
}
