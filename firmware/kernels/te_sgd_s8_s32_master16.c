/* te_sgd_s8_s32_master16.c - see te_kernels_update.h. */
#include "te_sgd_exact.h"

/* The 16-bit value w * 256 + fraction moves; w is that rounded to its nearest whole. */
static void te_move(int8_t *w, int8_t *fraction, int32_t step)
{
    const int32_t value = te_clamp(te_add_sat(*w * 256 + *fraction, step), -32640, 32639);
    const int32_t whole = te_shift_floor(value + 128, 8);
    *w = (int8_t)whole;
    *fraction = (int8_t)(value - whole * 256);
}

void te_sgd_s8_s32_master16(const te_sgd_s8 *p, int32_t k0, int32_t k1, int8_t *w,
                            int8_t *fraction, const int32_t *g, const float *ratio,
                            const int32_t *e, const te_hyper *hyper)
{
    if (!te_is_due(hyper, p->every)) {
        return;
    }
    int32_t at = k0 * p->taps * p->channels;
    for (int32_t row = k0 * p->taps; row < k1 * p->taps; row++) {
        const float *factor = p->ratio_by_channel ? ratio : ratio + row / p->taps;
        for (int32_t c = 0; c < p->channels; c++, at++) {
            const float real = factor[p->ratio_by_channel ? c : 0] * hyper->lr;
            const te_rate rate = te_rate_of(real, *e + 8); /* in 1/256 of a step */
            const int32_t step = te_exact_step(0, *g++, &rate, 0u);
            if (step != 0 && (p->learns == NULL || p->learns[c] != 0u)) {
                te_move(w + at, fraction + at, step);
            }
        }
    }
}
