/* te_conv2d_s8_bwd_weight_f32.c - see te_kernels_f32.h. */
#include <string.h>

#include "te_axpy.h"
#include "te_kernels_f32.h"

static void te_flush(te_axpy *s, const te_conv2d *p, const int8_t *x, float *d_w)
{
    te_axpy_apply(s, d_w, x, p->in_zero, p->in_c);
    s->count = 0;
}

/* One tap of one output channel: the outputs that it serves, in raster order. d_y is at channel k
 * of the first pixel. */
static void te_add_tap(const te_conv2d *p, const float *d_y, const int8_t *x, int32_t ky,
                       int32_t kx, float *d_w)
{
    const te_window *g = &p->window;
    const int32_t dy = ky * g->dilation_h - g->pad_top, dx = kx * g->dilation_w - g->pad_left;
    const te_span ys = te_reach(dy, g->stride_h, g->in_h, g->out_h);
    const te_span xs = te_reach(dx, g->stride_w, g->in_w, g->out_w);
    te_axpy sum;
    sum.count = 0;
    for (int32_t oy = ys.first; oy < ys.end; oy++) {
        for (int32_t ox = xs.first; ox < xs.end; ox++) {
            const float d = d_y[(oy * g->out_w + ox) * p->out_c];
            if (d != 0.0f) {
                te_axpy_push(&sum, d,
                             (oy * g->stride_h + dy) * g->in_w + ox * g->stride_w + dx);
                if (sum.count == TE_AXPY_WIDTH) {
                    te_flush(&sum, p, x, d_w);
                }
            }
        }
    }
    te_flush(&sum, p, x, d_w);
}

void te_conv2d_s8_bwd_weight_f32(const te_conv2d *p, const float *d_y, const int8_t *x, int32_t k0,
                                 int32_t k1, float *d_w)
{
    for (int32_t k = k0; k < k1; k++) {
        for (int32_t ky = 0; ky < p->window.kernel_h; ky++) {
            for (int32_t kx = 0; kx < p->window.kernel_w; kx++) {
                memset(d_w, 0, (size_t)p->in_c * sizeof *d_w);
                te_add_tap(p, d_y + k, x, ky, kx, d_w);
                d_w += p->in_c;
            }
        }
    }
}
