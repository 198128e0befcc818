/* te_avg_pool_bwd_f32.c - see te_kernels_f32.h. */
#include <string.h>

#include "te_kernels_f32.h"

/* 1 / the number of real pixels that output (oy, ox) averages */
static float te_share(const te_window *g, int32_t oy, int32_t ox)
{
    const te_span ys = te_taps_h(g, oy), xs = te_taps_w(g, ox);
    return 1.0f / (float)((ys.end - ys.first) * (xs.end - xs.first));
}

static void te_add_share(int32_t n, float share, const float *restrict d_y, float *restrict d_x)
{
    for (int32_t c = 0; c < n; c++) {
        d_x[c] += d_y[c] * share;
    }
}

void te_avg_pool_bwd_f32(const te_pool *p, const float *d_y, float *d_x)
{
    const te_window *g = &p->window;
    for (int32_t iy = 0; iy < g->in_h; iy++) {
        for (int32_t ix = 0; ix < g->in_w; ix++) {
            memset(d_x, 0, (size_t)p->channels * sizeof *d_x);
            for (int32_t ky = 0; ky < g->kernel_h; ky++) {
                const int32_t oy =
                    te_reader(iy + g->pad_top - ky * g->dilation_h, g->stride_h, g->out_h);
                for (int32_t kx = 0; oy >= 0 && kx < g->kernel_w; kx++) {
                    const int32_t ox =
                        te_reader(ix + g->pad_left - kx * g->dilation_w, g->stride_w, g->out_w);
                    if (ox >= 0) {
                        te_add_share(p->channels, te_share(g, oy, ox),
                                     d_y + (oy * g->out_w + ox) * p->channels, d_x);
                    }
                }
            }
            d_x += p->channels;
        }
    }
}
