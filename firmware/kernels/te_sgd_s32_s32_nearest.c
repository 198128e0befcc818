/* te_sgd_s32_s32_nearest.c - see te_kernels_update.h. */
#include "te_sgd_exact.h"

void te_sgd_s32_s32_nearest(const te_sgd_s32 *p, int32_t *b, const int32_t *g, const float *ratio,
                            const int32_t *e, const te_hyper *hyper)
{
    te_sgd_s32_s32_all(p, 0, b, g, ratio, *e, hyper);
}
