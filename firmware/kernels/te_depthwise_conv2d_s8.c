/* te_depthwise_conv2d_s8.c - see te_kernels_s8.h. Four neighbouring channels at a time keep their
 * sums in registers while the taps pass by. */
#include "te_fixed.h"
#include "te_kernels_s8.h"

enum { TE_LANES = 4 };

/* One output pixel: the kernel positions that see real pixels. */
typedef struct te_patch {
    te_span ys, xs;
    const int8_t *x; /* channel 0 of the input of position (first, first) */
    int32_t step_y, step_x;
} te_patch;

static void te_sum_lanes(const te_conv2d *p, const te_patch *at, const int8_t *x, const int8_t *w,
                         int32_t *acc)
{
    const int32_t zero = p->in_zero, columns = at->xs.end - at->xs.first;
    int32_t a0 = 0, a1 = 0, a2 = 0, a3 = 0;
    for (int32_t ky = at->ys.first; ky < at->ys.end; ky++) {
        const int8_t *pixel = x + (ky - at->ys.first) * at->step_y;
        const int8_t *tap = w + (ky * p->window.kernel_w + at->xs.first) * p->out_c;
        for (int32_t kx = 0; kx < columns; kx++) {
            a0 += (pixel[0] - zero) * tap[0];
            a1 += (pixel[1] - zero) * tap[1];
            a2 += (pixel[2] - zero) * tap[2];
            a3 += (pixel[3] - zero) * tap[3];
            pixel += at->step_x;
            tap += p->out_c;
        }
    }
    acc[0] = a0;
    acc[1] = a1;
    acc[2] = a2;
    acc[3] = a3;
}

static int32_t te_sum_one(const te_conv2d *p, const te_patch *at, const int8_t *x, const int8_t *w)
{
    int32_t sum = 0;
    for (int32_t ky = at->ys.first; ky < at->ys.end; ky++) {
        for (int32_t kx = at->xs.first; kx < at->xs.end; kx++) {
            const int32_t q =
                x[(ky - at->ys.first) * at->step_y + (kx - at->xs.first) * at->step_x];
            sum += (q - p->in_zero) * w[(ky * p->window.kernel_w + kx) * p->out_c];
        }
    }
    return sum;
}

static void te_pixel(const te_conv2d *p, const te_patch *at, const int8_t *weight,
                     const int32_t *bias, const int32_t *multiplier, const int32_t *shift,
                     int8_t *y)
{
    const int32_t lo = p->lo - p->out_zero, hi = p->hi - p->out_zero;
    for (int32_t k = 0; k < p->out_c;) {
        int32_t acc[TE_LANES];
        int32_t n = TE_LANES;
        if (p->in_c == p->out_c && p->out_c - k >= TE_LANES) {
            te_sum_lanes(p, at, at->x + k, weight + k, acc);
        } else {
            acc[0] = te_sum_one(p, at, at->x + k * p->in_c / p->out_c, weight + k);
            n = 1;
        }
        for (int32_t i = 0; i < n; i++, k++) {
            const int32_t sum = te_add_sat(acc[i], bias[k]);
            const int32_t q = te_requantise(sum, multiplier[k], shift[k]);
            y[k] = (int8_t)(te_clamp(q, lo, hi) + p->out_zero);
        }
    }
}

void te_depthwise_conv2d_s8(const te_conv2d *p, const int8_t *x, const int8_t *weight,
                            const int32_t *bias, const int32_t *multiplier, const int32_t *shift,
                            int8_t *y)
{
    const te_window *g = &p->window;
    te_patch at = {{0, 0}, {0, 0}, x, g->dilation_h * g->in_w * p->in_c, g->dilation_w * p->in_c};
    for (int32_t oy = 0; oy < g->out_h; oy++) {
        at.ys = te_taps_h(g, oy);
        const int32_t iy = oy * g->stride_h - g->pad_top + at.ys.first * g->dilation_h;
        for (int32_t ox = 0; ox < g->out_w; ox++) {
            at.xs = te_taps_w(g, ox);
            const int32_t ix = ox * g->stride_w - g->pad_left + at.xs.first * g->dilation_w;
            at.x = x + (iy * g->in_w + ix) * p->in_c;
            te_pixel(p, &at, weight, bias, multiplier, shift, y);
            y += p->out_c;
        }
    }
}
