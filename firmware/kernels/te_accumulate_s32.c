/* te_accumulate_s32.c - see te_kernels_update.h. */
#include "te_float.h"
#include "te_kernels_update.h"

void te_accumulate_s32(int32_t count, uint32_t every, float *sum, const int32_t *g,
                       const int32_t *e, const te_hyper *hyper)
{
    const int restart = hyper->step % every == 0u;
    const float scale = te_float_of_bits((uint32_t)(127 + *e) << 23); /* 2^e */
    for (int32_t i = 0; i < count; i++) {
        const float real = (float)g[i] * scale;
        sum[i] = restart ? real : sum[i] + real;
    }
}
