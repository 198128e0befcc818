/* te_mul_s8_mve.c - see te_kernels_mve.h. Eight elements at a time. */
#include "te_kernels_mve.h"
#include "te_mve.h"

#if TE_HAS_MVE

/* te_requantise of products. usual: the shift is not to the left. */
TE_INLINE int32x4_t te_product_4(int32x4_t x, te_factor f, int usual)
{
    if (!usual) {
        x = vqshlq_r_s32(x, f.shift);
        return vqrdmulhq_n_s32(x, f.multiplier);
    }
    x = vqrdmulhq_n_s32(x, f.multiplier);
    return te_rounded_4(x, f.shift);
}

TE_INLINE int16x8_t te_product_8(int16x8_t a, int16x8_t b, const te_binary *p, int usual)
{
    a = vsubq_n_s16(a, (int16_t)p->a_zero);
    b = vsubq_n_s16(b, (int16_t)p->b_zero);
    const int32x4_t even = te_product_4(vmullbq_int_s16(a, b), p->out, usual);
    const int32x4_t odd = te_product_4(vmulltq_int_s16(a, b), p->out, usual);
    int16x8_t q = vqmovntq_s32(vqmovnbq_s32(vdupq_n_s16(0), even), odd);
    q = vqaddq_n_s16(q, (int16_t)p->out_zero);
    q = vmaxq_s16(q, vdupq_n_s16((int16_t)p->lo));
    return vminq_s16(q, vdupq_n_s16((int16_t)p->hi));
}

TE_INLINE void te_mul_row(const te_binary *p, const int8_t *a, const int8_t *b, int8_t *y,
                          int usual)
{
    int32_t n = p->b_count;
    for (int32_t times = n / 8; times > 0; times--, a += 8, b += 8, y += 8) {
        vstrbq_s16(y, te_product_8(vldrbq_s16(a), vldrbq_s16(b), p, usual));
    }
    n %= 8;
    if (n > 0) {
        const mve_pred16_t some = vctp16q((uint32_t)n);
        const int16x8_t q = te_product_8(vldrbq_z_s16(a, some), vldrbq_z_s16(b, some), p, usual);
        vstrbq_p_s16(y, q, some);
    }
}

#endif

void te_mul_s8_mve(const te_binary *p, const int8_t *a, const int8_t *b, int8_t *y)
{
#if TE_HAS_MVE
    if (p->b_count >= 4) {
        for (int32_t i = 0; i < p->count; i += p->b_count) {
            if (p->out.shift <= 0) {
                te_mul_row(p, a + i, b, y + i, 1);
            } else {
                te_mul_row(p, a + i, b, y + i, 0);
            }
        }
        return;
    }
#endif
    te_mul_s8(p, a, b, y);
}
