/* te_max_pool_s8_mve.c - see te_kernels_mve.h. Sixteen channels of a pixel at a time. */
#include "te_kernels_mve.h"
#include "te_mve.h"
#include "te_mve_view.h"

void te_max_pool_s8_mve(const te_pool *p, const int8_t *x, int8_t *y)
{
#if TE_HAS_MVE
    const int8x16_t lo = vdupq_n_s8((int8_t)p->lo), hi = vdupq_n_s8((int8_t)p->hi);
    for (int32_t i = 0; i < p->window.out_h * p->window.out_w; i++, y += p->channels) {
        const te_view view = te_view_of(p, x, i / p->window.out_w, i % p->window.out_w);
        for (int32_t c = 0; c < p->channels; c += 16) {
            const mve_pred16_t some = vctp8q((uint32_t)(p->channels - c));
            int8x16_t most = lo;
            for (int32_t row = 0; row < view.rows; row++) {
                const int8_t *from = view.x + row * view.line + c;
                for (int32_t tap = view.taps; tap > 0; tap--, from += view.step) {
                    most = vmaxq_s8(most, vldrbq_z_s8(from, some));
                }
            }
            vstrbq_p_s8(y + c, vminq_s8(most, hi), some);
        }
    }
#else
    te_max_pool_s8(p, x, y);
#endif
}
