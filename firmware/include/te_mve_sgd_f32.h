/* te_mve_sgd_f32.h - steps of updates from float32 gradients on Helium, four at a time; see
 * te_sgd.h.
 */
#ifndef TE_MVE_SGD_F32_H
#define TE_MVE_SGD_F32_H

#include <stddef.h>

#include "te_mve_f32.h"
#include "te_mve_sgd.h"

#if TE_HAS_MVE_F32

/* te_step of four; what is no number or beyond 32 bits becomes what te_to_i32 makes of it. */
TE_INLINE int32x4_t te_step_f32_4(int stochastic, float32x4_t delta, uint32x4_t number)
{
    const float32x4_t x = vnegq_f32(delta);
    if (!stochastic) {
        return vcvtnq_s32_f32(x);
    }
    const float32x4_t floor = vrndmq_f32(x), fraction = vsubq_f32(x, floor);
    const uint32x4_t bits = vshrq_n_u32(te_mix32_4(number), 8);
    const float32x4_t uniform = vmulq_n_f32(vcvtq_f32_u32(bits), 0x1p-24f);
    const mve_pred16_t up = vcmpgtq_f32(fraction, uniform);
    const mve_pred16_t some = vcmpgtq_m_n_f32(fraction, 0.0f, up);
    return vcvtq_s32_f32(vaddq_m_n_f32(floor, floor, 1.0f, some));
}

/* One tap of one row from its element c on, whole fours; returns how many it took: it ends before
 * four of which something was not exact. */
static inline int32_t te_tap_f32(const te_sgd_s8 *p, int stochastic, int32_t c, int8_t *w,
                                 const float *g, float rate, uint32_t base)
{
    const int32x4_t hi = vdupq_n_s32(127), lo = vdupq_n_s32(-127);
    const uint32x4_t next = vidupq_n_u32(0u, 1);
    for (; c < p->channels; c += 4) {
        const mve_pred16_t some = vctp32q((uint32_t)(p->channels - c));
        const uint32x4_t number = p->numbers != NULL ? vldrhq_z_u32(p->numbers + c, some)
                                                     : vaddq_n_u32(next, (uint32_t)c);
        float32x4_t d = vldrwq_z_f32(g + c, some);
        TE_PIN(d);
        int32x4_t step =
            te_step_f32_4(stochastic, vmulq_n_f32(d, rate), vaddq_n_u32(number, base));
        TE_PIN(step);
        if (!te_exact_end()) {
            break;
        }
        const mve_pred16_t moved = vcmpneq_m_n_s32(step, 0, some);
        const int32x4_t sum = vqaddq_s32(vldrbq_z_s32(w + c, moved), step);
        vstrbq_p_s32(w + c, vmaxq_s32(vminq_s32(sum, hi), lo), moved);
    }
    return c;
}

/* Each row's rate is its own, and all channels learn. */
static inline int te_is_by_row(const te_sgd_s8 *p)
{
    return p->learns == NULL && !p->ratio_by_channel;
}

/* As te_sgd_s8_rows; four that Helium does not compute exactly go to scalar code. */
static inline void te_rows_f32(const te_sgd_s8 *p, int stochastic, int32_t k0, int32_t k1,
                               int8_t *w, const float *g, const float *ratio,
                               const te_hyper *hyper)
{
    const uint32_t stream = te_stream(p->key, hyper->seed, hyper->step);
    for (int32_t row = k0 * p->taps; row < k1 * p->taps; row++, g += p->channels) {
        const uint32_t base = stream + (uint32_t)row * (uint32_t)p->channels_total;
        const float *factor = ratio + row / p->taps;
        int8_t *to = w + row * p->channels;
        for (int32_t c = 0; c < p->channels;) {
            te_exact_begin();
            c = te_tap_f32(p, stochastic, c, to, g, *factor * hyper->lr, base);
            if (c < p->channels) {
                te_sgd_s8 four = *p;
                const uint32_t from = p->numbers != NULL ? 0u : (uint32_t)c;
                four.channels = te_min(4, p->channels - c);
                four.numbers = p->numbers != NULL ? p->numbers + c : NULL;
                te_sgd_s8_tap(&four, stochastic, to + c, g + c, factor, hyper->lr, stream,
                              base - stream + from);
                c += 4;
            }
        }
    }
}

/* As te_sgd_s32_all. */
static inline void te_biases_f32(const te_sgd_s32 *p, int stochastic, int32_t *b, const float *g,
                                 const float *ratio, const te_hyper *hyper)
{
    const uint32_t stream = te_stream(p->key, hyper->seed, hyper->step);
    const uint32x4_t first = vaddq_n_u32(vidupq_n_u32(0u, 1), stream);
    te_exact_begin();
    for (int32_t i = 0; i < p->count; i += 4) {
        const mve_pred16_t some = vctp32q((uint32_t)(p->count - i));
        float32x4_t rate = vldrwq_z_f32(ratio + i, some);
        TE_PIN(rate);
        rate = vmulq_n_f32(rate, hyper->lr);
        const float32x4_t delta = vmulq_f32(vldrwq_z_f32(g + i, some), rate);
        int32x4_t step = te_step_f32_4(stochastic, delta, vaddq_n_u32(first, (uint32_t)i));
        TE_PIN(step);
        if (te_exact_end()) {
            vstrwq_p_s32(b + i, vqaddq_s32(vldrwq_z_s32(b + i, some), step), some);
            continue;
        }
        for (int32_t j = i; j < te_min(i + 4, p->count); j++) {
            const float one = g[j] * (ratio[j] * hyper->lr);
            b[j] = te_add_sat(b[j], te_step(stochastic, one, stream, (uint32_t)j));
        }
        te_exact_begin();
    }
}

#endif
#endif
