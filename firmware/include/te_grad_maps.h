/* te_grad_maps.h - bodies of the integer gradient kernels that go element by element. */
#ifndef TE_GRAD_MAPS_H
#define TE_GRAD_MAPS_H

#include <string.h>

#include "te_float.h"
#include "te_grad.h"

static inline void te_quantize_grad(int32_t count, const float *d, int32_t *state, te_grad *y,
                                    int32_t *e)
{
    te_output_grad out = te_grad_begin(state, e);
    const float scale = te_float_of_bits((uint32_t)(127 - out.exponent) << 23); /* 2^-e */
    for (int32_t i = 0; i < count; i++) {
        y[i] = te_grad_put(&out, te_to_i32(te_round_even(d[i] * scale)));
    }
    te_grad_end(&out, state);
}

static inline void te_mask_grad(int32_t count, const te_grad *d, const uint8_t *bits, te_grad *y)
{
    for (int32_t i = 0; i < count; i += 8) {
        const int32_t n = te_min(8, count - i);
        const uint32_t byte = bits[i / 8];
        for (int32_t j = 0; j < n; j++) {
            y[i + j] = ((byte >> j) & 1u) != 0u ? d[i + j] : (te_grad)0;
        }
    }
}

/* One sum of any two. */
static inline int32_t te_grad_sum(int32_t a, int32_t b, int32_t shift_a, int32_t shift_b)
{
    return te_add_sat(te_grad_shifted(a, shift_a), te_grad_shifted(b, shift_b));
}

static inline void te_grad_add(int32_t count, const te_grad *a, const te_grad *b,
                               const int32_t *e_a, const int32_t *e_b, int32_t *state, te_grad *y,
                               int32_t *e)
{
    te_output_grad out = te_grad_begin(state, e);
    const int32_t shift_a = te_grad_align(e_a, &out), shift_b = te_grad_align(e_b, &out);
    if (shift_a <= 0 && shift_b <= 0) {
        const te_grad_right by_a = te_grad_right_of(shift_a), by_b = te_grad_right_of(shift_b);
        for (int32_t i = 0; i < count; i++) {
            y[i] = te_grad_put(&out, te_grad_move(a[i], by_a) + te_grad_move(b[i], by_b));
        }
    } else {
        for (int32_t i = 0; i < count; i++) {
            y[i] = te_grad_put(&out, te_grad_sum(a[i], b[i], shift_a, shift_b));
        }
    }
    te_grad_end(&out, state);
}

static inline void te_bias_grad(int32_t rows, int32_t channels, const te_grad *d, int32_t *d_b)
{
    for (int32_t k = 0; k < channels; k++) {
        d_b[k] = 0;
    }
    for (int32_t row = 0; row < rows; row++) {
        for (int32_t k = 0; k < channels; k++) {
            d_b[k] += d[k];
        }
        d += channels;
    }
}

static inline void te_channel_sum(int32_t rows, int32_t channels, const te_grad *d,
                                  const int32_t *e_d, int32_t *state, te_grad *y, int32_t *e)
{
    te_output_grad out = te_grad_begin(state, e);
    const int32_t shift = te_grad_align(e_d, &out);
    for (int32_t k = 0; k < channels; k++) {
        int32_t sum = 0;
        for (int32_t row = 0; row < rows; row++) {
            sum += d[row * channels + k];
        }
        y[k] = te_grad_put(&out, te_grad_shifted(sum, shift));
    }
    te_grad_end(&out, state);
}

static inline void te_mul_bwd_grad(const te_mul_grad *p, const te_grad *d_y, const int8_t *other,
                                   const int32_t *e_d, int32_t *state, te_grad *d_x, int32_t *e)
{
    te_output_grad out = te_grad_begin(state, e);
    const int32_t shift = te_grad_shift(p->factor.shift, e_d, &out);
    for (int32_t i = 0; i < p->count; i += p->other_count) {
        for (int32_t j = 0; j < p->other_count; j++) {
            const int32_t product = d_y[i + j] * (other[j] - p->zero);
            d_x[i + j] = te_grad_put(&out, te_requantise(product, p->factor.multiplier, shift));
        }
    }
    te_grad_end(&out, state);
}

static inline void te_lut_bwd_grad(int32_t count, const te_factor *p, const te_grad *d_y,
                                   const int8_t *x, const int16_t *slope, const int32_t *e_d,
                                   int32_t *state, te_grad *d_x, int32_t *e)
{
    te_output_grad out = te_grad_begin(state, e);
    const int32_t shift = te_grad_shift(p->shift, e_d, &out);
    for (int32_t i = 0; i < count; i++) {
        const int32_t product = d_y[i] * slope[x[i] + 128];
        d_x[i] = te_grad_put(&out, te_requantise(product, p->multiplier, shift));
    }
    te_grad_end(&out, state);
}

static inline void te_mean_bwd_grad(const te_mean_grad *p, const te_grad *d_y, const int32_t *e_d,
                                    int32_t *state, te_grad *d_x, int32_t *e)
{
    te_output_grad out = te_grad_begin(state, e);
    const int32_t shift = te_grad_shift(p->factor.shift, e_d, &out);
    for (int32_t o = 0; o < p->outer; o++) {
        const te_grad *first = d_x;
        for (int32_t i = 0; i < p->inner; i++) {
            *d_x++ = te_grad_put(&out, te_requantise(*d_y++, p->factor.multiplier, shift));
        }
        for (int32_t r = 1; r < p->reduced; r++) {
            memcpy(d_x, first, (size_t)p->inner * sizeof *d_x);
            d_x += p->inner;
        }
    }
    te_grad_end(&out, state);
}

#endif
