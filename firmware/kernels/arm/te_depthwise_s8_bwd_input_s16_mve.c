/* te_depthwise_s8_bwd_input_s16_mve.c - see te_kernels_mve.h.
 *
 * The taps that serve a pixel are listed; then eight channels at a time stay in registers while
 * the list passes by.
 */
#define TE_GRAD_BITS 16
#include "te_kernels_mve.h"
#include "te_mve_grad.h"

#if TE_HAS_MVE

enum { TE_TAPS = 64 };

/* One product of a run of channels; the assembly below loads both words at once. */
typedef struct te_term {
    const int16_t *d;
    const int8_t *w;
} te_term;

typedef struct te_job {
    const te_conv2d *p;
    const int16_t *d_y;
    const int8_t *weight;
    const int32_t *multiplier, *shift;
    int32_t exponents; /* added to each shift */
    int32x4_t peak;
    te_term terms[TE_TAPS];
} te_job;

static int32_t te_find(te_job *job, int32_t iy, int32_t ix)
{
    const te_window *g = &job->p->window;
    const int32_t c = job->p->out_c;
    int32_t count = 0;
    for (int32_t ky = 0; ky < g->kernel_h; ky++) {
        const int32_t oy = te_reader(iy + g->pad_top - ky * g->dilation_h, g->stride_h, g->out_h);
        for (int32_t kx = 0; oy >= 0 && kx < g->kernel_w; kx++) {
            const int32_t ox =
                te_reader(ix + g->pad_left - kx * g->dilation_w, g->stride_w, g->out_w);
            if (ox >= 0) {
                job->terms[count].d = job->d_y + (oy * g->out_w + ox) * c;
                job->terms[count].w = job->weight + (ky * g->kernel_w + kx) * c;
                count++;
            }
        }
    }
    return count;
}

/* Requantises and stores the channels from c on that `lanes` names. */
TE_INLINE void te_put(te_job *job, int32x4_t sum, int32_t c, mve_pred16_t lanes, int16_t *d_x)
{
    int32x4_t shift = vaddq_n_s32(vldrwq_z_s32(job->shift + c, lanes), job->exponents);
    shift = vminq_s32(vmaxq_s32(shift, vdupq_n_s32(-31)), vdupq_n_s32(30));
    const int32x4_t multiplier = vldrwq_z_s32(job->multiplier + c, lanes);
    int32x4_t peak = job->peak;
    vstrhq_p_s32(d_x + c, te_put_4(&peak, te_requantised_by(sum, multiplier, shift)), lanes);
    job->peak = peak;
}

/* Eight channels from c on. */
static inline void te_sum_8(te_job *job, int32_t n, int32_t c, int16_t *d_x)
{
    const te_term *terms = job->terms;
    int32x4_t a0 = vdupq_n_s32(0), a1 = vdupq_n_s32(0);
    if (n > 0) {
        __asm__("dls lr, %[n]\n"
                "1:\n\t"
                "ldrd r4, r5, [%[t]], #8\n\t"
                "add r4, r4, %[c], lsl #1\n\t"
                "add r5, r5, %[c]\n\t"
                "vldrh.s32 q4, [r4]\n\t"
                "vldrb.s32 q5, [r5]\n\t"
                "vmul.i32 q4, q4, q5\n\t"
                "vldrh.s32 q6, [r4, #8]\n\t"
                "vadd.i32 %q[a0], %q[a0], q4\n\t"
                "vldrb.s32 q5, [r5, #4]\n\t"
                "vmul.i32 q6, q6, q5\n\t"
                "vadd.i32 %q[a1], %q[a1], q6\n\t"
                "le lr, 1b"
                : [a0] "+&w"(a0), [a1] "+&w"(a1), [t] "+&r"(terms)
                : [c] "r"(c), [n] "r"(n)
                : "lr", "r4", "r5", "q4", "q5", "q6", "memory");
    }
    te_put(job, a0, c, vctp32q(4u), d_x);
    te_put(job, a1, c + 4, vctp32q(4u), d_x);
}

/* Up to four channels. */
static void te_sum_rest(te_job *job, int32_t n, int32_t c, int16_t *d_x)
{
    const mve_pred16_t lanes = vctp32q((uint32_t)(job->p->in_c - c));
    int32x4_t sum = vdupq_n_s32(0);
    for (int32_t i = 0; i < n; i++) {
        const int32x4_t d = vldrhq_z_s32(job->terms[i].d + c, lanes);
        sum = vaddq_s32(sum, vmulq_s32(d, vldrbq_z_s32(job->terms[i].w + c, lanes)));
    }
    te_put(job, sum, c, lanes, d_x);
}

static void te_gradient(te_job *job, int16_t *d_x)
{
    const te_conv2d *p = job->p;
    for (int32_t iy = 0; iy < p->window.in_h; iy++) {
        for (int32_t ix = 0; ix < p->window.in_w; ix++) {
            const int32_t n = te_find(job, iy, ix);
            int32_t c = 0;
            for (; c + 8 <= p->in_c; c += 8) {
                te_sum_8(job, n, c, d_x);
            }
            for (; c < p->in_c; c += 4) {
                te_sum_rest(job, n, c, d_x);
            }
            d_x += p->in_c;
        }
    }
}

#endif

void te_depthwise_s8_bwd_input_s16_mve(const te_conv2d *p, const int16_t *d_y,
                                       const int8_t *weight, const int32_t *multiplier,
                                       const int32_t *shift, const int32_t *e_d, int32_t *state,
                                       int16_t *d_x, int32_t *e, int32_t *scratch)
{
#if TE_HAS_MVE
    if (p->in_c == p->out_c && p->window.kernel_h * p->window.kernel_w <= TE_TAPS) {
        te_output_grad out = te_grad_begin(state, e);
        te_job job;
        job.p = p;
        job.d_y = d_y, job.weight = weight;
        job.multiplier = multiplier, job.shift = shift;
        job.exponents = *e_d - out.exponent;
        job.peak = vdupq_n_s32(0);
        te_gradient(&job, d_x);
        out.peak = te_joined(job.peak);
        te_grad_end(&out, state);
        return;
    }
#endif
    te_depthwise_s8_bwd_input_s16(p, d_y, weight, multiplier, shift, e_d, state, d_x, e, scratch);
}
