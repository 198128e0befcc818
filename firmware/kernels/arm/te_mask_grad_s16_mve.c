/* te_mask_grad_s16_mve.c - see te_kernels_mve.h. Sixteen at a time; in place, what is masked is
 * all that is written.
 */
#include "te_kernels_mve.h"
#include "te_mve.h"

#if TE_HAS_MVE

#define TE_BITS                                                                       \
    "dls lr, %[n]\n1:\n\tldrh %[word], [%[bits]], #2\n\tvdup.16 q0, %[word]\n\t"      \
    "vand q1, q0, %q[low]\n\tvand q2, q0, %q[high]\n\t"
#define TE_KEPT(q)                                                                    \
    "vpt.i16 ne, " q ", zr\n\tvldrht.u16 q3, [%[d]], #16\n\t"                        \
    "vstrh.16 q3, [%[y]], #16\n\t"
#define TE_ZEROED(q) "vpt.i16 eq, " q ", zr\n\tvstrht.16 q3, [%[y]], #16\n\t"

#endif

void te_mask_grad_s16_mve(int32_t count, const int16_t *d, const uint8_t *bits, int16_t *y)
{
#if TE_HAS_MVE
    static const uint16_t places[16] = {0x1,    0x2,    0x4,    0x8,   0x10,  0x20,
                                        0x40,   0x80,   0x100,  0x200, 0x400, 0x800,
                                        0x1000, 0x2000, 0x4000, 0x8000};
    const uint16x8_t low = vldrhq_u16(places), high = vldrhq_u16(places + 8);
    const int32_t n = count / 16;
    uint32_t word;
    if (n > 0 && d == y) {
        __asm__ volatile("vmov.i32 q3, #0\n\t" TE_BITS TE_ZEROED("q1") TE_ZEROED("q2") "le lr, 1b"
                         : [y] "+r"(y), [bits] "+r"(bits), [word] "=&r"(word)
                         : [n] "r"(n), [low] "w"(low), [high] "w"(high)
                         : "lr", "q0", "q1", "q2", "q3", "memory");
        d = y;
    } else if (n > 0) {
        __asm__ volatile(TE_BITS TE_KEPT("q1") TE_KEPT("q2") "le lr, 1b"
                         : [d] "+r"(d), [y] "+r"(y), [bits] "+r"(bits), [word] "=&r"(word)
                         : [n] "r"(n), [low] "w"(low), [high] "w"(high)
                         : "lr", "q0", "q1", "q2", "q3", "memory");
    }
    te_mask_grad_s16(count % 16, d, bits, y);
#else
    te_mask_grad_s16(count, d, bits, y);
#endif
}
