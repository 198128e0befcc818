/* te_max_pool_s8_dsp.c - see te_kernels_dsp.h. Four channels to a word. */
#include "te_kernels_dsp.h"
#include "te_packed_dsp.h"

/* One output pixel: `lines` of `columns` inputs; steps in bytes. */
typedef struct te_pooled {
    int32_t lines, columns;
    int32_t line, step;
    uint32_t lo, hi;
} te_pooled;

/* Of four channels. Inlined: lines and columns may be constants. */
static inline uint32_t te_largest(const te_pooled *s, int32_t lines, int32_t columns,
                                  const int8_t *x)
{
    const int32_t step = s->step, line = s->line;
    uint32_t most = te_load(x);
    if (lines == 2 && columns == 2) {
        const uint32_t below = te_max_4(te_load(x + line), te_load(x + line + step));
        most = te_max_4(te_max_4(most, te_load(x + step)), below);
    } else {
        for (; lines > 0; lines--, x += line - columns * step) {
            for (int32_t i = columns; i > 0; i--, x += step) {
                most = te_max_4(most, te_load(x));
            }
        }
    }
    return te_min_4(te_max_4(most, s->lo), s->hi);
}

/* Out of line, and of a copy: y may alias *from, so that it would not stay in registers. */
__attribute__((noinline)) static void te_pool_pixel(const te_pooled *from, const int8_t *x,
                                                    int32_t channels, int8_t *y)
{
    const te_pooled s = *from;
    const int is_small = s.lines == 2 && s.columns == 2;
    for (int32_t c = 0; c < channels && is_small; c += 4) {
        const int32_t at = te_min(c, channels - 4); /* the last four may be made twice */
        te_store_word(y + at, (int32_t)te_largest(&s, 2, 2, x + at));
    }
    for (int32_t c = 0; c < channels && !is_small; c += 4) {
        const int32_t at = te_min(c, channels - 4);
        te_store_word(y + at, (int32_t)te_largest(&s, s.lines, s.columns, x + at));
    }
}

void te_max_pool_s8_dsp(const te_pool *p, const int8_t *x, int8_t *y)
{
    const te_window *g = &p->window;
    const int32_t n = p->channels;
    if (n < 4) {
        te_max_pool_s8(p, x, y);
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
            te_pool_pixel(&s, x + (iy * g->in_w + ix) * n, n, y);
        }
    }
}
