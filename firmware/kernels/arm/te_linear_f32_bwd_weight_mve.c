/* te_linear_f32_bwd_weight_mve.c - see te_kernels_mve.h. Four weights at a time. */
#include "te_kernels_mve.h"
#include "te_mve_f32.h"

#if TE_HAS_MVE_F32

static TE_NOINLINE void te_rows(int32_t in_c, int32_t out_c, const float *d_y, const float *x,
                                float *d_w)
{
    for (int32_t k = 0; k < out_c; k++, d_w += in_c) {
        const float d = d_y[k], *from = x;
        float *to = d_w;
        for (int32_t n = in_c / 4; n > 0; n--, from += 4, to += 4) {
            vstrwq_f32(to, vmulq_n_f32(vldrwq_f32(from), d));
        }
        if (in_c % 4 != 0) {
            const mve_pred16_t some = vctp32q((uint32_t)in_c % 4u);
            vstrwq_p_f32(to, vmulq_n_f32(vldrwq_z_f32(from, some), d), some);
        }
    }
}

#endif

void te_linear_f32_bwd_weight_mve(int32_t in_c, int32_t out_c, const float *d_y, const float *x,
                                  float *d_w)
{
#if TE_HAS_MVE_F32
    te_exact_begin();
    te_rows(in_c, out_c, d_y, x, d_w);
    if (te_exact_end()) {
        return;
    }
#endif
    te_linear_f32_bwd_weight(in_c, out_c, d_y, x, d_w);
}
