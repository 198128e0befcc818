/* te_mve_depthwise.h - integer input gradients of depthwise convolutions on Helium; see
 * te_grad_depthwise.h.
 *
 * The taps that serve a pixel are listed; then 16 channels at a time stay in registers, those of
 * even and of odd number apart, while the list passes by.
 */
#ifndef TE_MVE_DEPTHWISE_H
#define TE_MVE_DEPTHWISE_H

#include "te_mve_grad.h"
#include "te_mve_taps.h"

#if TE_HAS_MVE

#if TE_GRAD_BITS == 16
#define TE_LOAD_D "vldrh.u16"
#define TE_D_NEXT "16"
#else
#define TE_LOAD_D "vldrb.s16"
#define TE_D_NEXT "8"
#endif

typedef struct te_pixel_job {
    const te_conv2d *p;
    const int8_t *weight;
    const int32_t *multiplier;
    int32_t *shift; /* with the exponents; of each eight channels the even ones come first */
    te_grad_range range;
    te_tap taps[TE_TAPS];
} te_pixel_job;

/* Shifts with the exponents, in the order that te_put_8 wants them; true where all are negative. */
static inline int te_order_shifts(te_pixel_job *job, const int32_t *shift, int32_t exponents)
{
    const uint32x4_t even = vmulq_n_u32(vidupq_n_u32(0u, 1), 2u);
    int32x4_t most = vdupq_n_s32(-31);
    for (int32_t c = 0; c + 8 <= job->p->in_c; c += 8) {
        for (int32_t i = 0; i < 2; i++) {
            int32x4_t s = vldrwq_gather_shifted_offset_s32(shift + c + i, even);
            s = vaddq_n_s32(s, exponents);
            s = vminq_s32(vmaxq_s32(s, vdupq_n_s32(-31)), vdupq_n_s32(30));
            most = vmaxq_s32(most, s);
            vstrwq_s32(job->shift + c + 4 * i, s);
        }
    }
    for (int32_t c = job->p->in_c / 8 * 8; c < job->p->in_c; c++) {
        job->shift[c] = te_clamp(shift[c] + exponents, -31, 30);
    }
    return vmaxvq_s32(-31, most) < 0;
}

TE_INLINE int32x4_t te_pixel_scaled(int32x4_t x, int32x4_t multiplier, const int32_t *shift,
                                    int usual)
{
    const int32x4_t s = vldrwq_s32(shift);
    if (!usual) {
        return te_requantised_by(x, multiplier, s);
    }
    x = vqrdmulhq_s32(x, multiplier);
    return vrshlq_s32(vqaddq_s32(x, vshrq_n_s32(x, 31)), s);
}

/* Requantises and stores eight channels from c on. */
TE_INLINE void te_put_8(te_pixel_job *job, int32x4_t even, int32x4_t odd, int32_t c, int usual,
                        te_grad *d_x)
{
    const uint32x4_t at = vmulq_n_u32(vidupq_n_u32(0u, 1), 2u);
    const int32_t *m = job->multiplier + c, *shift = job->shift + c;
    even = te_pixel_scaled(even, vldrwq_gather_shifted_offset_s32(m, at), shift, usual);
    odd = te_pixel_scaled(odd, vldrwq_gather_shifted_offset_s32(m + 1, at), shift + 4, usual);
    job->range = te_ranged(te_ranged(job->range, even), odd);
    te_store_8(d_x + c, te_limited_8(even, odd));
}

/* 16 channels from c on, where the n > 0 taps in the list are; they move on by as many. q0 .. q3:
 * sums of the first eight, even and odd, and of the second; q4: d, q5: w, q6, q7: products. */
TE_INLINE void te_sum_16(te_pixel_job *job, int32_t n, int32_t c, int usual, te_grad *d_x)
{
    te_tap *taps = job->taps;
    int32x4_t a0 = vdupq_n_s32(0), a1 = a0, a2 = a0, a3 = a0;
    __asm__ volatile("dls lr, %[n]\n"
                     "1:\n\t"
                     "ldrd r4, r5, [%[t]]\n\t" TE_LOAD_D " q4, [r4], #" TE_D_NEXT "\n\t"
                     "vldrb.s16 q5, [r5], #8\n\t"
                     "vmullb.s16 q6, q4, q5\n\t"
                     "vmullt.s16 q7, q4, q5\n\t"
                     "vadd.i32 %q[a0], %q[a0], q6\n\t" TE_LOAD_D " q4, [r4], #" TE_D_NEXT "\n\t"
                     "vadd.i32 %q[a1], %q[a1], q7\n\t"
                     "vldrb.s16 q5, [r5], #8\n\t"
                     "strd r4, r5, [%[t]], #8\n\t"
                     "vmullb.s16 q6, q4, q5\n\t"
                     "vmullt.s16 q7, q4, q5\n\t"
                     "vadd.i32 %q[a2], %q[a2], q6\n\t"
                     "vadd.i32 %q[a3], %q[a3], q7\n\t"
                     "le lr, 1b"
                     : [a0] "+&w"(a0), [a1] "+&w"(a1), [a2] "+&w"(a2), [a3] "+&w"(a3),
                       [t] "+&r"(taps)
                     : [n] "r"(n)
                     : "lr", "r4", "r5", "q4", "q5", "q6", "q7", "memory");
    te_put_8(job, a0, a1, c, usual, d_x);
    te_put_8(job, a2, a3, c + 8, usual, d_x);
}

/* k channels, at most eight, from c on, behind the last sixteen, where the taps in the list are. */
static TE_NOINLINE void te_sum_some(te_pixel_job *job, int32_t n, int32_t c, int32_t k,
                                    te_grad *d_x)
{
    const mve_pred16_t some = vctp16q((uint32_t)k);
    const mve_pred16_t e = vctp32q((uint32_t)(k + 1) / 2u), o = vctp32q((uint32_t)k / 2u);
    const uint32x4_t at = vmulq_n_u32(vidupq_n_u32(0u, 1), 2u);
    const int32_t here = n > 0 ? c % 16 : c, *m = job->multiplier + c, *shift = job->shift + c;
    int32x4_t even = vdupq_n_s32(0), odd = even;
    for (int32_t i = 0; i < n; i++) {
        const te_grad *from = (const te_grad *)(const void *)job->taps[i].d + here;
        const int16x8_t d = te_load_grad(from, some);
        const int16x8_t w = vldrbq_z_s16(job->taps[i].w + here, some);
        even = vaddq_s32(even, vmullbq_int_s16(d, w));
        odd = vaddq_s32(odd, vmulltq_int_s16(d, w));
    }
    const int32x4_t s0 = k == 8 ? vldrwq_s32(shift)
                                : vldrwq_gather_shifted_offset_z_s32(shift, at, e);
    const int32x4_t s1 = k == 8 ? vldrwq_s32(shift + 4)
                                : vldrwq_gather_shifted_offset_z_s32(shift + 1, at, o);
    even = te_requantised_by(even, vldrwq_gather_shifted_offset_z_s32(m, at, e), s0);
    odd = te_requantised_by(odd, vldrwq_gather_shifted_offset_z_s32(m + 1, at, o), s1);
    job->range = te_ranged(te_ranged(job->range, even), odd);
    te_store_8_p(d_x + c, te_limited_8(even, odd), some);
}

TE_INLINE void te_pixels(te_pixel_job *job, const te_grad *d_y, int usual, te_grad *d_x)
{
    const te_conv2d *p = job->p;
    for (int32_t iy = 0; iy < p->window.in_h; iy++) {
        for (int32_t ix = 0; ix < p->window.in_w; ix++) {
            const int32_t n =
                te_list_taps(p, d_y, (int32_t)sizeof *d_y, job->weight, iy, ix, job->taps);
            int32_t c = 0;
            for (; n > 0 && c + 16 <= p->in_c; c += 16) {
                te_sum_16(job, n, c, usual, d_x);
            }
            for (; c < p->in_c; c += 8) {
                te_sum_some(job, n, c, te_min(8, p->in_c - c), d_x);
            }
            d_x += p->in_c;
        }
    }
}

static inline void te_depthwise_input_gradient(const te_conv2d *p, const te_grad *d_y,
                                               const int8_t *weight, const int32_t *multiplier,
                                               const int32_t *shift, const int32_t *e_d,
                                               int32_t *state, te_grad *d_x, int32_t *e,
                                               int32_t *scratch)
{
    te_output_grad out = te_grad_begin(state, e);
    te_pixel_job job;
    job.p = p;
    job.weight = weight, job.multiplier = multiplier, job.shift = scratch;
    job.range = te_range_begin();
    if (te_order_shifts(&job, shift, *e_d - out.exponent)) {
        te_pixels(&job, d_y, 1, d_x);
    } else {
        te_pixels(&job, d_y, 0, d_x);
    }
    out.peak = te_range_peak(&job.range);
    te_grad_end(&out, state);
}

#endif
#endif
