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

static inline void te_avg_pool_bwd_grad(const te_pool_grad *p, const te_grad *d_y,
                                        const int32_t *e_d, int32_t *state, te_grad *d_x,
                                        int32_t *e, int32_t *scratch)
{
    te_output_grad out = te_grad_begin(state, e);
    const int32_t shift = te_grad_shift(p->factor.shift, e_d, &out);
    for (int32_t iy = 0; iy < p->pool.window.in_h; iy++) {
        for (int32_t ix = 0; ix < p->pool.window.in_w; ix++) {
            memset(scratch, 0, (size_t)p->pool.channels * sizeof *scratch);
            te_grad_gather_shares(p, iy, ix, d_y, scratch);
            for (int32_t c = 0; c < p->pool.channels; c++) {
                *d_x++ = te_grad_put(&out,
                                     te_requantise(scratch[c], p->factor.multiplier, shift));
            }
        }
    }
    te_grad_end(&out, state);
}

/* Offset of the first largest pixel of channel 0 of x within one window. */
static inline int32_t te_grad_first_largest(const te_pool *p, const int8_t *x, int32_t oy,
                                            int32_t ox)
{
    const te_window *g = &p->window;
    const te_span ys = te_taps_h(g, oy), xs = te_taps_w(g, ox);
    const int32_t top = oy * g->stride_h - g->pad_top, left = ox * g->stride_w - g->pad_left;
    int32_t best = -1;
    for (int32_t iy = top + ys.first; iy < top + ys.end; iy++) {
        for (int32_t ix = left + xs.first; ix < left + xs.end; ix++) {
            const int32_t at = (iy * g->in_w + ix) * p->channels;
            best = best < 0 || x[at] > x[best] ? at : best;
        }
    }
    return best;
}

/* The sum of d_y over the windows whose first largest pixel is (iy, ix), for channel 0 of x. */
static inline int32_t te_grad_won(const te_pool *p, const te_grad *d_y, const int8_t *x,
                                  int32_t iy, int32_t ix)
{
    const te_window *g = &p->window;
    const int32_t here = (iy * g->in_w + ix) * p->channels;
    int32_t sum = 0;
    for (int32_t ky = 0; ky < g->kernel_h; ky++) {
        const int32_t oy = te_reader(iy + g->pad_top - ky, g->stride_h, g->out_h);
        for (int32_t kx = 0; oy >= 0 && kx < g->kernel_w; kx++) {
            const int32_t ox = te_reader(ix + g->pad_left - kx, g->stride_w, g->out_w);
            if (ox >= 0 && te_grad_first_largest(p, x, oy, ox) == here) {
                sum += d_y[(oy * g->out_w + ox) * p->channels];
            }
        }
    }
    return sum;
}

static inline void te_max_pool_bwd_grad(const te_pool *p, const te_grad *d_y, const int8_t *x,
                                        const int32_t *e_d, int32_t *state, te_grad *d_x,
                                        int32_t *e)
{
    te_output_grad out = te_grad_begin(state, e);
    const int32_t shift = te_grad_align(e_d, &out);
    for (int32_t iy = 0; iy < p->window.in_h; iy++) {
        for (int32_t ix = 0; ix < p->window.in_w; ix++) {
            for (int32_t c = 0; c < p->channels; c++) {
                const int32_t sum = te_grad_won(p, d_y + c, x + c, iy, ix);
                *d_x++ = te_grad_put(&out, te_grad_shifted(sum, shift));
            }
        }
    }
    te_grad_end(&out, state);
}

#endif
