/* te_weight_dsp.h - weight gradient of a convolution with SMLAD, for both formats.
 *
 * Four output channels and two input channels at a time. The output pixels at which any of the four
 * has a gradient are listed first, two to a meeting: where the pixels of x start that they meet,
 * and of each channel the gradients of both as halves of a word. Sums are exact, so their order
 * does not show.
 */
#ifndef TE_WEIGHT_DSP_H
#define TE_WEIGHT_DSP_H

#include "te_meetings_dsp.h"

/* Output pixels in a row: `at` of x moves by `step`. */
typedef struct te_pixels {
    const te_grad *d_y;
    int32_t left, at, step;
} te_pixels;

static inline void te_load_pixel(const te_tap_grad *t, const te_pixels *from, te_pixel *pixel)
{
    const te_grad *const d_y = from->d_y;
    int32_t d[TE_MEETING_ROWS] = {0, 0, 0, 0};
    pixel->at = from->at;
    if (t->rows == TE_MEETING_ROWS && t->shift == 0) {
        pixel->d01 = te_low_halves(d_y[0], d_y[1]);
        pixel->d23 = te_low_halves(d_y[2], d_y[3]);
        return;
    }
    for (int32_t row = 0; row < t->rows; row++) {
        d[row] = te_rounding_shift(d_y[row], t->shift);
    }
    pixel->d01 = te_low_halves(d[0], d[1]);
    pixel->d23 = te_low_halves(d[2], d[3]);
}

/* The next pixel that has a gradient; 0 if there is none. */
static inline int te_next_pixel(const te_tap_grad *t, te_pixels *from, te_pixel *pixel)
{
    while (from->left > 0) {
        te_load_pixel(t, from, pixel);
        from->left--, from->d_y += t->p->out_c, from->at += from->step;
        if ((pixel->d01 | pixel->d23) != 0) {
            return 1;
        }
    }
    return 0;
}

static inline void te_put_meeting(te_meeting *m, te_pixel a, te_pixel b)
{
    m->at[0] = a.at, m->at[1] = b.at;
    m->d[0] = te_low_halves(a.d01, b.d01), m->d[1] = te_high_halves(a.d01, b.d01);
    m->d[2] = te_low_halves(a.d23, b.d23), m->d[3] = te_high_halves(a.d23, b.d23);
}

/* Counts a meeting that has been put at the list's end. */
static inline void te_keep_meeting(te_tap_grad *t)
{
    t->end++;
    if (t->end == t->limit) {
        te_meet(t);
    }
}

/* Pixels one by one, any number of rows. The last one may have to wait for a partner. */
__attribute__((noinline, unused)) static void te_list_singly(te_tap_grad *t, te_pixels from)
{
    te_pixel pixel;
    while (te_next_pixel(t, &from, &pixel)) {
        if (t->waits) {
            te_put_meeting(t->end, t->waiting, pixel);
            te_keep_meeting(t);
        } else {
            t->waiting = pixel;
        }
        t->waits = !t->waits;
    }
}

/* Four rows of two pixels: (d, d') of each row. Only s16 shifts here. */
static inline void te_pair_plain(const te_grad *a, const te_grad *b, int32_t *d)
{
#if TE_GRAD_BITS == 16
    const int32_t a01 = te_load_halves(a), a23 = te_load_halves(a + 2);
    const int32_t b01 = te_load_halves(b), b23 = te_load_halves(b + 2);
    d[0] = te_low_halves(a01, b01), d[1] = te_high_halves(a01, b01);
    d[2] = te_low_halves(a23, b23), d[3] = te_high_halves(a23, b23);
#else
    const int32_t a02 = te_sxtb16(te_load(a)), a13 = te_sxtb16_odd(te_load(a));
    const int32_t b02 = te_sxtb16(te_load(b)), b13 = te_sxtb16_odd(te_load(b));
    d[0] = te_low_halves(a02, b02), d[1] = te_low_halves(a13, b13);
    d[2] = te_high_halves(a02, b02), d[3] = te_high_halves(a13, b13);
#endif
}

/* Of x * 2^(15 - shift): x / 2^shift in the high half, ties away from zero, so a bit less than half
 * (2^15) where x is negative. */
static inline int32_t te_rounded(int32_t product, int32_t half)
{
#if defined(__ARM_FEATURE_DSP) && defined(__thumb2__)
    int32_t d;
    __asm__("add %0, %1, %2, asr #31\n\tadd %0, %0, %2, lsl #1"
            : "=&r"(d)
            : "r"(half), "r"(product));
    return d;
#else
    return half + te_shift_floor(product, 31) + (int32_t)((uint32_t)product << 1);
#endif
}

static inline int32_t te_pair_rounded(int32_t pair, int32_t factor, int32_t half)
{
    return te_high_halves(te_rounded(te_smulbb(pair, factor), half),
                          te_rounded(te_smultb(pair, factor), half));
}

/* Meetings of neighbours, without those that have no gradient; returns the pixels that are left.
 * Inlined: `is_shifted` is a constant. */
__attribute__((always_inline)) static inline te_pixels te_list_pairs(te_tap_grad *t, int is_shifted,
                                                                     te_pixels from)
{
    const int32_t out_c = t->p->out_c, factor = is_shifted ? 1 << (15 - t->shift) : 0;
    const int32_t half = 1 << 15;
    te_meeting *end = t->end;
    for (; from.left >= 2; from.left -= 2, from.d_y += 2 * out_c, from.at += 2 * from.step) {
        int32_t d[TE_MEETING_ROWS];
        te_pair_plain(from.d_y, from.d_y + out_c, d);
        if (is_shifted) {
            d[0] = te_pair_rounded(d[0], factor, half), d[1] = te_pair_rounded(d[1], factor, half);
            d[2] = te_pair_rounded(d[2], factor, half), d[3] = te_pair_rounded(d[3], factor, half);
        }
        if ((d[0] | d[1] | d[2] | d[3]) != 0) {
            end->at[0] = from.at, end->at[1] = from.at + from.step;
            end->d[0] = d[0], end->d[1] = d[1], end->d[2] = d[2], end->d[3] = d[3];
            end++;
            if (end == t->limit) {
                t->end = end;
                te_meet(t);
                end = t->end;
            }
        }
    }
    t->end = end;
    return from;
}

__attribute__((noinline, unused)) static te_pixels te_list_plain(te_tap_grad *t, te_pixels from)
{
    return te_list_pairs(t, 0, from);
}

__attribute__((noinline, unused)) static te_pixels te_list_shifted(te_tap_grad *t, te_pixels from)
{
    return te_list_pairs(t, 1, from);
}

/* One pixel that a waiting one goes with, and what follows it. */
static inline te_pixels te_list_partner(te_tap_grad *t, te_pixels from)
{
    te_pixels first = from;
    first.left = te_min(1, from.left);
    te_list_singly(t, first);
    from.left -= first.left, from.d_y += first.left * t->p->out_c;
    from.at += first.left * from.step;
    return from;
}

static inline void te_list_pixels(te_tap_grad *t, te_pixels from)
{
    const int is_whole = t->rows == TE_MEETING_ROWS;
    const int is_shifted = TE_GRAD_BITS == 16 && t->shift > 0 && t->shift < 16;
    while (is_whole && t->waits && from.left > 0) {
        from = te_list_partner(t, from);
    }
    if (is_whole && t->shift == 0) {
        from = te_list_plain(t, from);
    } else if (is_whole && is_shifted) {
        from = te_list_shifted(t, from);
    }
    te_list_singly(t, from);
}

static inline void te_list_tap(te_tap_grad *t, const te_grad *d_y, int32_t ky, int32_t kx)
{
    const te_window *g = &t->p->window;
    const int32_t in_c = t->p->in_c, out_c = t->p->out_c;
    const int32_t dy = ky * g->dilation_h - g->pad_top, dx = kx * g->dilation_w - g->pad_left;
    const te_span ys = te_reach(dy, g->stride_h, g->in_h, g->out_h);
    const te_span xs = te_reach(dx, g->stride_w, g->in_w, g->out_w);
    int32_t rows = ys.end - ys.first, n = xs.end - xs.first;
    if (n == g->in_w && n == g->out_w && g->stride_h == 1 && rows > 0) {
        n *= rows, rows = 1; /* one after the other in both tensors */
    }
    for (int32_t oy = ys.first; oy < ys.first + rows; oy++) {
        const int32_t from = (oy * g->stride_h + dy) * g->in_w + xs.first * g->stride_w + dx;
        const te_pixels pixels = {d_y + (oy * g->out_w + xs.first) * out_c, n, from * in_c,
                                  g->stride_w * in_c};
        te_list_pixels(t, pixels);
    }
    if (t->waits) {
        const te_pixel none = {t->waiting.at, 0, 0};
        te_put_meeting(t->end++, t->waiting, none);
        t->waits = 0;
    }
    te_meet(t);
}

/* d * x of four numbers */
static inline void te_put_products(int32_t d, int32_t x02, int32_t x13, int32_t *d_w)
{
    const int32_t p0 = te_smulbb(d, x02), p1 = te_smulbb(d, x13);
    const int32_t p2 = te_smulbt(d, x02), p3 = te_smulbt(d, x13);
    d_w[0] = p0, d_w[1] = p1, d_w[2] = p2, d_w[3] = p3;
}

/* One row of d_w. */
static inline void te_outer_row(const te_conv2d *p, int32_t d, const int8_t *x, int32_t *d_w)
{
    const int32_t zeros = te_twice(-p->in_zero), in_c = p->in_c;
    int32_t c = 0;
    for (; c + 4 <= in_c; c += 4, d_w += 4) {
        const int32_t x02 = te_sxtab16(zeros, te_load(x + c));
        const int32_t x13 = te_sxtab16_odd(zeros, te_load(x + c));
        d_w[0] = te_smulbb(d, x02), d_w[1] = te_smulbb(d, x13);
        d_w[2] = te_smulbt(d, x02), d_w[3] = te_smulbt(d, x13);
    }
    for (; c < in_c; c++) {
        *d_w++ = d * (x[c] - p->in_zero);
    }
}

/* Two rows. */
static inline void te_outer_rows(const te_conv2d *p, int32_t d, int32_t e, const int8_t *x,
                                 int32_t *d_w)
{
    const int32_t zeros = te_twice(-p->in_zero), in_c = p->in_c;
    int32_t *second = d_w + in_c;
    int32_t c = 0;
    for (; c + 4 <= in_c; c += 4, d_w += 4, second += 4) {
        const uint32_t word = te_load(x + c);
        const int32_t x02 = te_sxtab16(zeros, word), x13 = te_sxtab16_odd(zeros, word);
        te_put_products(d, x02, x13, d_w);
        te_put_products(e, x02, x13, second);
    }
    for (; c < in_c; c++) {
        *d_w++ = d * (x[c] - p->in_zero);
        *second++ = e * (x[c] - p->in_zero);
    }
}

/* One output pixel: rows of d_w are multiples of x - zero. */
static inline void te_outer_product(const te_conv2d *p, int32_t shift, const te_grad *d_y,
                                    const int8_t *x, int32_t rows, int32_t *d_w)
{
    int32_t k = 0;
    for (; k + 2 <= rows; k += 2, d_w += 2 * p->in_c) {
        te_outer_rows(p, te_rounding_shift(d_y[k], shift), te_rounding_shift(d_y[k + 1], shift), x,
                      d_w);
    }
    if (k < rows) {
        te_outer_row(p, te_rounding_shift(d_y[k], shift), x, d_w);
    }
}

/* list: for half as many meetings as there are output pixels, rounded up, TE_MEETINGS at most, and
 * 8 bytes. */
static inline void te_conv2d_bwd_weight_dsp(const te_conv2d *p, int32_t shift, const te_grad *d_y,
                                            const int8_t *x, int32_t k0, int32_t k1, int32_t *d_w,
                                            te_meeting *list)
{
    const te_window *g = &p->window;
    const int32_t taps = g->kernel_h * g->kernel_w;
    if (taps == 1 && g->in_h * g->in_w == 1) {
        te_outer_product(p, shift, d_y + k0, x, k1 - k0, d_w);
        return;
    }
    te_tap_grad t = {.p = p, .shift = shift, .x = x, .stride = taps * p->in_c, .list = list};
    t.limit = list + te_min((g->out_h * g->out_w + 1) / 2, TE_MEETINGS);
    for (int32_t k = k0; k < k1; k += TE_MEETING_ROWS) {
        t.rows = te_min(TE_MEETING_ROWS, k1 - k);
        for (int32_t tap = 0; tap < taps; tap++) {
            t.d_w = d_w + (k - k0) * t.stride + tap * p->in_c;
            t.end = list;
            t.is_begun = 0;
            te_list_tap(&t, d_y + k, tap / g->kernel_w, tap % g->kernel_w);
        }
    }
}

#endif
