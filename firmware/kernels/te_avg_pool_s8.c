/* te_avg_pool_s8.c - see te_kernels_s8.h. */
#include "te_fixed.h"
#include "te_kernels_s8.h"

enum { TE_BLOCK = 16 };

/* count > 0: padding is less than the kernel, so every window sees a real pixel */
static int32_t te_rounded_quotient(int32_t total, int32_t count)
{
    const int32_t half = count / 2;
    // NOLINTNEXTLINE(clang-analyzer-core.DivideZero)
    return total > 0 ? (total + half) / count : -((half - total) / count);
}

static void te_pool_pixel(const te_pool *p, const int8_t *x, int32_t oy, int32_t ox, int8_t *y)
{
    const te_window *g = &p->window;
    const te_span ys = te_taps_h(g, oy), xs = te_taps_w(g, ox);
    const int32_t count = (ys.end - ys.first) * (xs.end - xs.first);
    for (int32_t c = 0; c < p->channels; c += TE_BLOCK) {
        const int32_t n = te_min(TE_BLOCK, p->channels - c);
        int32_t acc[TE_BLOCK] = {0};
        for (int32_t ky = ys.first; ky < ys.end; ky++) {
            const int32_t iy = oy * g->stride_h - g->pad_top + ky * g->dilation_h;
            for (int32_t kx = xs.first; kx < xs.end; kx++) {
                const int32_t ix = ox * g->stride_w - g->pad_left + kx * g->dilation_w;
                const int8_t *pixel = x + (iy * g->in_w + ix) * p->channels + c;
                for (int32_t i = 0; i < n; i++) {
                    acc[i] += pixel[i];
                }
            }
        }
        for (int32_t i = 0; i < n; i++) {
            y[c + i] = (int8_t)te_clamp(te_rounded_quotient(acc[i], count), p->lo, p->hi);
        }
    }
}

void te_avg_pool_s8(const te_pool *p, const int8_t *x, int8_t *y)
{
    for (int32_t oy = 0; oy < p->window.out_h; oy++) {
        for (int32_t ox = 0; ox < p->window.out_w; ox++) {
            te_pool_pixel(p, x, oy, ox, y);
            y += p->channels;
        }
    }
}
