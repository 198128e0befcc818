/* te_copy_block.c - see te_kernels_layout.h. */
#include <string.h>

#include "te_kernels_layout.h"

void te_copy_block(const te_block *p, const void *x, void *y)
{
    const uint8_t *from = (const uint8_t *)x + p->from;
    uint8_t *to = (uint8_t *)y + p->to;
    for (int32_t i = 0; i < p->count[0]; i++) {
        for (int32_t j = 0; j < p->count[1]; j++) {
            const uint8_t *source = from + i * p->from_step[0] + j * p->from_step[1];
            uint8_t *target = to + i * p->to_step[0] + j * p->to_step[1];
            for (int32_t k = 0; k < p->count[2]; k++) {
                memcpy(target + k * p->to_step[2], source + k * p->from_step[2], (size_t)p->run);
            }
        }
    }
}
