/* te_conv2d_s8_bwd_input_f32_mve.c - see te_kernels_mve.h.
 *
 * Four pixels of d_x by four channels stay in registers while the output channels pass by: a row
 * of weights is loaded and converted once for four pixels. An output that a pixel does not have
 * counts as 0, which changes no sum.
 */
#include <stddef.h>
#include <string.h>

#include "te_kernels_mve.h"
#include "te_mve_f32.h"

#if TE_HAS_MVE_F32

enum { TE_PIXELS = 4, TE_BLOCK = 64 /* output channels */ };

typedef struct te_job {
    const te_conv2d *p;
    const float *d_y, *scale;
    const int8_t *weight, *frozen;
    float *d_x;
    float factors[TE_BLOCK * TE_PIXELS]; /* d_y * scale, the four pixels side by side */
} te_job;

/* The outputs that four pixels of d_x meet at one tap, or NULL. */
typedef struct te_readers {
    const float *d[TE_PIXELS];
    int any;
} te_readers;

/* Four channels of four pixels take n products each. */
static inline void te_axpy_block(float *d_x, int32_t c, const float *factors, const int8_t *w,
                                 int32_t row, int32_t n)
{
    float32x4_t a0 = vldrwq_f32(d_x), a1 = vldrwq_f32(d_x + c);
    float32x4_t a2 = vldrwq_f32(d_x + 2 * c), a3 = vldrwq_f32(d_x + 3 * c);
    __asm__("dls lr, %[n]\n"
            "1:\n\t"
            "vldrb.s32 q4, [%[w]]\n\t"
            "ldmia %[f]!, {r4, r5, r6, r8}\n\t"
            "vcvt.f32.s32 q4, q4\n\t"
            "add %[w], %[w], %[row]\n\t"
            "vmul.f32 q5, q4, r4\n\t"
            "vadd.f32 %q[a0], %q[a0], q5\n\t"
            "vmul.f32 q6, q4, r5\n\t"
            "vadd.f32 %q[a1], %q[a1], q6\n\t"
            "vmul.f32 q5, q4, r6\n\t"
            "vadd.f32 %q[a2], %q[a2], q5\n\t"
            "vmul.f32 q6, q4, r8\n\t"
            "vadd.f32 %q[a3], %q[a3], q6\n\t"
            "le lr, 1b"
            : [a0] "+w"(a0), [a1] "+w"(a1), [a2] "+w"(a2), [a3] "+w"(a3), [f] "+r"(factors),
              [w] "+r"(w)
            : [row] "r"(row), [n] "r"(n)
            : "lr", "r4", "r5", "r6", "r8", "q4", "q5", "q6", "memory");
    vstrwq_f32(d_x, a0);
    vstrwq_f32(d_x + c, a1);
    vstrwq_f32(d_x + 2 * c, a2);
    vstrwq_f32(d_x + 3 * c, a3);
}

/* One channel of up to four pixels. */
static void te_axpy_one(float *d_x, int32_t c, int32_t count, const float *factors,
                        const int8_t *w, int32_t row, int32_t n)
{
    for (int32_t i = 0; i < count; i++) {
        float sum = d_x[i * c];
        for (int32_t k = 0; k < n; k++) {
            sum += factors[k * TE_PIXELS + i] * (float)w[k * row];
        }
        d_x[i * c] = sum;
    }
}

/* Adds n rows of one weight tensor with c channels to `count` pixels of d_x. */
static void te_add_rows(const te_job *job, const int8_t *w, int32_t c, int32_t n, int32_t count,
                        float *d_x)
{
    const int32_t row = job->p->window.kernel_h * job->p->window.kernel_w * c;
    const int32_t in_c = job->p->in_c, blocks = count == TE_PIXELS ? c / 4 : 0;
    for (int32_t i = 0; i < blocks; i++) {
        te_axpy_block(d_x + 4 * i, in_c, job->factors, w + 4 * i, row, n);
    }
    for (int32_t i = 4 * blocks; i < c; i++) {
        te_axpy_one(d_x + i, in_c, count, job->factors, w + i, row, n);
    }
}

/* factors of output channels k .. k + n - 1 */
static void te_load_factors(te_job *job, const te_readers *at, int32_t k, int32_t n)
{
    const uint32x4_t lanes = vmulq_n_u32(vidupq_n_u32(0u, 4), TE_PIXELS);
    for (int32_t i = 0; i < TE_PIXELS; i++) {
        const float *d = at->d[i];
        float *to = job->factors + i;
        for (int32_t j = 0; j < n; j += 4, to += 4 * TE_PIXELS) {
            const mve_pred16_t rest = vctp32q((uint32_t)(n - j));
            float32x4_t factor = vdupq_n_f32(0.0f);
            if (d != NULL) {
                factor = vmulq_f32(vldrwq_z_f32(d + k + j, rest),
                                   vldrwq_z_f32(job->scale + k + j, rest));
            }
            vstrwq_scatter_offset_p_f32(to, lanes, factor, rest);
        }
    }
}

/* All output channels of one tap. */
static void te_add_tap(te_job *job, const te_readers *at, int32_t tap, int32_t count, float *d_x)
{
    const te_conv2d *p = job->p;
    const int32_t taps = p->window.kernel_h * p->window.kernel_w;
    const int32_t learn_c = p->learn_c, rest_c = p->in_c - learn_c;
    for (int32_t k = 0; k < p->out_c; k += TE_BLOCK) {
        const int32_t n = te_min(TE_BLOCK, p->out_c - k);
        te_load_factors(job, at, k, n);
        te_add_rows(job, job->weight + (k * taps + tap) * learn_c, learn_c, n, count, d_x);
        if (job->frozen != NULL) {
            te_add_rows(job, job->frozen + (k * taps + tap) * rest_c, rest_c, n, count,
                        d_x + learn_c);
        }
    }
}

/* The outputs that read pixels from .. from + count - 1 at a tap. */
static te_readers te_find(const te_job *job, int32_t from, int32_t count, int32_t ky, int32_t kx)
{
    const te_window *g = &job->p->window;
    te_readers at = {{NULL, NULL, NULL, NULL}, 0};
    for (int32_t i = 0; i < count; i++) {
        const int32_t iy = (from + i) / g->in_w, ix = (from + i) % g->in_w;
        const int32_t oy = te_reader(iy + g->pad_top - ky * g->dilation_h, g->stride_h, g->out_h);
        const int32_t ox = te_reader(ix + g->pad_left - kx * g->dilation_w, g->stride_w, g->out_w);
        if (oy >= 0 && ox >= 0) {
            at.d[i] = job->d_y + (oy * g->out_w + ox) * job->p->out_c;
            at.any = 1;
        }
    }
    return at;
}

static TE_NOINLINE void te_gradient(te_job *job)
{
    const te_window *g = &job->p->window;
    const int32_t pixels = g->in_h * g->in_w, in_c = job->p->in_c;
    for (int32_t i = 0; i < pixels; i += TE_PIXELS) {
        const int32_t count = te_min(TE_PIXELS, pixels - i);
        float *d_x = job->d_x + i * in_c;
        memset(d_x, 0, (size_t)(count * in_c) * sizeof *d_x);
        for (int32_t ky = 0; ky < g->kernel_h; ky++) {
            for (int32_t kx = 0; kx < g->kernel_w; kx++) {
                const te_readers at = te_find(job, i, count, ky, kx);
                if (at.any) {
                    te_add_tap(job, &at, ky * g->kernel_w + kx, count, d_x);
                }
            }
        }
    }
}

#endif

void te_conv2d_s8_bwd_input_f32_mve(const te_conv2d *p, const float *d_y, const int8_t *weight,
                                    const float *scale, const int8_t *frozen, float *d_x)
{
#if TE_HAS_MVE_F32
    te_job job;
    job.p = p;
    job.d_y = d_y, job.scale = scale;
    job.weight = weight, job.frozen = frozen;
    job.d_x = d_x;
    te_exact_begin();
    te_gradient(&job);
    if (te_exact_end()) {
        return;
    }
#endif
    te_conv2d_s8_bwd_input_f32(p, d_y, weight, scale, frozen, d_x);
}
