/* te_gather_channels_x16_mve.c - see te_kernels_mve.h. Sixteen channels of all rows at a time. */
#include "te_kernels_mve.h"
#include "te_mve.h"

#if TE_HAS_MVE

/* Channels that eight lanes take, of which n exist; the others take the first. */
static uint16x8_t te_places(const uint16_t *channels, int32_t n)
{
    return vldrhq_z_u16(channels, n > 0 ? vctp16q((uint32_t)n) : (mve_pred16_t)0u);
}

#endif

void te_gather_channels_x16_mve(int32_t rows, int32_t in_c, int32_t out_c,
                               const uint16_t *channels, const void *x, void *y)
{
#if TE_HAS_MVE
    for (int32_t i = 0; i < out_c; i += 16) {
        const int32_t n = out_c - i;
        const uint16x8_t first = te_places(channels + i, n);
        const uint16x8_t second = te_places(channels + i + 8, n - 8);
        const mve_pred16_t some = vctp16q((uint32_t)n);
        const mve_pred16_t more = n > 8 ? vctp16q((uint32_t)n - 8u) : (mve_pred16_t)0u;
        const uint16_t *from = x;
        uint16_t *to = (uint16_t *)y + i;
        for (int32_t row = rows; n >= 16 && row > 0; row--, from += in_c, to += out_c) {
            vstrhq_u16(to, vldrhq_gather_shifted_offset_u16(from, first));
            vstrhq_u16(to + 8, vldrhq_gather_shifted_offset_u16(from, second));
        }
        for (int32_t row = n >= 16 ? 0 : rows; row > 0; row--, from += in_c, to += out_c) {
            vstrhq_p_u16(to, vldrhq_gather_shifted_offset_u16(from, first), some);
            vstrhq_p_u16(to + 8, vldrhq_gather_shifted_offset_u16(from, second), more);
        }
    }
#else
    te_gather_channels_x16(rows, in_c, out_c, channels, x, y);
#endif
}
