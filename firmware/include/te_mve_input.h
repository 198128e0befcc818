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

/* Pairs of channels of four pixels; the assembly below reads the words. */
typedef struct te_pair_loop {
    const int8_t *w, *end; /* weights to output 0: the next pair's, and behind the last's */
    int32_t multiplier, right;
    te_grad *d_x;
    const int16_t *d; /* d' of the first eight outputs */
    uint32_t places[TE_PIXELS];
} te_pair_loop;

#if TE_GRAD_BITS == 16
#define TE_NARROWER
#define TE_SYMMETRIC "vqneg.s16 q6, q6\n\tvqneg.s16 q6, q6\n\t"
#define TE_PUT(q, to) "vstrht.32 " q ", [" to ", q7]\n\t"
#else
#define TE_NARROWER "vqmovnb.s16 q6, q6\n\t"
#define TE_SYMMETRIC "vqneg.s8 q6, q6\n\tvqneg.s8 q6, q6\n\t"
#define TE_PUT(q, to) "vstrbt.32 " q ", [" to ", q7]\n\t"
#endif

/* Eight outputs. q4, q5: d', at the end the sums; q6, q7: weights. r0, r2, r4, r6 and r8, r10,
 * r12, lr: the sums of the first and of the second channel, pixel by pixel. */
#define TE_EIGHT(sum)                        \
    "vldrb.s16 q6, [%[w], %q[t0]]\n\t"       \
    "vldrb.s16 q7, [%[w], %q[t1]]\n\t"       \
    "vldrh.u16 q4, [%[d]], #64\n\t"          \
    "add %[w], %[w], %[row]\n\t"             \
    sum ".s16 r0, q4, q6\n\t"                \
    "vldrh.u16 q5, [%[d], #-48]\n\t"         \
    sum ".s16 r8, q4, q7\n\t"                \
    "vldrh.u16 q4, [%[d], #-32]\n\t"         \
    sum ".s16 r2, q5, q6\n\t"                \
    sum ".s16 r10, q5, q7\n\t"               \
    "vldrh.u16 q5, [%[d], #-16]\n\t"         \
    sum ".s16 r4, q4, q6\n\t"                \
    sum ".s16 r12, q4, q7\n\t"               \
    sum ".s16 r6, q5, q6\n\t"                \
    sum ".s16 lr, q5, q7\n\t"

/* te_grad_scaled of the sums in q4, q5, and their range. */
#define TE_PAIR_SCALED                            \
    "vmov q4[2], q4[0], r0, r4\n\t"               \
    "vmov q4[3], q4[1], r2, r6\n\t"               \
    "vmov q5[2], q5[0], r8, r12\n\t"              \
    "vmov q5[3], q5[1], r10, lr\n\t"              \
    "ldrd r0, r2, [%[job], #8]\n\t"               \
    "mov r4, #1\n\t"                              \
    "vqrdmulh.s32 q4, q4, r0\n\t"                 \
    "vqrdmulh.s32 q5, q5, r0\n\t"                 \
    "vqdmlah.s32 q4, q4, r4\n\t"                  \
    "vqdmlah.s32 q5, q5, r4\n\t"                  \
    "vrshl.s32 q4, r2\n\t"                        \
    "vrshl.s32 q5, r2\n\t"                        \
    "vmin.s32 %q[low], %q[low], q4\n\t"           \
    "vmax.s32 %q[high], %q[high], q4\n\t"         \
    "vmin.s32 %q[low], %q[low], q5\n\t"           \
    "vmax.s32 %q[high], %q[high], q5\n\t"

/* All pairs of the c channels of the pixels that `some` names, for whole eights of outputs, an
 * even number of them or not, and a shift to the right. */
TE_INLINE te_grad_range te_run_pairs(te_pair_loop *job, int32_t eights, int even, int32_t c,
                                     mve_pred16_t some, te_grad_range range)
{
    const uint16x8_t first = vmulq_n_u16(vidupq_n_u16(0u, 1), (uint16_t)c);
    const int8_t *w = job->w;
    const int16_t *d = job->d;
    __asm__ volatile("1:\n\t" TE_EIGHT("vmladav")
                     "cmp %[d], %[end]\n\t"
                     "beq 4f\n\t"
                     ".if %c[even]\n\t"
                     "b 3f\n\t"
                     ".endif\n"
                     "2:\n\t" TE_EIGHT("vmladava")
                     "3:\n\t" TE_EIGHT("vmladava")
                     "cmp %[d], %[end]\n\t"
                     "bne 2b\n"
                     "4:\n\t" TE_PAIR_SCALED
                     "ldrd r8, %[d], [%[job], #16]\n\t"
                     "vqmovnb.s32 q6, q4\n\t"
                     "vqmovnt.s32 q6, q5\n\t" TE_NARROWER TE_SYMMETRIC
                     "vldrw.u32 q7, [%[job], #24]\n\t"
                     "add r10, r8, %[one]\n\t"
                     "vshr.u32 q5, q6, #16\n\t"
                     "vpstt\n\t" TE_PUT("q6", "r8") TE_PUT("q5", "r10")
                     "add r8, r10, %[one]\n\t"
                     "str r8, [%[job], #16]\n\t"
                     "ldrd %[w], r0, [%[job]]\n\t"
                     "adds %[w], %[w], #2\n\t"
                     "str %[w], [%[job]]\n\t"
                     "cmp %[w], r0\n\t"
                     "bne 1b"
                     : [low] "+&w"(range.low), [high] "+&w"(range.high), [w] "+&r"(w), [d] "+&r"(d)
                     : [job] "r"(job), [row] "r"(8 * c), [end] "r"(job->d + eights * TE_BLOCK),
                       [even] "i"(even), [t0] "w"(first),
                       [t1] "w"(vaddq_n_u16(first, 1u)), "Up"(some), [one] "i"(sizeof(te_grad))
                     : "lr", "r0", "r2", "r4", "r6", "r8", "r10", "r12", "q4", "q5", "q6", "q7",
                       "cc", "memory");
    return range;
}

/* An even number of channels c of one weight tensor. */
static TE_NOINLINE void te_add_pairs(te_input_job *job, const int8_t *weight, int32_t c,
                                     te_grad *d_x)
{
    const uint32_t step = (uint32_t)job->p->conv.in_c * sizeof(te_grad);
    te_pair_loop loop = {weight, weight + c, job->by.multiplier, job->by.right, d_x, job->factors,
                         {0u, step, 2u * step, 3u * step}};
    const int32_t eights = job->p->conv.out_c / 8;
    const mve_pred16_t some = vctp32q((uint32_t)job->count);
    if (eights % 2 == 0) {
        job->range = te_run_pairs(&loop, eights, 1, c, some, job->range);
    } else {
        job->range = te_run_pairs(&loop, eights, 0, c, some, job->range);
    }
}

/* The sums of channel c of four pixels, of any number of outputs; w: its weight to output 0. */
static int32x4_t te_any_sums(const te_input_job *job, const int8_t *w, int32_t c)
{
    const int32_t out_c = job->p->conv.out_c;
    const uint16x8_t rows = vmulq_n_u16(vidupq_n_u16(0u, 1), (uint16_t)c);
    const int16_t *d = job->factors;
    int32_t sums[TE_PIXELS] = {0};
    for (int32_t n = out_c; n > 0; n -= 8, d += TE_BLOCK, w += 8 * c) {
        const mve_pred16_t lanes = vctp16q((uint32_t)n);
        const int16x8_t v = vldrbq_gather_offset_z_s16(w, rows, lanes);
        const int16_t *from = n < 8 ? job->rest : d;
        for (int32_t i = 0; i < TE_PIXELS; i++) {
            sums[i] = vmladavaq_s16(sums[i], vldrhq_s16(from + 8 * i), v);
        }
    }
    return vldrwq_s32(sums);
}

/* Any number of channels of one weight tensor, and any shift. */
static TE_NOINLINE void te_add_any(te_input_job *job, const int8_t *weight, int32_t c,
                                   te_grad *d_x)
{
    const uint32x4_t steps = vmulq_n_u32(vidupq_n_u32(0u, 1), (uint32_t)job->p->conv.in_c);
    const mve_pred16_t some = vctp32q((uint32_t)job->count);
    for (int32_t i = 0; i < c; i++) {
        const int32x4_t q = te_grad_scaled(te_any_sums(job, weight + i, c), &job->by, 0);
        job->range = te_ranged(job->range, q);
        te_scatter_grad(d_x + i, steps, te_limited_4(q), some);
    }
}

/* The c channels of one weight tensor; d_x is at the first of the first pixel. */
static inline void te_add_part(te_input_job *job, const int8_t *weight, int32_t c, te_grad *d_x)
{
    if (c > 0 && c % 2 == 0 && job->p->conv.out_c % 8 == 0 && job->by.right < 0) {
        te_add_pairs(job, weight, c, d_x);
    } else {
        te_add_any(job, weight, c, d_x);
    }
}

static inline int te_input_fits(const te_conv2d_grad *p)
{
    return te_is_pointwise(&p->conv.window) && p->conv.in_c <= TE_ROW_MAX;
}

static inline void te_input_pixels(te_input_job *job, const int8_t *weight, const int8_t *frozen,
                                   te_grad *d_x)
{
    const te_conv2d *conv = &job->p->conv;
    const int32_t pixels = conv->window.in_h * conv->window.in_w;
    for (int32_t i = 0; i < pixels; i += TE_PIXELS) {
        te_grad *to = d_x + i * conv->in_c;
        job->count = te_min(TE_PIXELS, pixels - i);
        te_load_factors(job, i);
        te_add_part(job, weight, conv->learn_c, to);
        if (frozen != NULL) {
            te_add_part(job, frozen, conv->in_c - conv->learn_c, to + conv->learn_c);
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
    te_input_pixels(&job, weight, frozen, d_x);
    out.peak = te_range_peak(&job.range);
    te_grad_end(&out, state);
}

#endif
#endif
