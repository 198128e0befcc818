/* te_conv2d_s8_bwd_weight_s16_mve.c - see te_kernels_mve.h.
 *
 * The gradients of a channel that are not 0 are listed with the pixel that each meets; then 16
 * input channels at a time stay in registers while the list passes by.
 */
#define TE_GRAD_BITS 16
#include <string.h>

#include "te_kernels_mve.h"
#include "te_mve_grad.h"

#if TE_HAS_MVE

enum { TE_LIST = 64 };

/* One product of a run of channels; the assembly below loads both words at once. */
typedef struct te_term {
    int32_t d;
    const int8_t *x;
} te_term;

typedef struct te_job {
    const te_conv2d *p;
    const int16_t *d_y; /* at the output channel */
    const int8_t *x;
    int32_t *d_w; /* at the tap */
    int32_t shift, count;
    te_term terms[TE_LIST];
} te_job;

/* Four channels from c on at one address: x - zero, times d, added to q. */
#define TE_TERM(at, q)                    \
    "vldrb.s32 q4, [r5, #" at "]\n\t"     \
    "vsub.i32 q4, q4, %[zero]\n\t"        \
    "vmla.s32 %q[" q "], q4, r4\n\t"

static void te_add_16(const te_term *terms, int32_t n, int32_t c, int32_t zero, int32_t *d_w)
{
    int32x4_t a0 = vldrwq_s32(d_w), a1 = vldrwq_s32(d_w + 4);
    int32x4_t a2 = vldrwq_s32(d_w + 8), a3 = vldrwq_s32(d_w + 12);
    __asm__("dls lr, %[n]\n"
            "1:\n\t"
            "ldrd r4, r5, [%[t]], #8\n\t"
            "add r5, r5, %[c]\n\t"
            TE_TERM("0", "a0") TE_TERM("4", "a1") TE_TERM("8", "a2") TE_TERM("12", "a3")
            "le lr, 1b"
            : [a0] "+w"(a0), [a1] "+w"(a1), [a2] "+w"(a2), [a3] "+w"(a3), [t] "+r"(terms)
            : [c] "r"(c), [zero] "r"(zero), [n] "r"(n)
            : "lr", "r4", "r5", "q4", "memory");
    vstrwq_s32(d_w, a0);
    vstrwq_s32(d_w + 4, a1);
    vstrwq_s32(d_w + 8, a2);
    vstrwq_s32(d_w + 12, a3);
}

static void te_add_4(const te_term *terms, int32_t n, int32_t c, int32_t zero, int32_t *d_w)
{
    int32x4_t a0 = vldrwq_s32(d_w);
    __asm__("dls lr, %[n]\n"
            "1:\n\t"
            "ldrd r4, r5, [%[t]], #8\n\t"
            "add r5, r5, %[c]\n\t"
            TE_TERM("0", "a0")
            "le lr, 1b"
            : [a0] "+w"(a0), [t] "+r"(terms)
            : [c] "r"(c), [zero] "r"(zero), [n] "r"(n)
            : "lr", "r4", "r5", "q4", "memory");
    vstrwq_s32(d_w, a0);
}

static void te_add_list(te_job *job)
{
    const int32_t in_c = job->p->in_c, zero = job->p->in_zero, n = job->count;
    int32_t c = 0;
    if (n == 0) {
        return;
    }
    for (; c + 16 <= in_c; c += 16) {
        te_add_16(job->terms, n, c, zero, job->d_w + c);
    }
    for (; c + 4 <= in_c; c += 4) {
        te_add_4(job->terms, n, c, zero, job->d_w + c);
    }
    for (; c < in_c; c++) {
        int32_t sum = job->d_w[c];
        for (int32_t i = 0; i < n; i++) {
            sum += job->terms[i].d * (job->terms[i].x[c] - zero);
        }
        job->d_w[c] = sum;
    }
    job->count = 0;
}

static void te_add_tap(te_job *job, int32_t ky, int32_t kx)
{
    const te_conv2d *p = job->p;
    const te_window *g = &p->window;
    const int32_t dy = ky * g->dilation_h - g->pad_top, dx = kx * g->dilation_w - g->pad_left;
    const te_span ys = te_reach(dy, g->stride_h, g->in_h, g->out_h);
    const te_span xs = te_reach(dx, g->stride_w, g->in_w, g->out_w);
    for (int32_t oy = ys.first; oy < ys.end; oy++) {
        const int16_t *d_y = job->d_y + (oy * g->out_w + xs.first) * p->out_c;
        const int8_t *x =
            job->x + ((oy * g->stride_h + dy) * g->in_w + xs.first * g->stride_w + dx) * p->in_c;
        for (int32_t ox = xs.first; ox < xs.end; ox++) {
            const int32_t d = te_rounding_shift(*d_y, job->shift);
            if (d != 0) {
                job->terms[job->count].d = d;
                job->terms[job->count].x = x;
                job->count++;
                if (job->count == TE_LIST) {
                    te_add_list(job);
                }
            }
            d_y += p->out_c;
            x += g->stride_w * p->in_c;
        }
    }
    te_add_list(job);
}

static void te_gradient(te_job *job, const int16_t *d_y, int32_t k0, int32_t k1)
{
    const te_conv2d *p = job->p;
    for (int32_t k = k0; k < k1; k++) {
        job->d_y = d_y + k;
        for (int32_t ky = 0; ky < p->window.kernel_h; ky++) {
            for (int32_t kx = 0; kx < p->window.kernel_w; kx++) {
                memset(job->d_w, 0, (size_t)p->in_c * sizeof *job->d_w);
                te_add_tap(job, ky, kx);
                job->d_w += p->in_c;
            }
        }
    }
}

#endif

void te_conv2d_s8_bwd_weight_s16_mve(const te_conv2d *p, int32_t shift, const int16_t *d_y,
                                     const int8_t *x, int32_t k0, int32_t k1, int32_t *d_w)
{
#if TE_HAS_MVE
    te_job job;
    job.p = p;
    job.x = x;
    job.d_w = d_w;
    job.shift = shift, job.count = 0;
    te_gradient(&job, d_y, k0, k1);
#else
    te_conv2d_s8_bwd_weight_s16(p, shift, d_y, x, k0, k1, d_w);
#endif
}
