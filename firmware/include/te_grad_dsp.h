/* te_grad_dsp.h - input gradient of a pointwise convolution with SMLAD, for both formats.
 *
 * Two pixels and four input channels at a time. The scaled gradients d' of both pixels are first
 * laid side by side in scratch as pairs (k, k + 1); rows k and k + 1 of the weights are unpacked
 * and woven into pairs once for both. 22 instructions for 16 products, and what the registers do
 * not hold. Sums are exact, so their order does not show.
 */
#ifndef TE_GRAD_DSP_H
#define TE_GRAD_DSP_H

#include "te_dsp.h"
#include "te_grad_conv.h"

enum { TE_GRAD_PIXELS = 2, TE_GRAD_COLUMNS = 4 };

/* Two pixels in the making. */
typedef struct te_grad_pair {
    const te_conv2d_grad *p;
    const int32_t *pairs;
    te_grad *d_x;
    int32_t pixels; /* 1 or 2 that count */
    int32_t shift;
} te_grad_pair;

static inline int te_grad_is_pointwise(const te_window *g)
{
    return g->kernel_h == 1 && g->kernel_w == 1 && g->stride_h == 1 && g->stride_w == 1 &&
           g->pad_top == 0 && g->pad_left == 0 && g->in_h == g->out_h && g->in_w == g->out_w;
}

/* d' of one output channel */
static inline int32_t te_grad_scaled(const te_conv2d_grad *p, const te_grad *d_y,
                                     const int16_t *scale, int32_t k)
{
    return te_shift_floor(d_y[k] * scale[k] + (1 << (p->bits - 1)), p->bits);
}

static inline void te_grad_make_pairs(const te_conv2d_grad *p, const te_grad *d_y, int32_t pixels,
                                      const int16_t *scale, int32_t *pairs)
{
    const int32_t n = p->conv.out_c;
    for (int32_t i = 0; i < pixels; i++) {
        const te_grad *d = d_y + i * n;
        for (int32_t k = 0; k + 1 < n; k += 2) {
            pairs[k + i] =
                te_low_halves(te_grad_scaled(p, d, scale, k), te_grad_scaled(p, d, scale, k + 1));
        }
        if (n % 2 != 0) {
            pairs[n - 1 + i] = te_low_halves(te_grad_scaled(p, d, scale, n - 1), 0);
        }
    }
    if (pixels == 1) {
        for (int32_t k = 0; k < n; k += 2) {
            pairs[k + 1] = 0;
        }
    }
}

/* Sums of both pixels for the four channels at w: sums[0..3], sums[4..7]. */
static inline void te_grad_dot_8(const int8_t *w, int32_t stride, int32_t out_c,
                                 const int32_t *pairs, int32_t *sums)
{
    int32_t a0 = 0, a1 = 0, a2 = 0, a3 = 0, b0 = 0, b1 = 0, b2 = 0, b3 = 0;
    const int32_t *const end = pairs + (out_c & ~1);
    for (; pairs != end; pairs += 2, w += 2 * stride) {
        const uint32_t u = te_load(w), v = te_load(w + stride);
        const int32_t even_u = te_sxtab16(0, u), even_v = te_sxtab16(0, v);
        const int32_t w0 = te_low_halves(even_u, even_v), w2 = te_high_halves(even_u, even_v);
        a0 = te_smlad(pairs[0], w0, a0);
        b0 = te_smlad(pairs[1], w0, b0);
        a2 = te_smlad(pairs[0], w2, a2);
        b2 = te_smlad(pairs[1], w2, b2);
        const int32_t odd_u = te_sxtab16_odd(0, u), odd_v = te_sxtab16_odd(0, v);
        const int32_t w1 = te_low_halves(odd_u, odd_v), w3 = te_high_halves(odd_u, odd_v);
        a1 = te_smlad(pairs[0], w1, a1);
        b1 = te_smlad(pairs[1], w1, b1);
        a3 = te_smlad(pairs[0], w3, a3);
        b3 = te_smlad(pairs[1], w3, b3);
    }
    if (out_c % 2 != 0) {
        a0 = te_smlabb(pairs[0], w[0], a0);
        a1 = te_smlabb(pairs[0], w[1], a1);
        a2 = te_smlabb(pairs[0], w[2], a2);
        a3 = te_smlabb(pairs[0], w[3], a3);
        b0 = te_smlabb(pairs[1], w[0], b0);
        b1 = te_smlabb(pairs[1], w[1], b1);
        b2 = te_smlabb(pairs[1], w[2], b2);
        b3 = te_smlabb(pairs[1], w[3], b3);
    }
    sums[0] = a0, sums[1] = a1, sums[2] = a2, sums[3] = a3;
    sums[4] = b0, sums[5] = b1, sums[6] = b2, sums[7] = b3;
}

/* Both pixels for the one channel at w. */
static inline void te_grad_dot_2(const int8_t *w, int32_t stride, int32_t out_c,
                                 const int32_t *pairs, int32_t *sums)
{
    sums[0] = 0;
    sums[TE_GRAD_COLUMNS] = 0;
    for (int32_t k = 0; k < out_c; k++, w += stride) {
        const int32_t *pair = pairs + (k & ~1);
        for (int32_t i = 0; i < TE_GRAD_PIXELS; i++) {
            const int32_t d = k % 2 == 0 ? te_smlabb(pair[i], *w, 0) : te_smlatb(pair[i], *w, 0);
            sums[i * TE_GRAD_COLUMNS] += d;
        }
    }
}

/* `columns` channels of d_x from `first` on, whose weights are rows of that many. */
static inline void te_grad_columns(const te_grad_pair *s, const int8_t *w, int32_t columns,
                                   int32_t first, te_output_grad *out)
{
    const te_conv2d *conv = &s->p->conv;
    int32_t sums[TE_GRAD_PIXELS * TE_GRAD_COLUMNS];
    for (int32_t c = 0; c < columns;) {
        int32_t n = 1;
        if (c + TE_GRAD_COLUMNS <= columns) {
            te_grad_dot_8(w + c, columns, conv->out_c, s->pairs, sums);
            n = TE_GRAD_COLUMNS;
        } else {
            te_grad_dot_2(w + c, columns, conv->out_c, s->pairs, sums);
        }
        for (int32_t i = 0; i < s->pixels; i++) {
            te_grad *d_x = s->d_x + i * conv->in_c + first + c;
            for (int32_t j = 0; j < n; j++) {
                const int32_t q = te_requantise(sums[i * TE_GRAD_COLUMNS + j],
                                                s->p->factor.multiplier, s->shift);
                d_x[j] = te_grad_put(out, q);
            }
        }
        c += n;
    }
}

static inline void te_conv2d_bwd_input_dsp(const te_conv2d_grad *p, const te_grad *d_y,
                                           const int8_t *weight, const int16_t *scale,
                                           const int8_t *frozen, const int32_t *e_d,
                                           int32_t *state, te_grad *d_x, int32_t *e,
                                           int32_t *scratch)
{
    const te_conv2d *conv = &p->conv;
    const int32_t pixels = conv->window.in_h * conv->window.in_w;
    te_output_grad out = te_grad_begin(state, e);
    te_grad_pair s = {p, scratch, d_x, 0, te_grad_shift(p->factor.shift, e_d, &out)};
    for (int32_t i = 0; i < pixels; i += TE_GRAD_PIXELS) {
        s.pixels = te_min(TE_GRAD_PIXELS, pixels - i);
        s.d_x = d_x + i * conv->in_c;
        te_grad_make_pairs(p, d_y + i * conv->out_c, s.pixels, scale, scratch);
        te_grad_columns(&s, weight, conv->learn_c, 0, &out);
        if (frozen != NULL) {
            te_grad_columns(&s, frozen, conv->in_c - conv->learn_c, conv->learn_c, &out);
        }
    }
    te_grad_end(&out, state);
}

#endif
