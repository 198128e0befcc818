/* te_slide_s8_mve.c - see te_stream.h. Registers are loaded before any is stored. */
#include "te_kernels_mve.h"
#include "te_mve.h"

void te_slide_s8_mve(int32_t bytes, const int8_t *from, int8_t *to)
{
#if TE_HAS_MVE
    if (bytes >= 64) {
        __asm__ volatile("dls lr, %[n]\n"
                         "1:\n\tvldrb.8 q0, [%[from]], #16\n\tvldrb.8 q1, [%[from]], #16\n\t"
                         "vldrb.8 q2, [%[from]], #16\n\tvldrb.8 q3, [%[from]], #16\n\t"
                         "vstrb.8 q0, [%[to]], #16\n\tvstrb.8 q1, [%[to]], #16\n\t"
                         "vstrb.8 q2, [%[to]], #16\n\tvstrb.8 q3, [%[to]], #16\n\tle lr, 1b"
                         : [from] "+r"(from), [to] "+r"(to)
                         : [n] "r"(bytes / 64)
                         : "lr", "q0", "q1", "q2", "q3", "memory");
        bytes %= 64;
    }
    for (; bytes > 0; bytes -= 16, from += 16, to += 16) {
        const mve_pred16_t some = vctp8q((uint32_t)bytes);
        vstrbq_p_s8(to, vldrbq_z_s8(from, some), some);
    }
#else
    te_slide_s8(bytes, from, to);
#endif
}
