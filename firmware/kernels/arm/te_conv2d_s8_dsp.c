/* te_conv2d_s8_dsp.c - see te_kernels_dsp.h.
 *
 * Four output pixels at a time. Their inputs are first spread in scratch as centred 16-bit pairs,
 * (x0, x2) and (x1, x3) of every four, the four pixels side by side; then each output channel's
 * row of weights streams past them once. For four weights and 16 products: one load and two
 * unpackings of weights, two loads of x, eight SMLAD.
 */
#include "te_block_dsp.h"
#include "te_kernels_dsp.h"

/* What stays the same from block to block. */
typedef struct te_job {
    const te_conv2d_dsp *p;
    const int8_t *x, *weight, *frozen;
    const int32_t *bias;
    int32_t *scratch;
    int32_t groups, frozen_groups;
    int32_t minus_zero; /* in both halves */
} te_job;

static inline int32_t te_quarters(int32_t count)
{
    return (count + 3) / 4;
}

static inline void te_spread_word(int32_t *to, uint32_t word, int32_t minus_zero)
{
    to[0] = te_sxtab16(minus_zero, word);
    to[1] = te_sxtab16_odd(minus_zero, word);
}

/* Spreads `count` neighbouring inputs, filled up to a multiple of four with zeros. */
static int32_t *te_spread(int32_t *to, const int8_t *x, int32_t count, int32_t minus_zero)
{
    for (; count >= 16; count -= 16, x += 16, to += 4 * TE_STRIDE) {
        te_spread_word(to, te_load(x), minus_zero);
        te_spread_word(to + TE_STRIDE, te_load(x + 4), minus_zero);
        te_spread_word(to + 2 * TE_STRIDE, te_load(x + 8), minus_zero);
        te_spread_word(to + 3 * TE_STRIDE, te_load(x + 12), minus_zero);
    }
    for (; count >= 4; count -= 4, x += 4, to += TE_STRIDE) {
        te_spread_word(to, te_load(x), minus_zero);
    }
    if (count > 0) {
        int8_t last[4];
        for (int32_t i = 0; i < 4; i++) {
            last[i] = (int8_t)(i < count ? x[i] : -(int32_t)(int16_t)minus_zero);
        }
        te_spread_word(to, te_load(last), minus_zero);
        to += TE_STRIDE;
    }
    return to;
}

static int32_t *te_spread_zeros(int32_t *to, int32_t count)
{
    for (; count > 0; count -= 4, to += TE_STRIDE) {
        to[0] = 0;
        to[1] = 0;
    }
    return to;
}

/* One output pixel: the kernel positions that see real pixels, and the input of position (0, 0). */
typedef struct te_patch {
    te_span ys, xs;
    int32_t y, x;
} te_patch;

static inline te_patch te_patch_of(const te_window *g, int32_t pixel)
{
    const int32_t oy = pixel / g->out_w, ox = pixel % g->out_w;
    const te_patch at = {te_taps_h(g, oy), te_taps_w(g, ox), oy * g->stride_h - g->pad_top,
                         ox * g->stride_w - g->pad_left};
    return at;
}

/* Spreads the c channels from x on of every kernel position; c is a multiple of 4. */
static int32_t *te_spread_patch(const te_job *j, const te_patch *at, const int8_t *x, int32_t c,
                                int32_t *to)
{
    const te_window *g = &j->p->shape.window;
    const int32_t in_c = j->p->shape.in_c;
    const int32_t merged = g->dilation_w == 1 && c == in_c ? at->xs.end - at->xs.first : 1;
    for (int32_t ky = 0; ky < g->kernel_h; ky++) {
        if (ky < at->ys.first || ky >= at->ys.end) {
            to = te_spread_zeros(to, g->kernel_w * c);
            continue;
        }
        const int8_t *line = x + (at->y + ky * g->dilation_h) * g->in_w * in_c;
        to = te_spread_zeros(to, at->xs.first * c);
        for (int32_t kx = at->xs.first; kx < at->xs.end; kx += merged) {
            to = te_spread(to, line + (at->x + kx * g->dilation_w) * in_c, merged * c,
                           j->minus_zero);
        }
        to = te_spread_zeros(to, (g->kernel_w - at->xs.end) * c);
    }
    return to;
}

static inline void te_copy(int8_t *to, const int8_t *from, int32_t n)
{
    for (; n >= 4; n -= 4, to += 4, from += 4) {
        const uint32_t word = te_load(from);
        memcpy(to, &word, sizeof word);
    }
    for (int32_t i = 0; i < n; i++) {
        to[i] = from[i];
    }
}

/* The patch of te_spread_row where all of it and the next input line exist: by whole words. What is
 * copied too much is overwritten by the next line or, at the end, meets weights of 0. */
static void te_gather_inside(const te_job *j, const te_patch *at, int8_t *row)
{
    const te_window *g = &j->p->shape.window;
    const int32_t run = g->kernel_w * j->p->shape.in_c, step = g->in_w * j->p->shape.in_c;
    const int8_t *line = j->x + at->y * step + at->x * j->p->shape.in_c;
    for (int32_t ky = 0; ky < g->kernel_h; ky++, row += run, line += g->dilation_h * step) {
        for (int32_t i = 0; i < run; i += 4) {
            const uint32_t word = te_load(line + i);
            memcpy(row + i, &word, sizeof word);
        }
    }
}

static void te_gather(const te_job *j, const te_patch *at, uint32_t *words)
{
    const te_window *g = &j->p->shape.window;
    const int32_t c = j->p->shape.in_c;
    const uint32_t fill = ((uint32_t)j->p->shape.in_zero & 255u) * 0x1010101u;
    int8_t *row = (int8_t *)words;
    for (int32_t i = 0; i < j->groups; i++) {
        words[i] = fill;
    }
    const int32_t merged = g->dilation_w == 1 ? at->xs.end - at->xs.first : 1;
    for (int32_t ky = at->ys.first; ky < at->ys.end; ky++) {
        const int8_t *line = j->x + (at->y + ky * g->dilation_h) * g->in_w * c;
        for (int32_t kx = at->xs.first; kx < at->xs.end; kx += merged) {
            te_copy(row + (ky * g->kernel_w + kx) * c, line + (at->x + kx * g->dilation_w) * c,
                    merged * c);
        }
    }
}

/* The same for any number of channels: the row is gathered as bytes behind the spread ones. */
static void te_spread_row(const te_job *j, const te_patch *at, int32_t *to)
{
    const te_window *g = &j->p->shape.window;
    uint32_t *words = (uint32_t *)(void *)(j->scratch + TE_STRIDE * j->groups);
    const int32_t rows = at->ys.end - at->ys.first, columns = at->xs.end - at->xs.first;
    const int32_t next = at->y + (g->kernel_h - 1) * g->dilation_h + 1; /* line behind the patch */
    if (rows == g->kernel_h && columns == g->kernel_w && g->dilation_w == 1 && next < g->in_h &&
        g->in_w * j->p->shape.in_c >= 4) {
        te_gather_inside(j, at, (int8_t *)words);
    } else {
        te_gather(j, at, words);
    }
    (void)te_spread(to, (const int8_t *)words, 4 * j->groups, j->minus_zero);
}

static inline int te_is_pointwise(const te_window *g)
{
    return g->kernel_h == 1 && g->kernel_w == 1 && g->stride_h == 1 && g->stride_w == 1 &&
           g->in_h == g->out_h && g->in_w == g->out_w;
}

/* Spreads the inputs of one output pixel as number `slot` of a block. */
static void te_spread_pixel(const te_job *j, int32_t pixel, int32_t slot)
{
    const te_conv2d *s = &j->p->shape;
    const int32_t rest_c = s->in_c - s->learn_c;
    int32_t *to = j->scratch + 2 * slot;
    if (te_is_pointwise(&s->window)) {
        const int8_t *x = j->x + pixel * s->in_c;
        to = te_spread(to, x, s->learn_c, j->minus_zero);
        (void)te_spread(to, x + s->learn_c, rest_c, j->minus_zero);
        return;
    }
    const te_patch at = te_patch_of(&s->window, pixel);
    if (s->in_c % 4 == 0) {
        to = te_spread_patch(j, &at, j->x, s->learn_c, to);
        if (rest_c > 0) {
            (void)te_spread_patch(j, &at, j->x + s->learn_c, rest_c, to);
        }
    } else {
        te_spread_row(j, &at, to);
    }
}

/* Four neighbouring pixels of a 1x1 convolution, their channels a multiple of 4. */
static void te_spread_neighbours(const te_job *j, const int8_t *x)
{
    const int32_t in_c = j->p->shape.in_c, minus_zero = j->minus_zero;
    const int8_t *third = x + 2 * in_c;
    int32_t *to = j->scratch;
    for (const int8_t *end = x + in_c; x < end; x += 4, third += 4, to += TE_STRIDE) {
        te_spread_word(to, te_load(x), minus_zero);
        te_spread_word(to + 2, te_load(x + in_c), minus_zero);
        te_spread_word(to + 4, te_load(third), minus_zero);
        te_spread_word(to + 6, te_load(third + in_c), minus_zero);
    }
}

static void te_spread_four(const te_job *j, int32_t pixel)
{
    const te_conv2d *s = &j->p->shape;
    if (s->in_c % 4 == 0 && te_is_pointwise(&s->window)) {
        te_spread_neighbours(j, j->x + pixel * s->in_c);
        return;
    }
    for (int32_t i = 0; i < TE_PIXELS; i++) {
        te_spread_pixel(j, pixel + i, i);
    }
}

/* Output channel k of the first `count` pixels of the block, whatever its factors are. */
static void te_run_exact(const te_job *j, int32_t k, int8_t *y, int32_t count)
{
    const int32_t *scale = j->p->scale + 3 * k;
    int32_t sums[TE_PIXELS] = {0};
    const int32_t *x = te_dot_4(sums, j->scratch, j->weight + k * 4 * j->groups, j->groups);
    (void)te_dot_4(sums, x, j->frozen + k * 4 * j->frozen_groups, j->frozen_groups);
    for (int32_t n = 0; n < count; n++) {
        y[n * j->p->shape.out_c + k] = (int8_t)te_scale_exact(sums[n], j->bias[k], scale[0],
                                                              scale[1], j->p->shape.out_zero);
    }
}

/* Adds n groups of one pixel to the sums of four channels; their rows are `row` bytes apart. */
static inline te_sums te_dot_one(te_sums s, const int32_t *x, const int8_t *w, int32_t row,
                                 int32_t n)
{
    const int8_t *w2 = w + 2 * row;
    for (; n > 0; n--, w += 4, w2 += 4, x += TE_STRIDE) {
        const int32_t even = x[0], odd = x[1];
        s.a = te_dot_word(even, odd, te_load(w), s.a);
        s.b = te_dot_word(even, odd, te_load(w + row), s.b);
        s.c = te_dot_word(even, odd, te_load(w2), s.c);
        s.d = te_dot_word(even, odd, te_load(w2 + row), s.d);
    }
    return s;
}

static inline int8_t te_scaled(const te_job *j, int32_t sum, int32_t k)
{
    const int32_t *scale = j->p->scale + 3 * k;
    const te_scaling f = {scale[0], scale[1], scale[2]};
    return (int8_t)te_scale(sum, te_qadd(j->bias[k], j->bias[k]), f);
}

/* One pixel, four channels at a time; at the end channel by channel (the same row four times). */
static void te_run_one(const te_job *j, int8_t *y)
{
    const int32_t out_c = j->p->shape.out_c, rest_c = 4 * j->frozen_groups;
    int32_t count = 0;
    for (int32_t k = 0; k < out_c; k += count) {
        count = out_c - k >= 4 ? 4 : 1;
        const int32_t row = count == 4 ? 4 * j->groups : 0;
        te_sums s = {0, 0, 0, 0};
        s = te_dot_one(s, j->scratch, j->weight + k * 4 * j->groups, row, j->groups);
        if (rest_c > 0) {
            s = te_dot_one(s, j->scratch + TE_STRIDE * j->groups, j->frozen + k * rest_c,
                           count == 4 ? rest_c : 0, j->frozen_groups);
        }
        y[k] = te_scaled(j, s.a, k);
        if (count == 4) {
            y[k + 1] = te_scaled(j, s.b, k + 1);
            y[k + 2] = te_scaled(j, s.c, k + 2);
            y[k + 3] = te_scaled(j, s.d, k + 3);
        }
    }
}

/* The channels that te_scale cannot do, after the others. */
static inline void te_mend(const te_job *j, int8_t *y, int32_t count)
{
    for (int32_t i = 0; i < j->p->exact_count; i++) {
        te_run_exact(j, j->p->exact[i], y, count);
    }
}

void te_conv2d_s8_dsp(const te_conv2d_dsp *p, const int8_t *x, const int8_t *weight,
                      const int32_t *bias, const int8_t *frozen, int8_t *y, int32_t *scratch)
{
    const te_conv2d *s = &p->shape;
    const int32_t taps = s->window.kernel_h * s->window.kernel_w, out_c = s->out_c;
    const int32_t total = s->window.out_h * s->window.out_w;
    const te_job j = {p, x, weight, frozen, bias, scratch, te_quarters(taps * s->learn_c),
                      te_quarters(taps * (s->in_c - s->learn_c)), te_twice(-s->in_zero)};
    if (total < TE_PIXELS) {
        for (int32_t pixel = 0; pixel < total; pixel++, y += out_c) {
            te_spread_pixel(&j, pixel, 0);
            te_run_one(&j, y);
            te_mend(&j, y, 1);
        }
        return;
    }
    const te_block start = te_block_of(p, scratch, j.groups, j.frozen_groups);
    for (int32_t pixel = 0; pixel < total; pixel += TE_PIXELS) {
        /* the last block may compute some pixels of the one before again */
        const int32_t first = te_min(pixel, total - TE_PIXELS);
        te_block b = start;
        b.bias = bias;
        b.weight = weight;
        b.frozen = frozen;
        b.y = y + first * out_c;
        b.y_end = b.y + out_c;
        te_spread_four(&j, first);
        te_run(&b);
        te_mend(&j, y + first * out_c, TE_PIXELS);
    }
}
