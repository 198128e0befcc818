/* te_sums_dsp.h - sums of 16-bit gradients by channel, eight at a time in registers.
 *
 * Halves are added as they are: `add s, s, w, asr #16` and `sxtah`.
 */
#ifndef TE_SUMS_DSP_H
#define TE_SUMS_DSP_H

#include "te_dsp.h"
#include "te_window.h"

enum { TE_SUMS = 8 };

/* Two channels: word `index` of a row. */
static inline void te_sum_halves(const int16_t *d, int32_t index, int32_t *sums)
{
    int32_t word;
    memcpy(&word, d + 2 * index, sizeof word);
    sums[2 * index] += (int16_t)word;
    sums[2 * index + 1] += te_shift_floor(word, 16);
}

/* Sums of TE_SUMS channels from d on; a row of d has `channels`. */
__attribute__((noinline, unused)) static void te_sum_8(int32_t rows, int32_t channels,
                                                       const int16_t *d, int32_t *sums)
{
    int32_t s[TE_SUMS] = {0, 0, 0, 0, 0, 0, 0, 0};
    for (; rows > 0; rows--, d += channels) {
        te_sum_halves(d, 0, s);
        te_sum_halves(d, 1, s);
        te_sum_halves(d, 2, s);
        te_sum_halves(d, 3, s);
    }
    for (int32_t i = 0; i < TE_SUMS; i++) {
        sums[i] = s[i];
    }
}

static inline int32_t te_sum_1(int32_t rows, int32_t channels, const int16_t *d)
{
    int32_t sum = 0;
    for (; rows > 0; rows--, d += channels) {
        sum += *d;
    }
    return sum;
}

#endif
