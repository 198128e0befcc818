/* te_mve_depthwise_weight.h - integer weight gradients of depthwise convolutions on Helium; see
 * te_grad_depthwise.h. Sixteen channels of a tap stay in registers, those of even and of odd number
 * apart, while the pixels that it serves pass by.
 */
#ifndef TE_MVE_DEPTHWISE_WEIGHT_H
#define TE_MVE_DEPTHWISE_WEIGHT_H

#include "te_mve_grad.h"

#if TE_HAS_MVE

/* Pixels that one tap serves: `rows` of `columns`; the steps are counted in elements. */
typedef struct te_patch {
    const te_grad *d;
    const int8_t *x;
    int32_t rows, columns;
    int32_t d_step, d_line, x_step, x_line;
} te_patch;

static inline te_patch te_patch_of(const te_conv2d *p, const te_grad *d_y, const int8_t *x,
                                   int32_t ky, int32_t kx)
{
    const te_window *g = &p->window;
    const int32_t dy = ky * g->dilation_h - g->pad_top, dx = kx * g->dilation_w - g->pad_left;
    const te_span ys = te_reach(dy, g->stride_h, g->in_h, g->out_h);
    const te_span xs = te_reach(dx, g->stride_w, g->in_w, g->out_w);
    const int32_t c = p->in_c, iy = ys.first * g->stride_h + dy, ix = xs.first * g->stride_w + dx;
    const te_patch patch = {d_y + (ys.first * g->out_w + xs.first) * c,
                            x + (iy * g->in_w + ix) * c,
                            ys.end - ys.first,
                            xs.end - xs.first,
                            c,
                            g->out_w * c,
                            g->stride_w * c,
                            g->stride_h * g->in_w * c};
    return patch;
}

/* The products of eight channels of a pixel, added to those of even and of odd number. */
TE_INLINE void te_add_8(int16x8_t d, int16x8_t x, int32_t shift, int32_t zero, int32x4_t *even,
                        int32x4_t *odd)
{
    if (shift > 0) {
        d = vrshlq_n_s16(vqaddq_s16(d, vshrq_n_s16(d, 15)), -shift);
    }
    x = vsubq_n_s16(x, (int16_t)zero);
    *even = vaddq_s32(*even, vmullbq_int_s16(d, x));
    *odd = vaddq_s32(*odd, vmulltq_int_s16(d, x));
}

TE_INLINE void te_patch_16(const te_patch *t, int32_t shift, int32_t zero, int32_t *d_w)
{
    int32x4x2_t a = {{vdupq_n_s32(0), vdupq_n_s32(0)}}, b = a;
    for (int32_t row = 0; row < t->rows; row++) {
        const te_grad *d = t->d + row * t->d_line;
        const int8_t *x = t->x + row * t->x_line;
        for (int32_t n = t->columns; n > 0; n--, d += t->d_step, x += t->x_step) {
            te_add_8(te_load_grad_8(d), vldrbq_s16(x), shift, zero, &a.val[0], &a.val[1]);
            te_add_8(te_load_grad_8(d + 8), vldrbq_s16(x + 8), shift, zero, &b.val[0], &b.val[1]);
        }
    }
    vst2q_s32(d_w, a);
    vst2q_s32(d_w + 8, b);
}

/* The last n channels, 1..8. */
static TE_NOINLINE void te_patch_some(const te_patch *t, int32_t shift, int32_t zero, int32_t n,
                                      int32_t *d_w)
{
    const mve_pred16_t some = vctp16q((uint32_t)n);
    int32x4x2_t a = {{vdupq_n_s32(0), vdupq_n_s32(0)}};
    int32_t sums[8];
    for (int32_t row = 0; row < t->rows; row++) {
        const te_grad *d = t->d + row * t->d_line;
        const int8_t *x = t->x + row * t->x_line;
        for (int32_t i = t->columns; i > 0; i--, d += t->d_step, x += t->x_step) {
            te_add_8(te_load_grad(d, some), vldrbq_z_s16(x, some), shift, zero, &a.val[0],
                     &a.val[1]);
        }
    }
    vst2q_s32(sums, a);
    for (int32_t i = 0; i < n; i++) {
        d_w[i] = sums[i];
    }
}

static inline void te_depthwise_weight_gradient(const te_conv2d *p, int32_t shift,
                                                const te_grad *d_y, const int8_t *x, int32_t *d_w)
{
    const te_window *g = &p->window;
    for (int32_t k = 0; k < g->kernel_h * g->kernel_w; k++, d_w += p->in_c) {
        te_patch patch = te_patch_of(p, d_y, x, k / g->kernel_w, k % g->kernel_w);
        int32_t c = 0;
        for (; c + 16 <= p->in_c; c += 16, patch.d += 16, patch.x += 16) {
            if (shift > 0) {
                te_patch_16(&patch, shift, p->in_zero, d_w + c);
            } else {
                te_patch_16(&patch, 0, p->in_zero, d_w + c);
            }
        }
        for (; c < p->in_c; c += 8, patch.d += 8, patch.x += 8) {
            te_patch_some(&patch, shift, p->in_zero, te_min(8, p->in_c - c), d_w + c);
        }
    }
}

#endif
#endif
