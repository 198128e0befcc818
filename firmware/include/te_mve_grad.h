/* te_mve_grad.h - integer gradients on Helium, TE_GRAD_BITS 16 or 8; see te_grad.h. */
#ifndef TE_MVE_GRAD_H
#define TE_MVE_GRAD_H

#include "te_grad.h"
#include "te_mve.h"

#if TE_HAS_MVE

/* Eight gradients in 16 bits, or four in 32; lanes that a predicate leaves out are 0. */
#if TE_GRAD_BITS == 16
#define te_load_grad vldrhq_z_s16
#define te_load_grad_8 vldrhq_s16
#define te_gather_grad vldrhq_gather_shifted_offset_z_s16
#define te_scatter_grad vstrhq_scatter_shifted_offset_p_s32
#define te_load_4 vldrhq_s32
#define te_load_4_z vldrhq_z_s32
#define te_store_4_p vstrhq_p_s32
#define te_store_8 vstrhq_s16
#define te_store_8_p vstrhq_p_s16
#else
#define te_load_grad vldrbq_z_s16
#define te_load_grad_8 vldrbq_s16
#define te_gather_grad vldrbq_gather_offset_z_s16
#define te_scatter_grad vstrbq_scatter_offset_p_s32
#define te_load_4 vldrbq_s32
#define te_load_4_z vldrbq_z_s32
#define te_store_4_p vstrbq_p_s32
#define te_store_8 vstrbq_s16
#define te_store_8_p vstrbq_p_s16
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

/* One factor for all lanes: the two directions of its shift, at most one is not 0. */
typedef struct te_grad_scale {
    int32_t multiplier, left, right; /* right is not positive */
} te_grad_scale;

static inline te_grad_scale te_grad_scale_of(int32_t multiplier, int32_t shift)
{
    const te_grad_scale scale = {multiplier, shift > 0 ? shift : 0, te_min(shift, 0)};
    return scale;
}

/* te_requantise of four values. usual: it shifts right. */
TE_INLINE int32x4_t te_grad_scaled(int32x4_t x, const te_grad_scale *by, int usual)
{
    if (usual) {
        x = vqrdmulhq_n_s32(x, by->multiplier);
        return vrshlq_n_s32(vqaddq_s32(x, vshrq_n_s32(x, 31)), by->right);
    }
    x = vqrdmulhq_n_s32(vqshlq_r_s32(x, by->left), by->multiplier);
    return te_shifted_4(x, by->right);
}

/* The least and the largest of what becomes gradients, lane by lane. */
typedef struct te_grad_range {
    int32x4_t low, high;
} te_grad_range;

TE_INLINE te_grad_range te_range_begin(void)
{
    const te_grad_range range = {vdupq_n_s32(0), vdupq_n_s32(0)};
    return range;
}

TE_INLINE te_grad_range te_ranged(te_grad_range range, int32x4_t q)
{
    range.low = vminq_s32(range.low, q);
    range.high = vmaxq_s32(range.high, q);
    return range;
}

/* A peak with the bit length of te_grad_put's; a negative number counts as one less. */
TE_INLINE uint32_t te_range_peak(const te_grad_range *range)
{
    return (uint32_t)(vmaxvq_s32(0, range->high) | ~vminvq_s32(-1, range->low));
}

TE_INLINE int32x4_t te_limited_4(int32x4_t q)
{
    return vminq_s32(vmaxq_s32(q, vdupq_n_s32(-TE_GRAD_LIMIT)), vdupq_n_s32(TE_GRAD_LIMIT));
}

/* Eight gradients from those of even and of odd number. */
TE_INLINE int16x8_t te_limited_8(int32x4_t even, int32x4_t odd)
{
    const int16x8_t q = vqmovntq_s32(vqmovnbq_s32(vdupq_n_s16(0), even), odd);
    const int16x8_t above = vmaxq_s16(q, vdupq_n_s16(-TE_GRAD_LIMIT));
    return TE_GRAD_BITS == 16 ? above : vminq_s16(above, vdupq_n_s16(TE_GRAD_LIMIT));
}

#endif
#endif
