/* te_conv2d_s8.c - see te_kernels_s8.h. Four output channels share each load of x. */
#include <stddef.h>

#include "te_fixed.h"
#include "te_kernels_s8.h"

enum { TE_ROWS = 4 };

/* What turns the sum of output channel k into its int8 value. */
typedef struct te_scaling {
    const int32_t *bias, *multiplier, *shift;
    int32_t lo, hi, zero; /* limits before the zero point is added */
} te_scaling;

typedef struct te_sums {
    int32_t a0, a1, a2, a3;
} te_sums;

/* One output pixel: the kernel positions that see real pixels, and the input of position (0, 0). */
typedef struct te_patch {
    te_span ys, xs;
    int32_t y, x;
} te_patch;

/* Adds n products to each of four sums; the weight rows are `row` apart. */
static inline te_sums te_dot_4(te_sums s, const int8_t *x, const int8_t *w0, int32_t row, int32_t n,
                               int32_t zero)
{
    const int8_t *w1 = w0 + row, *w2 = w1 + row, *w3 = w2 + row;
    for (int32_t i = 0; i < n; i++) {
        const int16_t centred = (int16_t)(x[i] - zero);
        s.a0 += centred * (int16_t)w0[i];
        s.a1 += centred * (int16_t)w1[i];
        s.a2 += centred * (int16_t)w2[i];
        s.a3 += centred * (int16_t)w3[i];
    }
    return s;
}

static inline int8_t te_scaled(const te_scaling *f, int32_t sum, int32_t k)
{
    const int32_t q =
        te_requantise(te_add_sat(sum, f->bias[k]), f->multiplier[k], f->shift[k]);
    return (int8_t)(te_clamp(q, f->lo, f->hi) + f->zero);
}

static inline void te_store(const te_scaling *f, te_sums s, int32_t k, int32_t count, int8_t *y)
{
    y[k] = te_scaled(f, s.a0, k);
    if (count == TE_ROWS) {
        y[k + 1] = te_scaled(f, s.a1, k + 1);
        y[k + 2] = te_scaled(f, s.a2, k + 2);
        y[k + 3] = te_scaled(f, s.a3, k + 3);
    }
}

/* Channels that one round computes: four, and at the end one by one (the same row four times). */
static inline int32_t te_round(int32_t k, int32_t out_c)
{
    return out_c - k >= TE_ROWS ? TE_ROWS : 1;
}

/* 1x1, stride 1, no padding: every pixel is one run of channels. */
static void te_pointwise(const te_conv2d *p, const te_scaling *f, const int8_t *x,
                         const int8_t *weight, const int8_t *frozen, int8_t *y)
{
    const int32_t learn_c = p->learn_c, rest_c = p->in_c - learn_c, zero = p->in_zero;
    const int32_t out_c = p->out_c;
    for (int32_t pixel = p->window.out_h * p->window.out_w; pixel > 0; pixel--) {
        int32_t count = 0;
        for (int32_t k = 0; k < out_c; k += count) {
            count = te_round(k, out_c);
            const int32_t row = count == TE_ROWS ? 1 : 0;
            te_sums s = {0, 0, 0, 0};
            s = te_dot_4(s, x, weight + k * learn_c, row * learn_c, learn_c, zero);
            if (frozen != NULL) {
                s = te_dot_4(s, x + learn_c, frozen + k * rest_c, row * rest_c, rest_c, zero);
            }
            te_store(f, s, k, count, y);
        }
        x += p->in_c;
        y += out_c;
    }
}

/* Adds the part of one weight tensor with c channels, which meet the input's channels from x on. */
static te_sums te_add_part(te_sums s, const te_conv2d *p, const te_patch *at, const int8_t *x,
                           const int8_t *w, int32_t c, int32_t row)
{
    const te_window *g = &p->window;
    /* neighbouring taps lie side by side in memory: one run per kernel row */
    const int32_t merged = g->dilation_w == 1 && c == p->in_c ? at->xs.end - at->xs.first : 1;
    for (int32_t ky = at->ys.first; ky < at->ys.end; ky++) {
        const int8_t *line = x + (at->y + ky * g->dilation_h) * g->in_w * p->in_c;
        for (int32_t kx = at->xs.first; kx < at->xs.end; kx += merged) {
            s = te_dot_4(s, line + (at->x + kx * g->dilation_w) * p->in_c,
                         w + (ky * g->kernel_w + kx) * c, row, merged * c, p->in_zero);
        }
    }
    return s;
}

/* All output channels of one pixel. */
static void te_pixel(const te_conv2d *p, const te_scaling *f, const te_patch *at, const int8_t *x,
                     const int8_t *weight, const int8_t *frozen, int8_t *y)
{
    const int32_t taps = p->window.kernel_h * p->window.kernel_w;
    const int32_t learned = taps * p->learn_c, rest = taps * (p->in_c - p->learn_c);
    int32_t count = 0;
    for (int32_t k = 0; k < p->out_c; k += count) {
        count = te_round(k, p->out_c);
        const int32_t row = count == TE_ROWS ? 1 : 0;
        te_sums s = {0, 0, 0, 0};
        s = te_add_part(s, p, at, x, weight + k * learned, p->learn_c, row * learned);
        if (frozen != NULL) {
            s = te_add_part(s, p, at, x + p->learn_c, frozen + k * rest, p->in_c - p->learn_c,
                            row * rest);
        }
        te_store(f, s, k, count, y);
    }
}

static inline int te_is_pointwise(const te_window *g)
{
    return g->kernel_h == 1 && g->kernel_w == 1 && g->stride_h == 1 && g->stride_w == 1 &&
           g->in_h == g->out_h && g->in_w == g->out_w;
}

void te_conv2d_s8(const te_conv2d *p, const int8_t *x, const int8_t *weight, const int32_t *bias,
                  const int32_t *multiplier, const int32_t *shift, const int8_t *frozen, int8_t *y)
{
    const te_window *g = &p->window;
    const te_scaling f = {bias, multiplier, shift, p->lo - p->out_zero, p->hi - p->out_zero,
                          p->out_zero};
    if (te_is_pointwise(g)) {
        te_pointwise(p, &f, x, weight, frozen, y);
        return;
    }
    for (int32_t oy = 0; oy < g->out_h; oy++) {
        te_patch at = {te_taps_h(g, oy), {0, 0}, oy * g->stride_h - g->pad_top, 0};
        for (int32_t ox = 0; ox < g->out_w; ox++) {
            at.xs = te_taps_w(g, ox);
            at.x = ox * g->stride_w - g->pad_left;
            te_pixel(p, &f, &at, x, weight, frozen, y);
            y += p->out_c;
        }
    }
}
