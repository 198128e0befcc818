/* te_accumulate_f32.c - see te_kernels_update.h. */
#include "te_kernels_update.h"

void te_accumulate_f32(int32_t count, uint32_t every, float *sum, const float *g,
                       const te_hyper *hyper)
{
    const int restart = hyper->step % every == 0u;
    for (int32_t i = 0; i < count; i++) {
        sum[i] = restart ? g[i] : sum[i] + g[i];
    }
}
