/* te_mve_maps.h - integer gradient kernels that go element by element on Helium; see
 * te_grad_maps.h.
 */
#ifndef TE_MVE_MAPS_H
#define TE_MVE_MAPS_H

#include "te_float.h"
#include "te_mve_f32.h"
#include "te_mve_grad.h"

#if TE_HAS_MVE

/* Sums of 16 channels over an even number of rows of `step` bytes each. */
TE_INLINE void te_sum_columns(const te_grad *d, int32_t pairs, int32_t step, int32x4_t *sums)
{
    int32x4_t a = sums[0], b = sums[1], c = sums[2], e = sums[3];
    for (; pairs > 0; pairs--) {
        const te_grad *next = d + step;
        a = vaddq_s32(a, te_load_4(d));
        b = vaddq_s32(b, te_load_4(d + 4));
        c = vaddq_s32(c, te_load_4(d + 8));
        e = vaddq_s32(e, te_load_4(d + 12));
        a = vaddq_s32(a, te_load_4(next));
        b = vaddq_s32(b, te_load_4(next + 4));
        c = vaddq_s32(c, te_load_4(next + 8));
        e = vaddq_s32(e, te_load_4(next + 12));
        d = next + step;
    }
    sums[0] = a, sums[1] = b, sums[2] = c, sums[3] = e;
}

/* The four channels at d, of which `lanes` exist. */
TE_INLINE int32x4_t te_sum_column(const te_grad *d, int32_t rows, int32_t step, mve_pred16_t lanes)
{
    int32x4_t sum = vdupq_n_s32(0);
    for (; rows > 0; rows--, d += step) {
        sum = vaddq_s32(sum, te_load_4_z(d, lanes));
    }
    return sum;
}

static inline void te_bias_sums(int32_t rows, int32_t channels, const te_grad *d, int32_t *d_b)
{
    int32_t k = 0;
    for (; k + 16 <= channels; k += 16) {
        int32x4_t sums[4] = {vdupq_n_s32(0), vdupq_n_s32(0), vdupq_n_s32(0), vdupq_n_s32(0)};
        te_sum_columns(d + k, rows / 2, channels, sums);
        for (int32_t i = 0; i < 4; i++) {
            if (rows % 2 != 0) {
                sums[i] = vaddq_s32(sums[i], te_load_4(d + (rows - 1) * channels + k + 4 * i));
            }
            vstrwq_s32(d_b + k + 4 * i, sums[i]);
        }
    }
    for (; k < channels; k += 4) {
        const mve_pred16_t lanes = vctp32q((uint32_t)(channels - k));
        vstrwq_p_s32(d_b + k, te_sum_column(d + k, rows, channels, lanes), lanes);
    }
}

/* x * 2^n, rounded half away from zero or saturated; see te_grad_shifted. */
TE_INLINE int32x4_t te_aligned_4(int32x4_t x, int32_t n)
{
    return n < 0 ? te_shifted_4(x, n) : vqshlq_r_s32(x, n);
}

TE_INLINE int32x4_t te_sum_4(int32x4_t a, int32x4_t b, int32_t shift_a, int32_t shift_b,
                             int usual)
{
    return usual ? vqaddq_s32(te_rounded_4(a, shift_a), te_rounded_4(b, shift_b))
                 : vqaddq_s32(te_aligned_4(a, shift_a), te_aligned_4(b, shift_b));
}

/* usual: no gradient is shifted to the left. */
TE_INLINE te_grad_range te_sums(int32_t count, const te_grad *a, const te_grad *b,
                                int32_t shift_a, int32_t shift_b, int usual, te_grad *y)
{
    te_grad_range range = te_range_begin();
    for (int32_t n = count / 8; n > 0; n--, a += 8, b += 8, y += 8) {
        const int16x8_t u = te_load_grad_8(a), v = te_load_grad_8(b);
        const int32x4_t even = te_sum_4(vmovlbq_s16(u), vmovlbq_s16(v), shift_a, shift_b, usual);
        const int32x4_t odd = te_sum_4(vmovltq_s16(u), vmovltq_s16(v), shift_a, shift_b, usual);
        range = te_ranged(te_ranged(range, even), odd);
        te_store_8(y, te_limited_8(even, odd));
    }
    for (int32_t n = count % 8; n > 0; n -= 4, a += 4, b += 4, y += 4) {
        const mve_pred16_t lanes = vctp32q((uint32_t)n);
        const int32x4_t q =
            te_sum_4(te_load_4_z(a, lanes), te_load_4_z(b, lanes), shift_a, shift_b, usual);
        range = te_ranged(range, q);
        te_store_4_p(y, te_limited_4(q), lanes);
    }
    return range;
}

static inline void te_grad_sum(int32_t count, const te_grad *a, const te_grad *b,
                               const int32_t *e_a, const int32_t *e_b, int32_t *state, te_grad *y,
                               int32_t *e)
{
    te_output_grad out = te_grad_begin(state, e);
    const int32_t shift_a = te_grad_align(e_a, &out), shift_b = te_grad_align(e_b, &out);
    te_grad_range range;
    if (shift_a <= 0 && shift_b <= 0) {
        range = te_sums(count, a, b, shift_a, shift_b, 1, y);
    } else {
        range = te_sums(count, a, b, shift_a, shift_b, 0, y);
    }
    out.peak = te_range_peak(&range);
    te_grad_end(&out, state);
}

/* Sums of four channels at a time, in units of the output's exponent. */
static inline void te_channel_sums(int32_t rows, int32_t channels, const te_grad *d,
                                   const int32_t *e_d, int32_t *state, te_grad *y, int32_t *e)
{
    te_output_grad out = te_grad_begin(state, e);
    const int32_t shift = te_grad_align(e_d, &out);
    te_grad_range range = te_range_begin();
    for (int32_t k = 0; k < channels; k += 4) {
        const mve_pred16_t lanes = vctp32q((uint32_t)(channels - k));
        const int32x4_t q = te_aligned_4(te_sum_column(d + k, rows, channels, lanes), shift);
        range = te_ranged(range, q);
        te_store_4_p(y + k, te_limited_4(q), lanes);
    }
    out.peak = te_range_peak(&range);
    te_grad_end(&out, state);
}

/* te_requantise(d * (other - zero)), eight at a time */
static inline void te_mul_grad_row(const te_mul_grad *p, const te_grad *d_y, const int8_t *other,
                                   const te_grad_scale *by, te_grad_range *range, te_grad *d_x)
{
    for (int32_t n = p->other_count; n > 0; n -= 8, d_y += 8, other += 8, d_x += 8) {
        const mve_pred16_t some = vctp16q((uint32_t)n);
        const int16x8_t d = te_load_grad(d_y, some);
        const int16x8_t x = vsubq_n_s16(vldrbq_z_s16(other, some), (int16_t)p->zero);
        const int32x4_t even = te_grad_scaled(vmullbq_int_s16(d, x), by, 0);
        const int32x4_t odd = te_grad_scaled(vmulltq_int_s16(d, x), by, 0);
        *range = te_ranged(te_ranged(*range, even), odd);
        te_store_8_p(d_x, te_limited_8(even, odd), some);
    }
}

static inline void te_mul_gradient(const te_mul_grad *p, const te_grad *d_y, const int8_t *other,
                                   const int32_t *e_d, int32_t *state, te_grad *d_x, int32_t *e)
{
    te_output_grad out = te_grad_begin(state, e);
    const te_grad_scale by = te_grad_scale_of(p->factor.multiplier,
                                              te_grad_shift(p->factor.shift, e_d, &out));
    te_grad_range range = te_range_begin();
    for (int32_t i = 0; i < p->count; i += p->other_count) {
        te_mul_grad_row(p, d_y + i, other, &by, &range, d_x + i);
    }
    out.peak = te_range_peak(&range);
    te_grad_end(&out, state);
}

#if TE_HAS_MVE_F32

/* Four gradients at a time; what Helium flushes to 0, a subnormal d or product, rounds to 0. */
static inline void te_quantised_grad(int32_t count, const float *d, int32_t *state, te_grad *y,
                                     int32_t *e)
{
    te_output_grad out = te_grad_begin(state, e);
    const float scale = te_float_of_bits((uint32_t)(127 - out.exponent) << 23); /* 2^-e */
    te_grad_range range = te_range_begin();
    for (; count > 0; count -= 4, d += 4, y += 4) {
        const mve_pred16_t lanes = vctp32q((uint32_t)count);
        const int32x4_t q = vcvtnq_s32_f32(vmulq_n_f32(vldrwq_z_f32(d, lanes), scale));
        range = te_ranged(range, q);
        te_store_4_p(y, te_limited_4(q), lanes);
    }
    out.peak = te_range_peak(&range);
    te_grad_end(&out, state);
}

#endif

#endif
#endif
