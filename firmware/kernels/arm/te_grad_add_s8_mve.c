/* te_grad_add_s8_mve.c - see te_kernels_mve.h. */
#define TE_GRAD_BITS 8
#include "te_kernels_mve.h"
#include "te_mve_maps.h"

void te_grad_add_s8_mve(int32_t count, const int8_t *a, const int8_t *b, const int32_t *e_a,
                        const int32_t *e_b, int32_t *state, int8_t *y, int32_t *e)
{
#if TE_HAS_MVE
    te_grad_sum(count, a, b, e_a, e_b, state, y, e);
#else
    te_grad_add_s8(count, a, b, e_a, e_b, state, y, e);
#endif
}
