/* te_mve_grad.h - integer gradients on Helium, TE_GRAD_BITS 16 or 8; see te_grad.h. */
#ifndef TE_MVE_GRAD_H
#define TE_MVE_GRAD_H

#include "te_grad.h"
#include "te_mve.h"

#if TE_HAS_MVE

/* Eight gradients, widened to 16 bits; lanes that `rest` leaves out are 0. */
#if TE_GRAD_BITS == 16
#define te_load_grad vldrhq_z_s16
#define te_gather_grad vldrhq_gather_shifted_offset_z_s16
#else
#define te_load_grad vldrbq_z_s16
#define te_gather_grad vldrbq_gather_offset_z_s16
#endif

/* A 1x1 convolution whose pixel n of the output is that of its input. */
static inline int te_is_pointwise(const te_window *g)
{
    return g->kernel_h == 1 && g->kernel_w == 1 && g->stride_h == 1 && g->stride_w == 1 &&
           g->in_h == g->out_h && g->in_w == g->out_w;
}

/* te_requantise of four values, each by its own factor. */
TE_INLINE int32x4_t te_requantised_by(int32x4_t x, int32x4_t multiplier, int32x4_t shift)
{
    const int32x4_t none = vdupq_n_s32(0), right = vminq_s32(shift, none);
    x = vqrdmulhq_s32(vqshlq_s32(x, vmaxq_s32(shift, none)), multiplier);
    x = vqaddq_s32(x, vshrq_n_s32(vandq_s32(x, right), 31));
    return vrshlq_s32(x, right);
}

/* te_grad_put of four values; the peak's lanes are joined by te_joined. */
TE_INLINE int32x4_t te_put_4(int32x4_t *peak, int32x4_t q)
{
    *peak = vorrq_s32(*peak, veorq_s32(q, vshrq_n_s32(q, 31)));
    return vminq_s32(vmaxq_s32(q, vdupq_n_s32(-TE_GRAD_LIMIT)), vdupq_n_s32(TE_GRAD_LIMIT));
}

TE_INLINE uint32_t te_joined(int32x4_t peak)
{
    return (uint32_t)(vgetq_lane_s32(peak, 0) | vgetq_lane_s32(peak, 1) |
                      vgetq_lane_s32(peak, 2) | vgetq_lane_s32(peak, 3));
}

#endif
#endif
