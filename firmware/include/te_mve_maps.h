/* te_mve_maps.h - integer gradient kernels that go element by element on Helium; see
 * te_grad_maps.h.
 */
#ifndef TE_MVE_MAPS_H
#define TE_MVE_MAPS_H

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

TE_INLINE int32x4_t te_sum_4(const te_grad *a, const te_grad *b, int32_t shift_a, int32_t shift_b,
                             mve_pred16_t lanes)
{
    return vqaddq_s32(te_aligned_4(te_load_4_z(a, lanes), shift_a),
                      te_aligned_4(te_load_4_z(b, lanes), shift_b));
}

static inline void te_grad_sum(int32_t count, const te_grad *a, const te_grad *b,
                               const int32_t *e_a, const int32_t *e_b, int32_t *state, te_grad *y,
                               int32_t *e)
{
    te_output_grad out = te_grad_begin(state, e);
    const int32_t shift_a = te_grad_align(e_a, &out), shift_b = te_grad_align(e_b, &out);
    te_grad_range range = te_range_begin();
    for (int32_t i = 0; i < count; i += 4) {
        const mve_pred16_t lanes = vctp32q((uint32_t)(count - i));
        const int32x4_t q = te_sum_4(a + i, b + i, shift_a, shift_b, lanes);
        range = te_ranged(range, q);
        te_store_4_p(y + i, te_limited_4(q), lanes);
    }
    out.peak = te_range_peak(&range);
    te_grad_end(&out, state);
}

#endif
#endif
