/* te_depthwise_grad_dsp.h - input gradient of a depthwise convolution with SMLAD, both formats.
 *
 * A channel at a time, so that d_x may lie on d_y: its gradient is first laid out in scratch as
 * 16-bit numbers with zeros left and right of each line (a plane), its weights as all pairs of
 * neighbours, backwards and doubled. Input pixel i then is a sum over the line from i on:
 *     d_x[i] = z[i] * w[K - 1] + z[i + 1] * w[K - 2] + ...
 * At stride 2 the pixels with i + pad even meet the weights of even places, the others those of odd
 * places: two phases, each a sum as above over half as many weights.
 */
#ifndef TE_DEPTHWISE_GRAD_DSP_H
#define TE_DEPTHWISE_GRAD_DSP_H

#include <string.h>

#include "te_dsp.h"
#include "te_grad_depthwise.h"

enum { TE_PIXELS = 4 }; /* made at a time */
#define TE_ALWAYS __attribute__((always_inline)) /* for its constant arguments */

/* The pixels of a line that a phase makes: number `first` and every stride-th from there, `count`
 * in all. Each sums `taps` gradients, the first one's begin at column `column` of the plane. */
typedef struct te_phase {
    int32_t first, count, taps, column;
} te_phase;

typedef struct te_planes {
    const te_conv2d *p;
    te_phase phase[2];
    int32_t border, pitch; /* columns of zeros on the left, columns in all; pitch is even */
    int32_t *pairs;        /* te_pair_row words for each row of weights */
    int16_t *plane;
    te_grad *d_x; /* of the channel */
    int32_t multiplier, shift;
    te_scaling scaling; /* exponent 0: not to be used */
    uint32_t peak;      /* of the channel */
} te_planes;

static inline int32_t te_phase_words(int32_t taps)
{
    return taps > 1 ? taps - 1 : 1;
}

/* Words of a row of weights, phase after phase. */
static inline int32_t te_pair_row(int32_t kernel, int32_t stride)
{
    return stride == 1 ? kernel - 1 : te_phase_words((kernel + 1) / 2) + te_phase_words(kernel / 2);
}

/* The same conditions as codegen/write_dsp.py: the planner must know. */
static inline int te_goes_by_channel(const te_conv2d *p)
{
    const te_window *g = &p->window;
    const int32_t k = g->kernel_h;
    return p->in_c == p->out_c && k == g->kernel_w && (k == 3 || k == 5 || k == 7) &&
           g->stride_h == g->stride_w && g->stride_h <= 2 && g->dilation_h == 1 &&
           g->dilation_w == 1 && g->pad_top < k && g->pad_left < k &&
           g->in_h * g->in_w <= TE_PLANE_PIXELS && g->out_h * g->out_w <= TE_PLANE_PIXELS;
}

static inline void te_lay_out(te_planes *s, int32_t kernel, int32_t stride)
{
    const te_window *g = &s->p->window;
    s->border = 0;
    for (int32_t a = 0; a < stride; a++) {
        te_phase *f = &s->phase[a];
        f->first = stride == 1 ? 0 : (a + g->pad_left) % 2;
        f->count = (g->in_w - f->first + stride - 1) / stride;
        f->taps = (kernel - a + stride - 1) / stride;
        f->column = (f->first + g->pad_left - a) / stride - f->taps + 1;
        s->border = f->column < -s->border ? -f->column : s->border;
    }
    s->pitch = 0;
    for (int32_t a = 0; a < stride; a++) {
        te_phase *f = &s->phase[a];
        const int32_t made = (f->count + TE_PIXELS - 1) / TE_PIXELS * TE_PIXELS;
        f->column += s->border;
        s->pitch = -te_min(-s->pitch, -(f->column + made + f->taps + 1) / 2 * 2);
    }
}

static inline int32_t te_word(const int16_t *from)
{
    int32_t word;
    memcpy(&word, from, sizeof word);
    return word;
}

/* Twice the channel's weights in pairs; `weight` is its first. */
TE_ALWAYS static inline void te_pair_channel(const te_planes *s, const int8_t *weight,
                                             int32_t kernel, int32_t stride)
{
    const int32_t c = s->p->out_c;
    int32_t *to = s->pairs;
    for (int32_t ky = 0; ky < kernel; ky++, weight += kernel * c) {
        for (int32_t a = 0; a < stride; a++) {
            const int32_t taps = (kernel - a + stride - 1) / stride;
            const int8_t *w = weight + (a + (taps - 1) * stride) * c;
            int32_t last = 2 * *w;
            for (int32_t m = 1; m < taps; m++) {
                w -= stride * c;
                const int32_t next = 2 * *w;
                *to++ = te_low_halves(last, next);
                last = next;
            }
            if (taps == 1) {
                *to++ = te_low_halves(last, 0);
            }
        }
    }
}

/* One channel of d_y, from its first pixel on; the zeros around it are there. */
static inline void te_spread_channel(const te_planes *s, const te_grad *d)
{
    const te_window *g = &s->p->window;
    const int32_t c = s->p->out_c, n = te_min(g->out_w, s->pitch - s->border);
    int16_t *to = s->plane + s->border;
    for (int32_t oy = 0; oy < g->out_h; oy++, to += s->pitch, d += g->out_w * c) {
        const te_grad *from = d;
        for (int32_t j = 0; j < n; j++, from += c) {
            to[j] = *from;
        }
    }
}

/* sum + pixel 2 * h of four, whose gradients begin in word h of z. w: pairs of `taps` weights. */
static inline int32_t te_even_pixel(const int32_t *z, const int32_t *w, int32_t taps, int32_t sum)
{
    if (taps == 1) {
        return te_smlabb(z[0], w[0], sum);
    }
    sum = te_smlad(z[0], w[0], sum);
    sum = taps >= 4 ? te_smlad(z[1], w[2], sum) : sum;
    sum = taps >= 6 ? te_smlad(z[2], w[4], sum) : sum;
    return taps % 2 == 1 ? te_smlabt(z[taps / 2], w[taps - 2], sum) : sum;
}

/* The same for pixel 2 * h + 1. */
static inline int32_t te_odd_pixel(const int32_t *z, const int32_t *w, int32_t taps, int32_t sum)
{
    sum = te_smlatb(z[0], w[0], sum);
    sum = taps >= 3 ? te_smlad(z[1], w[1], sum) : sum;
    sum = taps >= 5 ? te_smlad(z[2], w[3], sum) : sum;
    sum = taps >= 7 ? te_smlad(z[3], w[5], sum) : sum;
    return taps % 2 == 0 ? te_smlabt(z[taps / 2], w[taps - 2], sum) : sum;
}

/* Four neighbouring pixels of a phase over `rows` lines; the weights' rows go backwards. */
TE_ALWAYS static inline void te_four_pixels(const int16_t *line, int32_t pitch,
                                            const int32_t *pair, int32_t pair_step, int32_t rows,
                                            int32_t taps, int32_t *sums)
{
    int32_t a = 0, b = 0, c = 0, d = 0;
    for (; rows > 0; rows--, line += pitch, pair -= pair_step) {
        const int32_t z[5] = {te_word(line), te_word(line + 2), taps > 1 ? te_word(line + 4) : 0,
                              taps > 3 ? te_word(line + 6) : 0, taps > 5 ? te_word(line + 8) : 0};
        a = te_even_pixel(z, pair, taps, a);
        b = te_odd_pixel(z, pair, taps, b);
        c = te_even_pixel(z + 1, pair, taps, c);
        d = te_odd_pixel(z + 1, pair, taps, d);
    }
    sums[0] = a, sums[1] = b, sums[2] = c, sums[3] = d;
}

#if TE_GRAD_BITS == 16
/* -32768 is left to te_mend_channel. */
static inline te_grad te_narrow(int32_t q)
{
#if defined(__ARM_FEATURE_DSP) && defined(__thumb2__)
    int32_t d;
    __asm__("ssat %0, #16, %1" : "=r"(d) : "r"(q));
    return (te_grad)d;
#else
    return (te_grad)te_clamp(q, INT16_MIN, INT16_MAX);
#endif
}
#else
static inline te_grad te_narrow(int32_t q)
{
    return (te_grad)te_clamp(q, -TE_GRAD_LIMIT, TE_GRAD_LIMIT);
}
#endif

/* te_requantise of half of `twice`, by the channel's te_scaling; see te_scale. */
static inline te_grad te_put_scaled(te_scaling f, int32_t twice, uint32_t *peak)
{
    const int32_t scaled = te_smmlar(twice, f.multiplier, f.addend) + te_shift_floor(twice, 31);
    const int32_t q = te_asr(scaled, f.exponent);
    *peak |= (uint32_t)(q ^ te_shift_floor(q, 31));
    return te_narrow(q);
}

/* The first `count` pixels of four, in any case. */
__attribute__((noinline, unused)) static void te_put_some(te_planes *s, const int32_t *sums,
                                                          int32_t count, te_grad *d_x, int32_t step)
{
    for (int32_t i = 0; i < count; i++, d_x += step) {
        if (s->scaling.exponent > 0) {
            *d_x = te_put_scaled(s->scaling, sums[i], &s->peak);
        } else {
            const int32_t sum = te_shift_floor(sums[i], 1);
            const int32_t q = te_requantise(sum, s->multiplier, s->shift);
            s->peak |= (uint32_t)(q ^ te_shift_floor(q, 31));
            *d_x = te_narrow(q);
        }
    }
}

/* A phase's pixels of one line of d_x. */
TE_ALWAYS static inline void te_phase_line(te_planes *s, const te_phase *f, const int16_t *line,
                                           const int32_t *pair, int32_t pair_step, int32_t rows,
                                           int32_t taps, int32_t stride, te_grad *d_x)
{
    const int32_t step = stride * s->p->in_c;
    line += f->column;
    d_x += f->first * s->p->in_c;
    for (int32_t left = f->count; left > 0; left -= TE_PIXELS, line += TE_PIXELS) {
        int32_t sums[TE_PIXELS];
        te_four_pixels(line, s->pitch, pair, pair_step, rows, taps, sums);
        if (left >= TE_PIXELS && s->scaling.exponent > 0) {
            const te_scaling scaling = s->scaling;
            uint32_t peak = s->peak;
            d_x[0] = te_put_scaled(scaling, sums[0], &peak);
            d_x[step] = te_put_scaled(scaling, sums[1], &peak);
            d_x[2 * step] = te_put_scaled(scaling, sums[2], &peak);
            d_x[3 * step] = te_put_scaled(scaling, sums[3], &peak);
            s->peak = peak;
        } else {
            te_put_some(s, sums, te_min(left, TE_PIXELS), d_x, step);
        }
        d_x += TE_PIXELS * step;
    }
}

/* All pixels of a channel, whose plane and pairs are there. */
TE_ALWAYS static inline void te_channel_lines(te_planes *s, int32_t kernel, int32_t stride)
{
    const te_window *g = &s->p->window;
    const int32_t row = te_pair_row(kernel, stride);
    te_grad *d_x = s->d_x;
    for (int32_t iy = 0; iy < g->in_h; iy++, d_x += g->in_w * s->p->in_c) {
        const int32_t reach = iy + g->pad_top; /* = oy * stride + ky */
        const int32_t low = reach - kernel + 1;
        const int32_t first = low > 0 ? (low + stride - 1) / stride : 0;
        const int32_t rows = te_min(g->out_h - 1, reach / stride) - first + 1;
        const int16_t *line = s->plane + first * s->pitch;
        const int32_t *pair = s->pairs + (reach - first * stride) * row;
        te_phase_line(s, &s->phase[0], line, pair, stride * row, rows,
                      (kernel + stride - 1) / stride, stride, d_x);
        if (stride == 2) {
            te_phase_line(s, &s->phase[1], line, pair + te_phase_words((kernel + 1) / 2),
                          stride * row, rows, kernel / 2, stride, d_x);
        }
    }
}

/* te_narrow has let -32768 pass. */
static inline void te_mend_channel(const te_planes *s)
{
    const te_window *g = &s->p->window;
    te_grad *d_x = s->d_x;
    for (int32_t i = g->in_h * g->in_w; i > 0; i--, d_x += s->p->in_c) {
        *d_x = *d_x < -TE_GRAD_LIMIT ? (te_grad)-TE_GRAD_LIMIT : *d_x;
    }
}

#define TE_CHANNEL_OF(kernel, stride)                                                            \
    __attribute__((noinline)) static void te_channel_##kernel##_##stride(te_planes *s,           \
                                                                         const int8_t *weight)   \
    {                                                                                            \
        te_pair_channel(s, weight, kernel, stride);                                              \
        te_channel_lines(s, kernel, stride);                                                     \
    }
TE_CHANNEL_OF(3, 1)
TE_CHANNEL_OF(5, 1)
TE_CHANNEL_OF(7, 1)
TE_CHANNEL_OF(3, 2)
TE_CHANNEL_OF(5, 2)
TE_CHANNEL_OF(7, 2)

static inline void te_make_channel(te_planes *s, const int8_t *weight)
{
    const int32_t kernel = s->p->window.kernel_h, stride = s->p->window.stride_h;
    if (kernel == 3) {
        stride == 1 ? te_channel_3_1(s, weight) : te_channel_3_2(s, weight);
    } else if (kernel == 5) {
        stride == 1 ? te_channel_5_1(s, weight) : te_channel_5_2(s, weight);
    } else {
        stride == 1 ? te_channel_7_1(s, weight) : te_channel_7_2(s, weight);
    }
}

static inline void te_scale_channel(te_planes *s, int32_t multiplier, int32_t shift)
{
    s->multiplier = multiplier;
    s->shift = shift;
    s->scaling.multiplier = multiplier;
    s->scaling.exponent = shift < 0 ? -shift : 0;
    s->scaling.addend = shift < 0 ? 1 << (-shift - 1) : 0;
    s->peak = 0u;
}

static inline void te_depthwise_bwd_input_dsp(const te_conv2d *p, const te_grad *d_y,
                                              const int8_t *weight, const int32_t *multiplier,
                                              const int32_t *shift, const int32_t *e_d,
                                              int32_t *state, te_grad *d_x, int32_t *e,
                                              int32_t *scratch)
{
    const te_window *g = &p->window;
    const int32_t kernel = g->kernel_h, stride = g->stride_h;
    te_output_grad out = te_grad_begin(state, e);
    te_planes s;
    s.p = p;
    s.pairs = scratch;
    s.plane = (int16_t *)(void *)(scratch + kernel * te_pair_row(kernel, stride));
    te_lay_out(&s, kernel, stride);
    memset(s.plane, 0, (size_t)(g->out_h * s.pitch) * sizeof *s.plane);
    for (int32_t c = 0; c < p->in_c; c++) {
        te_scale_channel(&s, multiplier[c], te_grad_shift(shift[c], e_d, &out));
        s.d_x = d_x + c;
        te_spread_channel(&s, d_y + c);
        te_make_channel(&s, weight + c);
        if (TE_GRAD_BITS == 16 && s.peak >= (uint32_t)TE_GRAD_LIMIT) {
            te_mend_channel(&s);
        }
        out.peak |= s.peak;
    }
    te_grad_end(&out, state);
}

#endif
