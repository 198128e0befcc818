/* te_mve_input.h - integer input gradients of 1x1 convolutions on Helium; see te_grad_conv.h.
 *
 * Lanes are eight output channels. Four pixels by two input channels are made at a time, their
 * eight sums in core registers: a gathering load takes a channel's weights to eight outputs, which
 * meet the scaled gradients d' of each pixel.
 */
#ifndef TE_MVE_INPUT_H
#define TE_MVE_INPUT_H

#include <stddef.h>
#include <string.h>

#include "te_mve_grad.h"

#if TE_HAS_MVE

enum {
    TE_PIXELS = 4,
    TE_BLOCK = 8 * TE_PIXELS, /* d' of four pixels and eight output channels */
    TE_ROW_MAX = 9000         /* a half-word's offset in a gathering load reaches over 7 rows */
};

typedef struct te_input_job {
    const te_conv2d_grad *p;
    const te_grad *d_y;
    const int16_t *scale;
    int16_t *factors; /* d' of whole eights of output channels: (out_c / 8, 4, 8) */
    te_grad_scale by;
    te_grad_range range;
    int32_t count;          /* pixels, of the four, that exist */
    int16_t rest[TE_BLOCK]; /* d' of the last out_c % 8 */
} te_input_job;

/* d' of eight products: shift right by `bits` after an int8 gradient is widened to 16 bits */
TE_INLINE int16x8_t te_scaled_8(int16x8_t d, int16x8_t scale, int32_t bits)
{
    if (TE_GRAD_BITS == 8) {
        d = vshlq_n_s16(d, 8);
    }
    if (bits == 15) {
        return vqrdmulhq_s16(d, scale);
    }
    if (bits == 16) {
        return vrmulhq_s16(d, scale);
    }
    const int32x4_t even = vrshlq_n_s32(vmullbq_int_s16(d, scale), -bits);
    const int32x4_t odd = vrshlq_n_s32(vmulltq_int_s16(d, scale), -bits);
    return vmovntq_s32(vmovnbq_s32(vdupq_n_s16(0), even), odd);
}

/* d' of the four pixels from `pixel` on; 0 for those that do not exist. */
TE_INLINE void te_load_factors_by(te_input_job *job, int32_t pixel, int32_t bits)
{
    const int32_t out_c = job->p->conv.out_c;
    for (int32_t i = 0; i < TE_PIXELS; i++) {
        const te_grad *d = job->d_y + (pixel + i) * out_c;
        int16_t *to = job->factors + 8 * i;
        const int16_t *scale = job->scale;
        if (i >= job->count) {
            for (int32_t n = out_c / 8; n > 0; n--, to += TE_BLOCK) {
                vstrhq_s16(to, vdupq_n_s16(0));
            }
            continue;
        }
        for (int32_t n = out_c / 8; n > 0; n--, to += TE_BLOCK) {
            vstrhq_s16(to, te_scaled_8(te_load_grad_8(d), vldrhq_s16(scale), bits));
            d += 8, scale += 8;
        }
        if (out_c % 8 != 0) {
            const mve_pred16_t lanes = vctp16q((uint32_t)(out_c % 8));
            const int16x8_t q = vldrhq_z_s16(scale, lanes);
            vstrhq_s16(job->rest + 8 * i, te_scaled_8(te_load_grad(d, lanes), q, bits));
        }
    }
}

static inline void te_load_factors(te_input_job *job, int32_t pixel)
{
    const int32_t bits = job->p->bits + 16 - TE_GRAD_BITS;
    if (bits == 15) {
        te_load_factors_by(job, pixel, 15);
    } else {
        te_load_factors_by(job, pixel, bits);
    }
}

/* Eights of output channels, at least one; the assembly below reads the words. */
typedef struct te_eights {
    const int16_t *d, *end; /* d' */
    int32_t row;            /* from one eight's weights to the next's */
    int32_t odd;
} te_eights;

/* r5: d', r9: row, r11: end; a, b: d', at the end the sums; q6, q7: weights. r0, r2, r4, r6 and
 * r8, r10, r12, lr: the sums of the first and of the second channel, pixel by pixel. */
#define TE_EIGHT                        \
    "vldrb.s16 q6, [%[w], %q[t0]]\n\t"  \
    "vldrb.s16 q7, [%[w], %q[t1]]\n\t"  \
    "vldrh.u16 %q[a], [r5], #64\n\t"    \
    "add %[w], %[w], r9\n\t"            \
    "vmladava.s16 r0, %q[a], q6\n\t"    \
    "vldrh.u16 %q[b], [r5, #-48]\n\t"   \
    "vmladava.s16 r8, %q[a], q7\n\t"    \
    "vldrh.u16 %q[a], [r5, #-32]\n\t"   \
    "vmladava.s16 r2, %q[b], q6\n\t"    \
    "vmladava.s16 r10, %q[b], q7\n\t"   \
    "vldrh.u16 %q[b], [r5, #-16]\n\t"   \
    "vmladava.s16 r4, %q[a], q6\n\t"    \
    "vmladava.s16 r12, %q[a], q7\n\t"   \
    "vmladava.s16 r6, %q[b], q6\n\t"    \
    "vmladava.s16 lr, %q[b], q7\n\t"

/* Sums of two channels of four pixels; w: the first channel's weight to output 0. */
TE_INLINE void te_sum_pair(const te_eights *eights, const int8_t *w, uint16x8_t first,
                           uint16x8_t second, int32x4_t *sums)
{
    int32x4_t a, b;
    __asm__ volatile("ldr r0, [%[n], #12]\n\t"
                     "ldr r9, [%[n], #8]\n\t"
                     "ldrd r5, r11, [%[n]]\n\t"
                     "cmp r0, #0\n\t"
                     "mov r0, #0\n\t"
                     "mov r2, r0\n\t"
                     "mov r4, r0\n\t"
                     "mov r6, r0\n\t"
                     "mov r8, r0\n\t"
                     "mov r10, r0\n\t"
                     "mov r12, r0\n\t"
                     "mov lr, r0\n\t"
                     "bne 2f\n"
                     "1:\n\t" TE_EIGHT
                     "2:\n\t" TE_EIGHT
                     "cmp r5, r11\n\t"
                     "bne 1b\n\t"
                     "vmov %q[a][2], %q[a][0], r0, r4\n\t"
                     "vmov %q[a][3], %q[a][1], r2, r6\n\t"
                     "vmov %q[b][2], %q[b][0], r8, r12\n\t"
                     "vmov %q[b][3], %q[b][1], r10, lr"
                     : [a] "=&w"(a), [b] "=&w"(b), [w] "+&r"(w)
                     : [n] "r"(eights), [t0] "w"(first), [t1] "w"(second)
                     : "lr", "r0", "r2", "r4", "r5", "r6", "r8", "r9", "r10", "r11", "r12", "q6",
                       "q7", "cc", "memory");
    sums[0] = a, sums[1] = b;
}

/* Adds the last out_c % 8 outputs. */
static TE_NOINLINE void te_sum_rest(const te_input_job *job, const int8_t *w, uint16x8_t first,
                                    uint16x8_t second, int32x4_t *sums)
{
    const mve_pred16_t lanes = vctp16q((uint32_t)(job->p->conv.out_c % 8));
    const int16x8_t w0 = vldrbq_gather_offset_z_s16(w, first, lanes);
    const int16x8_t w1 = vldrbq_gather_offset_z_s16(w, second, lanes);
    int32_t a[TE_PIXELS], b[TE_PIXELS];
    for (int32_t i = 0; i < TE_PIXELS; i++) {
        const int16x8_t d = vldrhq_s16(job->rest + 8 * i);
        a[i] = vmladavq_s16(d, w0);
        b[i] = vmladavq_s16(d, w1);
    }
    sums[0] = vaddq_s32(sums[0], vldrwq_s32(a));
    sums[1] = vaddq_s32(sums[1], vldrwq_s32(b));
}

/* The c channels of one weight tensor; d_x is at the first of the first pixel. */
TE_INLINE void te_add_part(te_input_job *job, const int8_t *weight, int32_t c, int usual,
                           te_grad *d_x)
{
    const int32_t out_c = job->p->conv.out_c, in_c = job->p->conv.in_c;
    const uint16x8_t first = vmulq_n_u16(vidupq_n_u16(0u, 1), (uint16_t)c);
    const uint32x4_t steps = vmulq_n_u32(vidupq_n_u32(0u, 1), (uint32_t)in_c);
    const mve_pred16_t rest = vctp32q((uint32_t)job->count);
    const int16_t *d = job->factors;
    const te_eights eights = {d, d + out_c / 8 * TE_BLOCK, 8 * c, out_c / 8 % 2};
    uint16x8_t second = vaddq_n_u16(first, 1u);
    te_grad_range range = job->range;
    for (int32_t i = 0; i < c; i += 2) {
        const int two = i + 1 < c;
        int32x4_t sums[2] = {vdupq_n_s32(0), vdupq_n_s32(0)};
        if (!two) {
            second = first;
        }
        if (out_c >= 8) {
            te_sum_pair(&eights, weight + i, first, second, sums);
        }
        if (out_c % 8 != 0) {
            te_sum_rest(job, weight + out_c / 8 * 8 * c + i, first, second, sums);
        }
        const int32x4_t a = te_grad_scaled(sums[0], &job->by, usual);
        const int32x4_t b = te_grad_scaled(sums[1], &job->by, usual);
        range = te_ranged(te_ranged(range, a), b);
        te_scatter_grad(d_x + i, steps, te_limited_4(a), rest);
        if (two) {
            te_scatter_grad(d_x + i + 1, steps, te_limited_4(b), rest);
        }
    }
    job->range = range;
}

static inline int te_input_fits(const te_conv2d_grad *p)
{
    return te_is_pointwise(&p->conv.window) && p->conv.in_c <= TE_ROW_MAX;
}

TE_INLINE void te_input_pixels(te_input_job *job, const int8_t *weight, const int8_t *frozen,
                               int usual, te_grad *d_x)
{
    const te_conv2d *conv = &job->p->conv;
    const int32_t pixels = conv->window.in_h * conv->window.in_w;
    for (int32_t i = 0; i < pixels; i += TE_PIXELS) {
        te_grad *to = d_x + i * conv->in_c;
        job->count = te_min(TE_PIXELS, pixels - i);
        te_load_factors(job, i);
        te_add_part(job, weight, conv->learn_c, usual, to);
        if (frozen != NULL) {
            te_add_part(job, frozen, conv->in_c - conv->learn_c, usual, to + conv->learn_c);
        }
    }
}

static inline void te_input_gradient(const te_conv2d_grad *p, const te_grad *d_y,
                                     const int8_t *weight, const int16_t *scale,
                                     const int8_t *frozen, const int32_t *e_d, int32_t *state,
                                     te_grad *d_x, int32_t *e, int32_t *scratch)
{
    te_output_grad out = te_grad_begin(state, e);
    const int32_t shift = te_grad_shift(p->factor.shift, e_d, &out);
    te_input_job job;
    job.p = p;
    job.d_y = d_y, job.scale = scale;
    job.factors = (int16_t *)(void *)scratch;
    job.by = te_grad_scale_of(p->factor.multiplier, shift);
    job.range = te_range_begin();
    memset(job.rest, 0, sizeof job.rest);
    if (shift < 0) {
        te_input_pixels(&job, weight, frozen, 1, d_x);
    } else {
        te_input_pixels(&job, weight, frozen, 0, d_x);
    }
    out.peak = te_range_peak(&job.range);
    te_grad_end(&out, state);
}

#endif
#endif
