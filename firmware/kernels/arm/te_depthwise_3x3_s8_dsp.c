/* te_depthwise_3x3_s8_dsp.c - see te_kernels_dsp.h. */
#define TE_SIZE 3
#include "te_depthwise_dsp.h"

void te_depthwise_3x3_s8_dsp(const te_conv2d_dsp *p, const int8_t *x, const int8_t *weight,
                             const int32_t *bias, int8_t *y, int32_t *scratch)
{
    te_depthwise_run(p, x, weight, bias, y, scratch);
}
