/* te_mean_s8_mve.c - see te_kernels_mve.h. Sixteen or four values of the inner axis at a time. */
#include "te_kernels_mve.h"
#include "te_mve.h"

#if TE_HAS_MVE

TE_INLINE int32x4_t te_mean_4(int32x4_t sum, const te_mean *p)
{
    const int32_t shift = p->factor.shift;
    sum = vsubq_n_s32(sum, p->reduced * p->in_zero);
    sum = vqrdmulhq_n_s32(vqshlq_r_s32(sum, shift > 0 ? shift : 0), p->factor.multiplier);
    sum = vqaddq_n_s32(te_shifted_4(sum, shift > 0 ? 0 : shift), p->out_zero);
    return vminq_s32(vmaxq_s32(sum, vdupq_n_s32(INT8_MIN)), vdupq_n_s32(INT8_MAX));
}

static void te_mean_16(const te_mean *p, const int8_t *x, int8_t *y)
{
    int32x4_t a = vdupq_n_s32(0), b = a, c = a, d = a;
    for (int32_t r = p->reduced; r > 0; r--, x += p->inner) {
        a = vaddq_s32(a, vldrbq_s32(x));
        b = vaddq_s32(b, vldrbq_s32(x + 4));
        c = vaddq_s32(c, vldrbq_s32(x + 8));
        d = vaddq_s32(d, vldrbq_s32(x + 12));
    }
    vstrbq_s32(y, te_mean_4(a, p));
    vstrbq_s32(y + 4, te_mean_4(b, p));
    vstrbq_s32(y + 8, te_mean_4(c, p));
    vstrbq_s32(y + 12, te_mean_4(d, p));
}

static void te_mean_some(const te_mean *p, const int8_t *x, mve_pred16_t some, int8_t *y)
{
    int32x4_t sum = vdupq_n_s32(0);
    for (int32_t r = p->reduced; r > 0; r--, x += p->inner) {
        sum = vaddq_s32(sum, vldrbq_z_s32(x, some));
    }
    vstrbq_p_s32(y, te_mean_4(sum, p), some);
}

#endif

void te_mean_s8_mve(const te_mean *p, const int8_t *x, int8_t *y)
{
#if TE_HAS_MVE
    for (int32_t o = 0; o < p->outer; o++, x += p->reduced * p->inner, y += p->inner) {
        int32_t i = 0;
        for (; i + 16 <= p->inner; i += 16) {
            te_mean_16(p, x + i, y + i);
        }
        for (; i < p->inner; i += 4) {
            te_mean_some(p, x + i, vctp32q((uint32_t)(p->inner - i)), y + i);
        }
    }
#else
    te_mean_s8(p, x, y);
#endif
}
