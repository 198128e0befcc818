/* te_depthwise_s8_bwd_weight_f32_mve.c - see te_kernels_mve.h. Eight channels of a tap stay in
 * registers while the pixels that it serves pass by.
 */
#include "te_kernels_mve.h"
#include "te_mve_f32.h"

#if TE_HAS_MVE_F32

typedef struct te_job {
    const te_conv2d *p;
    const float *d_y;
    const int8_t *x;
} te_job;

TE_INLINE float32x4_t te_add_4(float32x4_t sum, const float *d, const int8_t *x, int32_t zero,
                               mve_pred16_t some)
{
    const int32x4_t centred = vsubq_n_s32(vldrbq_z_s32(x, some), zero);
    return vaddq_f32(sum, vmulq_f32(vldrwq_z_f32(d, some), vcvtq_f32_s32(centred)));
}

/* n channels of at most eight from c on, of the tap at offset (dy, dx). */
TE_INLINE void te_sum_tap(const te_job *job, int32_t dy, int32_t dx, int32_t c, int32_t n,
                          float *d_w)
{
    const te_window *g = &job->p->window;
    const te_span ys = te_reach(dy, g->stride_h, g->in_h, g->out_h);
    const te_span xs = te_reach(dx, g->stride_w, g->in_w, g->out_w);
    const int32_t step = job->p->in_c, zero = job->p->in_zero;
    const mve_pred16_t first = vctp32q((uint32_t)n);
    const mve_pred16_t second = n > 4 ? vctp32q((uint32_t)n - 4u) : (mve_pred16_t)0u;
    float32x4_t a = vdupq_n_f32(0.0f), b = a;
    for (int32_t oy = ys.first; oy < ys.end; oy++) {
        const int32_t iy = oy * g->stride_h + dy, ix = xs.first * g->stride_w + dx;
        const float *d = job->d_y + (oy * g->out_w + xs.first) * step + c;
        const int8_t *x = job->x + (iy * g->in_w + ix) * step + c;
        for (int32_t i = xs.end - xs.first; i > 0; i--, d += step, x += g->stride_w * step) {
            a = te_add_4(a, d, x, zero, first);
            b = te_add_4(b, d + 4, x + 4, zero, second);
        }
    }
    vstrwq_p_f32(d_w, a, first);
    vstrwq_p_f32(d_w + 4, b, second);
}

static TE_NOINLINE void te_gradient(const te_job *job, float *d_w)
{
    const te_window *g = &job->p->window;
    const int32_t channels = job->p->in_c;
    for (int32_t k = 0; k < g->kernel_h * g->kernel_w; k++, d_w += channels) {
        const int32_t dy = k / g->kernel_w * g->dilation_h - g->pad_top;
        const int32_t dx = k % g->kernel_w * g->dilation_w - g->pad_left;
        for (int32_t c = 0; c < channels; c += 8) {
            te_sum_tap(job, dy, dx, c, channels - c, d_w + c);
        }
    }
}

#endif

void te_depthwise_s8_bwd_weight_f32_mve(const te_conv2d *p, const float *d_y, const int8_t *x,
                                        float *d_w)
{
#if TE_HAS_MVE_F32
    if (p->in_c == p->out_c) {
        const te_job job = {p, d_y, x};
        te_exact_begin();
        te_gradient(&job, d_w);
        if (te_exact_end()) {
            return;
        }
    }
#endif
    te_depthwise_s8_bwd_weight_f32(p, d_y, x, d_w);
}
