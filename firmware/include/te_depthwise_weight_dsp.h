/* te_depthwise_weight_dsp.h - weight gradient of a depthwise convolution, both formats.
 *
 * Four channels of one tap at a time, their sums in registers, two output pixels in each pass of
 * the loop: of a pixel two loads of d_y, one of x, two unpackings, four products. Gradients that
 * must be shifted first are shifted once for all taps, some pixels of a line at a time.
 */
#ifndef TE_DEPTHWISE_WEIGHT_DSP_H
#define TE_DEPTHWISE_WEIGHT_DSP_H

#include "te_grad_depthwise.h"
#include "te_packed_dsp.h"

enum { TE_FOUR = 4, TE_SHIFTED_PIXELS = 48 };

/* Output pixels of four channels and the inputs that they meet at one tap: `rows` lines of `n`.
 * Steps go from pixel to pixel, skips from the end of a line to the next one; all in elements. */
typedef struct te_meets {
    const te_grad *d;
    const int8_t *x;
    int32_t rows, n;
    int32_t d_step, x_step, d_skip, x_skip;
} te_meets;

typedef struct te_four_sums {
    int32_t a, b, c, d;
} te_four_sums;

/* One pixel; x with the zero point subtracted: (x0, x2) and (x1, x3). */
static inline void te_add_four(te_four_sums *s, const te_grad *d, uint32_t x, int32_t minus_zero)
{
    const int32_t even = te_sxtab16(minus_zero, x), odd = te_sxtab16_odd(minus_zero, x);
#if TE_GRAD_BITS == 16
    const int32_t d01 = te_load_halves(d), d23 = te_load_halves(d + 2);
    s->a = te_smlabb(d01, even, s->a);
    s->b = te_smlatb(d01, odd, s->b);
    s->c = te_smlabt(d23, even, s->c);
    s->d = te_smlatt(d23, odd, s->d);
#else
    const int32_t d02 = te_sxtb16(te_load(d)), d13 = te_sxtb16_odd(te_load(d));
    s->a = te_smlabb(d02, even, s->a);
    s->b = te_smlabb(d13, odd, s->b);
    s->c = te_smlatt(d02, even, s->c);
    s->d = te_smlatt(d13, odd, s->d);
#endif
}

/* Sums over a line of pixels in the making. */
typedef struct te_line {
    const te_grad *d;
    const int8_t *x;
    int32_t d_step, x_step, minus_zero;
} te_line;

static inline void te_add_pixels(te_four_sums *s, te_line *l, int32_t n)
{
    for (; n > 0; n--, l->d += l->d_step, l->x += l->x_step) {
        te_add_four(s, l->d, te_load(l->x), l->minus_zero);
    }
}

#if defined(__ARM_FEATURE_DSP) && defined(__thumb2__) && defined(__OPTIMIZE__)

#if TE_GRAD_BITS == 16
#define TE_FETCH_D "ldrd %[u], %[v], [%[d]]\n\t"
#define TE_PRODUCTS                                                               \
    "smlabb %[s0], %[u], %[q], %[s0]\n\t smlatb %[s1], %[u], %[p], %[s1]\n\t"     \
    "smlabt %[s2], %[v], %[q], %[s2]\n\t smlatt %[s3], %[v], %[p], %[s3]\n\t"
#else
#define TE_FETCH_D "ldr %[u], [%[d]]\n\t sxtb16 %[v], %[u], ror #8\n\t sxtb16 %[u], %[u]\n\t"
#define TE_PRODUCTS                                                               \
    "smlabb %[s0], %[u], %[q], %[s0]\n\t smlabb %[s1], %[v], %[p], %[s1]\n\t"     \
    "smlatt %[s2], %[u], %[q], %[s2]\n\t smlatt %[s3], %[v], %[p], %[s3]\n\t"
#endif
#define TE_PIXEL(x)                                                               \
    "ldr %[p], " x "\n\t" TE_FETCH_D "add %[d], %[d_step]\n\t"                    \
    "sxtab16 %[q], %[zero], %[p]\n\t"                                            \
    "sxtab16 %[p], %[zero], %[p], ror #8\n\t" TE_PRODUCTS

/* Pairs of pixels. Takes all 14 registers. */
static inline void te_add_pairs(te_four_sums *s, te_line *l, int32_t pairs)
{
    int32_t u, v, p, q;
    __asm__("1:\n\t" TE_PIXEL("[%[x]]") TE_PIXEL("[%[x], %[x_step]]")
            "add %[x], %[x], %[x_step], lsl #1\n\t"
            "subs %[n], #1\n\t"
            "bne 1b"
            : [s0] "+r"(s->a), [s1] "+r"(s->b), [s2] "+r"(s->c), [s3] "+r"(s->d), [d] "+r"(l->d),
              [x] "+r"(l->x), [n] "+r"(pairs), [u] "=&r"(u), [v] "=&r"(v), [p] "=&r"(p),
              [q] "=&r"(q)
            : [d_step] "r"(l->d_step * (int32_t)sizeof *l->d), [x_step] "r"(l->x_step),
              [zero] "r"(l->minus_zero)
            : "cc", "memory");
}

/* Whether gradients begin at whole words. */
static inline int te_has_pairs(const te_line *l, int32_t n)
{
    return n > 1 && TE_GRAD_BITS * l->d_step % 32 == 0 && (uintptr_t)l->d % 4u == 0u;
}

static inline void te_add_line(te_four_sums *s, te_line *l, int32_t n)
{
    if (te_has_pairs(l, n)) {
        te_add_pairs(s, l, n / 2);
        n %= 2;
    }
    te_add_pixels(s, l, n);
}

#else

static inline void te_add_line(te_four_sums *s, te_line *l, int32_t n)
{
    te_add_pixels(s, l, n);
}

#endif

/* Adds to four sums. */
__attribute__((noinline, unused)) static void te_meet_four(const te_meets *m, int32_t minus_zero,
                                                           int32_t *d_w)
{
    te_four_sums s = {d_w[0], d_w[1], d_w[2], d_w[3]};
    te_line l = {m->d, m->x, m->d_step, m->x_step, minus_zero};
    for (int32_t row = m->rows; row > 0; row--) {
        te_add_line(&s, &l, m->n);
        l.d += m->d_skip;
        l.x += m->x_skip;
    }
    d_w[0] = s.a, d_w[1] = s.b, d_w[2] = s.c, d_w[3] = s.d;
}

/* Four channels from `c` on at all taps: the output pixels (oy, ox) with oy in `rows` and ox in
 * `columns`, whose gradients begin at d. */
typedef struct te_patch {
    const te_grad *d;
    int32_t d_step, d_line; /* from pixel to pixel, from line to line */
    te_span rows, columns;
} te_patch;

static inline te_span te_common(te_span a, te_span b)
{
    const te_span both = {-te_min(-a.first, -b.first), te_min(a.end, b.end)};
    return both;
}

static inline void te_meet_tap(const te_conv2d *p, const te_patch *at, const int8_t *x, int32_t ky,
                               int32_t kx, int32_t *d_w)
{
    const te_window *g = &p->window;
    const int32_t dy = ky * g->dilation_h - g->pad_top, dx = kx * g->dilation_w - g->pad_left;
    const te_span ys = te_common(te_reach(dy, g->stride_h, g->in_h, g->out_h), at->rows);
    const te_span xs = te_common(te_reach(dx, g->stride_w, g->in_w, g->out_w), at->columns);
    const int32_t rows = ys.end - ys.first, n = xs.end - xs.first;
    if (rows <= 0 || n <= 0) {
        return;
    }
    const int32_t x_step = g->stride_w * p->in_c, x_line = g->stride_h * g->in_w * p->in_c;
    te_meets m = {.rows = rows, .n = n, .d_step = at->d_step, .x_step = x_step};
    m.d = at->d + (ys.first - at->rows.first) * at->d_line +
          (xs.first - at->columns.first) * at->d_step;
    m.x = x + ((ys.first * g->stride_h + dy) * g->in_w + xs.first * g->stride_w + dx) * p->in_c;
    if (rows > n) { /* down the columns: long lines take less */
        m.rows = n, m.n = rows, m.d_step = at->d_line, m.x_step = x_line;
    }
    m.d_skip = (rows > n ? at->d_step : at->d_line) - m.n * m.d_step;
    m.x_skip = (rows > n ? x_step : x_line) - m.n * m.x_step;
    te_meet_four(&m, te_twice(-p->in_zero), d_w);
}

static inline void te_meet_taps(const te_conv2d *p, const te_patch *at, const int8_t *x,
                                int32_t *d_w)
{
    for (int32_t ky = 0; ky < p->window.kernel_h; ky++) {
        for (int32_t kx = 0; kx < p->window.kernel_w; kx++, d_w += p->out_c) {
            te_meet_tap(p, at, x, ky, kx, d_w);
        }
    }
}

/* te_rounding_shift by 1 or more of four channels of `count` pixels */
static inline void te_shift_fours(const te_grad *d, int32_t step, int32_t count, int32_t shift,
                                  te_grad *to)
{
    const int32_t half = 1 << (shift - 1);
    for (; count > 0; count--, d += step, to += TE_FOUR) {
        for (int32_t i = 0; i < TE_FOUR; i++) {
            to[i] = (te_grad)te_shift_floor(d[i] + te_shift_floor(d[i], 31) + half, shift);
        }
    }
}

/* Four channels; d_y, x and d_w begin at the first of them. */
static inline void te_four_channels(const te_conv2d *p, int32_t shift, const te_grad *d_y,
                                    const int8_t *x, int32_t *d_w)
{
    const te_window *g = &p->window;
    const int32_t line = g->out_w * p->out_c;
    for (int32_t tap = 0; tap < g->kernel_h * g->kernel_w; tap++) {
        int32_t *const sums = d_w + tap * p->out_c;
        sums[0] = sums[1] = sums[2] = sums[3] = 0;
    }
    if (shift == 0) {
        const te_patch all = {d_y, p->out_c, line, {0, g->out_h}, {0, g->out_w}};
        te_meet_taps(p, &all, x, d_w);
        return;
    }
    for (int32_t oy = 0; oy < g->out_h; oy++) {
        for (int32_t ox = 0; ox < g->out_w; ox += TE_SHIFTED_PIXELS) {
            int32_t words[TE_SHIFTED_PIXELS * TE_FOUR * TE_GRAD_BITS / 32];
            te_grad *const shifted = (te_grad *)(void *)words;
            const int32_t n = te_min(TE_SHIFTED_PIXELS, g->out_w - ox);
            const te_patch some = {shifted, TE_FOUR, 0, {oy, oy + 1}, {ox, ox + n}};
            te_shift_fours(d_y + oy * line + ox * p->out_c, p->out_c, n, shift, shifted);
            te_meet_taps(p, &some, x, d_w);
        }
    }
}

/* One output channel per input channel, four or more. */
static inline void te_depthwise_bwd_weight_dsp(const te_conv2d *p, int32_t shift,
                                               const te_grad *d_y, const int8_t *x, int32_t *d_w)
{
    for (int32_t c = 0; c < p->out_c; c += TE_FOUR) {
        /* the last four channels may be some of the ones before again */
        const int32_t first = te_min(c, p->out_c - TE_FOUR);
        te_four_channels(p, shift, d_y + first, x + first, d_w + first);
    }
}

#endif
