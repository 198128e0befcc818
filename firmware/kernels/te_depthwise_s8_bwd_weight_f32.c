/* te_depthwise_s8_bwd_weight_f32.c - see te_kernels_f32.h. */
#include <string.h>

#include "te_kernels_f32.h"

static void te_add_pixel(int32_t n, int32_t zero, const float *restrict d_y,
                         const int8_t *restrict x, float *restrict d_w)
{
    for (int32_t k = 0; k < n; k++) {
        d_w[k] += d_y[k] * (float)(x[k] - zero);
    }
}

static void te_add_pixel_of_many(int32_t n, int32_t many, int32_t zero, const float *d_y,
                                 const int8_t *x, float *d_w)
{
    for (int32_t k = 0; k < n; k++) {
        d_w[k] += d_y[k] * (float)(x[k / many] - zero);
    }
}

static void te_add_tap(const te_conv2d *p, const float *d_y, const int8_t *x, int32_t ky,
                       int32_t kx, float *d_w)
{
    const te_window *g = &p->window;
    const int32_t dy = ky * g->dilation_h - g->pad_top, dx = kx * g->dilation_w - g->pad_left;
    const te_span ys = te_reach(dy, g->stride_h, g->in_h, g->out_h);
    const te_span xs = te_reach(dx, g->stride_w, g->in_w, g->out_w);
    for (int32_t oy = ys.first; oy < ys.end; oy++) {
        for (int32_t ox = xs.first; ox < xs.end; ox++) {
            const float *d = d_y + (oy * g->out_w + ox) * p->out_c;
            const int8_t *pixel =
                x + ((oy * g->stride_h + dy) * g->in_w + ox * g->stride_w + dx) * p->in_c;
            if (p->in_c == p->out_c) {
                te_add_pixel(p->out_c, p->in_zero, d, pixel, d_w);
            } else {
                te_add_pixel_of_many(p->out_c, p->out_c / p->in_c, p->in_zero, d, pixel, d_w);
            }
        }
    }
}

void te_depthwise_s8_bwd_weight_f32(const te_conv2d *p, const float *d_y, const int8_t *x,
                                    float *d_w)
{
    for (int32_t ky = 0; ky < p->window.kernel_h; ky++) {
        for (int32_t kx = 0; kx < p->window.kernel_w; kx++) {
            memset(d_w, 0, (size_t)p->out_c * sizeof *d_w);
            te_add_tap(p, d_y, x, ky, kx, d_w);
            d_w += p->out_c;
        }
    }
}
