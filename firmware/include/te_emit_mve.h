/* te_emit_mve.h - the int8 values of many sums of one output channel.
 */
#ifndef TE_EMIT_MVE_H
#define TE_EMIT_MVE_H

#include "te_mve.h"

#if TE_HAS_MVE

enum { TE_ROUND = 8, TE_STEP_MAX = 9000 /* seven of them are a half-word */ };

/* Ties of the rounding shift go upwards by themselves; away from zero when negative values become
 * less by one before: x + (2 * x * 1 >> 32) is that. */
#define TE_UPWARDS(q) ""
#define TE_AWAY(q) "vqdmlah.s32 " q ", " q ", %[one]\n\t"
#define TE_SCALED(q, ties)                                                                    \
    "vadd.i32 " q ", " q ", %[bias]\n\tvqrdmulh.s32 " q ", " q ", %[multiplier]\n\t" ties(q)   \
        "vrshl.s32 " q ", %[right]\n\t"

/* q5 and q6 become the even and odd half-words of q5, then bytes; the end of a loop. */
#define TE_NARROWED                                                \
    "vqmovnb.s32 q5, q5\n\tvqmovnt.s32 q5, q6\n\t"                 \
    "vqadd.s16 q5, q5, %[zero]\n\tvqmovnb.s16 q5, q5\n\t"          \
    "vstrb.16 q5, [%[y], %q[steps]]\n\t"                           \
    "add %[y], %[y], %[step]\n\tle lr, 1b"

/* upwards: ties of negative values may be rounded so, since they end as lo. */
TE_INLINE int te_is_upwards(const te_conv2d *p)
{
    return p->lo >= p->out_zero;
}

/* True where TE_SCALED does for a channel: sums with the bias stay within 32 bits (they have less
 * than 2^30 without), it shifts right, and by more than nothing where ties go away from zero. */
TE_INLINE int te_is_plain(int32_t bias, int32_t shift, int upwards)
{
    const int32_t limit = INT32_C(1) << 30;
    return bias > -limit && bias < limit && shift < (upwards ? 1 : 0);
}

/* Offsets of eight outputs that lie `step` apart, in an order of these eight. */
TE_INLINE uint16x8_t te_steps_8(const uint16_t *order, int32_t step)
{
    return vmulq_n_u16(vldrhq_u16(order), (uint16_t)step);
}

/* y[i] = clamp(y[i], lo, hi) */
static inline void te_limit(int8_t *y, int32_t lo, int32_t hi, int32_t n)
{
    const int8x16_t least = vdupq_n_s8((int8_t)lo), most = vdupq_n_s8((int8_t)hi);
    for (; n > 0; n -= 16, y += 16) {
        const mve_pred16_t rest = vctp8q((uint32_t)n);
        const int8x16_t q = vldrbq_z_s8(y, rest);
        vstrbq_p_s8(y, vminq_s8(vmaxq_s8(q, least), most), rest);
    }
}

/* Rounds of eight sums of a plain channel; scale->offset is added too. Saturates as int8. */
static inline void te_emit_rounds(const int32_t *sums, int32_t rounds, const te_scale *scale,
                                  const te_conv2d *p, int8_t *y)
{
    static const uint16_t order[TE_ROUND] = {0, 4, 1, 5, 2, 6, 3, 7};
    const uint16x8_t steps = te_steps_8(order, p->out_c);
#define TE_EMIT(ties)                                                                            \
    __asm__ volatile("dls lr, %[rounds]\n"                                                       \
                     "1:\n\tvldrw.32 q5, [%[sums]], #16\n\tvldrw.32 q6, [%[sums]], #16\n\t"      \
                     TE_SCALED("q5", ties) TE_SCALED("q6", ties) TE_NARROWED                     \
                     : [sums] "+&r"(sums), [y] "+&r"(y)                                          \
                     : [rounds] "r"(rounds), [step] "r"(TE_ROUND * p->out_c),                    \
                       [bias] "r"(scale->bias + scale->offset),                                  \
                       [multiplier] "r"(scale->multiplier), [right] "r"(scale->right),           \
                       [zero] "r"(p->out_zero), [one] "r"(1), [steps] "w"(steps)                 \
                     : "lr", "q5", "q6", "memory")
    if (te_is_upwards(p)) {
        TE_EMIT(TE_UPWARDS);
    } else {
        TE_EMIT(TE_AWAY);
    }
#undef TE_EMIT
}

/* Writes the values of `count` sums of any channel. Where te_is_plain, they may still leave
 * lo..hi: te_limit follows. */
static inline void te_emit(const int32_t *sums, int32_t count, const te_scale *scale,
                           const te_conv2d *p, int8_t *y)
{
    const int32_t shift = scale->left + scale->right; /* one of them is 0 */
    if (count >= TE_ROUND && te_is_plain(scale->bias, shift, te_is_upwards(p)) &&
        p->out_c <= TE_STEP_MAX) {
        const int32_t rounds = count / TE_ROUND;
        te_emit_rounds(sums, rounds, scale, p, y);
        sums += rounds * TE_ROUND;
        y += rounds * TE_ROUND * p->out_c;
        count -= rounds * TE_ROUND;
    }
    const te_target target = te_target_of(p, p->out_c);
    for (; count > 0; count -= 4, sums += 4, y += 4 * p->out_c) {
        const mve_pred16_t rest = vctp32q((uint32_t)count);
        const int32x4_t q = te_scaled_4(vldrwq_z_s32(sums, rest), scale, &target);
        vstrbq_scatter_offset_p_s32(y, target.steps, q, rest);
    }
}

#endif
#endif
