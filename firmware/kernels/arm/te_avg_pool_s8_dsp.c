/* te_avg_pool_s8_dsp.c - see te_kernels_dsp.h. Four channels at a time, two sums to a word: they
 * have room for TE_MOST pixels. */
#include "te_kernels_dsp.h"
#include "te_packed_dsp.h"

enum { TE_MOST = 256 };

/* One output pixel: `lines` of `columns` inputs; steps in bytes. halvings: -1 unless `count` is a
 * power of two. */
typedef struct te_pooled {
    int32_t lines, columns;
    int32_t line, step;
    int32_t count, half, halvings;
    uint32_t lo, hi;
} te_pooled;

/* total / count, half away from zero: division cuts, so half goes with the sign. */
static inline int32_t te_mean_of(const te_pooled *s, int32_t total)
{
    const int32_t sign = te_shift_floor(total, 31);
    // NOLINTNEXTLINE(clang-analyzer-core.DivideZero)
    return (total + (s->half ^ sign) - sign) / s->count;
}

/* The same of both halves. */
static inline int32_t te_means_of(const te_pooled *s, int32_t totals)
{
    if (s->halvings > 0) {
        const int32_t half = te_twice(s->half);
        totals = te_shadd16(totals, te_by_sign(totals, half, half - te_twice(1)));
        for (int32_t i = s->halvings; i > 1; i--) {
            totals = te_shadd16(totals, 0);
        }
        return totals;
    }
    return te_low_halves(te_mean_of(s, (int16_t)totals), te_mean_of(s, te_shift_floor(totals, 16)));
}

/* Sums of channels 0 and 2, and of 1 and 3. */
typedef struct te_four_sums {
    int32_t even, odd;
} te_four_sums;

static inline void te_add_word(te_four_sums *sums, uint32_t word)
{
    sums->even = te_sxtab16(sums->even, word);
    sums->odd = te_sxtab16_odd(sums->odd, word);
}

/* Of four channels. Inlined: lines and columns may be constants. */
static inline te_four_sums te_sum_four(const te_pooled *s, int32_t lines, int32_t columns,
                                       const int8_t *x)
{
    const int32_t step = s->step, line = s->line;
    te_four_sums sums = {0, 0};
    if (lines == 2 && columns == 2) {
        te_add_word(&sums, te_load(x));
        te_add_word(&sums, te_load(x + step));
        te_add_word(&sums, te_load(x + line));
        te_add_word(&sums, te_load(x + line + step));
        return sums;
    }
    for (; lines > 0; lines--, x += line - columns * step) {
        for (int32_t i = columns; i > 0; i--, x += step) {
            te_add_word(&sums, te_load(x));
        }
    }
    return sums;
}

static inline void te_put_four(const te_pooled *s, te_four_sums sums, int8_t *y)
{
    const uint32_t even = (uint32_t)te_means_of(s, sums.even);
    const uint32_t odd = (uint32_t)te_means_of(s, sums.odd);
    const uint32_t four = (even & UINT32_C(0xFF00FF)) | (odd & UINT32_C(0xFF00FF)) << 8;
    te_store_word(y, (int32_t)te_min_4(te_max_4(four, s->lo), s->hi));
}

static inline int32_t te_log2(int32_t count)
{
    int32_t n = 0;
    for (; count > 1 && count % 2 == 0; count /= 2) {
        n++;
    }
    return count == 1 ? n : -1;
}

/* Out of line, and of a copy: y may alias *from, so that it would not stay in registers. */
__attribute__((noinline)) static void te_pool_pixel(const te_pooled *from, const int8_t *x,
                                                    int32_t channels, int8_t *y)
{
    te_pooled s = *from;
    const int is_small = s.lines == 2 && s.columns == 2;
    for (int32_t c = 0; c < channels && !is_small; c += 4) {
        const int32_t at = te_min(c, channels - 4); /* the last four may be made twice */
        te_put_four(&s, te_sum_four(&s, s.lines, s.columns, x + at), y + at);
    }
    s.half = 2;
    s.halvings = 2;
    for (int32_t c = 0; c < channels && is_small; c += 4) {
        const int32_t at = te_min(c, channels - 4);
        te_put_four(&s, te_sum_four(&s, 2, 2, x + at), y + at);
    }
}

void te_avg_pool_s8_dsp(const te_pool *p, const int8_t *x, int8_t *y)
{
    const te_window *g = &p->window;
    const int32_t n = p->channels;
    if (n < 4 || g->kernel_h * g->kernel_w > TE_MOST) {
        te_avg_pool_s8(p, x, y);
        return;
    }
    te_pooled s = {.lo = te_four_times(p->lo), .hi = te_four_times(p->hi)};
    s.line = g->dilation_h * g->in_w * n;
    s.step = g->dilation_w * n;
    for (int32_t oy = 0; oy < g->out_h; oy++) {
        const te_span ys = te_taps_h(g, oy);
        const int32_t iy = oy * g->stride_h - g->pad_top + ys.first * g->dilation_h;
        s.lines = ys.end - ys.first;
        for (int32_t ox = 0; ox < g->out_w; ox++, y += n) {
            const te_span xs = te_taps_w(g, ox);
            const int32_t ix = ox * g->stride_w - g->pad_left + xs.first * g->dilation_w;
            s.columns = xs.end - xs.first;
            s.count = s.lines * s.columns;
            s.half = s.count / 2;
            s.halvings = te_log2(s.count);
            te_pool_pixel(&s, x + (iy * g->in_w + ix) * n, n, y);
        }
    }
}
