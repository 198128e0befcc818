/* te_mve_pools.h - integer gradients of pools on Helium, four channels at a time; see
 * te_grad_pools.h.
 */
#ifndef TE_MVE_POOLS_H
#define TE_MVE_POOLS_H

#include "te_grad_pools.h"
#include "te_mve_grad.h"

#if TE_HAS_MVE

enum { TE_READERS = 64 };

/* An output that reads an input: its first gradient, its share, and for maxima the window's real
 * pixels: `rows` of `taps`; `before` of them come before the input. */
typedef struct te_reading {
    const te_grad *d;
    int32_t share;
    const int8_t *x;
    int32_t rows, taps, before;
} te_reading;

static inline int te_pool_lists(const te_pool *p)
{
    return p->window.kernel_h * p->window.kernel_w <= TE_READERS;
}

/* The outputs that read input (iy, ix), and where they are: (first, end) is (oy, ox). Returns their
 * number. */
static inline int32_t te_list_readers(const te_pool *p, const te_grad *d_y, int32_t iy,
                                      int32_t ix, te_reading *to, te_span *where)
{
    const te_window *g = &p->window;
    int32_t n = 0;
    for (int32_t ky = 0; ky < g->kernel_h; ky++) {
        const int32_t oy = te_reader(iy + g->pad_top - ky * g->dilation_h, g->stride_h, g->out_h);
        for (int32_t kx = 0; oy >= 0 && kx < g->kernel_w; kx++) {
            const int32_t ox =
                te_reader(ix + g->pad_left - kx * g->dilation_w, g->stride_w, g->out_w);
            if (ox >= 0) {
                where[n].first = oy, where[n].end = ox;
                to[n++].d = d_y + (oy * g->out_w + ox) * p->channels;
            }
        }
    }
    return n;
}

TE_INLINE void te_put_4(te_grad_range *range, int32x4_t q, mve_pred16_t some, te_grad *d_x)
{
    *range = te_ranged(*range, q);
    te_store_4_p(d_x, te_limited_4(q), some);
}

static inline void te_avg_pool_gradient(const te_pool_grad *p, const te_grad *d_y,
                                        const int32_t *e_d, int32_t *state, te_grad *d_x,
                                        int32_t *e)
{
    const te_pool *pool = &p->pool;
    te_output_grad out = te_grad_begin(state, e);
    const te_grad_scale by = te_grad_scale_of(p->factor.multiplier,
                                              te_grad_shift(p->factor.shift, e_d, &out));
    te_grad_range range = te_range_begin();
    te_reading readings[TE_READERS];
    te_span where[TE_READERS];
    for (int32_t i = 0; i < pool->window.in_h * pool->window.in_w; i++, d_x += pool->channels) {
        const int32_t iy = i / pool->window.in_w, ix = i % pool->window.in_w;
        const int32_t n = te_list_readers(pool, d_y, iy, ix, readings, where);
        for (int32_t j = 0; j < n; j++) {
            readings[j].share = te_grad_share(p, where[j].first, where[j].end);
        }
        for (int32_t c = 0; c < pool->channels; c += 4) {
            const mve_pred16_t some = vctp32q((uint32_t)(pool->channels - c));
            int32x4_t sum = vdupq_n_s32(0);
            for (int32_t j = 0; j < n; j++) {
                sum = vmlaq_n_s32(sum, te_load_4_z(readings[j].d + c, some), readings[j].share);
            }
            te_put_4(&range, te_grad_scaled(sum, &by, 0), some, d_x + c);
        }
    }
    out.peak = te_range_peak(&range);
    te_grad_end(&out, state);
}

/* The real pixels of the window of output (oy, ox), around input (iy, ix). */
static inline void te_view_window(const te_pool *p, const int8_t *x, te_span at, int32_t iy,
                                  int32_t ix, te_reading *to)
{
    const te_window *g = &p->window;
    const te_span ys = te_taps_h(g, at.first), xs = te_taps_w(g, at.end);
    const int32_t top = at.first * g->stride_h - g->pad_top + ys.first;
    const int32_t left = at.end * g->stride_w - g->pad_left + xs.first;
    to->x = x + (top * g->in_w + left) * p->channels;
    to->rows = ys.end - ys.first, to->taps = xs.end - xs.first;
    to->before = (iy - top) * to->taps + ix - left;
}

/* Where `here` is larger than what comes before it and not less than what follows. */
TE_INLINE mve_pred16_t te_wins(const te_pool *p, const te_reading *r, int32x4_t here, int32_t c,
                               mve_pred16_t some)
{
    int32_t before = r->before;
    for (int32_t row = 0; row < r->rows; row++) {
        const int8_t *x = r->x + row * p->window.in_w * p->channels + c;
        for (int32_t tap = r->taps; tap > 0; tap--, x += p->channels) {
            const int32x4_t other = vldrbq_z_s32(x, some);
            some = before-- > 0 ? vcmpgtq_m_s32(here, other, some)
                                : vcmpgeq_m_s32(here, other, some);
        }
    }
    return some;
}

static inline void te_max_pool_gradient(const te_pool *p, const te_grad *d_y, const int8_t *x,
                                        const int32_t *e_d, int32_t *state, te_grad *d_x,
                                        int32_t *e)
{
    te_output_grad out = te_grad_begin(state, e);
    const int32_t shift = te_grad_align(e_d, &out);
    te_grad_range range = te_range_begin();
    te_reading readings[TE_READERS];
    te_span where[TE_READERS];
    for (int32_t i = 0; i < p->window.in_h * p->window.in_w; i++, d_x += p->channels) {
        const int32_t iy = i / p->window.in_w, ix = i % p->window.in_w;
        const int32_t n = te_list_readers(p, d_y, iy, ix, readings, where);
        for (int32_t j = 0; j < n; j++) {
            te_view_window(p, x, where[j], iy, ix, &readings[j]);
        }
        for (int32_t c = 0; c < p->channels; c += 4) {
            const mve_pred16_t some = vctp32q((uint32_t)(p->channels - c));
            const int32x4_t here = vldrbq_z_s32(x + i * p->channels + c, some);
            int32x4_t sum = vdupq_n_s32(0);
            for (int32_t j = 0; j < n; j++) {
                const mve_pred16_t won = te_wins(p, &readings[j], here, c, some);
                sum = vaddq_s32(sum, te_load_4_z(readings[j].d + c, won));
            }
            sum = shift < 0 ? te_rounded_4(sum, shift) : vqshlq_r_s32(sum, shift);
            te_put_4(&range, sum, some, d_x + c);
        }
    }
    out.peak = te_range_peak(&range);
    te_grad_end(&out, state);
}

#endif
#endif
