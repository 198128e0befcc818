/* te_sgd_s32_stochastic_mve.c - see te_kernels_mve.h. */
#include "te_kernels_mve.h"
#include "te_mve_sgd_f32.h"

void te_sgd_s32_stochastic_mve(const te_sgd_s32 *p, int32_t *b, const float *g, const float *ratio,
                               const te_hyper *hyper)
{
#if TE_HAS_MVE_F32
    if (te_is_due(hyper, p->every)) {
        te_biases_f32(p, 1, b, g, ratio, hyper);
    }
#else
    te_sgd_s32_stochastic(p, b, g, ratio, hyper);
#endif
}
