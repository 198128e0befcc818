/* te_sgd.h - the body that the update kernels share; `stochastic` is a constant in each. */
#ifndef TE_SGD_H
#define TE_SGD_H

#include "te_fixed.h"
#include "te_float.h"
#include "te_kernels_update.h"

static inline int te_is_due(const te_hyper *hyper, uint32_t every)
{
    return hyper->step % every == every - 1u;
}

/* -delta as an integer, ties to even. */
static inline int32_t te_step_nearest(float delta)
{
    return te_to_i32(te_round_even(-delta));
}

/* -delta rounded down, or up with the probability of its fraction. */
static inline int32_t te_step_stochastic(float delta, uint32_t stream, uint32_t index)
{
    const float floor = te_floor(-delta);
    const float fraction = -delta - floor;
    if (fraction > 0.0f && fraction > te_uniform(stream, index)) {
        return te_to_i32(floor + 1.0f);
    }
    return te_to_i32(floor);
}

static inline int32_t te_step(int stochastic, float delta, uint32_t stream, uint32_t index)
{
    return stochastic ? te_step_stochastic(delta, stream, index) : te_step_nearest(delta);
}

/* One tap of one row: `base` numbers its first element in the whole tensor. */
static inline void te_sgd_s8_tap(const te_sgd_s8 *p, int stochastic, int8_t *w, const float *g,
                                 const float *ratio, float lr, uint32_t stream, uint32_t base)
{
    for (int32_t c = 0; c < p->channels; c++) {
        if (p->learns != NULL && p->learns[c] == 0u) {
            continue;
        }
        const float delta = g[c] * (ratio[p->ratio_by_channel ? c : 0] * lr);
        const uint32_t number = p->numbers != NULL ? (uint32_t)p->numbers[c] : (uint32_t)c;
        const int32_t step = te_step(stochastic, delta, stream, base + number);
        if (step != 0) {
            w[c] = (int8_t)te_clamp(te_add_sat(w[c], step), -127, 127);
        }
    }
}

static inline void te_sgd_s8_rows(const te_sgd_s8 *p, int stochastic, int32_t k0, int32_t k1,
                                  int8_t *w, const float *g, const float *ratio,
                                  const te_hyper *hyper)
{
    if (!te_is_due(hyper, p->every)) {
        return;
    }
    const uint32_t stream = te_stream(p->key, hyper->seed, hyper->step);
    for (int32_t row = k0 * p->taps; row < k1 * p->taps; row++) {
        const float *factor = p->ratio_by_channel ? ratio : ratio + row / p->taps;
        te_sgd_s8_tap(p, stochastic, w + row * p->channels, g, factor, hyper->lr, stream,
                      (uint32_t)row * (uint32_t)p->channels_total);
        g += p->channels;
    }
}

static inline void te_sgd_s32_all(const te_sgd_s32 *p, int stochastic, int32_t *b, const float *g,
                                  const float *ratio, const te_hyper *hyper)
{
    if (!te_is_due(hyper, p->every)) {
        return;
    }
    const uint32_t stream = te_stream(p->key, hyper->seed, hyper->step);
    for (int32_t i = 0; i < p->count; i++) {
        const float delta = g[i] * (ratio[i] * hyper->lr);
        b[i] = te_add_sat(b[i], te_step(stochastic, delta, stream, (uint32_t)i));
    }
}

#endif
