/* te_pair_mve.h - columns of any length against rows of weights: two output channels meet two
 * columns, so that a load serves two products.
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

/* What te_add_pairs reads again for each pair of columns; the assembler knows the offsets. head:
 * products of the first register; rest: registers after it; pitch: products of a column. */
typedef struct te_pairs {
    const int8_t *w0, *w1;
    int32_t head, rest, pitch;
} te_pairs;

enum { TE_SUMS = 64 /* columns at a time */ };

/* Sums of two rows of weights with columns in pairs, in the columns' order; the second row's lie
 * TE_SUMS after the first's. The rows consist of whole registers, two at least: in the first, what
 * is behind `head` is 0. */
static inline void te_add_pairs(const te_pairs *q, const int8_t *x0, int32_t pairs, int32_t *to)
{
    const int8_t *x1 = x0 + q->pitch, *w0 = q->w0, *w1 = q->w1;
    int32_t a0 = 0, a1 = 0, b0 = 0, b1 = 0;
    __asm__ volatile("1:\n\t" TE_LOAD("q0", "w0") "vldrb.8 q1, [%[x0]]\n\t"
                     "vmladav.s8 %[a0], q0, q1\n\t" TE_LOAD("q2", "w1")
                     "vmladav.s8 %[b0], q2, q1\n\tvldrb.8 q1, [%[x1]]\n\t"
                     "vmladav.s8 %[a1], q0, q1\n\tvmladav.s8 %[b1], q2, q1\n\t"
                     "ldr lr, [%[q], #8]\n\tadd %[x0], %[x0], lr\n\tadd %[x1], %[x1], lr\n\t"
                     "ldr lr, [%[q], #12]\n\tdls lr, lr\n"
                     "2:\n\t" TE_LOAD("q0", "w0") TE_LOAD("q1", "x0")
                     "vmladava.s8 %[a0], q0, q1\n\t" TE_LOAD("q2", "w1")
                     "vmladava.s8 %[b0], q2, q1\n\t" TE_LOAD("q1", "x1")
                     "vmladava.s8 %[a1], q0, q1\n\tvmladava.s8 %[b1], q2, q1\n\t"
                     "le lr, 2b\n\t"
                     "strd %[b0], %[b1], [%[to], #256]\n\tstrd %[a0], %[a1], [%[to]], #8\n\t"
                     "ldrd %[w0], %[w1], [%[q]]\n\tldr lr, [%[q], #16]\n\t"
                     "add %[x0], %[x0], lr\n\tadd %[x1], %[x1], lr\n\t"
                     "subs %[pairs], %[pairs], #1\n\tbne 1b"
                     : [a0] "+Te"(a0), [b0] "+Te"(b0), [a1] "+Te"(a1), [b1] "+Te"(b1),
                       [x0] "+r"(x0), [x1] "+r"(x1), [w0] "+r"(w0), [w1] "+r"(w1),
                       [to] "+r"(to), [pairs] "+r"(pairs)
                     : [q] "r"(q)
                     : "lr", "q0", "q1", "q2", "cc", "memory");
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
