/* te_grad_depthwise.h - bodies of the integer gradient kernels of depthwise convolutions. */
#ifndef TE_GRAD_DEPTHWISE_H
#define TE_GRAD_DEPTHWISE_H

#include <string.h>

#include "te_grad.h"

/* sum (out_c) = sum over taps of d_y * weight, for one pixel of d_x. */
static inline void te_grad_depthwise_sum(const te_conv2d *p, const te_grad *d_y,
                                         const int8_t *weight, int32_t iy, int32_t ix,
                                         int32_t *restrict sum)
{
    const te_window *g = &p->window;
    memset(sum, 0, (size_t)p->out_c * sizeof *sum);
    for (int32_t ky = 0; ky < g->kernel_h; ky++) {
        const int32_t oy = te_reader(iy + g->pad_top - ky * g->dilation_h, g->stride_h, g->out_h);
        for (int32_t kx = 0; oy >= 0 && kx < g->kernel_w; kx++) {
            const int32_t ox =
                te_reader(ix + g->pad_left - kx * g->dilation_w, g->stride_w, g->out_w);
            if (ox < 0) {
                continue;
            }
            const te_grad *restrict d = d_y + (oy * g->out_w + ox) * p->out_c;
            const int8_t *restrict w = weight + (ky * g->kernel_w + kx) * p->out_c;
            for (int32_t k = 0; k < p->out_c; k++) {
                sum[k] += d[k] * w[k];
            }
        }
    }
}

static inline void te_depthwise_bwd_input_grad(const te_conv2d *p, const te_grad *d_y,
                                               const int8_t *weight, const int32_t *multiplier,
                                               const int32_t *shift, const int32_t *e_d,
                                               int32_t *state, te_grad *d_x, int32_t *e,
                                               int32_t *scratch)
{
    const te_window *g = &p->window;
    const int32_t many = p->out_c / p->in_c;
    te_output_grad out = te_grad_begin(state, e);
    for (int32_t iy = 0; iy < g->in_h; iy++) {
        for (int32_t ix = 0; ix < g->in_w; ix++) {
            te_grad_depthwise_sum(p, d_y, weight, iy, ix, scratch);
            for (int32_t c = 0; c < p->in_c; c++) {
                int64_t sum = 0;
                for (int32_t k = c * many; k < (c + 1) * many; k++) {
                    sum += te_requantise(scratch[k], multiplier[k],
                                         te_grad_shift(shift[k], e_d, &out));
                }
                *d_x++ = te_grad_put(&out, te_saturate(sum));
            }
        }
    }
    te_grad_end(&out, state);
}

/* One output pixel of the sums, one output channel per input channel. */
static inline void te_grad_depthwise_pixel(int32_t n, int32_t zero, const te_grad *restrict d,
                                           const int8_t *restrict x, int32_t *restrict d_w)
{
    for (int32_t k = 0; k < n; k++) {
        d_w[k] += d[k] * (x[k] - zero);
    }
}

/* The same for any number of channels, and of gradients that are shifted. */
static inline void te_grad_depthwise_pixel_any(const te_conv2d *p, int32_t shift, const te_grad *d,
                                               const int8_t *x, int32_t *d_w)
{
    const int32_t many = p->out_c / p->in_c;
    for (int32_t c = 0; c < p->in_c; c++) {
        const int32_t centred = x[c] - p->in_zero;
        for (int32_t k = c * many; k < (c + 1) * many; k++) {
            d_w[k] += te_rounding_shift(d[k], shift) * centred;
        }
    }
}

static inline void te_grad_depthwise_tap(const te_conv2d *p, int32_t shift, const te_grad *d_y,
                                         const int8_t *x, int32_t ky, int32_t kx, int32_t *d_w)
{
    const te_window *g = &p->window;
    const int32_t dy = ky * g->dilation_h - g->pad_top, dx = kx * g->dilation_w - g->pad_left;
    const te_span ys = te_reach(dy, g->stride_h, g->in_h, g->out_h);
    const te_span xs = te_reach(dx, g->stride_w, g->in_w, g->out_w);
    for (int32_t oy = ys.first; oy < ys.end; oy++) {
        for (int32_t ox = xs.first; ox < xs.end; ox++) {
            const te_grad *d = d_y + (oy * g->out_w + ox) * p->out_c;
            const int8_t *pixel =
                x + ((oy * g->stride_h + dy) * g->in_w + ox * g->stride_w + dx) * p->in_c;
            if (shift == 0 && p->in_c == p->out_c) {
                te_grad_depthwise_pixel(p->out_c, p->in_zero, d, pixel, d_w);
            } else {
                te_grad_depthwise_pixel_any(p, shift, d, pixel, d_w);
            }
        }
    }
}

static inline void te_depthwise_bwd_weight_grad(const te_conv2d *p, int32_t shift,
                                                const te_grad *d_y, const int8_t *x, int32_t *d_w)
{
    for (int32_t ky = 0; ky < p->window.kernel_h; ky++) {
        for (int32_t kx = 0; kx < p->window.kernel_w; kx++) {
            memset(d_w, 0, (size_t)p->out_c * sizeof *d_w);
            te_grad_depthwise_tap(p, shift, d_y, x, ky, kx, d_w);
            d_w += p->out_c;
        }
    }
}

#endif
