/* te_mask_grad_f32_mve.c - see te_kernels_mve.h. It moves words, so nothing is rounded. */
#include "te_kernels_mve.h"
#include "te_mve_f32.h"

void te_mask_grad_f32_mve(int32_t count, const float *d, const uint8_t *bits, float *y)
{
#if TE_HAS_MVE_F32
    const uint32_t first[4] = {1u, 2u, 4u, 8u};
    const uint32x4_t low = vldrwq_u32(first), high = vshlq_n_u32(low, 4);
    const int32_t whole = count / 8 * 8;
    for (int32_t i = 0; i < whole; i += 8, bits++) {
        const uint32x4_t byte = vdupq_n_u32(*bits);
        const mve_pred16_t a = vcmpneq_n_u32(vandq_u32(byte, low), 0u);
        const mve_pred16_t b = vcmpneq_n_u32(vandq_u32(byte, high), 0u);
        vstrwq_f32(y + i, vldrwq_z_f32(d + i, a));
        vstrwq_f32(y + i + 4, vldrwq_z_f32(d + i + 4, b));
    }
    te_mask_grad_f32(count - whole, d + whole, bits, y + whole);
#else
    te_mask_grad_f32(count, d, bits, y);
#endif
}
