/* te_mul_s8.c - see te_kernels_s8.h. */
#include "te_fixed.h"
#include "te_kernels_s8.h"

void te_mul_s8(const te_binary *p, const int8_t *a, const int8_t *b, int8_t *y)
{
    for (int32_t i = 0; i < p->count; i += p->b_count) {
        for (int32_t j = 0; j < p->b_count; j++) {
            const int32_t product = (a[i + j] - p->a_zero) * (b[j] - p->b_zero);
            y[i + j] = te_output(te_requantise(product, p->out.multiplier, p->out.shift),
                                 p->out_zero, p->lo, p->hi);
        }
    }
}
