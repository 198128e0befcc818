/* te_sgd_s8_stochastic.c - see te_kernels_update.h. */
#include "te_sgd.h"

void te_sgd_s8_stochastic(const te_sgd_s8 *p, int32_t k0, int32_t k1, int8_t *w, const float *g,
                      const float *ratio, const te_hyper *hyper)
{
    te_sgd_s8_rows(p, 1, k0, k1, w, g, ratio, hyper);
}
