/* te_mean_s8.c - see te_kernels_s8.h. */
#include "te_fixed.h"
#include "te_kernels_s8.h"

enum { TE_BLOCK = 16 };

static void te_mean_block(const te_mean *p, const int8_t *x, int32_t n, int8_t *y)
{
    int32_t acc[TE_BLOCK] = {0};
    for (int32_t r = 0; r < p->reduced; r++) {
        for (int32_t i = 0; i < n; i++) {
            acc[i] += x[i] - p->in_zero;
        }
        x += p->inner;
    }
    for (int32_t i = 0; i < n; i++) {
        y[i] = te_output(te_requantise(acc[i], p->factor.multiplier, p->factor.shift), p->out_zero,
                         INT8_MIN, INT8_MAX);
    }
}

void te_mean_s8(const te_mean *p, const int8_t *x, int8_t *y)
{
    for (int32_t o = 0; o < p->outer; o++) {
        for (int32_t i = 0; i < p->inner; i += TE_BLOCK) {
            te_mean_block(p, x + i, te_min(TE_BLOCK, p->inner - i), y + i);
        }
        x += p->reduced * p->inner;
        y += p->inner;
    }
}
