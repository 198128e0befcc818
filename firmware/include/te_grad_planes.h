/* te_grad_planes.h - input gradient of a depthwise convolution with SMLAD: the parts in C.
 *
 * A channel at a time, so that d_x may lie on d_y: its gradient is first laid out in scratch as
 * 16-bit numbers with zeros left and right of each line (a plane), its weights as all pairs of
 * neighbours, backwards and doubled. Input pixel i then is a sum over the line from i on:
 *     d_x[i] = z[i] * w[K - 1] + z[i + 1] * w[K - 2] + ...
 * At stride 2 the pixels with i + pad even meet the weights of even places, the others those of odd
 * places: two phases, each a sum as above over half as many weights.
 */
#ifndef TE_GRAD_PLANES_H
#define TE_GRAD_PLANES_H

#include <string.h>

#include "te_dsp.h"
#include "te_grad_depthwise.h"

enum { TE_PIXELS = 4 };          /* made at a time */
enum { TE_LISTED_PIXELS = 576 }; /* of larger maps no list of fours is made */
#define TE_ALWAYS __attribute__((always_inline)) /* for its constant arguments */

/* Four pixels to make: `rows` lines from `line` on meet rows of weights from `pair` backwards. */
typedef struct te_four {
    const int16_t *line;
    const int32_t *pair;
    int32_t rows;
    int32_t place; /* of the first in d_x of a channel, in bytes */
} te_four;

/* The pixels of a line that a phase makes: number `first` and every stride-th from there, `count`
 * in all. Each sums `taps` gradients, the first one's begin at column `column` of the plane. */
typedef struct te_phase {
    int32_t first, count, taps, column;
    const te_four *fours, *end; /* all pixels of a channel, if te_is_fast */
} te_phase;

/* What the assembly reads; it knows the order. */
typedef struct te_lane {
    te_scaling scaling; /* exponent 0: not to be used */
    uint32_t peak;      /* of the channel */
    te_grad *d_x;       /* of the channel */
    int32_t step;       /* bytes from pixel to pixel of a phase */
    const te_four *four, *end;
    int32_t pitch; /* bytes from line to line */
} te_lane;

typedef struct te_planes {
    const te_conv2d *p;
    te_phase phase[2];
    int32_t border, pitch; /* columns of zeros on the left, columns in all; pitch is even */
    int32_t *pairs;        /* te_pair_row words for each row of weights, then a row of zeros */
    int16_t *plane;
    te_four *fours; /* of the phases that te_is_fast, one after the other */
    int32_t multiplier, shift;
    te_lane lane;
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

/* Whether a phase's pixels are made by fours, all of them and at even columns. */
static inline int te_is_fast(const te_planes *s, const te_phase *f)
{
    const te_window *g = &s->p->window;
    return f->count >= TE_PIXELS && f->count % 2 == 0 && f->column % 2 == 0 &&
           g->in_h * g->in_w <= TE_LISTED_PIXELS;
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

/* A step to the next weight: its double, paired with the one before. */
static inline const int8_t *te_next_pair(const int8_t *w, int32_t step, int32_t *last, int32_t *to)
{
    const int32_t next = 2 * w[step];
    *to = te_low_halves(next, *last);
    *last = next;
    return w + step;
}

/* Pairs of `taps` weights, backwards and doubled; w: the first. */
TE_ALWAYS static inline void te_pair_taps(const int8_t *w, int32_t step, int32_t taps, int32_t *to)
{
    int32_t last = 2 * *w;
    if (taps == 1) {
        *to = te_low_halves(last, 0);
    }
    w = taps > 1 ? te_next_pair(w, step, &last, to + taps - 2) : w;
    w = taps > 2 ? te_next_pair(w, step, &last, to + taps - 3) : w;
    w = taps > 3 ? te_next_pair(w, step, &last, to + taps - 4) : w;
    w = taps > 4 ? te_next_pair(w, step, &last, to + taps - 5) : w;
    w = taps > 5 ? te_next_pair(w, step, &last, to + taps - 6) : w;
    w = taps > 6 ? te_next_pair(w, step, &last, to + taps - 7) : w;
    (void)w;
}

TE_ALWAYS static inline void te_pair_rows(const te_planes *s, const int8_t *w, int32_t kernel,
                                          int32_t stride)
{
    const int32_t c = s->p->out_c;
    int32_t *to = s->pairs;
    for (int32_t ky = 0; ky < kernel; ky++, w += kernel * c) {
        if (stride == 1) {
            te_pair_taps(w, c, kernel, to);
        } else {
            te_pair_taps(w, 2 * c, (kernel + 1) / 2, to);
            te_pair_taps(w + c, 2 * c, kernel / 2, to + te_phase_words((kernel + 1) / 2));
        }
        to += te_pair_row(kernel, stride);
    }
}

/* A channel's weights; the first is at w. */
static inline void te_pair_channel(const te_planes *s, const int8_t *w)
{
    const int32_t stride = s->p->window.stride_h;
    if (s->p->window.kernel_h == 3) {
        stride == 1 ? te_pair_rows(s, w, 3, 1) : te_pair_rows(s, w, 3, 2);
    } else if (s->p->window.kernel_h == 5) {
        stride == 1 ? te_pair_rows(s, w, 5, 1) : te_pair_rows(s, w, 5, 2);
    } else {
        stride == 1 ? te_pair_rows(s, w, 7, 1) : te_pair_rows(s, w, 7, 2);
    }
}

/* One channel of d_y, from its first pixel on; the zeros around it are there. */
static inline void te_spread_any(const te_planes *s, const te_grad *d)
{
    const te_window *g = &s->p->window;
    const int32_t c = s->p->out_c, n = te_min(g->out_w, s->pitch - s->border);
    int16_t *to = s->plane + s->border;
    for (int32_t oy = 0; oy < g->out_h; oy++, to += s->pitch, d += g->out_w * c) {
        for (int32_t j = 0; j < n; j++) {
            to[j] = d[j * c];
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

TE_ALWAYS static inline void te_sum_taps(const te_four *from, int32_t pitch, int32_t pair_step,
                                         int32_t taps, int32_t *sums)
{
    const int16_t *line = from->line;
    const int32_t *pair = from->pair;
    int32_t a = 0, b = 0, c = 0, d = 0;
    for (int32_t rows = from->rows; rows > 0; rows--, line += pitch, pair -= pair_step) {
        const int32_t z[5] = {te_word(line), te_word(line + 2), taps > 1 ? te_word(line + 4) : 0,
                              taps > 3 ? te_word(line + 6) : 0, taps > 5 ? te_word(line + 8) : 0};
        a = te_even_pixel(z, pair, taps, a);
        b = te_odd_pixel(z, pair, taps, b);
        c = te_even_pixel(z + 1, pair, taps, c);
        d = te_odd_pixel(z + 1, pair, taps, d);
    }
    sums[0] = a, sums[1] = b, sums[2] = c, sums[3] = d;
}

static inline void te_sum_four(const te_four *from, int32_t pitch, int32_t pair_step, int32_t taps,
                               int32_t *sums)
{
    switch (taps) {
    case 1:
        te_sum_taps(from, pitch, pair_step, 1, sums);
        break;
    case 2:
        te_sum_taps(from, pitch, pair_step, 2, sums);
        break;
    case 3:
        te_sum_taps(from, pitch, pair_step, 3, sums);
        break;
    case 4:
        te_sum_taps(from, pitch, pair_step, 4, sums);
        break;
    case 5:
        te_sum_taps(from, pitch, pair_step, 5, sums);
        break;
    default:
        te_sum_taps(from, pitch, pair_step, 7, sums);
    }
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

/* The first `count` pixels of four. */
static inline void te_put_some(te_planes *s, const int32_t *sums, int32_t count, te_grad *d_x,
                               int32_t step)
{
    for (int32_t i = 0; i < count; i++, d_x += step) {
        if (s->lane.scaling.exponent > 0) {
            *d_x = te_put_scaled(s->lane.scaling, sums[i], &s->lane.peak);
        } else {
            const int32_t sum = te_shift_floor(sums[i], 1);
            const int32_t q = te_requantise(sum, s->multiplier, s->shift);
            s->lane.peak |= (uint32_t)(q ^ te_shift_floor(q, 31));
            *d_x = te_narrow(q);
        }
    }
}

/* Which lines pixels of line iy sum, those of the weights with them; none: zeros as weights. */
static inline te_four te_lines_of(const te_planes *s, const te_phase *f, int32_t iy)
{
    const te_window *g = &s->p->window;
    const int32_t stride = g->stride_h, row = te_pair_row(g->kernel_h, stride);
    const int32_t reach = iy + g->pad_top; /* = oy * stride + ky */
    const int32_t low = reach - g->kernel_h + 1;
    const int32_t first = low > 0 ? (low + stride - 1) / stride : 0;
    const int32_t rows = te_min(g->out_h - 1, reach / stride) - first + 1;
    const int32_t after = f == s->phase ? 0 : te_phase_words(s->phase[0].taps);
    const te_four none = {s->plane, s->pairs + g->kernel_h * row, 1, 0};
    const te_four four = {s->plane + first * s->pitch + f->column,
                          s->pairs + (reach - first * stride) * row + after, rows, 0};
    return rows > 0 ? four : none;
}

/* A phase's pixels of a channel, in any case. */
static void te_phase_pixels(te_planes *s, const te_phase *f)
{
    const te_window *g = &s->p->window;
    const int32_t c = s->p->in_c, step = g->stride_h * c;
    const int32_t pair_step = g->stride_h * te_pair_row(g->kernel_h, g->stride_h);
    for (int32_t iy = 0; iy < g->in_h; iy++) {
        te_grad *d_x = s->lane.d_x + (iy * g->in_w + f->first) * c;
        te_four at = te_lines_of(s, f, iy);
        for (int32_t i = 0; i < f->count; i += TE_PIXELS, at.line += TE_PIXELS) {
            int32_t sums[TE_PIXELS];
            te_sum_four(&at, s->pitch, pair_step, f->taps, sums);
            te_put_some(s, sums, te_min(f->count - i, TE_PIXELS), d_x + i * step, step);
        }
    }
}

#endif
