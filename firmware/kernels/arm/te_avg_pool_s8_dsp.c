/* te_avg_pool_s8_dsp.c - see te_kernels_dsp.h. Four channels at a time, two sums to a word: they
 * have room for TE_MOST pixels. */
#include "te_kernels_dsp.h"
#include "te_packed_dsp.h"

enum { TE_MOST = 256 };

/* One output pixel: `lines` of `columns` inputs; steps in bytes. */
typedef struct te_pooled {
    int32_t lines, columns;
    int32_t line, step;
    int32_t count, half;
    int32_t lo, hi;
} te_pooled;

/* total / count, half away from zero: division cuts, so half goes with the sign. */
static inline int32_t te_mean_of(const te_pooled *s, int32_t total)
{
    const int32_t sign = te_shift_floor(total, 31);
    // NOLINTNEXTLINE(clang-analyzer-core.DivideZero)
    return te_clamp((total + (s->half ^ sign) - sign) / s->count, s->lo, s->hi);
}

static inline uint32_t te_mean_of_four(const te_pooled *s, const int8_t *x)
{
    int32_t even = 0, odd = 0;
    for (int32_t line = s->lines; line > 0; line--, x += s->line) {
        const int8_t *at = x;
        for (int32_t i = s->columns; i > 0; i--, at += s->step) {
            const uint32_t word = te_load(at);
            even = te_sxtab16(even, word);
            odd = te_sxtab16_odd(odd, word);
        }
    }
    return te_four_bytes(te_mean_of(s, (int16_t)even), te_mean_of(s, (int16_t)odd),
                         te_mean_of(s, te_shift_floor(even, 16)),
                         te_mean_of(s, te_shift_floor(odd, 16)));
}

static inline void te_pool_pixel(te_pooled *s, const int8_t *x, int32_t channels, int8_t *y)
{
    s->count = s->lines * s->columns;
    s->half = s->count / 2;
    for (int32_t c = 0; c < channels; c += 4) {
        const int32_t from = te_min(c, channels - 4); /* the last four may be made twice */
        te_store_word(y + from, (int32_t)te_mean_of_four(s, x + from));
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
    te_pooled s = {.lo = p->lo, .hi = p->hi};
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
            te_pool_pixel(&s, x + (iy * g->in_w + ix) * n, n, y);
        }
    }
}
