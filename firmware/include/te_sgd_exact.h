/* te_sgd_exact.h - updates from int32 gradients: exact products, rounded once.
 *
 * A rate (ratio * lr, float32) is an integer mantissa of 24 bits and a power of two, so that its
 * product with an int32 gradient has at most 55 bits. Equals sgd.exact_step in Python.
 */
#ifndef TE_SGD_EXACT_H
#define TE_SGD_EXACT_H

#include "te_sgd.h"
#include "te_window.h"

/* g * rate * 2^e = g * mantissa / 2^right */
typedef struct te_rate {
    int32_t mantissa, right;
} te_rate;

static inline te_rate te_rate_of(float rate, int32_t e)
{
    const uint32_t bits = te_bits_of_float(rate);
    const int32_t power = (int32_t)((bits >> 23) & 255u);
    te_rate made = {(int32_t)((bits & UINT32_C(0x7FFFFF)) | UINT32_C(0x800000)), 150 - power - e};
    if (power == 0 || power == 255) {
        made.mantissa = 0; /* nothing, or not a number */
    } else if ((bits >> 31) != 0u) {
        made.mantissa = -made.mantissa;
    }
    return made;
}

/* -g * rate where it is an integer: it saturates. */
static inline int32_t te_exact_left(int64_t product, int32_t right)
{
    return te_saturate((int64_t)te_saturate(product) * (INT64_C(1) << te_min(-right, 31)));
}

/* `right` below 1 or above 62; out of line, since few are. */
__attribute__((noinline, unused)) static int32_t te_exact_nearest_any(int32_t g,
                                                                      const te_rate *rate)
{
    const int64_t product = -((int64_t)g * rate->mantissa);
    if (rate->right <= 0) {
        return te_exact_left(product, rate->right);
    }
    const int32_t over = te_min(rate->right - 62, 63);
    return te_saturate(te_rounding_shift_64(te_shift_floor_64(product, over), 62));
}

/* floor(product + random), random in [0, 1) from 32 bits */
__attribute__((noinline, unused)) static int32_t te_exact_stochastic_any(int32_t g,
                                                                         const te_rate *rate,
                                                                         uint32_t bits)
{
    const int64_t product = -((int64_t)g * rate->mantissa);
    if (rate->right <= 0) {
        return te_exact_left(product, rate->right);
    }
    const int32_t over = te_min(rate->right - 62, 63);
    const int64_t random = (int64_t)bits << 30;
    return te_saturate(te_shift_floor_64(te_shift_floor_64(product, over) + random, 62));
}

/* Usual: the step is what the upper word of the product holds above its bit `right` - 32, at most
 * 23 bits. So it is for all but the largest and the tiniest rates. */
static inline int te_rate_is_usual(const te_rate *rate)
{
    return (uint32_t)(rate->right - 32) < 31u;
}

static inline int32_t te_usual_step(int stochastic, int32_t g, const te_rate *rate,
                                    uint32_t number)
{
    const int32_t s = rate->right - 32;
    const int64_t product = (int64_t)g * -rate->mantissa;
    /* 32 random bits below bit `right`; or half, less the least where ties go down */
    const int64_t added = stochastic
                              ? (int64_t)((uint64_t)te_mix32(number) * (UINT32_C(1) << s))
                              : (INT64_C(1) << (s + 31)) + te_shift_floor_64(product, 63);
    return te_shift_floor((int32_t)te_shift_floor_64(product + added, 32), s);
}

/* The same for `right` in 1..31, as of biases, whose steps are small: both words count. */
static inline int32_t te_coarse_step(int stochastic, int32_t g, const te_rate *rate,
                                     uint32_t number)
{
    const int32_t s = rate->right;
    const int64_t product = (int64_t)g * -rate->mantissa;
    const int64_t added = stochastic ? (int64_t)(te_mix32(number) >> (32 - s))
                                     : (INT64_C(1) << (s - 1)) + te_shift_floor_64(product, 63);
    const int32_t high = (int32_t)te_shift_floor_64(product + added, 32);
    const int32_t sign = te_shift_floor(high, 31);
    if (te_shift_floor(high, s - 1) != sign) {
        return sign ^ INT32_MAX;
    }
    return (int32_t)((uint32_t)(product + added) >> s | (uint32_t)high << (32 - s));
}

static inline int32_t te_exact_step(int stochastic, int32_t g, const te_rate *rate,
                                    uint32_t number)
{
    if (te_rate_is_usual(rate)) {
        return te_usual_step(stochastic, g, rate, number);
    }
    if (rate->right > 0 && rate->right < 32) {
        return te_coarse_step(stochastic, g, rate, number);
    }
    return stochastic ? te_exact_stochastic_any(g, rate, te_mix32(number))
                      : te_exact_nearest_any(g, rate);
}

/* `count` weights with one usual rate; numbers: of their elements beyond `base`, if `numbered`. */
static inline void te_sgd_usual(int stochastic, int numbered, int32_t count, int8_t *w,
                                const int32_t *g, te_rate rate, const uint16_t *numbers,
                                uint32_t base)
{
    for (int32_t c = 0; c < count; c++) {
        const uint32_t number = numbered ? (uint32_t)numbers[c] : (uint32_t)c;
        const int32_t step = te_usual_step(stochastic, g[c], &rate, base + number);
        if (step != 0) {
            w[c] = (int8_t)te_clamp(w[c] + step, -127, 127);
        }
    }
}

/* One tap of one row: `base` is the random stream's number of its first element. */
static inline void te_sgd_s8_s32_tap(const te_sgd_s8 *p, int stochastic, int8_t *w,
                                     const int32_t *g, const float *ratio, float lr, int32_t e,
                                     uint32_t base)
{
    te_rate rate = te_rate_of(ratio[0] * lr, e);
    if (!p->ratio_by_channel && p->learns == NULL && te_rate_is_usual(&rate)) {
        if (p->numbers != NULL) {
            te_sgd_usual(stochastic, 1, p->channels, w, g, rate, p->numbers, base);
        } else {
            te_sgd_usual(stochastic, 0, p->channels, w, g, rate, NULL, base);
        }
        return;
    }
    for (int32_t c = 0; c < p->channels; c++) {
        if (g[c] == 0 || (p->learns != NULL && p->learns[c] == 0u)) {
            continue;
        }
        if (p->ratio_by_channel) {
            rate = te_rate_of(ratio[c] * lr, e);
        }
        const uint32_t number = p->numbers != NULL ? (uint32_t)p->numbers[c] : (uint32_t)c;
        const int32_t step = te_exact_step(stochastic, g[c], &rate, base + number);
        if (step != 0) {
            w[c] = (int8_t)te_clamp(te_add_sat(w[c], step), -127, 127);
        }
    }
}

static inline void te_sgd_s8_s32_rows(const te_sgd_s8 *p, int stochastic, int32_t k0, int32_t k1,
                                      int8_t *w, const int32_t *g, const float *ratio, int32_t e,
                                      const te_hyper *hyper)
{
    if (!te_is_due(hyper, p->every)) {
        return;
    }
    const uint32_t stream = te_stream(p->key, hyper->seed, hyper->step);
    for (int32_t row = k0 * p->taps; row < k1 * p->taps; row++) {
        const float *factor = p->ratio_by_channel ? ratio : ratio + row / p->taps;
        te_sgd_s8_s32_tap(p, stochastic, w + row * p->channels, g, factor, hyper->lr, e,
                          stream + (uint32_t)row * (uint32_t)p->channels_total);
        g += p->channels;
    }
}

static inline void te_sgd_s32_s32_all(const te_sgd_s32 *p, int stochastic, int32_t *b,
                                      const int32_t *g, const float *ratio, int32_t e,
                                      const te_hyper *hyper)
{
    if (!te_is_due(hyper, p->every)) {
        return;
    }
    const uint32_t stream = te_stream(p->key, hyper->seed, hyper->step);
    for (int32_t i = 0; i < p->count; i++) {
        const te_rate rate = te_rate_of(ratio[i] * hyper->lr, e);
        const int32_t step = te_exact_step(stochastic, g[i], &rate, stream + (uint32_t)i);
        if (step != 0) {
            b[i] = te_add_sat(b[i], step);
        }
    }
}

#endif
