/* te_emit_mve.h - the int8 values of many sums of one output channel.
 */
#ifndef TE_EMIT_MVE_H
#define TE_EMIT_MVE_H

#include "te_mve.h"

#if TE_HAS_MVE

enum { TE_ROUND = 8, TE_STEP_MAX = 9000 /* seven of them are a half-word */ };

/* Sums to values, in a register. Ties of the rounding shift go upwards by themselves; away from
 * zero when negative values become less by one before: x + (2 * x * 1 >> 32) is that. */
#define TE_TIMES(q) "vqrdmulh.s32 " q ", " q ", %[multiplier]\n\t"
#define TE_BIASED(q) "vqadd.s32 " q ", " q ", %[bias]\n\t"
#define TE_SHIFTED(q) "vrshl.s32 " q ", %[right]\n\t"
#define TE_UPWARDS(q) TE_BIASED(q) TE_TIMES(q) TE_SHIFTED(q)
#define TE_AWAY(q) TE_BIASED(q) TE_TIMES(q) "vqdmlah.s32 " q ", " q ", %[one]\n\t" TE_SHIFTED(q)
#define TE_LEFT(q) TE_BIASED(q) "vqshl.s32 " q ", %[left]\n\t" TE_TIMES(q)

/* Registers a and b become the even and odd half-words of a, then bytes; the end of a loop. */
#define TE_NARROWED(a, b)                                                          \
    "vqmovnb.s32 " a ", " a "\n\tvqmovnt.s32 " a ", " b "\n\t"                     \
    "vqadd.s16 " a ", " a ", %[zero]\n\tvqmovnb.s16 " a ", " a "\n\t"              \
    "vstrb.16 " a ", [%[y], %q[steps]]\n\t"                                        \
    "add %[y], %[y], %[step]\n\tle lr, 1b"

/* upwards: ties of negative values may be rounded so, since they end as lo. */
TE_INLINE int te_is_upwards(const te_conv2d *p)
{
    return p->lo >= p->out_zero;
}

/* True where the offset can be added to the bias once for all sums. */
TE_INLINE int te_is_plain(int32_t bias, int32_t offset)
{
    int32_t sum;
    return !__builtin_add_overflow(bias, offset, &sum);
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

/* Eight sums, the even and the odd ones, of a plain channel as int8 values in half-words. */
TE_INLINE int16x8_t te_scaled_8(int32x4_t even, int32x4_t odd, const te_scale *scale,
                                int32_t zero)
{
    const int32_t bias = scale->bias + scale->offset;
    even = vqshlq_r_s32(vqaddq_n_s32(even, bias), scale->left);
    odd = vqshlq_r_s32(vqaddq_n_s32(odd, bias), scale->left);
    even = te_shifted_4(vqrdmulhq_n_s32(even, scale->multiplier), scale->right);
    odd = te_shifted_4(vqrdmulhq_n_s32(odd, scale->multiplier), scale->right);
    int16x8_t q = vqmovntq_s32(vqmovnbq_s32(vdupq_n_s16(0), even), odd);
    q = vqaddq_n_s16(q, (int16_t)zero);
    return vreinterpretq_s16_s8(vqmovnbq_s16(vreinterpretq_s8_s16(q), q));
}

/* What the outputs of a layer share: the offsets of eight neighbours in y and the way from eight to
 * eight; upwards as in te_is_upwards. */
typedef struct te_outputs {
    uint16x8_t steps;
    int32_t step, zero;
    int upwards;
} te_outputs;

TE_INLINE te_outputs te_outputs_of(const te_conv2d *p)
{
    const te_outputs to = {vmulq_n_u16(vidupq_n_u16(0u, 1), (uint16_t)p->out_c),
                           TE_ROUND * p->out_c, p->out_zero, te_is_upwards(p)};
    return to;
}

/* Values of the sums of a plain channel, saturated as int8; scale->offset is added too. Whole
 * eights are read. */
TE_INLINE void te_emit_eights(const int32_t *sums, int32_t count, const te_scale *scale,
                              const te_outputs *to, int8_t *y)
{
    const int32_t rounds = count / TE_ROUND;
#define TE_EMIT(scaled)                                                                           \
    __asm__ volatile("dls lr, %[rounds]\n"                                                       \
                     "1:\n\tvld20.32 {q0, q1}, [%[sums]]\n\tvld21.32 {q0, q1}, [%[sums]]!\n\t"  \
                     scaled("q0") scaled("q1") TE_NARROWED("q0", "q1")                           \
                     : [sums] "+&r"(sums), [y] "+&r"(y)                                          \
                     : [rounds] "r"(rounds), [step] "r"(to->step),                               \
                       [bias] "r"(scale->bias + scale->offset),                                  \
                       [multiplier] "r"(scale->multiplier), [right] "r"(scale->right),           \
                       [left] "r"(scale->left),                                                  \
                       [zero] "r"(to->zero), [one] "r"(1), [steps] "w"(to->steps)                \
                     : "lr", "q0", "q1", "memory")
    if (rounds > 0 && scale->left > 0) {
        TE_EMIT(TE_LEFT);
    } else if (rounds > 0 && (scale->right == 0 || to->upwards)) {
        TE_EMIT(TE_UPWARDS);
    } else if (rounds > 0) {
        TE_EMIT(TE_AWAY);
    }
#undef TE_EMIT
    if (count % TE_ROUND != 0) {
        const int32x4x2_t v = vld2q_s32(sums);
        const int16x8_t q = te_scaled_8(v.val[0], v.val[1], scale, to->zero);
        vstrbq_scatter_offset_p_s16(y, to->steps, q, vctp16q((uint32_t)(count % TE_ROUND)));
    }
}

static TE_NOINLINE void te_emit_plain(const int32_t *sums, int32_t count, const te_scale *scale,
                                      const te_conv2d *p, int8_t *y)
{
    const te_outputs to = te_outputs_of(p);
    te_emit_eights(sums, count, scale, &to, y);
}

/* Values of the sums of any channel. */
static TE_NOINLINE void te_emit_any(const int32_t *sums, int32_t count, const te_scale *scale,
                                    const te_conv2d *p, int8_t *y)
{
    const te_target target = te_target_of(p, p->out_c);
    for (; count > 0; count -= 4, sums += 4, y += 4 * p->out_c) {
        const mve_pred16_t rest = vctp32q((uint32_t)count);
        const int32x4_t q = te_scaled_4(vldrwq_z_s32(sums, rest), scale, &target);
        vstrbq_scatter_offset_p_s32(y, target.steps, q, rest);
    }
}

/* Writes the values of `count` sums of any channel. Where te_is_plain, they may still leave
 * lo..hi: te_limit follows. */
TE_INLINE void te_emit(const int32_t *sums, int32_t count, const te_scale *scale,
                                const te_conv2d *p, int8_t *y)
{
    if (te_is_plain(scale->bias, scale->offset) && p->out_c <= TE_STEP_MAX) {
        te_emit_plain(sums, count, scale, p, y);
    } else {
        te_emit_any(sums, count, scale, p, y);
    }
}

#endif
#endif
