/* te_fill_s8.c - see te_kernels_layout.h. */
#include <string.h>

#include "te_kernels_layout.h"

void te_fill_s8(int32_t count, int32_t value, int8_t *y)
{
    memset(y, value, (size_t)count);
}
