/* te_mask_grad_s8_mve.c - see te_kernels_mve.h. Sixteen bits are a predicate of sixteen bytes. */
#include <string.h>

#include "te_kernels_mve.h"
#include "te_mve.h"

void te_mask_grad_s8_mve(int32_t count, const int8_t *d, const uint8_t *bits, int8_t *y)
{
#if TE_HAS_MVE
    const int32_t whole = count / 16 * 16;
    for (int32_t i = 0; i < whole; i += 16) {
        mve_pred16_t set;
        memcpy(&set, bits + i / 8, sizeof set);
        vstrbq_s8(y + i, vldrbq_z_s8(d + i, set));
    }
    te_mask_grad_s8(count - whole, d + whole, bits + whole / 8, y + whole);
#else
    te_mask_grad_s8(count, d, bits, y);
#endif
}
