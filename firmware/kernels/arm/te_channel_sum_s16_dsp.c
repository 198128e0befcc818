/* te_channel_sum_s16_dsp.c - see te_kernels_dsp.h. */
#define TE_GRAD_BITS 16
#include "te_grad.h"
#include "te_kernels_dsp.h"
#include "te_sums_dsp.h"

void te_channel_sum_s16_dsp(int32_t rows, int32_t channels, const int16_t *d, const int32_t *e_d,
                            int32_t *state, int16_t *y, int32_t *e)
{
    te_output_grad out = te_grad_begin(state, e);
    const int32_t shift = te_grad_align(e_d, &out);
    int32_t k = 0;
    for (; k + TE_SUMS <= channels; k += TE_SUMS) {
        int32_t sums[TE_SUMS];
        te_sum_8(rows, channels, d + k, sums);
        for (int32_t i = 0; i < TE_SUMS; i++) {
            y[k + i] = te_grad_put(&out, te_grad_shifted(sums[i], shift));
        }
    }
    for (; k < channels; k++) {
        y[k] = te_grad_put(&out, te_grad_shifted(te_sum_1(rows, channels, d + k), shift));
    }
    te_grad_end(&out, state);
}
