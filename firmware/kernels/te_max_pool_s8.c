/* te_max_pool_s8.c - see te_kernels_s8.h. */
#include "te_fixed.h"
#include "te_kernels_s8.h"

static void te_pool_pixel(const te_pool *p, const int8_t *x, int32_t oy, int32_t ox, int8_t *y)
{
    const te_window *g = &p->window;
    const te_span ys = te_taps_h(g, oy), xs = te_taps_w(g, ox);
    for (int32_t c = 0; c < p->channels; c++) {
        y[c] = INT8_MIN;
    }
    for (int32_t ky = ys.first; ky < ys.end; ky++) {
        const int32_t iy = oy * g->stride_h - g->pad_top + ky * g->dilation_h;
        for (int32_t kx = xs.first; kx < xs.end; kx++) {
            const int32_t ix = ox * g->stride_w - g->pad_left + kx * g->dilation_w;
            const int8_t *pixel = x + (iy * g->in_w + ix) * p->channels;
            for (int32_t c = 0; c < p->channels; c++) {
                y[c] = pixel[c] > y[c] ? pixel[c] : y[c];
            }
        }
    }
    for (int32_t c = 0; c < p->channels; c++) {
        y[c] = (int8_t)te_clamp(y[c], p->lo, p->hi);
    }
}

void te_max_pool_s8(const te_pool *p, const int8_t *x, int8_t *y)
{
    for (int32_t oy = 0; oy < p->window.out_h; oy++) {
        for (int32_t ox = 0; ox < p->window.out_w; ox++) {
            te_pool_pixel(p, x, oy, ox, y);
            y += p->channels;
        }
    }
}
