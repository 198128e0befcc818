/* te_mask_grad_s16_mve.c - see te_kernels_mve.h. */
#include "te_kernels_mve.h"
#include "te_mve.h"

void te_mask_grad_s16_mve(int32_t count, const int16_t *d, const uint8_t *bits, int16_t *y)
{
#if TE_HAS_MVE
    const uint16_t first[8] = {1u, 2u, 4u, 8u, 16u, 32u, 64u, 128u};
    const uint16x8_t places = vldrhq_u16(first);
    const int32_t whole = count / 8 * 8;
    for (int32_t i = 0; i < whole; i += 8, bits++) {
        const mve_pred16_t set = vcmpneq_n_u16(vandq_u16(vdupq_n_u16(*bits), places), 0u);
        vstrhq_s16(y + i, vldrhq_z_s16(d + i, set));
    }
    te_mask_grad_s16(count - whole, d + whole, bits, y + whole);
#else
    te_mask_grad_s16(count, d, bits, y);
#endif
}
