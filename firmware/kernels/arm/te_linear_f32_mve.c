/* te_linear_f32_mve.c - see te_kernels_mve.h. Lanes are output channels, eight at a time. */
#include "te_kernels_mve.h"
#include "te_mve_f32.h"

#if TE_HAS_MVE_F32

static TE_NOINLINE void te_eight(int32_t in_c, int32_t n, const float *x, const float *w,
                                 const float *bias, float *y)
{
    const uint32x4_t rows = vmulq_n_u32(vidupq_n_u32(0u, 1), (uint32_t)in_c);
    const mve_pred16_t first = vctp32q((uint32_t)n);
    const mve_pred16_t second = n > 4 ? vctp32q((uint32_t)n - 4u) : (mve_pred16_t)0u;
    const float *v = n > 4 ? w + 4 * in_c : w;
    float32x4_t a = vldrwq_z_f32(bias, first), b = vldrwq_z_f32(bias + 4, second);
    for (int32_t c = in_c; c > 0; c--) {
        const float factor = *x++;
        const float32x4_t p = vldrwq_gather_shifted_offset_z_f32(w++, rows, first);
        const float32x4_t q = vldrwq_gather_shifted_offset_z_f32(v++, rows, second);
        a = vaddq_f32(a, vmulq_n_f32(p, factor));
        b = vaddq_f32(b, vmulq_n_f32(q, factor));
    }
    vstrwq_p_f32(y, a, first);
    vstrwq_p_f32(y + 4, b, second);
}

#endif

void te_linear_f32_mve(int32_t in_c, int32_t out_c, const float *x, const float *weight,
                       const float *bias, float *y)
{
#if TE_HAS_MVE_F32
    te_exact_begin();
    for (int32_t k = 0; k < out_c; k += 8) {
        te_eight(in_c, out_c - k, x, weight + k * in_c, bias + k, y + k);
    }
    if (te_exact_end()) {
        return;
    }
#endif
    te_linear_f32(in_c, out_c, x, weight, bias, y);
}
