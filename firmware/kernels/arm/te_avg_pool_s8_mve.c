/* te_avg_pool_s8_mve.c - see te_kernels_mve.h. Eight channels of a pixel at a time, their sums in
 * 16 bits.
 *
 * floor(n / count) is the upper word of n * ceil(2^32 / count) while n * count < 2^32: here n, the
 * magnitude of a sum and half of count, is below 129 * count, and count at most TE_COUNT.
 */
#include "te_kernels_mve.h"
#include "te_mve.h"
#include "te_mve_view.h"

#if TE_HAS_MVE

enum { TE_COUNT = 255 }; /* pixels of a window, so that 128 of each fit 16 bits */

/* round(x / count), ties away from zero */
TE_INLINE int32x4_t te_quotient_4(int32x4_t x, int32_t count)
{
    const uint32x4_t n = vreinterpretq_u32_s32(vaddq_n_s32(vabsq_s32(x), count / 2));
    const uint32_t inverse = UINT32_MAX / (uint32_t)count + 1u;
    const int32x4_t q = vreinterpretq_s32_u32(vmulhq_u32(n, vdupq_n_u32(inverse)));
    return vnegq_m_s32(q, q, vcmpltq_n_s32(x, 0));
}

TE_INLINE int16x8_t te_quotient_8(int16x8_t x, int32_t count)
{
    if (count == 1) {
        return x;
    }
    const int16x8_t even = vreinterpretq_s16_s32(te_quotient_4(vmovlbq_s16(x), count));
    return vmovntq_s32(even, te_quotient_4(vmovltq_s16(x), count));
}

#endif

void te_avg_pool_s8_mve(const te_pool *p, const int8_t *x, int8_t *y)
{
#if TE_HAS_MVE
    const te_window *g = &p->window;
    const int16x8_t lo = vdupq_n_s16((int16_t)p->lo), hi = vdupq_n_s16((int16_t)p->hi);
    if (g->kernel_h * g->kernel_w > TE_COUNT) {
        te_avg_pool_s8(p, x, y);
        return;
    }
    for (int32_t i = 0; i < g->out_h * g->out_w; i++, y += p->channels) {
        const te_view view = te_view_of(p, x, i / g->out_w, i % g->out_w);
        for (int32_t c = 0; c < p->channels; c += 8) {
            const mve_pred16_t some = vctp16q((uint32_t)(p->channels - c));
            int16x8_t sum = vdupq_n_s16(0);
            for (int32_t row = 0; row < view.rows; row++) {
                const int8_t *from = view.x + row * view.line + c;
                for (int32_t tap = view.taps; tap > 0; tap--, from += view.step) {
                    sum = vaddq_s16(sum, vldrbq_z_s16(from, some));
                }
            }
            sum = vminq_s16(vmaxq_s16(te_quotient_8(sum, view.count), lo), hi);
            vstrbq_p_s16(y + c, sum, some);
        }
    }
#else
    te_avg_pool_s8(p, x, y);
#endif
}
