/* te_mean_s8_dsp.c - see te_kernels_dsp.h. Four numbers at a time, two sums to a word: they have
 * room for TE_MOST of each. */
#include "te_kernels_dsp.h"
#include "te_packed_dsp.h"

enum { TE_MOST = 256, TE_LARGEST = 1 << 22 /* so that sums stay below 2^30 */ };

typedef struct te_four_sums {
    int32_t a, b, c, d;
} te_four_sums;

static inline te_four_sums te_sum_four(const te_mean *p, const int8_t *x)
{
    const int32_t start = -p->in_zero * p->reduced, inner = p->inner;
    te_four_sums s = {start, start, start, start};
    for (int32_t left = p->reduced; left > 0; left -= TE_MOST) {
        int32_t even = 0, odd = 0, n = te_min(left, TE_MOST);
        for (; n >= 4; n -= 4, x += 2 * inner) {
            const uint32_t first = te_load(x), second = te_load(x + inner);
            x += 2 * inner;
            const uint32_t third = te_load(x), fourth = te_load(x + inner);
            even = te_sxtab16(te_sxtab16(even, first), second);
            odd = te_sxtab16_odd(te_sxtab16_odd(odd, first), second);
            even = te_sxtab16(te_sxtab16(even, third), fourth);
            odd = te_sxtab16_odd(te_sxtab16_odd(odd, third), fourth);
        }
        for (; n > 0; n--, x += inner) {
            even = te_sxtab16(even, te_load(x));
            odd = te_sxtab16_odd(odd, te_load(x));
        }
        s.a += (int16_t)even, s.b += (int16_t)odd;
        s.c += te_shift_floor(even, 16), s.d += te_shift_floor(odd, 16);
    }
    return s;
}

void te_mean_s8_dsp(const te_mean *p, const int8_t *x, int8_t *y)
{
    const int32_t n = p->inner, zero = p->out_zero;
    const te_rescaling r = te_rescaling_of(p->factor.multiplier, p->factor.shift);
    if (n < 4 || r.shift == 0 || p->reduced > TE_LARGEST) {
        te_mean_s8(p, x, y);
        return;
    }
    for (int32_t o = 0; o < p->outer; o++, x += p->reduced * n, y += n) {
        for (int32_t i = 0; i < n; i += 4) {
            const int32_t from = te_min(i, n - 4); /* the last four may be made twice */
            const te_four_sums s = te_sum_four(p, x + from);
            const int32_t a = te_ssat8(te_rescale(s.a, r) + zero);
            const int32_t b = te_ssat8(te_rescale(s.b, r) + zero);
            const int32_t c = te_ssat8(te_rescale(s.c, r) + zero);
            const int32_t d = te_ssat8(te_rescale(s.d, r) + zero);
            te_store_word(y + from, (int32_t)te_four_bytes(a, b, c, d));
        }
    }
}
