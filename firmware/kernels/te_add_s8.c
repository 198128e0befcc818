/* te_add_s8.c - see te_kernels_s8.h. */
#include "te_fixed.h"
#include "te_kernels_s8.h"

enum { TE_LEFT_SHIFT = 20 }; /* headroom before both operands are brought to one scale */

static inline int32_t te_scaled(int32_t x, int32_t zero, te_factor factor)
{
    return te_requantise((x - zero) * (1 << TE_LEFT_SHIFT), factor.multiplier, factor.shift);
}

void te_add_s8(const te_binary *p, const int8_t *a, const int8_t *b, int8_t *y)
{
    for (int32_t i = 0; i < p->count; i += p->b_count) {
        for (int32_t j = 0; j < p->b_count; j++) {
            const int32_t sum =
                te_scaled(a[i + j], p->a_zero, p->a) + te_scaled(b[j], p->b_zero, p->b);
            y[i + j] = te_output(te_requantise(sum, p->out.multiplier, p->out.shift), p->out_zero,
                                 p->lo, p->hi);
        }
    }
}
