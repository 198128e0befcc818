/* te_gather_channels_x16.c - see te_kernels_layout.h. */
#include "te_kernels_layout.h"

void te_gather_channels_x16(int32_t rows, int32_t in_c, int32_t out_c, const uint16_t *channels,
                            const void *x, void *y)
{
    const uint16_t *from = x;
    uint16_t *to = y;
    for (int32_t row = 0; row < rows; row++) {
        for (int32_t i = 0; i < out_c; i++) {
            to[i] = from[channels[i]];
        }
        from += in_c;
        to += out_c;
    }
}
