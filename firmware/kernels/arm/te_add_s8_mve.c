/* te_add_s8_mve.c - see te_kernels_mve.h. Four elements at a time. */
#include "te_kernels_mve.h"
#include "te_mve.h"

#if TE_HAS_MVE

enum { TE_LEFT_SHIFT = 20 }; /* as in te_add_s8.c */

TE_INLINE int32x4_t te_requantised_4(int32x4_t x, te_factor f)
{
    const int32_t left = f.shift > 0 ? f.shift : 0, right = f.shift > 0 ? 0 : f.shift;
    return te_shifted_4(vqrdmulhq_n_s32(vqshlq_r_s32(x, left), f.multiplier), right);
}

TE_INLINE int32x4_t te_operand_4(int32x4_t x, int32_t zero, te_factor f)
{
    return te_requantised_4(vshlq_n_s32(vsubq_n_s32(x, zero), TE_LEFT_SHIFT), f);
}

static void te_add_row(const te_binary *p, int32_t count, const int8_t *a, const int8_t *b,
                       int8_t *y)
{
    const int32x4_t lo = vdupq_n_s32(p->lo), hi = vdupq_n_s32(p->hi);
    const te_factor fa = p->a, fb = p->b, out = p->out;
    const int32_t a_zero = p->a_zero, b_zero = p->b_zero, zero = p->out_zero;
    for (int32_t i = 0; i < count; i += 4) {
        const mve_pred16_t rest = vctp32q((uint32_t)(count - i));
        const int32x4_t x = te_operand_4(vldrbq_z_s32(a + i, rest), a_zero, fa);
        int32x4_t q = vaddq_s32(x, te_operand_4(vldrbq_z_s32(b + i, rest), b_zero, fb));
        q = vqaddq_n_s32(te_requantised_4(q, out), zero);
        vstrbq_p_s32(y + i, vminq_s32(vmaxq_s32(q, lo), hi), rest);
    }
}

#endif

void te_add_s8_mve(const te_binary *p, const int8_t *a, const int8_t *b, int8_t *y)
{
#if TE_HAS_MVE
    if (p->b_count >= 4) {
        for (int32_t i = 0; i < p->count; i += p->b_count) {
            te_add_row(p, p->b_count, a + i, b, y + i);
        }
        return;
    }
#endif
    te_add_s8(p, a, b, y);
}
