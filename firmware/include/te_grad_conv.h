/* te_grad_conv.h - bodies of the integer gradient kernels of convolutions.
 *
 * As the float32 ones: input gradients gather pixel by pixel, and what is exactly zero (most of a
 * masked gradient) costs nothing. Four rows are added in one pass over the sums.
 */
#ifndef TE_GRAD_CONV_H
#define TE_GRAD_CONV_H

#include <string.h>

#include "te_grad.h"

enum { TE_GRAD_WIDTH = 4 };

/* Products that wait: factors a, and the rows of x that they multiply. */
typedef struct te_grad_rows {
    int32_t a[TE_GRAD_WIDTH];
    int32_t at[TE_GRAD_WIDTH];
    int32_t count;
} te_grad_rows;

static inline void te_grad_add_4(int32_t *restrict y, const int32_t *a, const int8_t *restrict x0,
                                 const int8_t *restrict x1, const int8_t *restrict x2,
                                 const int8_t *restrict x3, int32_t n)
{
    const int32_t a0 = a[0], a1 = a[1], a2 = a[2], a3 = a[3];
    for (int32_t i = 0; i < n; i++) {
        y[i] += a0 * x0[i] + a1 * x1[i] + a2 * x2[i] + a3 * x3[i];
    }
}

/* y += a * x for each row that waits; row j is the n elements at x + at[j] * n. */
static inline void te_grad_apply(const te_grad_rows *s, int32_t *restrict y, const int8_t *x,
                                 int32_t n)
{
    if (s->count == TE_GRAD_WIDTH) {
        te_grad_add_4(y, s->a, x + s->at[0] * n, x + s->at[1] * n, x + s->at[2] * n,
                      x + s->at[3] * n, n);
        return;
    }
    for (int32_t j = 0; j < s->count; j++) {
        const int8_t *restrict row = x + s->at[j] * n;
        for (int32_t i = 0; i < n; i++) {
            y[i] += s->a[j] * row[i];
        }
    }
}

static inline int te_grad_push(te_grad_rows *s, int32_t a, int32_t at)
{
    s->a[s->count] = a;
    s->at[s->count] = at;
    s->count++;
    return s->count == TE_GRAD_WIDTH;
}

static inline void te_grad_flush(te_grad_rows *s, const te_conv2d *p, const int8_t *weight,
                                 const int8_t *frozen, int32_t *sum)
{
    te_grad_apply(s, sum, weight, p->learn_c);
    if (frozen != NULL) {
        te_grad_apply(s, sum + p->learn_c, frozen, p->in_c - p->learn_c);
    }
    s->count = 0;
}

/* All output channels of one output pixel at one tap. */
static inline void te_grad_add_tap(const te_conv2d_grad *p, const te_grad *d_y,
                                   const int8_t *weight, const int16_t *scale,
                                   const int8_t *frozen, int32_t tap, int32_t *sum)
{
    const int32_t taps = p->conv.window.kernel_h * p->conv.window.kernel_w;
    const int32_t half = 1 << (p->bits - 1);
    te_grad_rows rows;
    rows.count = 0;
    for (int32_t k = 0; k < p->conv.out_c; k++) {
        const int32_t d = te_shift_floor(d_y[k] * scale[k] + half, p->bits);
        if (d != 0 && te_grad_push(&rows, d, k * taps + tap)) {
            te_grad_flush(&rows, &p->conv, weight, frozen, sum);
        }
    }
    te_grad_flush(&rows, &p->conv, weight, frozen, sum);
}

static inline void te_conv2d_bwd_input_grad(const te_conv2d_grad *p, const te_grad *d_y,
                                            const int8_t *weight, const int16_t *scale,
                                            const int8_t *frozen, const int32_t *e_d,
                                            int32_t *state, te_grad *d_x, int32_t *e,
                                            int32_t *scratch)
{
    const te_window *g = &p->conv.window;
    const int32_t in_c = p->conv.in_c;
    te_output_grad out = te_grad_begin(state, e);
    const int32_t shift = te_grad_shift(p->factor.shift, e_d, &out);
    for (int32_t i = 0; i < g->in_h * g->in_w; i++) {
        const int32_t iy = i / g->in_w, ix = i % g->in_w;
        memset(scratch, 0, (size_t)in_c * sizeof *scratch);
        for (int32_t ky = 0; ky < g->kernel_h; ky++) {
            const int32_t oy =
                te_reader(iy + g->pad_top - ky * g->dilation_h, g->stride_h, g->out_h);
            for (int32_t kx = 0; oy >= 0 && kx < g->kernel_w; kx++) {
                const int32_t ox =
                    te_reader(ix + g->pad_left - kx * g->dilation_w, g->stride_w, g->out_w);
                if (ox >= 0) {
                    te_grad_add_tap(p, d_y + (oy * g->out_w + ox) * p->conv.out_c, weight, scale,
                                    frozen, ky * g->kernel_w + kx, scratch);
                }
            }
        }
        for (int32_t c = 0; c < in_c; c++) {
            *d_x++ = te_grad_put(&out, te_requantise(scratch[c], p->factor.multiplier, shift));
        }
    }
    te_grad_end(&out, state);
}

/* One tap of one output channel into d_w (in_c): sum of d * (x - zero) = sum of d * x minus zero
 * times the sum of d. d_y is at channel k of the first pixel. */
static inline void te_grad_weight_tap(const te_conv2d *p, int32_t shift, const te_grad *d_y,
                                      const int8_t *x, int32_t ky, int32_t kx, int32_t *d_w)
{
    const te_window *g = &p->window;
    const int32_t dy = ky * g->dilation_h - g->pad_top, dx = kx * g->dilation_w - g->pad_left;
    const te_span ys = te_reach(dy, g->stride_h, g->in_h, g->out_h);
    const te_span xs = te_reach(dx, g->stride_w, g->in_w, g->out_w);
    te_grad_rows rows;
    int32_t total = 0;
    rows.count = 0;
    for (int32_t oy = ys.first; oy < ys.end; oy++) {
        for (int32_t ox = xs.first; ox < xs.end; ox++) {
            const int32_t d =
                te_rounding_shift(d_y[(oy * g->out_w + ox) * p->out_c], shift);
            const int32_t at = (oy * g->stride_h + dy) * g->in_w + ox * g->stride_w + dx;
            total += d;
            if (d != 0 && te_grad_push(&rows, d, at)) {
                te_grad_apply(&rows, d_w, x, p->in_c);
                rows.count = 0;
            }
        }
    }
    te_grad_apply(&rows, d_w, x, p->in_c);
    for (int32_t c = 0; c < p->in_c; c++) {
        d_w[c] -= total * p->in_zero;
    }
}

static inline void te_conv2d_bwd_weight_grad(const te_conv2d *p, int32_t shift, const te_grad *d_y,
                                             const int8_t *x, int32_t k0, int32_t k1,
                                             int32_t *d_w)
{
    for (int32_t k = k0; k < k1; k++) {
        for (int32_t ky = 0; ky < p->window.kernel_h; ky++) {
            for (int32_t kx = 0; kx < p->window.kernel_w; kx++) {
                memset(d_w, 0, (size_t)p->in_c * sizeof *d_w);
                te_grad_weight_tap(p, shift, d_y + k, x, ky, kx, d_w);
                d_w += p->in_c;
            }
        }
    }
}

#endif
