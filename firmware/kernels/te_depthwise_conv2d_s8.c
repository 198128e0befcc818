/* te_depthwise_conv2d_s8.c - see te_kernels_s8.h. A block of channels keeps its sums on the
 * stack while the taps pass by, so that all accesses are contiguous. */
#include "te_fixed.h"
#include "te_kernels_s8.h"

enum { TE_BLOCK = 16 };

static inline void te_add_tap(const int8_t *restrict x, const int8_t *restrict w, int32_t zero,
                              int32_t n, int32_t *restrict acc)
{
    for (int32_t i = 0; i < n; i++) {
        acc[i] += (x[i] - zero) * w[i];
    }
}

/* Channels k..k + n of one pixel; each input channel serves `many` outputs. */
static inline void te_add_tap_of_many(const int8_t *x, const int8_t *w, int32_t zero, int32_t k,
                                      int32_t n, int32_t many, int32_t *acc)
{
    for (int32_t i = 0; i < n; i++) {
        acc[i] += (x[(k + i) / many] - zero) * w[i];
    }
}

static inline void te_add_patch(const te_conv2d *p, const int8_t *x, const int8_t *weight,
                                int32_t oy, int32_t ox, int32_t k, int32_t n, int32_t *acc)
{
    const te_window *g = &p->window;
    const te_span ys = te_taps_h(g, oy), xs = te_taps_w(g, ox);
    for (int32_t ky = ys.first; ky < ys.end; ky++) {
        const int32_t iy = oy * g->stride_h - g->pad_top + ky * g->dilation_h;
        for (int32_t kx = xs.first; kx < xs.end; kx++) {
            const int32_t ix = ox * g->stride_w - g->pad_left + kx * g->dilation_w;
            const int8_t *pixel = x + (iy * g->in_w + ix) * p->in_c;
            const int8_t *w = weight + (ky * g->kernel_w + kx) * p->out_c + k;
            if (p->in_c != p->out_c) {
                te_add_tap_of_many(pixel, w, p->in_zero, k, n, p->out_c / p->in_c, acc);
            } else if (n == TE_BLOCK) {
                te_add_tap(pixel + k, w, p->in_zero, TE_BLOCK, acc);
            } else {
                te_add_tap(pixel + k, w, p->in_zero, n, acc);
            }
        }
    }
}

void te_depthwise_conv2d_s8(const te_conv2d *p, const int8_t *x, const int8_t *weight,
                            const int32_t *bias, const int32_t *multiplier, const int32_t *shift,
                            int8_t *y)
{
    for (int32_t oy = 0; oy < p->window.out_h; oy++) {
        for (int32_t ox = 0; ox < p->window.out_w; ox++) {
            for (int32_t k = 0; k < p->out_c; k += TE_BLOCK) {
                const int32_t n = te_min(TE_BLOCK, p->out_c - k);
                int32_t acc[TE_BLOCK] = {0};
                te_add_patch(p, x, weight, oy, ox, k, n, acc);
                for (int32_t i = 0; i < n; i++) {
                    const int32_t sum = te_add_sat(acc[i], bias[k + i]);
                    *y++ = te_output(te_requantise(sum, multiplier[k + i], shift[k + i]),
                                     p->out_zero, p->lo, p->hi);
                }
            }
        }
    }
}
