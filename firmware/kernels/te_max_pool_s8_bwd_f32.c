/* te_max_pool_s8_bwd_f32.c - see te_kernels_f32.h. */
#include <string.h>

#include "te_kernels_f32.h"

/* Offset of the first largest pixel of channel 0 of x within one window. */
static int32_t te_first_largest(const te_pool *p, const int8_t *x, int32_t oy, int32_t ox)
{
    const te_window *g = &p->window;
    const te_span ys = te_taps_h(g, oy), xs = te_taps_w(g, ox);
    const int32_t top = oy * g->stride_h - g->pad_top, left = ox * g->stride_w - g->pad_left;
    int32_t best = -1;
    for (int32_t iy = top + ys.first; iy < top + ys.end; iy++) {
        for (int32_t ix = left + xs.first; ix < left + xs.end; ix++) {
            const int32_t at = (iy * g->in_w + ix) * p->channels;
            best = best < 0 || x[at] > x[best] ? at : best;
        }
    }
    return best;
}

void te_max_pool_s8_bwd_f32(const te_pool *p, const float *d_y, const int8_t *x, float *d_x)
{
    const te_window *g = &p->window;
    memset(d_x, 0, (size_t)(g->in_h * g->in_w * p->channels) * sizeof *d_x);
    for (int32_t oy = 0; oy < g->out_h; oy++) {
        for (int32_t ox = 0; ox < g->out_w; ox++) {
            for (int32_t c = 0; c < p->channels; c++) {
                d_x[te_first_largest(p, x + c, oy, ox) + c] += d_y[c];
            }
            d_y += p->channels;
        }
    }
}
