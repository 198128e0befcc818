/* te_taps_mve.h - sums of windows over the plane of one channel: a gathering load takes up to 16
 * bytes around a point, one instruction multiplies and sums them. Where there are lanes to spare
 * (spread), two neighbouring outputs share a load: each row of a window is `stride` longer, and the
 * second output's weights are the first's, shifted.
 */
#ifndef TE_TAPS_MVE_H
#define TE_TAPS_MVE_H

#include "te_mve.h"

#if TE_HAS_MVE

enum { TE_LANES = 16, TE_TAPS = 64, TE_LINE = 4 /* sums may be written behind the last */ };

/* How windows lie in registers. shift: lanes that the second output's weights are behind by, or
 * 0. */
typedef struct te_lanes {
    int32_t count;
    int shift;
    uint8_t offsets[TE_TAPS];  /* of the lanes, in the plane */
    uint16_t lanes[TE_TAPS];   /* of the taps */
    int8_t w[TE_TAPS + TE_LANES]; /* of one channel, at `shift` and on */
} te_lanes;

/* A block of outputs in a plane, in rows of `columns`. */
typedef struct te_walk {
    const int8_t *x;
    int32_t rows, columns, stride;
    int32_t line; /* from row to row in the plane */
    /* the assembler's: outputs are summed some at a time, which step `along`; from the end of a row
     * it goes `down` in the plane, and `back` in the sums */
    int32_t times, along, down, back;
} te_walk;

#define TE_GATHER(offsets) "vldrb.u8 q0, [%[x], %q[" offsets "]]\n\t"
#define TE_SUM(sum, w) "vmladav.s8 %[" sum "], q0, %q[" w "]\n\t"
#define TE_ADD(sum, w) "vmladava.s8 %[" sum "], q0, %q[" w "]\n\t"
#define TE_STORE "strd %[a], %[b], [%[to]], #8\n\t"
#define TE_STEP "add %[x], %[x], %[step]\n\t"
#define TE_WALK(body)                                                          \
    "1:\n\tdls lr, %[times]\n2:\n\t" body                                      \
    "le lr, 2b\n\tadd %[x], %[x], %[down]\n\tadd %[to], %[to], %[back]\n\t"    \
    "subs %[rows], %[rows], #1\n\tbne 1b"
#define TE_OUT [a] "+Te"(a), [b] "+Te"(b), [x] "+r"(x), [to] "+r"(to), [rows] "+r"(rows)
#define TE_IN \
    [times] "r"(g->times), [step] "r"(g->along), [down] "r"(g->down), [back] "r"(g->back)

/* Fills in what the assembler wants, for n outputs at a time. */
static inline void te_pace(te_walk *g, int32_t n)
{
    g->times = (g->columns + n - 1) / n;
    g->along = n * g->stride;
    g->down = g->line - g->times * g->along;
    g->back = (g->columns - g->times * n) * (int32_t)sizeof(int32_t);
}

/* Up to 16 lanes, spread: four outputs by two loads. */
static inline void te_sums_16(const te_lanes *t, const te_walk *g, int32_t *to)
{
    const int8_t *x = g->x;
    const uint8x16_t at = vldrbq_u8(t->offsets);
    const uint8x16_t next = vaddq_n_u8(at, (uint8_t)(2 * g->stride));
    const int8x16_t w = vldrbq_s8(t->w + t->shift), v = vldrbq_s8(t->w);
    int32_t rows = g->rows, a = 0, b = 0;
    __asm__ volatile(TE_WALK(TE_GATHER("at") TE_SUM("a", "w") TE_SUM("b", "v") TE_STORE
                             TE_GATHER("next") TE_SUM("a", "w") TE_SUM("b", "v") TE_STORE TE_STEP)
                     : TE_OUT
                     : TE_IN, [at] "w"(at), [next] "w"(next), [w] "w"(w),
                       [v] "w"(v)
                     : "lr", "q0", "cc", "memory");
}

/* Up to 32 lanes, spread: two outputs by two loads. */
static inline void te_sums_32(const te_lanes *t, const te_walk *g, int32_t *to)
{
    const int8_t *x = g->x;
    const uint8x16_t at = vldrbq_u8(t->offsets), at1 = vldrbq_u8(t->offsets + 16);
    const int8_t *w = t->w + t->shift, *v = t->w;
    int32_t rows = g->rows, a = 0, b = 0;
    __asm__ volatile(TE_WALK(TE_GATHER("at") TE_SUM("a", "w") TE_SUM("b", "v") TE_GATHER("at1")
                                 TE_ADD("a", "w1") TE_ADD("b", "v1") TE_STEP TE_STORE)
                     : TE_OUT
                     : TE_IN, [at] "w"(at), [at1] "w"(at1),
                       [w] "w"(vldrbq_s8(w)), [w1] "w"(vldrbq_s8(w + 16)),
                       [v] "w"(vldrbq_s8(v)), [v1] "w"(vldrbq_s8(v + 16))
                     : "lr", "q0", "cc", "memory");
}

/* Up to 32 taps, each output for itself. */
static inline void te_sums_2(const te_lanes *t, const te_walk *g, int32_t *to)
{
    const int8_t *x = g->x;
    const uint8x16_t at = vldrbq_u8(t->offsets), at1 = vldrbq_u8(t->offsets + 16);
    const uint8_t stride = (uint8_t)g->stride;
    int32_t rows = g->rows, a = 0, b = 0;
    __asm__ volatile(TE_WALK(TE_GATHER("at") TE_SUM("a", "w") TE_GATHER("at1") TE_ADD("a", "w1")
                                 TE_GATHER("next") TE_SUM("b", "w") TE_GATHER("next1")
                                     TE_ADD("b", "w1") TE_STEP TE_STORE)
                     : TE_OUT
                     : TE_IN, [at] "w"(at), [at1] "w"(at1),
                       [next] "w"(vaddq_n_u8(at, stride)), [next1] "w"(vaddq_n_u8(at1, stride)),
                       [w] "w"(vldrbq_s8(t->w)), [w1] "w"(vldrbq_s8(t->w + 16))
                     : "lr", "q0", "cc", "memory");
}

/* Up to 49 taps; the last one's product is a scalar's. */
static inline void te_sums_3(const te_lanes *t, const te_walk *g, int32_t *to)
{
    const int8_t *x = g->x;
    const uint8_t *o = t->offsets;
    const uint8x16_t at = vldrbq_u8(o), at1 = vldrbq_u8(o + 16), at2 = vldrbq_u8(o + 32);
    const int8x16_t w = vldrbq_s8(t->w), w1 = vldrbq_s8(t->w + 16), w2 = vldrbq_s8(t->w + 32);
    const int32_t pairs = (g->columns + 1) / 2, down = g->line - pairs * 2 * g->stride;
    int32_t rows = g->rows, a = 0, b = 0;
#define TE_THREE(sum)                                                                            \
    TE_GATHER("at") TE_SUM(sum, "w") TE_GATHER("at1") TE_ADD(sum, "w1") TE_GATHER("at2")         \
        TE_ADD(sum, "w2") "ldrsb lr, [%[x], %[last]]\n\tmla %[" sum "], lr, %[w3], %[" sum "]\n\t" \
            TE_STEP
    /* the loop register is busy: `times` counts in memory's stead */
    for (; rows > 0; rows--) {
        int32_t times = pairs;
        __asm__ volatile("1:\n\t" TE_THREE("a") TE_THREE("b") TE_STORE
                         "subs %[times], %[times], #1\n\tbne 1b"
                         : [a] "+Te"(a), [b] "+Te"(b), [x] "+r"(x), [to] "+r"(to),
                           [times] "+r"(times)
                         : [step] "r"(g->stride), [last] "r"((int32_t)o[48]),
                           [w3] "r"((int32_t)t->w[48]), [at] "w"(at), [at1] "w"(at1),
                           [at2] "w"(at2), [w] "w"(w), [w1] "w"(w1), [w2] "w"(w2)
                         : "lr", "q0", "cc", "memory");
        x += down;
        to -= g->columns % 2;
    }
#undef TE_THREE
}

/* Up to 64 taps. */
static inline void te_sums_4(const te_lanes *t, const te_walk *g, int32_t *to)
{
    const int8_t *line = g->x;
    for (int32_t row = 0; row < g->rows; row++, line += g->line) {
        const int8_t *x = line;
        for (int32_t i = 0; i < g->columns; i++, x += g->stride) {
            int32_t sum = 0;
            for (int32_t k = 0; k < TE_TAPS; k += TE_LANES) {
                const uint8x16_t at = vldrbq_u8(t->offsets + k);
                sum = vmladavaq_s8(sum, vldrbq_gather_offset_s8(x, at), vldrbq_s8(t->w + k));
            }
            *to++ = sum;
        }
    }
}

/* Brings the weights of one channel together, which lie `step` apart; returns their sum. */
TE_INLINE int32_t te_load_taps(te_lanes *t, const int8_t *from, int32_t step)
{
    const uint16x8_t steps = vmulq_n_u16(vidupq_n_u16(0u, 1), (uint16_t)step);
    const uint16_t *lanes = t->lanes;
    int32_t sum = 0;
    __asm__ volatile("dlstp.16 lr, %[n]\n"
                     "1:\n\tvldrb.s16 q0, [%[from], %q[steps]]\n\t"
                     "vldrh.16 q1, [%[lanes]], #16\n\t"
                     "vstrb.16 q0, [%[w], q1]\n\tvaddva.s16 %[sum], q0\n\t"
                     "add %[from], %[from], %[step]\n\tletp lr, 1b"
                     : [from] "+&r"(from), [lanes] "+&l"(lanes), [sum] "+&Te"(sum)
                     : [n] "r"(t->count), [w] "r"(t->w), [step] "r"(8 * step), [steps] "w"(steps)
                     : "lr", "q0", "q1", "memory");
    return sum;
}

#endif
#endif
