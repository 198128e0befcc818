/* te_grad_add_f32_mve.c - see te_kernels_mve.h. y may be a or b, so Helium is asked for each eight
 * whether it was exact before they are stored.
 */
#include "te_kernels_mve.h"
#include "te_mve_f32.h"

void te_grad_add_f32_mve(int32_t count, const float *a, const float *b, float *y)
{
#if TE_HAS_MVE_F32
    const int32_t whole = count / 8 * 8;
    te_exact_begin();
    for (int32_t i = 0; i < whole; i += 8) {
        float32x4_t u = vldrwq_f32(a + i), v = vldrwq_f32(a + i + 4);
        TE_PIN(u);
        TE_PIN(v);
        u = vaddq_f32(u, vldrwq_f32(b + i));
        v = vaddq_f32(v, vldrwq_f32(b + i + 4));
        TE_PIN(u);
        TE_PIN(v);
        if (te_exact_end()) {
            vstrwq_f32(y + i, u);
            vstrwq_f32(y + i + 4, v);
        } else {
            te_grad_add_f32(8, a + i, b + i, y + i);
            te_exact_begin();
        }
    }
    te_grad_add_f32(count - whole, a + whole, b + whole, y + whole);
#else
    te_grad_add_f32(count, a, b, y);
#endif
}
