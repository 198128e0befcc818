/* te_channel_sum_s16_mve.c - see te_kernels_mve.h. */
#define TE_GRAD_BITS 16
#include "te_kernels_mve.h"
#include "te_mve_maps.h"

void te_channel_sum_s16_mve(int32_t rows, int32_t channels, const int16_t *d, const int32_t *e_d,
                            int32_t *state, int16_t *y, int32_t *e)
{
#if TE_HAS_MVE
    te_channel_sums(rows, channels, d, e_d, state, y, e);
#else
    te_channel_sum_s16(rows, channels, d, e_d, state, y, e);
#endif
}
