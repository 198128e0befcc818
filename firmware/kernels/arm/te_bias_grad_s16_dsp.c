/* te_bias_grad_s16_dsp.c - see te_kernels_dsp.h. */
#include "te_kernels_dsp.h"
#include "te_sums_dsp.h"

void te_bias_grad_s16_dsp(int32_t rows, int32_t channels, const int16_t *d, int32_t *d_b)
{
    int32_t k = 0;
    for (; rows == 1 && k < channels; k++) {
        d_b[k] = d[k];
    }
    for (; k + TE_SUMS <= channels; k += TE_SUMS) {
        te_sum_8(rows, channels, d + k, d_b + k);
    }
    for (; k < channels; k++) {
        d_b[k] = te_sum_1(rows, channels, d + k);
    }
}
