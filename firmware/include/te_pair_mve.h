/* te_pair_mve.h - columns of any length against rows of weights: three output channels meet two
 * columns, so that a load serves two products or three.
 */
#ifndef TE_PAIR_MVE_H
#define TE_PAIR_MVE_H

#include "te_mve.h"

#if TE_HAS_MVE

enum { TE_WIDTH = 16 /* products of one instruction */ };

/* A column's sums with two rows of weights, then the other's. */
typedef struct te_pair {
    int32_t a0, b0, a1, b1;
} te_pair;

#define TE_LOAD(q, at) "vldrb.8 " q ", [%[" at "]], #16\n\t"

/* Adds n products to each sum. */
static inline te_pair te_add_pair(te_pair s, const int8_t *x0, const int8_t *x1, const int8_t *w0,
                                  const int8_t *w1, int32_t n)
{
    for (; n > 0; n -= TE_WIDTH) {
        const mve_pred16_t some = vctp8q((uint32_t)n);
        const int8x16_t a = vldrbq_z_s8(w0, some), b = vldrbq_z_s8(w1, some);
        const int8x16_t p = vldrbq_z_s8(x0, some), q = vldrbq_z_s8(x1, some);
        s.a0 = vmladavaq_s8(s.a0, a, p);
        s.b0 = vmladavaq_s8(s.b0, b, p);
        s.a1 = vmladavaq_s8(s.a1, a, q);
        s.b1 = vmladavaq_s8(s.b1, b, q);
        x0 += TE_WIDTH, x1 += TE_WIDTH, w0 += TE_WIDTH, w1 += TE_WIDTH;
    }
    return s;
}

/* The same with one column; the sums of the weights stand in for the second's. */
static inline te_pair te_add_single(te_pair s, const int8_t *x0, const int8_t *w0,
                                    const int8_t *w1, int32_t n)
{
    const int32_t head = n % TE_WIDTH;
    if (head != 0) {
        const mve_pred16_t some = vctp8q((uint32_t)head);
        const int8x16_t a = vldrbq_z_s8(w0, some), b = vldrbq_z_s8(w1, some);
        const int8x16_t p = vldrbq_z_s8(x0, some);
        s.a0 = vmladavaq_s8(s.a0, a, p);
        s.b0 = vmladavaq_s8(s.b0, b, p);
        s.a1 = vaddvaq_s8(s.a1, a);
        s.b1 = vaddvaq_s8(s.b1, b);
        x0 += head, w0 += head, w1 += head;
    }
    if (n >= TE_WIDTH) {
        __asm__ volatile("dls lr, %[n]\n"
                         "1:\n\t" TE_LOAD("q0", "w0") TE_LOAD("q1", "x0")
                         "vmladava.s8 %[a0], q0, q1\n\tvaddva.s8 %[a1], q0\n\t"
                         TE_LOAD("q2", "w1")
                         "vmladava.s8 %[b0], q2, q1\n\tvaddva.s8 %[b1], q2\n\tle lr, 1b"
                         : [a0] "+Te"(s.a0), [b0] "+Te"(s.b0), [a1] "+Te"(s.a1),
                           [b1] "+Te"(s.b1), [x0] "+r"(x0), [w0] "+r"(w0), [w1] "+r"(w1)
                         : [n] "r"(n / TE_WIDTH)
                         : "lr", "q0", "q1", "q2", "memory");
    }
    return s;
}

enum { TE_SUMS = 64 /* columns at a time */, TE_ROWS = 3 };

/* What te_add_trio reads again for each pair of columns; the assembler knows the offsets. Three
 * rows of weights: their first `head` products are in `heads`, filled up with 0, then come `rest`
 * whole registers at w. */
typedef struct te_trio {
    const int8_t *w[TE_ROWS];
    int32_t head, rest;
    int32_t *to;
    int32_t step; /* from the end of a column to the next but one */
    const int32_t *end;
    int8_t heads[TE_ROWS][TE_WIDTH];
} te_trio;

/* n products of a row, n > TE_WIDTH. */
static inline void te_split_row(te_trio *t, int32_t row, const int8_t *w, int32_t n)
{
    t->rest = (n - 1) / TE_WIDTH;
    t->head = n - t->rest * TE_WIDTH;
    t->w[row] = w + t->head;
    vstrbq_s8(t->heads[row], vldrbq_z_s8(w, vctp8q((uint32_t)t->head)));
}

#define TE_HEAD(at, sum, i, j)                                                  \
    "vldrb.8 q0, [%[t], #" at "]\n\t" sum ".s8 %[" i "], q0, q1\n\t" sum        \
    ".s8 %[" j "], q0, q2\n\t"
#define TE_REST(w, i, j)                                                        \
    TE_LOAD("q0", w) "vmladava.s8 %[" i "], q0, q1\n\tvmladava.s8 %[" j "], q0, q2\n\t"
#define TE_TRIO(before, sum)                                                                  \
    __asm__ volatile("1:\n\t" before "vldrb.8 q1, [%[x0]]\n\tvldrb.8 q2, [%[x1]]\n\t"        \
                     TE_HEAD("32", sum, "a0", "a1") TE_HEAD("48", sum, "b0", "b1")            \
                     TE_HEAD("64", sum, "c0", "c1") "ldr lr, [%[t], #12]\n\t"                 \
                     "add %[x0], %[x0], lr\n\tadd %[x1], %[x1], lr\n\t"                       \
                     "ldr lr, [%[t], #16]\n\tdls lr, lr\n"                                    \
                     "2:\n\t" TE_LOAD("q1", "x0") TE_LOAD("q2", "x1")                         \
                     TE_REST("w0", "a0", "a1") TE_REST("w1", "b0", "b1")                      \
                     TE_REST("w2", "c0", "c1") "le lr, 2b\n\t"                                \
                     "ldr lr, [%[t], #20]\n\t"                                                \
                     "strd %[b0], %[b1], [lr, #256]\n\t"                                   \
                     "strd %[c0], %[c1], [lr, #512]\n\t"                                   \
                     "strd %[a0], %[a1], [lr], #8\n\t"                                     \
                     "str lr, [%[t], #20]\n\tldrd %[a0], %[a1], [%[t], #24]\n\t"              \
                     "ldrd %[w0], %[w1], [%[t]]\n\tldr %[w2], [%[t], #8]\n\t"                 \
                     "add %[x0], %[x0], %[a0]\n\tadd %[x1], %[x1], %[a0]\n\t"                 \
                     "cmp lr, %[a1]\n\tbne 1b"                                                \
                     : [a0] "+Te"(a0), [a1] "+Te"(a1), [b0] "+Te"(b0), [b1] "+Te"(b1),        \
                       [c0] "+Te"(c0), [c1] "+Te"(c1), [x0] "+r"(x0), [x1] "+r"(x1),          \
                       [w0] "+r"(w0), [w1] "+r"(w1), [w2] "+r"(w2)                            \
                     : [t] "r"(t)                                                             \
                     : "lr", "q0", "q1", "q2", "cc", "memory")

/* Sums of three rows of weights with columns in pairs, in the columns' order; a row's sums lie
 * TE_SUMS after those of the one before. more: they are added to what is there. */
static inline void te_add_trio(te_trio *t, const int8_t *x0, int32_t pitch, int more)
{
    const int8_t *x1 = x0 + pitch, *w0 = t->w[0], *w1 = t->w[1], *w2 = t->w[2];
    int32_t a0 = 0, a1 = 0, b0 = 0, b1 = 0, c0 = 0, c1 = 0;
    if (more) {
        TE_TRIO("ldr lr, [%[t], #20]\n\tldrd %[a0], %[a1], [lr]\n\t"
                "ldrd %[b0], %[b1], [lr, #256]\n\tldrd %[c0], %[c1], [lr, #512]\n\t",
                "vmladava");
    } else {
        TE_TRIO("", "vmladav");
    }
}

/* Adds the sum of each row's weights. */
static inline void te_add_weights(const te_trio *t, int32_t *to)
{
    const int8_t *w0 = t->w[0], *w1 = t->w[1], *w2 = t->w[2];
    int32_t a = vaddvaq_s8(to[0], vldrbq_s8(t->heads[0]));
    int32_t b = vaddvaq_s8(to[1], vldrbq_s8(t->heads[1]));
    int32_t c = vaddvaq_s8(to[2], vldrbq_s8(t->heads[2]));
    __asm__ volatile("dls lr, %[n]\n"
                     "1:\n\t" TE_LOAD("q0", "w0") "vaddva.s8 %[a], q0\n\t"
                     TE_LOAD("q1", "w1") "vaddva.s8 %[b], q1\n\t"
                     TE_LOAD("q2", "w2") "vaddva.s8 %[c], q2\n\tle lr, 1b"
                     : [a] "+Te"(a), [b] "+Te"(b), [c] "+Te"(c), [w0] "+r"(w0), [w1] "+r"(w1),
                       [w2] "+r"(w2)
                     : [n] "r"(t->rest)
                     : "lr", "q0", "q1", "q2", "memory");
    to[0] = a, to[1] = b, to[2] = c;
}

/* The sum of a row of n weights. */
static inline int32_t te_row_sum(const int8_t *w, int32_t n)
{
    int32_t sum = 0;
    if (n % TE_WIDTH != 0) {
        sum = vaddvq_s8(vldrbq_z_s8(w, vctp8q((uint32_t)(n % TE_WIDTH))));
        w += n % TE_WIDTH;
    }
    if (n >= TE_WIDTH) {
        __asm__ volatile("dls lr, %[n]\n"
                         "1:\n\tvldrb.8 q0, [%[w]], #16\n\tvaddva.s8 %[sum], q0\n\tle lr, 1b"
                         : [sum] "+Te"(sum), [w] "+r"(w)
                         : [n] "r"(n / TE_WIDTH)
                         : "lr", "q0", "memory");
    }
    return sum;
}

#endif
#endif
