/* te_grad_add_s8.c - see te_kernels_grad.h. */
#define TE_GRAD_BITS 8
#include "te_grad_maps.h"

void te_grad_add_s8(int32_t count, const int8_t *a, const int8_t *b, const int32_t *e_a,
                    const int32_t *e_b, int32_t *state, int8_t *y, int32_t *e)
{
    te_grad_add(count, a, b, e_a, e_b, state, y, e);
}
