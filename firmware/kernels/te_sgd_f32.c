/* te_sgd_f32.c - see te_kernels_update.h. */
#include "te_sgd.h"

#define TE_FLOAT_LIMIT 65536.0f /* keeps a diverging head finite */

void te_sgd_f32(int32_t count, uint32_t every, float *w, const float *g, const float *ratio,
                const te_hyper *hyper)
{
    if (!te_is_due(hyper, every)) {
        return;
    }
    const float factor = ratio[0] * hyper->lr;
    for (int32_t i = 0; i < count; i++) {
        float moved = w[i] - g[i] * factor;
        moved = moved == moved ? moved : w[i];
        moved = moved < -TE_FLOAT_LIMIT ? -TE_FLOAT_LIMIT : moved;
        w[i] = moved > TE_FLOAT_LIMIT ? TE_FLOAT_LIMIT : moved;
    }
}
