/* te_softmax_s8.c - see te_kernels_s8.h. The integer softmax of TFLite, from gemmlowp. */
#include "te_fixed.h"
#include "te_kernels_s8.h"

enum { TE_SUM_BITS = 12 }; /* integer bits of the sum of exponentials */

static int32_t te_leading_zeros(uint32_t x)
{
    int32_t zeros = 0;
    while (zeros < 32 && (x & (UINT32_C(0x80000000) >> zeros)) == 0u) {
        zeros++;
    }
    return zeros;
}

/* 1 / (1 + a) for a in [0, 1], Q0.31: three Newton-Raphson steps in Q2.29 from 48/17 - 32/17 d */
static int32_t te_one_over_one_plus(int32_t a)
{
    const int32_t half_denominator = (int32_t)(((int64_t)a + INT32_MAX + 1) / 2);
    int32_t x = 1515870810 + te_high_mul(half_denominator, -1010580540);
    for (int32_t i = 0; i < 3; i++) {
        const int32_t error = (1 << 29) - te_high_mul(half_denominator, x);
        x = te_add_sat(x, te_saturate((int64_t)te_high_mul(x, error) * 4));
    }
    return te_saturate((int64_t)x * 2);
}

static void te_softmax_row(int32_t n, const int32_t *exps, const int8_t *x, int8_t *y)
{
    int32_t largest = INT8_MIN;
    for (int32_t i = 0; i < n; i++) {
        largest = x[i] > largest ? x[i] : largest;
    }
    uint32_t total = 0u;
    for (int32_t i = 0; i < n; i++) {
        total += (uint32_t)te_rounding_shift(exps[largest - x[i]], TE_SUM_BITS);
    }
    total = total == 0u ? 1u : total;
    const int32_t zeros = te_leading_zeros(total);
    const int32_t scale = te_one_over_one_plus((int32_t)((total << zeros) & UINT32_C(0x7FFFFFFF)));
    for (int32_t i = 0; i < n; i++) {
        const int32_t e = exps[largest - x[i]];
        const int64_t share =
            te_rounding_shift_64(te_high_mul(scale, e), TE_SUM_BITS - zeros + 31 - 8);
        y[i] = e > 0 ? (int8_t)te_clamp((int32_t)share - 128, INT8_MIN, INT8_MAX) : INT8_MIN;
    }
}

void te_softmax_s8(int32_t rows, int32_t n, const int32_t *exps, const int8_t *x, int8_t *y)
{
    for (int32_t row = 0; row < rows; row++) {
        te_softmax_row(n, exps, x, y);
        x += n;
        y += n;
    }
}
