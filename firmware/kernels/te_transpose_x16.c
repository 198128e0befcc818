/* te_transpose_x16.c - see te_kernels_layout.h. */
#include "te_kernels_layout.h"

void te_transpose_x16(const te_transpose *p, const void *x, void *y)
{
    const uint16_t *from = x;
    uint16_t *to = y;
    for (int32_t i = 0; i < p->count[0]; i++) {
        for (int32_t j = 0; j < p->count[1]; j++) {
            for (int32_t k = 0; k < p->count[2]; k++) {
                const uint16_t *row = from + i * p->step[0] + j * p->step[1] + k * p->step[2];
                for (int32_t l = 0; l < p->count[3]; l++) {
                    *to++ = row[l * p->step[3]];
                }
            }
        }
    }
}
