/* te_grad_pools.h - bodies of the integer gradient kernels of pools. */
#ifndef TE_GRAD_POOLS_H
#define TE_GRAD_POOLS_H

#include <string.h>

#include "te_grad.h"

/* round(2^bits / the number of real pixels that output (oy, ox) averages) */
static inline int32_t te_grad_share(const te_pool_grad *p, int32_t oy, int32_t ox)
{
    const te_span ys = te_taps_h(&p->pool.window, oy), xs = te_taps_w(&p->pool.window, ox);
    return ((2 << p->bits) / ((ys.end - ys.first) * (xs.end - xs.first)) + 1) / 2;
}

/* Every output that reads input (iy, ix) adds its share to sum. */
static inline void te_grad_gather_shares(const te_pool_grad *p, int32_t iy, int32_t ix,
                                         const te_grad *d_y, int32_t *restrict sum)
{
    const te_window *g = &p->pool.window;
    const int32_t n = p->pool.channels;
    for (int32_t ky = 0; ky < g->kernel_h; ky++) {
        const int32_t oy = te_reader(iy + g->pad_top - ky * g->dilation_h, g->stride_h, g->out_h);
        for (int32_t kx = 0; oy >= 0 && kx < g->kernel_w; kx++) {
            const int32_t ox =
                te_reader(ix + g->pad_left - kx * g->dilation_w, g->stride_w, g->out_w);
            if (ox >= 0) {
                const int32_t share = te_grad_share(p, oy, ox);
                const te_grad *restrict d = d_y + (oy * g->out_w + ox) * n;
                for (int32_t c = 0; c < n; c++) {
                    sum[c] += d[c] * share;
                }
            }
        }
    }
}

/* Whether no input is read twice. */
static inline int te_grad_is_disjoint(const te_window *g)
{
    return g->stride_h >= g->kernel_h && g->stride_w >= g->kernel_w && g->dilation_h == 1 &&
           g->dilation_w == 1;
}

/* Zeros, if disjoint windows leave some input out. */
static inline void te_grad_clear_gaps(const te_pool *p, te_grad *d_x)
{
    const te_window *g = &p->window;
    const int is_whole = g->stride_h == g->kernel_h && g->stride_w == g->kernel_w &&
                         g->out_h * g->stride_h - g->pad_top >= g->in_h &&
                         g->out_w * g->stride_w - g->pad_left >= g->in_w;
    if (!is_whole) {
        memset(d_x, 0, (size_t)(g->in_h * g->in_w * p->channels) * sizeof *d_x);
    }
}

/* The real inputs of one output: the first one's number, lines, columns. */
typedef struct te_grad_patch {
    int32_t first, lines, columns;
} te_grad_patch;

static inline te_grad_patch te_grad_patch_of(const te_window *g, int32_t oy, int32_t ox)
{
    const te_span ys = te_taps_h(g, oy), xs = te_taps_w(g, ox);
    const int32_t iy = oy * g->stride_h - g->pad_top + ys.first;
    const int32_t ix = ox * g->stride_w - g->pad_left + xs.first;
    const te_grad_patch patch = {iy * g->in_w + ix, ys.end - ys.first, xs.end - xs.first};
    return patch;
}

/* Two numbers at a time; no call, since small libraries copy byte by byte. */
static inline void te_grad_copy(te_grad *to, const te_grad *from, int32_t n)
{
    for (; n >= 2; n -= 2, to += 2, from += 2) {
        memcpy(to, from, 2 * sizeof *to);
        __asm__ volatile("" : : : "memory"); /* stays a loop */
    }
    if (n > 0) {
        *to = *from;
    }
}

/* The first input's gradients at all others of a patch. */
static inline void te_grad_copy_patch(te_grad_patch at, int32_t n, int32_t line, te_grad *first)
{
    te_grad *to = first;
    for (int32_t i = 0; i < at.lines; i++, to += line) {
        for (int32_t j = i == 0 ? 1 : 0; j < at.columns; j++) {
            te_grad_copy(to + j * n, first, n);
        }
    }
}

static inline void te_avg_pool_bwd_disjoint(const te_pool_grad *p, const te_grad *d_y,
                                            int32_t shift, te_output_grad *out, te_grad *d_x)
{
    const te_window *g = &p->pool.window;
    const int32_t n = p->pool.channels;
    te_grad_clear_gaps(&p->pool, d_x);
    for (int32_t oy = 0; oy < g->out_h; oy++) {
        for (int32_t ox = 0; ox < g->out_w; ox++, d_y += n) {
            const te_grad_patch at = te_grad_patch_of(g, oy, ox);
            const int32_t share = te_grad_share(p, oy, ox);
            te_grad *const to = d_x + at.first * n;
            for (int32_t c = 0; c < n; c++) {
                const int32_t sum = d_y[c] * share;
                to[c] = te_grad_put(out, te_requantise(sum, p->factor.multiplier, shift));
            }
            te_grad_copy_patch(at, n, g->in_w * n, to);
        }
    }
}

static inline void te_avg_pool_bwd_any(const te_pool_grad *p, const te_grad *d_y, int32_t shift,
                                       te_output_grad *out, te_grad *d_x, int32_t *scratch)
{
    for (int32_t iy = 0; iy < p->pool.window.in_h; iy++) {
        for (int32_t ix = 0; ix < p->pool.window.in_w; ix++) {
            memset(scratch, 0, (size_t)p->pool.channels * sizeof *scratch);
            te_grad_gather_shares(p, iy, ix, d_y, scratch);
            for (int32_t c = 0; c < p->pool.channels; c++) {
                *d_x++ =
                    te_grad_put(out, te_requantise(scratch[c], p->factor.multiplier, shift));
            }
        }
    }
}

static inline void te_avg_pool_bwd_grad(const te_pool_grad *p, const te_grad *d_y,
                                        const int32_t *e_d, int32_t *state, te_grad *d_x,
                                        int32_t *e, int32_t *scratch)
{
    te_output_grad out = te_grad_begin(state, e);
    const int32_t shift = te_grad_shift(p->factor.shift, e_d, &out);
    if (te_grad_is_disjoint(&p->pool.window)) {
        te_avg_pool_bwd_disjoint(p, d_y, shift, &out, d_x);
    } else {
        te_avg_pool_bwd_any(p, d_y, shift, &out, d_x, scratch);
    }
    te_grad_end(&out, state);
}

/* Whether pixel (iy, ix) of channel 0 of x is the first largest one that output (oy, ox) sees. */
static inline int te_grad_wins(const te_pool *p, const int8_t *x, int32_t here, int32_t oy,
                               int32_t ox)
{
    const te_window *g = &p->window;
    const te_grad_patch patch = te_grad_patch_of(g, oy, ox);
    const int8_t *const mine = x + here * p->channels;
    const int8_t *at = x + patch.first * p->channels;
    for (int32_t i = 0; i < patch.lines; i++, at += (g->in_w - patch.columns) * p->channels) {
        for (int32_t j = 0; j < patch.columns; j++, at += p->channels) {
            if (*at > *mine || (*at == *mine && at < mine)) {
                return 0;
            }
        }
    }
    return 1;
}

/* The sum of d_y over the windows whose first largest pixel is (iy, ix), for channel 0 of x. */
static inline int32_t te_grad_won(const te_pool *p, const te_grad *d_y, const int8_t *x,
                                  int32_t iy, int32_t ix)
{
    const te_window *g = &p->window;
    int32_t sum = 0;
    for (int32_t ky = 0; ky < g->kernel_h; ky++) {
        const int32_t oy = te_reader(iy + g->pad_top - ky, g->stride_h, g->out_h);
        for (int32_t kx = 0; oy >= 0 && kx < g->kernel_w; kx++) {
            const int32_t ox = te_reader(ix + g->pad_left - kx, g->stride_w, g->out_w);
            if (ox >= 0 && te_grad_wins(p, x, iy * g->in_w + ix, oy, ox)) {
                sum += d_y[(oy * g->out_w + ox) * p->channels];
            }
        }
    }
    return sum;
}

static inline void te_max_pool_bwd_any(const te_pool *p, const te_grad *d_y, const int8_t *x,
                                       int32_t shift, te_output_grad *out, te_grad *d_x)
{
    for (int32_t iy = 0; iy < p->window.in_h; iy++) {
        for (int32_t ix = 0; ix < p->window.in_w; ix++) {
            for (int32_t c = 0; c < p->channels; c++) {
                const int32_t sum = te_grad_won(p, d_y + c, x + c, iy, ix);
                *d_x++ = te_grad_put(out, te_grad_shifted(sum, shift));
            }
        }
    }
}

/* q at the first largest input of a patch, zeros at the others, one channel. */
static inline void te_grad_put_largest(te_grad_patch at, int32_t step, int32_t line, te_grad q,
                                       const int8_t *x, te_grad *d_x)
{
    int32_t largest = INT8_MIN - 1, place = 0;
    for (int32_t start = 0; at.lines > 0; at.lines--, start += line) {
        const int32_t end = start + at.columns * step;
        for (int32_t i = start; i != end; i += step) {
            const int32_t value = x[i];
            d_x[i] = 0;
            if (value > largest) {
                largest = value;
                place = i;
            }
        }
    }
    d_x[place] = q;
}

static inline void te_max_pool_bwd_disjoint(const te_pool *p, const te_grad *d_y, const int8_t *x,
                                            int32_t shift, te_output_grad *out, te_grad *d_x)
{
    const te_window *g = &p->window;
    const int32_t n = p->channels, line = g->in_w * n;
    te_grad_clear_gaps(p, d_x);
    for (int32_t oy = 0; oy < g->out_h; oy++) {
        for (int32_t ox = 0; ox < g->out_w; ox++, d_y += n) {
            const te_grad_patch at = te_grad_patch_of(g, oy, ox);
            const int32_t first = at.first * n;
            for (int32_t c = 0; c < n; c++) {
                const te_grad q = te_grad_put(out, te_grad_shifted(d_y[c], shift));
                te_grad_put_largest(at, n, line, q, x + first + c, d_x + first + c);
            }
        }
    }
}

static inline void te_max_pool_bwd_grad(const te_pool *p, const te_grad *d_y, const int8_t *x,
                                        const int32_t *e_d, int32_t *state, te_grad *d_x,
                                        int32_t *e)
{
    te_output_grad out = te_grad_begin(state, e);
    const int32_t shift = te_grad_align(e_d, &out);
    if (te_grad_is_disjoint(&p->window)) {
        te_max_pool_bwd_disjoint(p, d_y, x, shift, &out, d_x);
    } else {
        te_max_pool_bwd_any(p, d_y, x, shift, &out, d_x);
    }
    te_grad_end(&out, state);
}

#endif
