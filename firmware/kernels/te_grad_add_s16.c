/* te_grad_add_s16.c - see te_kernels_grad.h. */
#define TE_GRAD_BITS 16
#include "te_grad_maps.h"

void te_grad_add_s16(int32_t count, const int16_t *a, const int16_t *b, const int32_t *e_a,
                     const int32_t *e_b, int32_t *state, int16_t *y, int32_t *e)
{
    te_grad_add(count, a, b, e_a, e_b, state, y, e);
}
