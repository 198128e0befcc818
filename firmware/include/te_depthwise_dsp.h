/* te_depthwise_dsp.h - the body of the depthwise DSP kernels, for a kernel size that is constant.
 *
 * Four channels at a time. Each channel's input lines are first laid out in scratch as centred
 * 16-bit numbers with the padding's zeros around them, so that one word holds two neighbours of a
 * line. Weights stand beside them as all pairs of neighbours (w0, w1), (w1, w2), ... Two outputs at
 * stride 1 then share their words: with x01 = (x0, x1), x23 = (x2, x3) and three taps
 *     y0 = x01 . w01 + x2 * w2        SMLAD, SMLABT
 *     y1 = x1 * w0 + x23 . w12        SMLATB, SMLAD
 */
#ifndef TE_DEPTHWISE_DSP_H
#define TE_DEPTHWISE_DSP_H

#include "te_dsp.h"
#include "te_kernels_dsp.h"

enum { TE_CHANNELS = 4 };

/* sizes are constant here, but -O2 leaves loops as they are */
#define TE_UNROLL_7 _Pragma("GCC unroll 7")

typedef struct te_depthwise {
    const te_conv2d_dsp *p;
    const int8_t *x, *weight;
    const int32_t *bias;
    int8_t *y;
    int32_t *pairs; /* four channels' weights */
    int32_t *lines; /* line, channel, column */
    int32_t line;   /* words of one channel's line */
    int32_t size;   /* of the kernel */
} te_depthwise;

/* Words of one channel's line in scratch: what an even number of outputs reads. */
static inline int32_t te_depthwise_line(int32_t out_w, int32_t kernel_w, int32_t stride_w)
{
    const int32_t outputs = (out_w + 1) / 2 * 2;
    return (stride_w * (outputs - 1) + kernel_w + 1) / 2;
}

/* Words of four channels at two neighbouring places, as one word of two halves for each channel. */
static inline void te_store_pairs(int32_t *to, int32_t step, uint32_t a, uint32_t b, int32_t add)
{
    const int32_t even_a = te_sxtab16(add, a), odd_a = te_sxtab16_odd(add, a);
    const int32_t even_b = te_sxtab16(add, b), odd_b = te_sxtab16_odd(add, b);
    to[0] = te_low_halves(even_a, even_b);
    to[step] = te_low_halves(odd_a, odd_b);
    to[2 * step] = te_high_halves(even_a, even_b);
    to[3 * step] = te_high_halves(odd_a, odd_b);
}

static inline void te_pair_weights(const te_depthwise *d, int32_t channel)
{
    const int32_t c = d->p->shape.out_c, words = d->size * (d->size - 1);
    const int8_t *w = d->weight + channel;
    int32_t *to = d->pairs;
    for (int32_t ky = 0; ky < d->size; ky++, w += c) {
        for (int32_t kx = 1; kx < d->size; kx++, w += c) {
            te_store_pairs(to++, words, te_load(w), te_load(w + c), 0);
        }
    }
}

/* One input line of four channels; the columns of padding are 0 already. */
static inline void te_spread_line(const te_depthwise *d, const int8_t *x, int32_t *line)
{
    const te_window *g = &d->p->shape.window;
    const int32_t c = d->p->shape.in_c, minus_zero = te_twice(-d->p->shape.in_zero);
    const uint32_t zero = ((uint32_t)d->p->shape.in_zero & 255u) * 0x1010101u;
    int32_t n = te_min(g->in_w, 2 * d->line - g->pad_left);
    int32_t *to = line + g->pad_left / 2;
    if (g->pad_left % 2 == 1) {
        te_store_pairs(to++, d->line, zero, te_load(x), minus_zero);
        x += c;
        n--;
    }
    for (; n >= 2; n -= 2, x += 2 * c) {
        te_store_pairs(to++, d->line, te_load(x), te_load(x + c), minus_zero);
    }
    if (n > 0) {
        te_store_pairs(to, d->line, te_load(x), zero, minus_zero);
    }
}

static inline void te_clear(int32_t *words, int32_t n)
{
    for (int32_t i = 0; i < n; i++) {
        words[i] = 0;
    }
}

/* The lines that output rows from `row` on read, `count` of them. */
static inline void te_spread_lines(const te_depthwise *d, int32_t channel, int32_t row,
                                   int32_t count)
{
    const te_conv2d *s = &d->p->shape;
    const int32_t first = row * s->window.stride_h - s->window.pad_top;
    int32_t *to = d->lines;
    for (int32_t i = 0; i < count; i++, to += TE_CHANNELS * d->line) {
        const int32_t iy = first + i;
        if (iy >= 0 && iy < s->window.in_h) {
            te_spread_line(d, d->x + iy * s->window.in_w * s->in_c + channel, to);
        } else {
            te_clear(to, TE_CHANNELS * d->line);
        }
    }
}

/* A row of one channel's outputs, two at a time. lines: of its first kernel row. */
static inline void te_depthwise_row(const te_depthwise *d, const int32_t *x, const int32_t *w,
                                    int32_t bias_twice, te_scaling f, int8_t *y, int32_t size,
                                    int32_t stride)
{
    const int32_t pitch = TE_CHANNELS * d->line, c = d->p->shape.out_c, last = (size - 1) / 2;
    for (int32_t left = d->p->shape.window.out_w; left > 0; left -= 2, x += stride) {
        const int32_t *at = x, *pair = w;
        int32_t a = 0, b = 0;
        TE_UNROLL_7
        for (int32_t ky = 0; ky < size; ky++, at += pitch, pair += size - 1) {
            TE_UNROLL_7
            for (int32_t i = 0; i < last; i++) {
                a = te_smlad(at[i], pair[2 * i], a);
                b = te_smlad(at[i + 1], pair[2 * i + (stride == 1 ? 1 : 0)], b);
            }
            a = te_smlabt(at[last], pair[size - 2], a);
            if (stride == 1) {
                b = te_smlatb(at[0], pair[0], b);
            } else {
                b = te_smlabt(at[last + 1], pair[size - 2], b);
            }
        }
        y[0] = (int8_t)te_scale(a, bias_twice, f);
        if (left > 1) {
            y[c] = (int8_t)te_scale(b, bias_twice, f);
        }
        y += 2 * c;
    }
}

/* The same for a channel that te_scale cannot do. */
static inline void te_depthwise_row_exact(const te_depthwise *d, const int32_t *x, const int32_t *w,
                                          int32_t channel, int8_t *y)
{
    const te_conv2d *s = &d->p->shape;
    const int32_t *scale = d->p->scale + 3 * channel;
    for (int32_t ox = 0; ox < s->window.out_w; ox++) {
        int32_t sum = 0;
        for (int32_t ky = 0; ky < d->size; ky++) {
            const int16_t *at = (const int16_t *)(const void *)(x + ky * TE_CHANNELS * d->line);
            const int16_t *pair = (const int16_t *)(const void *)(w + ky * (d->size - 1));
            at += ox * s->window.stride_w;
            sum += at[0] * pair[0];
            for (int32_t kx = 1; kx < d->size; kx++) {
                sum += at[kx] * pair[2 * kx - 1];
            }
        }
        y[ox * s->out_c] = (int8_t)te_scale_exact(sum, d->bias[channel], scale[0], scale[1],
                                                  s->out_zero);
    }
}

static inline int te_is_exact(const te_conv2d_dsp *p, int32_t channel)
{
    for (int32_t i = 0; i < p->exact_count; i++) {
        if (p->exact[i] == channel) {
            return 1;
        }
    }
    return 0;
}

/* One channel, number `j` of four, of the output rows that the lines serve. */
static inline void te_depthwise_channel(const te_depthwise *d, int32_t channel, int32_t j,
                                        int32_t row, int32_t rows, int32_t size, int32_t stride)
{
    const te_conv2d *s = &d->p->shape;
    const int32_t *scale = d->p->scale + 3 * channel, bias = d->bias[channel];
    const te_scaling f = {scale[0], scale[1], scale[2]};
    const int32_t *w = d->pairs + j * size * (size - 1), *x = d->lines + j * d->line;
    const int exact = te_is_exact(d->p, channel);
    int8_t *y = d->y + row * s->window.out_w * s->out_c + channel;
    for (int32_t i = 0; i < rows; i++) {
        if (exact) {
            te_depthwise_row_exact(d, x, w, channel, y);
        } else {
            te_depthwise_row(d, x, w, te_qadd(bias, bias), f, y, size, stride);
        }
        x += stride * TE_CHANNELS * d->line;
        y += s->window.out_w * s->out_c;
    }
}

static inline void te_depthwise_run(const te_conv2d_dsp *p, const int8_t *x, const int8_t *weight,
                                    const int32_t *bias, int8_t *y, int32_t *scratch, int32_t size)
{
    const te_window *g = &p->shape.window;
    const int32_t line = te_depthwise_line(g->out_w, g->kernel_w, g->stride_w);
    int32_t *lines = scratch + TE_CHANNELS * size * (size - 1);
    const te_depthwise d = {p, x, weight, bias, y, scratch, lines, line, size};
    te_clear(lines, ((p->band - 1) * g->stride_h + size) * TE_CHANNELS * line);
    for (int32_t c = 0; c < p->shape.out_c; c += TE_CHANNELS) {
        /* the last four channels may be some of the ones before again */
        const int32_t channel = te_min(c, p->shape.out_c - TE_CHANNELS);
        te_pair_weights(&d, channel);
        for (int32_t row = 0; row < g->out_h; row += p->band) {
            const int32_t rows = te_min(p->band, g->out_h - row);
            te_spread_lines(&d, channel, row, (rows - 1) * g->stride_h + size);
            for (int32_t j = 0; j < TE_CHANNELS; j++) {
                if (g->stride_w == 1) {
                    te_depthwise_channel(&d, channel + j, j, row, rows, size, 1);
                } else {
                    te_depthwise_channel(&d, channel + j, j, row, rows, size, 2);
                }
            }
        }
    }
}

#endif
