/* te_depthwise_grad_dsp.h - input gradient of a depthwise convolution with SMLAD, both formats: the
 * loops in assembly, and all of it; see te_grad_planes.h. */
#ifndef TE_DEPTHWISE_GRAD_DSP_H
#define TE_DEPTHWISE_GRAD_DSP_H

#include "te_grad_planes.h"

#if defined(__ARM_FEATURE_DSP) && defined(__thumb2__)

#if TE_GRAD_BITS == 16
#define TE_FETCH "ldrsh"
#else
#define TE_FETCH "ldrsb"
#endif

/* Lines of `fours` times four pixels; r4..r6, r8 = pixels, r9 = fours left. */
static inline void te_spread_fours(const te_planes *s, const te_grad *d, int32_t fours)
{
    const int32_t step = s->p->out_c * (int32_t)sizeof *d;
    const int32_t skip = (s->pitch - TE_PIXELS * fours) * (int32_t)sizeof(int16_t);
    int16_t *to = s->plane + s->border;
    int32_t rows = s->p->window.out_h;
    __asm__ volatile("1:\n\t"
                     "mov r9, %[fours]\n"
                     "2:\n\t" TE_FETCH " r4, [%[d]]\n\t" TE_FETCH " r5, [%[d], %[step]]\n\t"
                     "add %[d], %[d], %[step], lsl #1\n\t"
                     "strh r4, [%[to]], #2\n\t" TE_FETCH " r6, [%[d]]\n\t"
                     "strh r5, [%[to]], #2\n\t" TE_FETCH " r8, [%[d], %[step]]\n\t"
                     "add %[d], %[d], %[step], lsl #1\n\t"
                     "strh r6, [%[to]], #2\n\t"
                     "subs r9, #1\n\t"
                     "strh r8, [%[to]], #2\n\t"
                     "bne 2b\n\t"
                     "subs %[rows], #1\n\t"
                     "add %[to], %[skip]\n\t"
                     "bne 1b\n\t"
                     : [d] "+&r"(d), [to] "+&r"(to), [rows] "+&r"(rows)
                     : [fours] "r"(fours), [step] "r"(step), [skip] "r"(skip)
                     : "r4", "r5", "r6", "r8", "r9", "cc", "memory");
}

static inline void te_spread_channel(const te_planes *s, const te_grad *d)
{
    const int32_t n = s->p->window.out_w;
    if (n % TE_PIXELS == 0 && n <= s->pitch - s->border) {
        te_spread_fours(s, d, n / TE_PIXELS);
    } else {
        te_spread_any(s, d);
    }
}

#define TE_P(at) "ldr r12, [r1, #" #at "]\n\t"
#define TE_ADD(op, sum, z, w) #op " " #sum ", " #z ", " #w ", " #sum "\n\t"
/* A word of weights as the first of all sums, z and next: words of gradients. */
#define TE_FIRST(z, next, w)                                                              \
    TE_ADD(smlad, r4, z, w) TE_ADD(smlatb, r5, z, w) TE_ADD(smlad, r6, next, w)           \
        TE_ADD(smlatb, r7, next, w)
#define TE_EVEN(z, next, w) TE_ADD(smlad, r4, z, w) TE_ADD(smlad, r6, next, w)
#define TE_ODD(z, next, w) TE_ADD(smlad, r5, z, w) TE_ADD(smlad, r7, next, w)
/* A word whose upper half ends the even or the odd sums. */
#define TE_EVEN_END(z, next, w) TE_ADD(smlabt, r4, z, w) TE_ADD(smlabt, r6, next, w)
#define TE_ODD_END(z, next, w) TE_ADD(smlabt, r5, z, w) TE_ADD(smlabt, r7, next, w)

#define TE_LINE_1                                                                          \
    "ldrd r8, r9, [r0]\n\t" TE_P(0) TE_ADD(smlabb, r4, r8, r12) TE_ADD(smlatb, r5, r8, r12) \
        TE_ADD(smlabb, r6, r9, r12) TE_ADD(smlatb, r7, r9, r12)
#define TE_LINE_2                                                                          \
    "ldmia.w r0, {r8, r9, r10}\n\t" TE_P(0) TE_FIRST(r8, r9, r12) TE_ODD_END(r9, r10, r12)
#define TE_LINE_3                                                                          \
    "ldmia.w r0, {r8, r9, r10}\n\t"                                                        \
    "ldrd r11, r12, [r1]\n\t" TE_FIRST(r8, r9, r11) TE_ODD(r9, r10, r12)                   \
        TE_EVEN_END(r9, r10, r12)
#define TE_LINE_4                                                                          \
    "ldmia.w r0, {r8, r9, r10, r11}\n\t" TE_P(0) TE_FIRST(r8, r9, r12)                     \
        TE_P(4) TE_ODD(r9, r10, r12) TE_P(8) TE_EVEN(r9, r10, r12) TE_ODD_END(r10, r11, r12)
#define TE_LINE_5                                                                          \
    "ldmia.w r0, {r8, r9, r10, r11}\n\t" TE_P(0) TE_FIRST(r8, r9, r12)                     \
        TE_P(4) TE_ODD(r9, r10, r12) TE_P(8) TE_EVEN(r9, r10, r12)                         \
        TE_P(12) TE_ODD(r10, r11, r12) TE_EVEN_END(r10, r11, r12)
#define TE_LINE_7                                                                          \
    "ldmia.w r0, {r8, r9, r10, r11}\n\t" TE_P(0) TE_FIRST(r8, r9, r12)                     \
        "ldr r8, [r0, #16]\n\t" TE_P(4) TE_ODD(r9, r10, r12) TE_P(8) TE_EVEN(r9, r10, r12) \
        TE_P(12) TE_ODD(r10, r11, r12) TE_P(16) TE_EVEN(r10, r11, r12)                     \
        TE_P(20) TE_ODD(r11, r8, r12) TE_EVEN_END(r11, r8, r12)

/* A sum as te_put_scaled does it, to `to`. s8: 127 and -127 are the limits. */
#if TE_GRAD_BITS == 16
#define TE_STORE(to) "ssat r0, #16, r0\n\t strh r0, " to "\n\t"
#else
#define TE_STORE(to)                                                                       \
    "ssat r0, #8, r0\n\t cmn r0, #128\n\t it eq\n\t addeq r0, #1\n\t strb r0, " to "\n\t"
#endif
#define TE_PUT(sum, to)                                                                    \
    "smmlar r0, " #sum ", r8, r10\n\t"                                                     \
    "add r0, r0, " #sum ", asr #31\n\t"                                                    \
    "asr r0, r0, r9\n\t"                                                                   \
    "eor " #sum ", r0, r0, asr #31\n\t"                                                    \
    "orr r11, " #sum "\n\t" TE_STORE(to)

/* All fours of a list. r0 = line, r1 = pair, r2 = rows left, r3 = pitch, r4..r7 = sums, lr = lane;
 * then r8..r11 = scaling and peak, r12 = d_x, r1 = step, r2 = four */
#define TE_FOURS(taps, back)                                                               \
    static void te_fours_##taps##_##back(te_lane *lane)                                    \
    {                                                                                      \
        register te_lane *lr __asm__("r14") = lane;                                        \
        __asm__ volatile("ldr r3, [lr, #32]\n"                                             \
                         "1:\n\t"                                                          \
                         "ldr r12, [lr, #24]\n\t"                                          \
                         "movs r4, #0\n\t movs r5, #0\n\t movs r6, #0\n\t movs r7, #0\n\t" \
                         "ldmia.w r12, {r0, r1, r2}\n"                                     \
                         "2:\n\t" TE_LINE_##taps                                           \
                         "add r0, r3\n\t"                                                  \
                         "subs r2, #1\n\t"                                                 \
                         "sub r1, #" #back "\n\t"                                          \
                         "bne 2b\n\t"                                                      \
                         "ldr r2, [lr, #24]\n\t"                                           \
                         "ldmia.w lr, {r8, r9, r10, r11}\n\t"                              \
                         "ldr r0, [r2, #12]\n\t"                                           \
                         "ldrd r12, r1, [lr, #16]\n\t"                                     \
                         "add r12, r0\n\t"                                                 \
                         TE_PUT(r4, "[r12]") TE_PUT(r5, "[r12, r1]")                       \
                         "add r12, r12, r1, lsl #1\n\t"                                    \
                         TE_PUT(r6, "[r12]") TE_PUT(r7, "[r12, r1]")                       \
                         "ldr r0, [lr, #28]\n\t"                                           \
                         "adds r2, #16\n\t"                                                \
                         "str r11, [lr, #12]\n\t"                                          \
                         "cmp r2, r0\n\t"                                                  \
                         "str r2, [lr, #24]\n\t"                                           \
                         "bne 1b\n\t"                                                      \
                         : "+r"(lr)                                                        \
                         :                                                                 \
                         : "r0", "r1", "r2", "r3", "r4", "r5", "r6", "r7", "r8", "r9",     \
                           "r10", "r11", "r12", "cc", "memory");                           \
    }

TE_FOURS(3, 8)
TE_FOURS(5, 16)
TE_FOURS(7, 24)
TE_FOURS(2, 16)
TE_FOURS(1, 16)
TE_FOURS(3, 24)
TE_FOURS(2, 24)
TE_FOURS(4, 40)
TE_FOURS(3, 40)

static inline void te_make_fours(const te_phase *f, int32_t stride, int32_t kernel, te_lane *lane)
{
    if (stride == 1) {
        kernel == 3   ? te_fours_3_8(lane)
        : kernel == 5 ? te_fours_5_16(lane)
                      : te_fours_7_24(lane);
    } else if (kernel == 3) {
        f->taps == 2 ? te_fours_2_16(lane) : te_fours_1_16(lane);
    } else if (kernel == 5) {
        f->taps == 3 ? te_fours_3_24(lane) : te_fours_2_24(lane);
    } else {
        f->taps == 4 ? te_fours_4_40(lane) : te_fours_3_40(lane);
    }
}

/* Once for all channels; the last four of a line may be some of the ones before again. */
static inline void te_list_fours(te_planes *s)
{
    const te_window *g = &s->p->window;
    te_four *to = s->fours;
    for (int32_t a = 0; a < g->stride_h; a++) {
        te_phase *f = &s->phase[a];
        f->fours = to;
        for (int32_t iy = 0; iy < g->in_h && te_is_fast(s, f); iy++) {
            const te_four line = te_lines_of(s, f, iy);
            for (int32_t i = 0; i < f->count; i += TE_PIXELS) {
                const int32_t start = te_min(i, f->count - TE_PIXELS);
                const int32_t pixel = iy * g->in_w + f->first + start * g->stride_w;
                *to = line;
                to->line += start;
                to->place = pixel * s->p->in_c * (int32_t)sizeof(te_grad);
                to++;
            }
        }
        f->end = to;
    }
}

static inline void te_make_phase(te_planes *s, const te_phase *f)
{
    const int32_t stride = s->p->window.stride_w;
    if (f->fours == f->end || s->lane.scaling.exponent == 0) {
        te_phase_pixels(s, f);
        return;
    }
    s->lane.step = stride * s->p->in_c * (int32_t)sizeof(te_grad);
    s->lane.pitch = s->pitch * (int32_t)sizeof(int16_t);
    s->lane.four = f->fours;
    s->lane.end = f->end;
    te_make_fours(f, stride, s->p->window.kernel_h, &s->lane);
}

#else

static inline void te_spread_channel(const te_planes *s, const te_grad *d)
{
    te_spread_any(s, d);
}

static inline void te_list_fours(te_planes *s)
{
    (void)s;
}

static inline void te_make_phase(te_planes *s, const te_phase *f)
{
    te_phase_pixels(s, f);
}

#endif

/* te_narrow has let -32768 pass. */
static inline void te_mend_channel(const te_planes *s)
{
    const te_window *g = &s->p->window;
    te_grad *d_x = s->lane.d_x;
    for (int32_t i = g->in_h * g->in_w; i > 0; i--, d_x += s->p->in_c) {
        *d_x = *d_x < -TE_GRAD_LIMIT ? (te_grad)-TE_GRAD_LIMIT : *d_x;
    }
}

static inline void te_scale_channel(te_planes *s, int32_t multiplier, int32_t shift)
{
    const te_scaling scaling = {multiplier, shift < 0 ? -shift : 0,
                                shift < 0 ? 1 << (-shift - 1) : 0};
    s->multiplier = multiplier;
    s->shift = shift;
    s->lane.scaling = scaling;
    s->lane.peak = 0u;
}

static inline void te_depthwise_bwd_input_dsp(const te_conv2d *p, const te_grad *d_y,
                                              const int8_t *weight, const int32_t *multiplier,
                                              const int32_t *shift, const int32_t *e_d,
                                              int32_t *state, te_grad *d_x, int32_t *e,
                                              int32_t *scratch)
{
    const te_window *g = &p->window;
    const int32_t kernel = g->kernel_h, stride = g->stride_h;
    te_output_grad out = te_grad_begin(state, e);
    te_planes s;
    s.p = p;
    s.pairs = scratch;
    s.plane = (int16_t *)(void *)(scratch + (kernel + 1) * te_pair_row(kernel, stride));
    te_lay_out(&s, kernel, stride);
    s.fours = (te_four *)(void *)(s.plane + g->out_h * s.pitch);
    memset(scratch, 0, (size_t)((int8_t *)s.fours - (int8_t *)scratch));
    te_list_fours(&s);
    for (int32_t c = 0; c < p->in_c; c++) {
        te_scale_channel(&s, multiplier[c], te_grad_shift(shift[c], e_d, &out));
        s.lane.d_x = d_x + c;
        te_spread_channel(&s, d_y + c);
        te_pair_channel(&s, weight + c);
        for (int32_t a = 0; a < stride; a++) {
            te_make_phase(&s, &s.phase[a]);
        }
        if (TE_GRAD_BITS == 16 && s.lane.peak >= (uint32_t)TE_GRAD_LIMIT) {
            te_mend_channel(&s);
        }
        out.peak |= s.lane.peak;
    }
    te_grad_end(&out, state);
}

#endif
