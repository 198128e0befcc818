/* te_channel_sum_s16.c - see te_kernels_grad.h. */
#define TE_GRAD_BITS 16
#include "te_grad_maps.h"

void te_channel_sum_s16(int32_t rows, int32_t channels, const int16_t *d, const int32_t *e_d,
                        int32_t *state, int16_t *y, int32_t *e)
{
    te_channel_sum(rows, channels, d, e_d, state, y, e);
}
