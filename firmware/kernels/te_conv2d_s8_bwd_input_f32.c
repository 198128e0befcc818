/* te_conv2d_s8_bwd_input_f32.c - see te_kernels_f32.h.
 *
 * Pixel by pixel of d_x: each gathers from the outputs that read it, so d_x needs no second pass
 * and its channels stay in cache. Gradients that are exactly zero (most, behind a mask) cost
 * nothing.
 */
#include <string.h>

#include "te_axpy.h"
#include "te_kernels_f32.h"

typedef struct te_weights {
    const int8_t *learned, *frozen;
    int32_t learn_c, rest_c;
} te_weights;

static void te_flush(te_axpy *s, const te_weights *w, float *d_x)
{
    te_axpy_apply(s, d_x, w->learned, 0, w->learn_c);
    if (w->frozen != NULL) {
        te_axpy_apply(s, d_x + w->learn_c, w->frozen, 0, w->rest_c);
    }
    s->count = 0;
}

/* All output channels of one output pixel at one tap. */
static void te_add_tap(const te_conv2d *p, const te_weights *w, const float *d_y,
                       const float *scale, int32_t tap, float *d_x)
{
    const int32_t taps = p->window.kernel_h * p->window.kernel_w;
    te_axpy sum;
    sum.count = 0;
    for (int32_t k = 0; k < p->out_c; k++) {
        const float d = d_y[k] * scale[k];
        if (d != 0.0f) {
            te_axpy_push(&sum, d, k * taps + tap);
            if (sum.count == TE_AXPY_WIDTH) {
                te_flush(&sum, w, d_x);
            }
        }
    }
    te_flush(&sum, w, d_x);
}

void te_conv2d_s8_bwd_input_f32(const te_conv2d *p, const float *d_y, const int8_t *weight,
                                const float *scale, const int8_t *frozen, float *d_x)
{
    const te_window *g = &p->window;
    const te_weights w = {weight, frozen, p->learn_c, p->in_c - p->learn_c};
    for (int32_t iy = 0; iy < g->in_h; iy++) {
        for (int32_t ix = 0; ix < g->in_w; ix++) {
            memset(d_x, 0, (size_t)p->in_c * sizeof *d_x);
            for (int32_t ky = 0; ky < g->kernel_h; ky++) {
                const int32_t oy =
                    te_reader(iy + g->pad_top - ky * g->dilation_h, g->stride_h, g->out_h);
                for (int32_t kx = 0; oy >= 0 && kx < g->kernel_w; kx++) {
                    const int32_t ox =
                        te_reader(ix + g->pad_left - kx * g->dilation_w, g->stride_w, g->out_w);
                    if (ox >= 0) {
                        te_add_tap(p, &w, d_y + (oy * g->out_w + ox) * p->out_c, scale,
                                   ky * g->kernel_w + kx, d_x);
                    }
                }
            }
            d_x += p->in_c;
        }
    }
}
