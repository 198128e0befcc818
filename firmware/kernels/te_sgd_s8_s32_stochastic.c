/* te_sgd_s8_s32_stochastic.c - see te_kernels_update.h. */
#include "te_sgd_exact.h"

void te_sgd_s8_s32_stochastic(const te_sgd_s8 *p, int32_t k0, int32_t k1, int8_t *w,
                              const int32_t *g, const float *ratio, const int32_t *e,
                              const te_hyper *hyper)
{
    te_sgd_s8_s32_rows(p, 1, k0, k1, w, g, ratio, *e, hyper);
}
