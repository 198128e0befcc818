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

static inline int32_t te_exact_nearest(int32_t g, const te_rate *rate)
{
    const int64_t product = -((int64_t)g * rate->mantissa);
    if (rate->right <= 0) {
        return te_exact_left(product, rate->right);
    }
    const int32_t over = te_clamp(rate->right - 62, 0, 63);
    return te_saturate(
        te_rounding_shift_64(te_shift_floor_64(product, over), te_min(rate->right, 62)));
}

/* floor(product + random), random in [0, 1) from 32 bits */
static inline int32_t te_exact_stochastic(int32_t g, const te_rate *rate, uint32_t bits)
{
    const int64_t product = -((int64_t)g * rate->mantissa);
    if (rate->right <= 0) {
        return te_exact_left(product, rate->right);
    }
    const int32_t over = te_clamp(rate->right - 62, 0, 63), s = te_min(rate->right, 62);
    const int64_t random = s <= 32 ? (int64_t)(bits >> (32 - s)) : (int64_t)bits << (s - 32);
    return te_saturate(te_shift_floor_64(te_shift_floor_64(product, over) + random, s));
}

static inline int32_t te_exact_step(int stochastic, int32_t g, const te_rate *rate,
                                    uint32_t number)
{
    return stochastic ? te_exact_stochastic(g, rate, te_mix32(number)) : te_exact_nearest(g, rate);
}

/* One tap of one row: `base` is the random stream's number of its first element. */
static inline void te_sgd_s8_s32_tap(const te_sgd_s8 *p, int stochastic, int8_t *w,
                                     const int32_t *g, const float *ratio, float lr, int32_t e,
                                     uint32_t base)
{
    te_rate rate = te_rate_of(ratio[0] * lr, e);
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
        b[i] = te_add_sat(b[i], te_exact_step(stochastic, g[i], &rate, stream + (uint32_t)i));
    }
}

#endif
