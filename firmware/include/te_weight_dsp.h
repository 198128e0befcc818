/* te_weight_dsp.h - weight gradient of a convolution with SMLAD, for both formats.
 *
 * Four output channels and two input channels at a time. The output pixels at which any of the four
 * has a gradient are listed first, two to a meeting: where the pixels of x start that they meet,
 * and of each channel the gradients of both as halves of a word. Sums are exact, so their order
 * does not show.
 */
#ifndef TE_WEIGHT_DSP_H
#define TE_WEIGHT_DSP_H

#include "te_dsp.h"
#include "te_grad_conv.h"

enum { TE_MEETING_ROWS = 4, TE_MEETINGS = 64, TE_NOWHERE = -1 };

/* The list ends with one that meets at TE_NOWHERE. */
typedef struct te_meeting {
    int32_t at[2];
    int32_t d[TE_MEETING_ROWS];
} te_meeting;

/* An output pixel: where it meets x, and its gradients at the first two rows and at the others. */
typedef struct te_pixel {
    int32_t at, d01, d23;
} te_pixel;

/* One tap of `rows` output channels in the making. */
typedef struct te_tap_grad {
    const te_conv2d *p;
    int32_t shift, rows;
    const int8_t *x;
    int32_t *d_w; /* rows are `stride` apart */
    int32_t stride;
    te_meeting *list, *end, *limit;
    int32_t first[TE_MEETING_ROWS]; /* what the sums of each row start with */
    int32_t is_begun;               /* d_w holds sums */
    int32_t waits;                  /* a pixel waits for its partner */
    te_pixel waiting;
} te_tap_grad;

#if defined(__ARM_FEATURE_DSP) && defined(__thumb2__) && defined(__OPTIMIZE__)

/* Two rows: u = (x, x') of the first channel, v of the second; p, q = (d, d') of the rows. */
#define TE_MEET_2(a, b, c, d)                       \
    "ldrd %[p], %[q], [%[m]], #8\n\t"               \
    "smlad %[" a "], %[u], %[p], %[" a "]\n\t"      \
    "smlad %[" b "], %[v], %[p], %[" b "]\n\t"      \
    "smlad %[" c "], %[u], %[q], %[" c "]\n\t"      \
    "smlad %[" d "], %[v], %[q], %[" d "]\n\t"

/* Two channels of x and four rows, until the list ends: s[2 * row + column]. Takes all 14
 * registers. */
static inline void te_meet_all(const te_meeting *m, const int8_t *x, int32_t *s)
{
    int32_t u, v, p, q;
    __asm__("ldrd %[u], %[v], [%[m]], #8\n"
            "1:\n\t"
            "ldrh %[u], [%[x], %[u]]\n\t"
            "ldrh %[v], [%[x], %[v]]\n\t"
            "pkhbt %[v], %[u], %[v], lsl #16\n\t"
            "sxtb16 %[u], %[v]\n\t"
            "sxtb16 %[v], %[v], ror #8\n\t"
            TE_MEET_2("s0", "s1", "s2", "s3")
            TE_MEET_2("s4", "s5", "s6", "s7")
            "ldrd %[u], %[v], [%[m]], #8\n\t"
            "adds %[p], %[u], #1\n\t" /* TE_NOWHERE? */
            "bne 1b"
            : [s0] "+r"(s[0]), [s1] "+r"(s[1]), [s2] "+r"(s[2]), [s3] "+r"(s[3]),
              [s4] "+r"(s[4]), [s5] "+r"(s[5]), [s6] "+r"(s[6]), [s7] "+r"(s[7]),
              [m] "+r"(m), [u] "=&r"(u), [v] "=&r"(v), [p] "=&r"(p), [q] "=&r"(q)
            : [x] "r"(x)
            : "cc", "memory");
}

#else

static inline void te_meet_all(const te_meeting *m, const int8_t *x, int32_t *s)
{
    for (; m->at[0] != TE_NOWHERE; m++) {
        const int8_t *const x0 = x + m->at[0], *const x1 = x + m->at[1];
        const int32_t u = te_low_halves(x0[0], x1[0]), v = te_low_halves(x0[1], x1[1]);
        for (int32_t row = 0; row < TE_MEETING_ROWS; row++) {
            s[2 * row] = te_smlad(u, m->d[row], s[2 * row]);
            s[2 * row + 1] = te_smlad(v, m->d[row], s[2 * row + 1]);
        }
    }
}

#endif

/* Inlined, so that `is_begun` is a constant. */
__attribute__((always_inline)) static inline void te_meet_2(const te_tap_grad *t, int32_t c,
                                                            int is_begun)
{
    const int32_t rows = t->rows, stride = t->stride;
    const int32_t *first = t->first;
    int32_t *d_w = t->d_w + c;
    int32_t s[2 * TE_MEETING_ROWS] = {first[0], first[0], first[1], first[1],
                                      first[2], first[2], first[3], first[3]};
    for (int32_t row = 0; is_begun && row < rows; row++) {
        s[2 * row] += d_w[row * stride], s[2 * row + 1] += d_w[row * stride + 1];
    }
    te_meet_all(t->list, t->x + c, s);
    d_w[0] = s[0], d_w[1] = s[1];
    if (rows > 1) {
        d_w += stride, d_w[0] = s[2], d_w[1] = s[3];
    }
    if (rows > 2) {
        d_w += stride, d_w[0] = s[4], d_w[1] = s[5];
    }
    if (rows > 3) {
        d_w += stride, d_w[0] = s[6], d_w[1] = s[7];
    }
}

/* Columns c and c + 1 of all rows. Out of line: the loop needs every register. */
__attribute__((noinline, unused)) static void te_meet_first(const te_tap_grad *t, int32_t c)
{
    te_meet_2(t, c, 0);
}

/* The same, added to d_w. */
__attribute__((noinline, unused)) static void te_meet_more(const te_tap_grad *t, int32_t c)
{
    te_meet_2(t, c, 1);
}

/* The last of an odd number of columns. */
static inline void te_meet_column(const te_tap_grad *t, int32_t c)
{
    for (int32_t row = 0; row < t->rows; row++) {
        int32_t *d_w = t->d_w + row * t->stride + c;
        int32_t sum = t->first[row] + (t->is_begun ? *d_w : 0);
        for (const te_meeting *m = t->list; m != t->end; m++) {
            sum = te_smlad(te_low_halves(t->x[m->at[0] + c], t->x[m->at[1] + c]), m->d[row], sum);
        }
        *d_w = sum;
    }
}

/* Adds what is listed to d_w: the sum of d * (x - zero) is that of d * x, less zero times the sum
 * of d. */
__attribute__((noinline, unused)) static void te_meet(te_tap_grad *t)
{
    const int32_t in_c = t->p->in_c, zero = t->p->in_zero;
    int32_t c = 0, s0 = 0, s1 = 0, s2 = 0, s3 = 0;
    if (t->end == t->list) {
        if (t->is_begun) {
            return;
        }
        const te_meeting none = {{0, 0}, {0, 0, 0, 0}};
        *t->end++ = none;
    }
    t->end->at[0] = TE_NOWHERE;
    for (const te_meeting *m = zero == 0 ? t->end : t->list; m != t->end; m++) {
        const int32_t ones = te_twice(1);
        s0 = te_smlad(m->d[0], ones, s0), s1 = te_smlad(m->d[1], ones, s1);
        s2 = te_smlad(m->d[2], ones, s2), s3 = te_smlad(m->d[3], ones, s3);
    }
    t->first[0] = -zero * s0, t->first[1] = -zero * s1;
    t->first[2] = -zero * s2, t->first[3] = -zero * s3;
    for (; c + 2 <= in_c; c += 2) {
        if (t->is_begun) {
            te_meet_more(t, c);
        } else {
            te_meet_first(t, c);
        }
    }
    if (c < in_c) {
        te_meet_column(t, c);
    }
    t->end = t->list;
    t->is_begun = 1;
}

typedef enum te_pixel_kind {
    TE_PLAIN,   /* four rows, no shift */
    TE_SHIFTED, /* four rows */
    TE_FEW,     /* less than four rows: the others are 0 */
} te_pixel_kind;

/* Output pixels in a row: `at` of x moves by `step`. */
typedef struct te_pixels {
    const te_grad *d_y;
    int32_t left, at, step, shift, half;
} te_pixels;

/* te_rounding_shift of one row, by one or more: the sum cannot overflow. */
static inline int32_t te_shifted(const te_pixels *from, int32_t row)
{
    const int32_t d = from->d_y[row];
    return te_shift_floor(d + te_shift_floor(d, 31) + from->half, from->shift);
}

static inline void te_load_pixel(const te_tap_grad *t, te_pixel_kind kind, const te_pixels *from,
                                 te_pixel *pixel)
{
    if (kind == TE_PLAIN) {
#if TE_GRAD_BITS == 16
        memcpy(&pixel->d01, from->d_y, sizeof pixel->d01);
        memcpy(&pixel->d23, from->d_y + 2, sizeof pixel->d23);
#else
        const int32_t d02 = te_sxtb16(te_load(from->d_y));
        const int32_t d13 = te_sxtb16_odd(te_load(from->d_y));
        pixel->d01 = te_low_halves(d02, d13);
        pixel->d23 = te_high_halves(d02, d13);
#endif
        return;
    }
    if (kind == TE_SHIFTED) {
        pixel->d01 = te_low_halves(te_shifted(from, 0), te_shifted(from, 1));
        pixel->d23 = te_low_halves(te_shifted(from, 2), te_shifted(from, 3));
        return;
    }
    int32_t d[TE_MEETING_ROWS] = {0, 0, 0, 0};
    for (int32_t row = 0; row < t->rows; row++) {
        d[row] = te_rounding_shift(from->d_y[row], t->shift);
    }
    pixel->d01 = te_low_halves(d[0], d[1]);
    pixel->d23 = te_low_halves(d[2], d[3]);
}

/* The next pixel that has a gradient; 0 if there is none. */
static inline int te_next_pixel(const te_tap_grad *t, te_pixel_kind kind, te_pixels *from,
                                te_pixel *pixel)
{
    const int32_t out_c = t->p->out_c;
    while (from->left > 0) {
        te_load_pixel(t, kind, from, pixel);
        pixel->at = from->at;
        from->left--, from->d_y += out_c, from->at += from->step;
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

/* Inlined, so that `kind` is a constant. */
__attribute__((always_inline)) static inline void te_list_kind(te_tap_grad *t, te_pixel_kind kind,
                                                               te_pixels from)
{
    te_meeting *end = t->end;
    te_pixel a = t->waiting, b;
    int waits = t->waits;
    while (waits || te_next_pixel(t, kind, &from, &a)) {
        waits = 1;
        if (!te_next_pixel(t, kind, &from, &b)) {
            break;
        }
        te_put_meeting(end++, a, b);
        waits = 0;
        if (end == t->limit) {
            t->end = end;
            te_meet(t);
            end = t->end;
        }
    }
    t->end = end;
    t->waits = waits;
    t->waiting = a;
}

__attribute__((noinline, unused)) static void te_list_pixels(te_tap_grad *t, te_pixels from)
{
    if (t->rows < TE_MEETING_ROWS) {
        te_list_kind(t, TE_FEW, from);
    } else if (t->shift != 0) {
        te_list_kind(t, TE_SHIFTED, from);
    } else {
        te_list_kind(t, TE_PLAIN, from);
    }
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
                                  g->stride_w * in_c, t->shift, (1 << t->shift) >> 1};
        te_list_pixels(t, pixels);
    }
    if (t->waits) {
        const te_pixel none = {t->waiting.at, 0, 0};
        te_put_meeting(t->end++, t->waiting, none);
        t->waits = 0;
    }
    te_meet(t);
}

/* One output pixel: rows of d_w are multiples of x - zero. */
static inline void te_outer_product(const te_conv2d *p, int32_t shift, const te_grad *d_y,
                                    const int8_t *x, int32_t rows, int32_t *d_w)
{
    const int32_t zeros = te_twice(-p->in_zero);
    for (int32_t k = 0; k < rows; k++) {
        const int32_t d = te_rounding_shift(d_y[k], shift);
        int32_t c = 0;
        for (; c + 4 <= p->in_c; c += 4, d_w += 4) {
            const int32_t x02 = te_sxtab16(zeros, te_load(x + c));
            const int32_t x13 = te_sxtab16_odd(zeros, te_load(x + c));
            d_w[0] = te_smulbb(d, x02), d_w[1] = te_smulbb(d, x13);
            d_w[2] = te_smulbt(d, x02), d_w[3] = te_smulbt(d, x13);
        }
        for (; c < p->in_c; c++) {
            *d_w++ = d * (x[c] - p->in_zero);
        }
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
