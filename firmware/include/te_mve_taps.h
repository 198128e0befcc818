/* te_mve_taps.h - the taps of a depthwise convolution that serve one pixel of d_x, listed so that
 * channels can stay in registers while the list passes by.
 */
#ifndef TE_MVE_TAPS_H
#define TE_MVE_TAPS_H

#include "te_mve.h"

enum { TE_TAPS = 64 };

/* Where channel 0 of a tap's gradient and weight lie; the kernels' assembly loads both at once. */
typedef struct te_tap {
    const uint8_t *d;
    const int8_t *w;
} te_tap;

/* d_y of `bytes` per element; returns the number of taps. */
static inline int32_t te_list_taps(const te_conv2d *p, const void *d_y, int32_t bytes,
                                   const int8_t *weight, int32_t iy, int32_t ix, te_tap *taps)
{
    const te_window *g = &p->window;
    const int32_t c = p->out_c;
    int32_t count = 0;
    for (int32_t ky = 0; ky < g->kernel_h; ky++) {
        const int32_t oy = te_reader(iy + g->pad_top - ky * g->dilation_h, g->stride_h, g->out_h);
        for (int32_t kx = 0; oy >= 0 && kx < g->kernel_w; kx++) {
            const int32_t ox =
                te_reader(ix + g->pad_left - kx * g->dilation_w, g->stride_w, g->out_w);
            if (ox >= 0) {
                taps[count].d = (const uint8_t *)d_y + (oy * g->out_w + ox) * c * bytes;
                taps[count].w = weight + (ky * g->kernel_w + kx) * c;
                count++;
            }
        }
    }
    return count;
}

/* Each channel has its own filter, and the taps fit the list. */
static inline int te_lists(const te_conv2d *p)
{
    return p->in_c == p->out_c && p->window.kernel_h * p->window.kernel_w <= TE_TAPS;
}

#endif
