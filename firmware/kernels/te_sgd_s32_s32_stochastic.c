/* te_sgd_s32_s32_stochastic.c - see te_kernels_update.h. */
#include "te_sgd_exact.h"

void te_sgd_s32_s32_stochastic(const te_sgd_s32 *p, int32_t *b, const int32_t *g,
                               const float *ratio, const int32_t *e, const te_hyper *hyper)
{
    te_sgd_s32_s32_all(p, 1, b, g, ratio, *e, hyper);
}
