/* te_depthwise_s8_bwd_input_f32_mve.c - see te_kernels_mve.h.
 *
 * The taps that serve a pixel are listed; then eight channels at a time stay in registers while
 * the list passes by.
 */
#include <string.h>

#include "te_kernels_mve.h"
#include "te_mve_f32.h"
#include "te_mve_taps.h"

#if TE_HAS_MVE_F32

typedef struct te_job {
    const te_conv2d *p;
    const float *d_y, *scale;
    const int8_t *weight;
    te_tap taps[TE_TAPS];
} te_job;

/* Eight channels from c on. */
static inline void te_sum_8(const te_tap *taps, int32_t n, int32_t c, const float *scale,
                            float *d_x)
{
    float32x4_t a0 = vdupq_n_f32(0.0f), a1 = a0;
    const float32x4_t s0 = vldrwq_f32(scale), s1 = vldrwq_f32(scale + 4);
    __asm__("dls lr, %[n]\n"
            "1:\n\t"
            "ldrd r4, r5, [%[t]], #8\n\t"
            "add r4, r4, %[c], lsl #2\n\t"
            "add r5, r5, %[c]\n\t"
            "vldrw.32 q4, [r4]\n\t"
            "vldrb.s32 q5, [r5]\n\t"
            "vmul.f32 q4, q4, %q[s0]\n\t"
            "vcvt.f32.s32 q5, q5\n\t"
            "vmul.f32 q4, q4, q5\n\t"
            "vldrw.32 q6, [r4, #16]\n\t"
            "vadd.f32 %q[a0], %q[a0], q4\n\t"
            "vldrb.s32 q5, [r5, #4]\n\t"
            "vmul.f32 q6, q6, %q[s1]\n\t"
            "vcvt.f32.s32 q5, q5\n\t"
            "vmul.f32 q6, q6, q5\n\t"
            "vadd.f32 %q[a1], %q[a1], q6\n\t"
            "le lr, 1b"
            : [a0] "+w"(a0), [a1] "+w"(a1), [t] "+r"(taps)
            : [c] "r"(c), [n] "r"(n), [s0] "w"(s0), [s1] "w"(s1)
            : "lr", "r4", "r5", "q4", "q5", "q6", "memory");
    vstrwq_f32(d_x, a0);
    vstrwq_f32(d_x + 4, a1);
}

static TE_NOINLINE void te_gradient(te_job *job, float *d_x)
{
    const te_conv2d *p = job->p;
    for (int32_t iy = 0; iy < p->window.in_h; iy++) {
        for (int32_t ix = 0; ix < p->window.in_w; ix++) {
            const int32_t n =
                te_list_taps(p, job->d_y, (int32_t)sizeof(float), job->weight, iy, ix, job->taps);
            int32_t c = 0;
            for (; n > 0 && c + 8 <= p->in_c; c += 8) {
                te_sum_8(job->taps, n, c, job->scale + c, d_x + c);
            }
            for (; c < p->in_c; c++) {
                float sum = 0.0f;
                for (int32_t i = 0; i < n; i++) {
                    float d;
                    memcpy(&d, job->taps[i].d + (size_t)c * sizeof d, sizeof d);
                    sum += d * job->scale[c] * (float)job->taps[i].w[c];
                }
                d_x[c] = sum;
            }
            d_x += p->in_c;
        }
    }
}

#endif

void te_depthwise_s8_bwd_input_f32_mve(const te_conv2d *p, const float *d_y, const int8_t *weight,
                                       const float *scale, float *d_x)
{
#if TE_HAS_MVE_F32
    if (te_lists(p)) {
        te_job job;
        job.p = p;
        job.d_y = d_y, job.scale = scale, job.weight = weight;
        te_exact_begin();
        te_gradient(&job, d_x);
        if (te_exact_end()) {
            return;
        }
    }
#endif
    te_depthwise_s8_bwd_input_f32(p, d_y, weight, scale, d_x);
}
