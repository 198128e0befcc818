/* te_softmax_xent_f32.c - see te_kernels_f32.h. */
#include "te_float.h"
#include "te_kernels_f32.h"

void te_softmax_xent_f32(int32_t n, const float *logits, uint32_t label, float *loss, float *d)
{
    float largest = logits[0];
    for (int32_t k = 1; k < n; k++) {
        largest = logits[k] > largest ? logits[k] : largest;
    }
    float total = 0.0f;
    for (int32_t k = 0; k < n; k++) {
        d[k] = te_exp_f32(logits[k] - largest);
        total += d[k];
    }
    *loss = te_log_f32(total) - (logits[label] - largest);
    /* The label's own gradient from the others': 1 - p would lose the digits of a confident p. */
    float rest = 0.0f;
    for (int32_t k = 0; k < n; k++) {
        rest += k == (int32_t)label ? 0.0f : d[k];
        d[k] = d[k] / total;
    }
    d[label] = -(rest / total);
}
