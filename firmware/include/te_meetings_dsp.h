/* te_meetings_dsp.h - weight gradient of a convolution: listed pixels meet x, four rows at once. */
#ifndef TE_MEETINGS_DSP_H
#define TE_MEETINGS_DSP_H

#include "te_grad_conv.h"
#include "te_packed_dsp.h"

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

#endif
