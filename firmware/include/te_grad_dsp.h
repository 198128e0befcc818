/* te_grad_dsp.h - input gradient of a pointwise convolution with SMLAD, for both formats.
 *
 * Two pixels and four input channels at a time. The scaled gradients d' of both pixels are first
 * listed in scratch, two output channels to a pair, without those that are zero at both (most of a
 * masked gradient); two rows of weights are unpacked and woven into pairs once for both pixels.
 * Sums are exact, so their order does not show.
 */
#ifndef TE_GRAD_DSP_H
#define TE_GRAD_DSP_H

#include "te_dsp.h"
#include "te_grad_conv.h"

/* A pair: where the rows of output channels k and l start, and of each pixel the halves
 * (d'[k], d'[l]). An odd last one has l = k and a half of 0. */
enum { TE_GRAD_PIXELS = 2, TE_GRAD_COLUMNS = 4, TE_GRAD_PAIR_WORDS = 4 };

/* Two pixels in the making. */
typedef struct te_grad_pair {
    const te_conv2d_grad *p;
    const te_grad *d_y;
    const int16_t *scale;
    int32_t *pairs;
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

/* Lists the output channels at which either pixel has a gradient, two to a pair; returns the end of
 * the list. d_y: of the first pixel; the second counts if pixels is 2. stride: of a weight row. */
static inline const int32_t *te_grad_make_pairs(const te_conv2d_grad *p, const te_grad *d_y,
                                         int32_t pixels, const int16_t *scale, int32_t stride,
                                         int32_t *pairs)
{
    const int32_t n = p->conv.out_c;
    int32_t count = 0; /* of channels */
    for (int32_t k = 0; k < n; k++) {
        const int32_t d0 = te_grad_scaled(p, d_y, scale, k);
        const int32_t d1 = pixels == TE_GRAD_PIXELS ? te_grad_scaled(p, d_y + n, scale, k) : 0;
        if ((d0 | d1) == 0) {
            continue;
        }
        int32_t *pair = pairs + count / 2 * TE_GRAD_PAIR_WORDS;
        if (count % 2 == 0) {
            pair[0] = pair[1] = k * stride;
            pair[2] = te_low_halves(d0, 0);
            pair[3] = te_low_halves(d1, 0);
        } else {
            pair[1] = k * stride;
            pair[2] = te_low_halves(pair[2], d0);
            pair[3] = te_low_halves(pair[3], d1);
        }
        count++;
    }
    return pairs + (count + 1) / 2 * TE_GRAD_PAIR_WORDS;
}

/* Sums of both pixels for the four channels at w: sums[0..3], sums[4..7]. Out of line: the loop
 * needs every register. */
__attribute__((noinline, unused)) static void te_grad_dot_8(const int8_t *w, const int32_t *pair,
                                                            const int32_t *end, int32_t *sums)
{
    int32_t a0 = 0, a1 = 0, a2 = 0, a3 = 0, b0 = 0, b1 = 0, b2 = 0, b3 = 0;
    for (; pair != end; pair += TE_GRAD_PAIR_WORDS) {
        const uint32_t u = te_load(w + pair[0]), v = te_load(w + pair[1]);
        const int32_t even_u = te_sxtab16(0, u), even_v = te_sxtab16(0, v);
        const int32_t w0 = te_low_halves(even_u, even_v), w2 = te_high_halves(even_u, even_v);
        a0 = te_smlad(pair[2], w0, a0);
        b0 = te_smlad(pair[3], w0, b0);
        a2 = te_smlad(pair[2], w2, a2);
        b2 = te_smlad(pair[3], w2, b2);
        const int32_t odd_u = te_sxtab16_odd(0, u), odd_v = te_sxtab16_odd(0, v);
        const int32_t w1 = te_low_halves(odd_u, odd_v), w3 = te_high_halves(odd_u, odd_v);
        a1 = te_smlad(pair[2], w1, a1);
        b1 = te_smlad(pair[3], w1, b1);
        a3 = te_smlad(pair[2], w3, a3);
        b3 = te_smlad(pair[3], w3, b3);
    }
    const int32_t all[TE_GRAD_PIXELS * TE_GRAD_COLUMNS] = {a0, a1, a2, a3, b0, b1, b2, b3};
    memcpy(sums, all, sizeof all);
}

/* Both pixels for the one channel at w. */
static inline void te_grad_dot_2(const int8_t *w, const int32_t *pair, const int32_t *end,
                                 int32_t *sums)
{
    int32_t a = 0, b = 0;
    for (; pair != end; pair += TE_GRAD_PAIR_WORDS) {
        const int32_t both = te_low_halves(w[pair[0]], w[pair[1]]);
        a = te_smlad(pair[2], both, a);
        b = te_smlad(pair[3], both, b);
    }
    sums[0] = a;
    sums[TE_GRAD_COLUMNS] = b;
}

/* `columns` channels of d_x from `first` on, whose weights are rows of that many. */
static inline void te_grad_columns(const te_grad_pair *s, const int8_t *w, int32_t columns,
                                   int32_t first, te_output_grad *out)
{
    const te_conv2d *conv = &s->p->conv;
    const int32_t *const pairs = s->pairs;
    const int32_t *const end =
        te_grad_make_pairs(s->p, s->d_y, s->pixels, s->scale, columns, s->pairs);
    int32_t sums[TE_GRAD_PIXELS * TE_GRAD_COLUMNS];
    for (int32_t c = 0; c < columns;) {
        int32_t n = 1;
        if (c + TE_GRAD_COLUMNS <= columns) {
            te_grad_dot_8(w + c, pairs, end, sums);
            n = TE_GRAD_COLUMNS;
        } else {
            te_grad_dot_2(w + c, pairs, end, sums);
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
    te_grad_pair s = {p, d_y, scale, scratch, d_x, 0, 0};
    s.shift = te_grad_shift(p->factor.shift, e_d, &out);
    for (int32_t i = 0; i < pixels; i += TE_GRAD_PIXELS) {
        s.pixels = te_min(TE_GRAD_PIXELS, pixels - i);
        s.d_x = d_x + i * conv->in_c;
        s.d_y = d_y + i * conv->out_c;
        te_grad_columns(&s, weight, conv->learn_c, 0, &out);
        if (frozen != NULL) {
            te_grad_columns(&s, frozen, conv->in_c - conv->learn_c, conv->learn_c, &out);
        }
    }
    te_grad_end(&out, state);
}

#endif
