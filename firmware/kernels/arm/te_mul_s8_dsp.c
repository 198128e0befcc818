/* te_mul_s8_dsp.c - see te_kernels_dsp.h. Four products at a time, or four of a run that meets
 * one number. */
#include "te_kernels_dsp.h"
#include "te_packed_dsp.h"

typedef struct te_products {
    te_rescaling out;
    int32_t minus_a; /* in both halves */
    int32_t out_zero;
    uint32_t lo, hi; /* four times */
} te_products;

/* Of a product, clamped to a byte only. */
static inline int32_t te_product(const te_products *s, int32_t product)
{
    return te_ssat8(te_rescale(product, s->out) + s->out_zero);
}

/* y may be a or b: a four is read before it is written. */
static inline void te_four_products(const te_products *s, const int8_t *a, int32_t b02,
                                    int32_t b13, int8_t *y)
{
    const int32_t a02 = te_sxtab16(s->minus_a, te_load(a));
    const int32_t a13 = te_sxtab16_odd(s->minus_a, te_load(a));
    const int32_t p0 = te_product(s, te_smulbb(a02, b02)), p1 = te_product(s, te_smulbb(a13, b13));
    const int32_t p2 = te_product(s, te_smultt(a02, b02)), p3 = te_product(s, te_smultt(a13, b13));
    const uint32_t four = te_four_bytes(p0, p1, p2, p3);
    te_store_word(y, (int32_t)te_min_4(te_max_4(four, s->lo), s->hi));
}

static inline int8_t te_one_product(const te_products *s, const te_binary *p, int32_t a, int32_t b)
{
    return (int8_t)te_clamp(te_product(s, (a - p->a_zero) * (b - p->b_zero)), p->lo, p->hi);
}

void te_mul_s8_dsp(const te_binary *p, const int8_t *a, const int8_t *b, int8_t *y)
{
    const te_products s = {te_rescaling_of(p->out.multiplier, p->out.shift), te_twice(-p->a_zero),
                           p->out_zero, te_four_times(p->lo), te_four_times(p->hi)};
    const int32_t is_one = p->b_count == 1, n = is_one ? p->count : p->b_count;
    const int32_t minus_b = te_twice(-p->b_zero), single = te_twice(b[0] - p->b_zero);
    if (s.out.shift == 0) {
        te_mul_s8(p, a, b, y);
        return;
    }
    for (int32_t i = 0; i < p->count; i += n, a += n, y += n) {
        int32_t j = 0;
        for (; j + 4 <= n; j += 4) {
            const int32_t b02 = is_one ? single : te_sxtab16(minus_b, te_load(b + j));
            const int32_t b13 = is_one ? single : te_sxtab16_odd(minus_b, te_load(b + j));
            te_four_products(&s, a + j, b02, b13, y + j);
        }
        for (; j < n; j++) {
            const int32_t one = is_one ? (int16_t)single + p->b_zero : b[j];
            y[j] = te_one_product(&s, p, a[j], one);
        }
    }
}
