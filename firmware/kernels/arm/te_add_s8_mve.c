/* te_add_s8_mve.c - see te_kernels_mve.h. Eight elements at a time. The operand with the
 * larger scale is halved, which needs no rounding; other factors go to the portable kernel.
 */
#include "te_kernels_mve.h"
#include "te_mve.h"

#if TE_HAS_MVE

enum {
    TE_LEFT_SHIFT = 20, /* as in te_add_s8.c: 4 before the operands are widened, 16 with it */
    TE_HALF = 1 << 30   /* a multiplier */
};

typedef struct te_eight {
    int32x4_t even, odd;
} te_eight;

/* te_requantise by factors that do not shift to the left. */
TE_INLINE int32x4_t te_requantised_4(int32x4_t x, te_factor f)
{
    x = vqrdmulhq_n_s32(x, f.multiplier);
    return te_rounded_4(x, f.shift);
}

TE_INLINE te_eight te_operand_8(int16x8_t x, int32_t zero, te_factor f, int half)
{
    const int16_t unit = half ? 1 << (TE_LEFT_SHIFT - 17) : 1 << (TE_LEFT_SHIFT - 16);
    x = vmlasq_n_s16(x, vdupq_n_s16(unit), (int16_t)(-zero * unit));
    te_eight v = {vshllbq_n_s16(x, 16), vshlltq_n_s16(x, 16)};
    if (!half) {
        v.even = te_requantised_4(v.even, f);
        v.odd = te_requantised_4(v.odd, f);
    }
    return v;
}

/* One operand of a sum. */
typedef struct te_operand {
    const int8_t *x;
    int32_t zero;
    te_factor factor;
} te_operand;

TE_INLINE int16x8_t te_sum_8(const te_binary *p, int16x8_t a, int32_t a_zero, int16x8_t b,
                             int32_t b_zero, te_factor factor)
{
    const te_eight u = te_operand_8(a, a_zero, factor, 1), v = te_operand_8(b, b_zero, factor, 0);
    const int32x4_t even = te_requantised_4(vaddq_s32(u.even, v.even), p->out);
    const int32x4_t odd = te_requantised_4(vaddq_s32(u.odd, v.odd), p->out);
    int16x8_t q = vqmovntq_s32(vqmovnbq_s32(vdupq_n_s16(0), even), odd);
    q = vqaddq_n_s16(q, (int16_t)p->out_zero);
    return vminq_s16(vmaxq_s16(q, vdupq_n_s16((int16_t)p->lo)), vdupq_n_s16((int16_t)p->hi));
}

/* b_count sums of the halved operand and the other. */
static void te_add_row(const te_binary *p, const te_operand *half, const te_operand *other,
                       int8_t *y)
{
    const te_binary r = *p;
    const te_factor factor = other->factor;
    const int32_t n = r.b_count % 8, u = half->zero, v = other->zero;
    const int8_t *a = half->x, *b = other->x;
    for (int32_t times = r.b_count / 8; times > 0; times--, a += 8, b += 8, y += 8) {
        vstrbq_s16(y, te_sum_8(&r, vldrbq_s16(a), u, vldrbq_s16(b), v, factor));
    }
    if (n > 0) {
        const mve_pred16_t some = vctp16q((uint32_t)n);
        const int16x8_t last = vldrbq_z_s16(b, some);
        vstrbq_p_s16(y, te_sum_8(&r, vldrbq_z_s16(a, some), u, last, v, factor), some);
    }
}

static int te_is_half(te_factor f)
{
    return f.multiplier == TE_HALF && f.shift == 0;
}

#endif

void te_add_s8_mve(const te_binary *p, const int8_t *a, const int8_t *b, int8_t *y)
{
#if TE_HAS_MVE
    const int half_a = te_is_half(p->a);
    if (p->b_count >= 4 && (half_a || te_is_half(p->b)) && p->a.shift <= 0 && p->b.shift <= 0 &&
        p->out.shift <= 0) {
        for (int32_t i = 0; i < p->count; i += p->b_count) {
            const te_operand u = {a + i, p->a_zero, p->a}, v = {b, p->b_zero, p->b};
            te_add_row(p, half_a ? &u : &v, half_a ? &v : &u, y + i);
        }
        return;
    }
#endif
    te_add_s8(p, a, b, y);
}
