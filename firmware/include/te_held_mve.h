/* te_held_mve.h - rounds of eight columns of bytes against rows of up to 64 weights, which stay in
 * registers meanwhile. The loops are written out in assembler: the compiler needs half as many
 * instructions again. A round is for one output channel:
 *
 *   q4 data; q5, q6 four sums each; r4, r6 the sums of two columns; the rest are operands
 *
 * A pair of sums goes to lanes 0 and 2, or 1 and 3, as pairs of registers move. The two registers
 * are narrowed into the even and odd half-words of one: column i's value comes to half-word
 * 0, 4, 2, 6, 1, 5, 3, 7 for i = 0..7.
 */
#ifndef TE_HELD_MVE_H
#define TE_HELD_MVE_H

#include "te_emit_mve.h"

#if TE_HAS_MVE

enum { TE_HELD_MAX = 64 };

/* What one channel's rounds need. x: the first column; y: its output; steps: from there, in the
 * order above; step: from round to round. bias: the zero point of x is in it. */
typedef struct te_rounds {
    const int8_t *x;
    int8_t *y;
    int32_t count, step, bias, multiplier, right, zero;
    uint16x8_t steps;
    int8x16_t w[4];
} te_rounds;

/* Loads 16 bytes of a column at an offset; the last load moves on by the column. */
#define TE_FIRST(sum, at, w) "vldrb.8 q4, [%[x], #" at "]\n\tvmladav.s8 " sum ", q4, " w "\n\t"
#define TE_MORE(sum, at, w) "vldrb.8 q4, [%[x], #" at "]\n\tvmladava.s8 " sum ", q4, " w "\n\t"
#define TE_LAST(sum, pitch) "vldrb.8 q4, [%[x]], #" pitch "\n\tvmladava.s8 " sum ", q4, %q[w0]\n\t"
#define TE_ONLY(sum) "vldrb.8 q4, [%[x]], #16\n\tvmladav.s8 " sum ", q4, %q[w0]\n\t"
#define TE_SUM_24(sum) TE_FIRST(sum, "8", "%q[w1]") TE_LAST(sum, "24")
#define TE_SUM_32(sum) TE_FIRST(sum, "16", "%q[w1]") TE_LAST(sum, "32")
#define TE_SUM_40(sum) TE_FIRST(sum, "16", "%q[w1]") TE_MORE(sum, "24", "%q[w2]") TE_LAST(sum, "40")
#define TE_SUM_48(sum) TE_FIRST(sum, "16", "%q[w1]") TE_MORE(sum, "32", "%q[w2]") TE_LAST(sum, "48")
#define TE_SUM_56(sum)                                                                      \
    TE_FIRST(sum, "16", "%q[w1]") TE_MORE(sum, "32", "%q[w2]") TE_MORE(sum, "40", "%q[w3]") \
        TE_LAST(sum, "56")
#define TE_SUM_64(sum)                                                                      \
    TE_FIRST(sum, "16", "%q[w1]") TE_MORE(sum, "32", "%q[w2]") TE_MORE(sum, "48", "%q[w3]") \
        TE_LAST(sum, "64")

/* The sums of two columns. Two of 8 bytes are one load; w0 and w1 each see one of them. */
#define TE_TWO_8                                            \
    "vldrb.8 q4, [%[x]], #16\n\tvmladav.s8 r4, q4, %q[w0]\n\t" \
    "vmladav.s8 r6, q4, %q[w1]\n\t"
#define TE_TWO_16 TE_ONLY("r4") TE_ONLY("r6")
#define TE_TWO_24 TE_SUM_24("r4") TE_SUM_24("r6")
#define TE_TWO_32 TE_SUM_32("r4") TE_SUM_32("r6")
#define TE_TWO_40 TE_SUM_40("r4") TE_SUM_40("r6")
#define TE_TWO_48 TE_SUM_48("r4") TE_SUM_48("r6")
#define TE_TWO_56 TE_SUM_56("r4") TE_SUM_56("r6")
#define TE_TWO_64 TE_SUM_64("r4") TE_SUM_64("r6")

#define TE_ROUNDS(two, scaled)                                                                 \
    __asm__ volatile("dls lr, %[rounds]\n"                                                     \
                     "1:\n\t" two "vmov q5[2], q5[0], r4, r6\n\t"                              \
                     two "vmov q5[3], q5[1], r4, r6\n\t"                                       \
                     two "vmov q6[2], q6[0], r4, r6\n\t"                                       \
                     two "vmov q6[3], q6[1], r4, r6\n\t"                                       \
                     scaled("q5") scaled("q6")                             \
                     TE_NARROWED("q5", "q6") \
                     : [x] "+&r"(x), [y] "+&r"(y)                                              \
                     : [rounds] "r"(r->count), [step] "r"(r->step), [bias] "r"(r->bias),       \
                       [multiplier] "r"(r->multiplier), [right] "r"(r->right),                 \
                       [zero] "r"(r->zero), [one] "r"(1), [steps] "w"(r->steps),               \
                       [w0] "w"(r->w[0]), [w1] "w"(r->w[1]), [w2] "w"(r->w[2]),                \
                       [w3] "w"(r->w[3])                                                       \
                     : "lr", "r4", "r6", "q4", "q5", "q6", "memory")

#define TE_EITHER(two)                 \
    if (upwards) {                     \
        TE_ROUNDS(two, TE_UPWARDS);    \
    } else {                           \
        TE_ROUNDS(two, TE_AWAY);       \
    }                                  \
    break

/* r->count rounds of columns that lie `pitch` bytes apart: 8, 16 .. 64. Results saturate as int8.
 * upwards: ties of negative values may round so. */
TE_INLINE void te_run_rounds(const te_rounds *r, int pitch, int upwards)
{
    const int8_t *x = r->x;
    int8_t *y = r->y;
    switch (pitch) {
    case 8: TE_EITHER(TE_TWO_8);
    case 16: TE_EITHER(TE_TWO_16);
    case 24: TE_EITHER(TE_TWO_24);
    case 32: TE_EITHER(TE_TWO_32);
    case 40: TE_EITHER(TE_TWO_40);
    case 48: TE_EITHER(TE_TWO_48);
    case 56: TE_EITHER(TE_TWO_56);
    default: TE_EITHER(TE_TWO_64);
    }
}

#endif
#endif
