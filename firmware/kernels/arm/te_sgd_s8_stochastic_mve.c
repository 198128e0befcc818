/* te_sgd_s8_stochastic_mve.c - see te_kernels_mve.h. */
#include "te_kernels_mve.h"
#include "te_mve_sgd_f32.h"

void te_sgd_s8_stochastic_mve(const te_sgd_s8 *p, int32_t k0, int32_t k1, int8_t *w, const float *g,
                              const float *ratio, const te_hyper *hyper)
{
#if TE_HAS_MVE_F32
    if (te_is_by_row(p)) {
        if (te_is_due(hyper, p->every)) {
            te_rows_f32(p, 1, k0, k1, w, g, ratio, hyper);
        }
        return;
    }
#endif
    te_sgd_s8_stochastic(p, k0, k1, w, g, ratio, hyper);
}
