/* te_depthwise_dsp.h - the body of the depthwise DSP kernels, for the kernel size TE_SIZE.
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

enum {
    TE_CHANNELS = 4,
    TE_PAIRS = TE_SIZE * (TE_SIZE - 1), /* words of a channel's weights */
    TE_LANE = TE_PAIRS + 12,            /* with what te_lane adds */
};

typedef struct te_depthwise {
    const te_conv2d_dsp *p;
    const int8_t *x, *weight;
    const int32_t *bias;
    int8_t *y;
    int32_t *lanes; /* four channels: their weights, and what te_lane adds */
    int32_t *lines; /* line, channel, column */
    int32_t line;   /* words of one channel's line */
} te_depthwise;

/* Words of one channel's line in scratch: what an even number of outputs reads. */
static inline int32_t te_depthwise_line(int32_t out_w, int32_t stride_w)
{
    const int32_t outputs = (out_w + 1) / 2 * 2;
    return (stride_w * (outputs - 1) + TE_SIZE + 1) / 2;
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
    const int32_t c = d->p->shape.out_c;
    const int8_t *w = d->weight + channel;
    int32_t *to = d->lanes;
    for (int32_t ky = 0; ky < TE_SIZE; ky++, w += c) {
        for (int32_t kx = 1; kx < TE_SIZE; kx++, w += c) {
            te_store_pairs(to++, TE_LANE, te_load(w), te_load(w + c), 0);
        }
    }
}

/* Pairs of pixels, c channels apart, of four channels. A function of its own: all of it then stays
 * in registers, which the loop around it would fill. */
__attribute__((noinline)) static void te_spread_pairs(int32_t *to, int32_t step, const int8_t *x,
                                                      int32_t c, int32_t add, int32_t pairs)
{
    for (; pairs > 0; pairs--, x += 2 * c) {
        te_store_pairs(to++, step, te_load(x), te_load(x + c), add);
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
    te_spread_pairs(to, d->line, x, c, minus_zero, n / 2);
    if (n % 2 == 1) {
        x += (n - 1) * c;
        te_store_pairs(to + n / 2, d->line, te_load(x), zero, minus_zero);
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

/* The sum of output column ox. x, w: first line and weights. */
static inline int32_t te_sum(const te_depthwise *d, const int32_t *x, const int32_t *w, int32_t ox)
{
    int32_t sum = 0;
    for (int32_t ky = 0; ky < TE_SIZE; ky++, x += TE_CHANNELS * d->line, w += TE_SIZE - 1) {
        const int16_t *at = (const int16_t *)(const void *)x + ox * d->p->shape.window.stride_w;
        const int16_t *pair = (const int16_t *)(const void *)w;
        sum += at[0] * pair[0];
        for (int32_t kx = 1; kx < TE_SIZE; kx++) {
            sum += at[kx] * pair[2 * kx - 1];
        }
    }
    return sum;
}

/* A row of a channel that te_scale cannot do. */
static inline void te_row_exact(const te_depthwise *d, const int32_t *x, const int32_t *w,
                                int32_t channel, int8_t *y)
{
    const te_conv2d *s = &d->p->shape;
    const int32_t *scale = d->p->scale + 3 * channel;
    for (int32_t ox = 0; ox < s->window.out_w; ox++) {
        y[ox * s->out_c] = (int8_t)te_scale_exact(te_sum(d, x, w, ox), d->bias[channel], scale[0],
                                                  scale[1], s->out_zero);
    }
}

#if defined(__ARM_FEATURE_DSP) && defined(__thumb2__)

/* Behind a channel's weights: what its rows need; the assembly knows the order. */
typedef struct te_lane {
    te_scaling scaling;
    int32_t bias_twice;
    int8_t *y;
    const int32_t *x;
    int32_t y_step, x_step; /* bytes from row to row */
    int8_t *y_end;          /* of the row */
    int32_t rows;
    int32_t out_c;
    int32_t pitch; /* bytes from line to line */
} te_lane;

#define TE_TEXT(value) #value
#define TE_VALUE(value) TE_TEXT(value)
#define TE_FIELD(at) "[r3, #" TE_VALUE(TE_SIZE *(TE_SIZE - 1) * 4 + at) "]\n\t"
#define TE_PAIR(row, pair) \
    "ldrd r10, r11, [r3, #" TE_VALUE((row) * (TE_SIZE - 1) * 4 + (pair) * 8) "]\n\t"
#define TE_ADD(op, sum, x, w) op " " sum ", " x ", " w ", " sum "\n\t"

/* r0 = x of the row, r2 = pitch, r3 = lane, r4 and r5 = sums, r6.. = x, r10 and r11 = weights */
#define TE_FIRST_1 "smuad r4, r6, r10\n\t smultb r5, r6, r10\n\t"
#define TE_FIRST_2 "smuad r4, r6, r10\n\t smuad r5, r7, r10\n\t"
#define TE_NEXT_1 TE_ADD("smlad", "r4", "r6", "r10") TE_ADD("smlatb", "r5", "r6", "r10")
#define TE_NEXT_2 TE_ADD("smlad", "r4", "r6", "r10") TE_ADD("smlad", "r5", "r7", "r10")
#define TE_SECOND_1 TE_ADD("smlad", "r5", "r7", "r11")
#define TE_SECOND_2 ""
#define TE_BOTH_1(x, next) TE_ADD("smlad", "r4", x, "r10") TE_ADD("smlad", "r5", next, "r11")
#define TE_BOTH_2(x, next) TE_ADD("smlad", "r4", x, "r10") TE_ADD("smlad", "r5", next, "r10")
#define TE_LAST_1(x, next) TE_ADD("smlabt", "r4", x, "r11")
#define TE_LAST_2(x, next) TE_LAST_1(x, next) TE_ADD("smlabt", "r5", next, "r11")

#if TE_SIZE == 3
#define TE_LOAD_1 "ldrd r6, r7, [r0]\n\t"
#define TE_LOAD_2 "ldmia.w r0, {r6, r7, r8}\n\t"
#define TE_REST(s, row) TE_LAST_##s("r7", "r8")
#elif TE_SIZE == 5
#define TE_LOAD_1 "ldmia.w r0, {r6, r7, r8}\n\t"
#define TE_LOAD_2 "ldmia.w r0, {r6, r7, r8, r9}\n\t"
#define TE_REST(s, row) TE_PAIR(row, 1) TE_BOTH_##s("r7", "r8") TE_LAST_##s("r8", "r9")
#else
#define TE_LOAD_1 "ldmia.w r0, {r6, r7, r8, r9}\n\t"
#define TE_LOAD_2 TE_LOAD_1
#define TE_MORE_1 ""
#define TE_MORE_2 "ldr r6, [r0, #16]\n\t"
#define TE_REST(s, row)                                                                   \
    TE_PAIR(row, 1) TE_BOTH_##s("r7", "r8") TE_PAIR(row, 2) TE_BOTH_##s("r8", "r9")       \
    TE_MORE_##s TE_LAST_##s("r9", "r6")
#endif

#define TE_ROW(s, row, start)                                                          \
    TE_LOAD_##s TE_PAIR(row, 0) start TE_SECOND_##s TE_REST(s, row) "add r0, r2\n\t"
#define TE_ROWS_3(s) \
    TE_ROW(s, 0, TE_FIRST_##s) TE_ROW(s, 1, TE_NEXT_##s) TE_ROW(s, 2, TE_NEXT_##s)
#define TE_ROWS_5(s) TE_ROWS_3(s) TE_ROW(s, 3, TE_NEXT_##s) TE_ROW(s, 4, TE_NEXT_##s)
#define TE_ROWS_7(s) TE_ROWS_5(s) TE_ROW(s, 5, TE_NEXT_##s) TE_ROW(s, 6, TE_NEXT_##s)
#define TE_ALL(size, s) TE_ALL_(size, s)
#define TE_ALL_(size, s) TE_ROWS_##size(s)

/* te_scale of a sum as r10 */
#define TE_SCALED(sum)                         \
    "smmlar r10, " sum ", r6, r8\n\t"          \
    "add r10, r10, " sum ", asr #31\n\t"       \
    "asr r10, r10, r7\n\t"                     \
    "ssat r10, #8, r10\n\t"

/* The second output is stored first: at the end of an odd row, where out_c is 0, the first wins. */
#define TE_CHANNEL(s, step)                                                                     \
    "mov r3, r0\n\t"                                                                            \
    "ldrd lr, r2, " TE_FIELD(40) "ldrd r12, r1, " TE_FIELD(16)                                  \
    "1:\n\t"                                                                                    \
    "mov r0, r1\n\t" TE_ALL(TE_SIZE, s)                                                         \
    "ldrd r6, r7, " TE_FIELD(0) "ldrd r8, r9, " TE_FIELD(8)                                     \
    "qdadd r4, r9, r4\n\t"                                                                      \
    "qdadd r5, r9, r5\n\t"                                                                      \
    TE_SCALED("r5") "strb r10, [r12, lr]\n\t" TE_SCALED("r4") "strb r10, [r12]\n\t"             \
    "add r12, r12, lr, lsl #1\n\t"                                                              \
    "ldr r10, " TE_FIELD(32) "add r1, #" step "\n\t"                                            \
    "cmp r12, r10\n\t"                                                                          \
    "bne 1b\n\t"                                                                                \
    "ldrd r12, r1, " TE_FIELD(16) "ldrd r10, r11, " TE_FIELD(24)                                \
    "add r12, r10\n\t"                                                                          \
    "add r1, r11\n\t"                                                                           \
    "strd r12, r1, " TE_FIELD(16) "ldr r0, " TE_FIELD(32)                                       \
    "add r0, r10\n\t"                                                                           \
    "str r0, " TE_FIELD(32) "ldr r0, " TE_FIELD(36)                                             \
    "subs r0, #1\n\t"                                                                           \
    "str r0, " TE_FIELD(36)                                                                     \
    "bne 1b\n\t"

#define TE_CLOBBERS                                                                        \
    "r1", "r2", "r3", "r4", "r5", "r6", "r7", "r8", "r9", "r10", "r11", "r12", "lr", "cc", \
        "memory"

__attribute__((noinline)) static void te_run_1(int32_t *lane)
{
    register int32_t *r0 __asm__("r0") = lane;
    __asm__ volatile(TE_CHANNEL(1, "4") : "+r"(r0) : : TE_CLOBBERS);
}

__attribute__((noinline)) static void te_run_2(int32_t *lane)
{
    register int32_t *r0 __asm__("r0") = lane;
    __asm__ volatile(TE_CHANNEL(2, "8") : "+r"(r0) : : TE_CLOBBERS);
}

/* Output rows of one channel: all pairs of columns, then the column that is left. */
static inline void te_rows(const te_depthwise *d, int32_t *w, const int32_t *x, te_scaling f,
                           int32_t bias, int8_t *y, int32_t rows)
{
    const te_conv2d *s = &d->p->shape;
    const int32_t out_w = s->window.out_w, out_c = s->out_c, stride = s->window.stride_w;
    const int32_t pitch = 4 * TE_CHANNELS * d->line;
    te_lane *lane = (te_lane *)(void *)(w + TE_PAIRS);
    const te_lane whole = {f, te_qadd(bias, bias), y, x, out_w * out_c, stride * pitch,
                           y + out_w / 2 * 2 * out_c, rows, out_c, pitch};
    for (int32_t odd = out_w > 1 ? 0 : 1; odd <= out_w % 2; odd++) {
        *lane = whole;
        if (odd) {
            lane->x += out_w / 2 * stride;
            lane->y = whole.y_end;
            lane->out_c = 0;
        }
        if (stride == 1) {
            te_run_1(w);
        } else {
            te_run_2(w);
        }
    }
}

#else

static inline void te_rows(const te_depthwise *d, int32_t *w, const int32_t *x, te_scaling f,
                           int32_t bias, int8_t *y, int32_t rows)
{
    const te_conv2d *s = &d->p->shape;
    for (; rows > 0; rows--) {
        for (int32_t ox = 0; ox < s->window.out_w; ox++, y += s->out_c) {
            *y = (int8_t)te_scale(te_sum(d, x, w, ox), te_qadd(bias, bias), f);
        }
        x += s->window.stride_h * TE_CHANNELS * d->line;
    }
}

#endif

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
static inline void te_channel(const te_depthwise *d, int32_t channel, int32_t j, int32_t row,
                              int32_t rows)
{
    const te_conv2d *s = &d->p->shape;
    const int32_t *scale = d->p->scale + 3 * channel, *x = d->lines + j * d->line;
    const int32_t step = s->window.out_w * s->out_c;
    int32_t *w = d->lanes + j * TE_LANE;
    int8_t *y = d->y + row * step + channel;
    if (!te_is_exact(d->p, channel)) {
        const te_scaling f = {scale[0], scale[1], scale[2]};
        te_rows(d, w, x, f, d->bias[channel], y, rows);
        return;
    }
    for (; rows > 0; rows--, y += step) {
        te_row_exact(d, x, w, channel, y);
        x += s->window.stride_h * TE_CHANNELS * d->line;
    }
}

static inline void te_depthwise_run(const te_conv2d_dsp *p, const int8_t *x, const int8_t *weight,
                                    const int32_t *bias, int8_t *y, int32_t *scratch)
{
    const te_window *g = &p->shape.window;
    const int32_t line = te_depthwise_line(g->out_w, g->stride_w);
    int32_t *lines = scratch + TE_CHANNELS * TE_LANE;
    const te_depthwise d = {p, x, weight, bias, y, scratch, lines, line};
    te_clear(lines, ((p->band - 1) * g->stride_h + TE_SIZE) * TE_CHANNELS * line);
    for (int32_t c = 0; c < p->shape.out_c; c += TE_CHANNELS) {
        /* the last four channels may be some of the ones before again */
        const int32_t channel = te_min(c, p->shape.out_c - TE_CHANNELS);
        te_pair_weights(&d, channel);
        for (int32_t row = 0; row < g->out_h; row += p->band) {
            const int32_t rows = te_min(p->band, g->out_h - row);
            te_spread_lines(&d, channel, row, (rows - 1) * g->stride_h + TE_SIZE);
            for (int32_t j = 0; j < TE_CHANNELS; j++) {
                te_channel(&d, channel + j, j, row, rows);
            }
        }
    }
}

#endif
