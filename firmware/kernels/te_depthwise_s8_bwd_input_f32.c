/* te_depthwise_s8_bwd_input_f32.c - see te_kernels_f32.h. */
#include <string.h>

#include "te_kernels_f32.h"

static void te_add_tap(int32_t n, const float *restrict d_y, const int8_t *restrict w,
                       const float *restrict scale, float *restrict d_x)
{
    for (int32_t c = 0; c < n; c++) {
        d_x[c] += d_y[c] * scale[c] * (float)w[c];
    }
}

/* Each input channel takes its `many` outputs one after the other. */
static void te_add_tap_of_many(int32_t n, int32_t many, const float *d_y, const int8_t *w,
                               const float *scale, float *d_x)
{
    for (int32_t c = 0; c < n; c++) {
        float sum = d_x[c];
        for (int32_t k = c * many; k < (c + 1) * many; k++) {
            sum += d_y[k] * scale[k] * (float)w[k];
        }
        d_x[c] = sum;
    }
}

void te_depthwise_s8_bwd_input_f32(const te_conv2d *p, const float *d_y, const int8_t *weight,
                                   const float *scale, float *d_x)
{
    const te_window *g = &p->window;
    for (int32_t iy = 0; iy < g->in_h; iy++) {
        for (int32_t ix = 0; ix < g->in_w; ix++) {
            memset(d_x, 0, (size_t)p->in_c * sizeof *d_x);
            for (int32_t ky = 0; ky < g->kernel_h; ky++) {
                const int32_t oy =
                    te_reader(iy + g->pad_top - ky * g->dilation_h, g->stride_h, g->out_h);
                for (int32_t kx = 0; oy >= 0 && kx < g->kernel_w; kx++) {
                    const int32_t ox =
                        te_reader(ix + g->pad_left - kx * g->dilation_w, g->stride_w, g->out_w);
                    if (ox < 0) {
                        continue;
                    }
                    const float *d = d_y + (oy * g->out_w + ox) * p->out_c;
                    const int8_t *w = weight + (ky * g->kernel_w + kx) * p->out_c;
                    if (p->in_c == p->out_c) {
                        te_add_tap(p->in_c, d, w, scale, d_x);
                    } else {
                        te_add_tap_of_many(p->in_c, p->out_c / p->in_c, d, w, scale, d_x);
                    }
                }
            }
            d_x += p->in_c;
        }
    }
}
