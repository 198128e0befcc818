/* te_conv2d_s8_dsp.c - see te_kernels_dsp.h.
 *
 * Four output pixels at a time. Their inputs are first spread in scratch as centred 16-bit pairs,
 * (x0, x2) and (x1, x3) of every four, the four pixels side by side; then each output channel's
 * row of weights streams past them once. For four weights and 16 products: one load and two
 * unpackings of weights, two loads of x, eight SMLAD.
 */
#include <stddef.h>

#include "te_dsp.h"
#include "te_kernels_dsp.h"

enum {
    TE_PIXELS = 4,
    TE_STRIDE = 8,       /* words in scratch from one group of four products to the next */
    TE_UNROLL = 8,       /* groups that one pass of the loop takes */
    TE_GROUP_BYTES = 52, /* of code: 13 instructions of 32 bits */
};

/* Four pixels; the assembly below knows the offsets. The last pass starts the loop `skip` bytes of
 * code late, or rather the first one does, so that any number of groups fits. */
typedef struct te_block {
    const int32_t *scale; /* 0 */
    const int32_t *bias;
    int8_t *y;
    int32_t out_c;
    const int32_t *x; /* 16 */
    int32_t passes, skip;
    const int8_t *y_end;
    const int8_t *weight; /* 32 */
    const int8_t *frozen;
    int32_t frozen_passes, frozen_skip;
} te_block;

/* What stays the same from block to block. */
typedef struct te_job {
    const te_conv2d_dsp *p;
    const int8_t *x, *weight, *frozen;
    const int32_t *bias;
    int32_t *scratch;
    int32_t groups, frozen_groups;
    int32_t minus_zero; /* in both halves */
} te_job;

/* Adds n groups of products to the sums of four pixels; returns where x ends. */
static const int32_t *te_dot_4(int32_t *sums, const int32_t *x, const int8_t *w, int32_t n)
{
    for (; n > 0; n--, w += 4, x += TE_STRIDE) {
        const int32_t even = te_sxtab16(0, te_load(w)), odd = te_sxtab16_odd(0, te_load(w));
        for (int32_t i = 0; i < TE_PIXELS; i++) {
            sums[i] = te_smlad(x[2 * i], even, te_smlad(x[2 * i + 1], odd, sums[i]));
        }
    }
    return x;
}

#if defined(__ARM_FEATURE_DSP) && defined(__thumb2__)

#define TE_GROUP                              \
    "ldr r6, [r1], #4\n\t"                    \
    "ldmia.w r0!, {r2, r3, r4, r5}\n\t"       \
    "sxtb16 r7, r6, ror #8\n\t"               \
    "sxtb16 r6, r6\n\t"                       \
    "smlad r8, r2, r6, r8\n\t"                \
    "smlad r9, r4, r6, r9\n\t"                \
    "smlad r8, r3, r7, r8\n\t"                \
    "smlad r9, r5, r7, r9\n\t"                \
    "ldmia.w r0!, {r2, r3, r4, r5}\n\t"       \
    "smlad r10, r2, r6, r10\n\t"              \
    "smlad r11, r4, r6, r11\n\t"              \
    "smlad r10, r3, r7, r10\n\t"              \
    "smlad r11, r5, r7, r11\n\t"

/* r0 = x, r1 = weights, r2 = bytes of code to skip, r12 = passes */
#define TE_DOT(label)                                                         \
    "add pc, r2\n\t"                                                          \
    "nop\n\t"                                                                 \
    #label ":\n\t" TE_GROUP TE_GROUP TE_GROUP TE_GROUP TE_GROUP TE_GROUP      \
    TE_GROUP TE_GROUP                                                         \
    "subs r12, r12, #1\n\t"                                                   \
    "bne " #label "b\n\t"

#define TE_START                          \
    "ldrd r0, r12, [lr, #16]\n\t"         \
    "ldr r2, [lr, #24]\n\t"               \
    "mov r8, #0\n\t"                      \
    "mov r9, #0\n\t"                      \
    "mov r10, #0\n\t"                     \
    "mov r11, #0\n\t"

/* te_scale of sum `acc` as r0 */
#define TE_SCALE(acc)                             \
    "smmlar r0, " acc ", r6, r12\n\t"             \
    "add r0, r0, " acc ", asr #31\n\t"            \
    "asr r0, r0, r7\n\t"                          \
    "ssat r0, #8, r0\n\t"

/* Four outputs of one channel; then pointers move on to the next channel. r3 = y */
#define TE_FINISH                         \
    "ldmia.w lr, {r0, r2, r3, r4}\n\t"    \
    "ldr r5, [r2], #4\n\t"                \
    "ldmia.w r0!, {r6, r7, r12}\n\t"      \
    "stmia.w lr, {r0, r2}\n\t"            \
    "qadd r5, r5, r5\n\t"                 \
    "qdadd r8, r5, r8\n\t"                \
    "qdadd r9, r5, r9\n\t"                \
    "qdadd r10, r5, r10\n\t"              \
    "qdadd r11, r5, r11\n\t"              \
    "add r5, r4, r4, lsl #1\n\t"          \
    TE_SCALE("r9") "strb r0, [r3, r4]\n\t"           \
    TE_SCALE("r10") "strb r0, [r3, r4, lsl #1]\n\t"  \
    TE_SCALE("r11") "strb r0, [r3, r5]\n\t"          \
    TE_SCALE("r8") "strb r0, [r3], #1\n\t"           \
    "ldr r2, [lr, #28]\n\t"               \
    "str r3, [lr, #8]\n\t"                \
    "cmp r3, r2\n\t"                      \
    "bne 1b\n\t"

#define TE_CLOBBERS                                                                        \
    "r1", "r2", "r3", "r4", "r5", "r6", "r7", "r8", "r9", "r10", "r11", "r12", "lr", "cc", \
        "memory"

__attribute__((noinline)) static void te_run_whole(te_block *block)
{
    register te_block *b __asm__("r0") = block;
    __asm__ volatile("mov lr, r0\n\t"
                     "ldr r1, [lr, #32]\n\t"
                     "1:\n\t" TE_START TE_DOT(2) TE_FINISH
                     : "+r"(b)
                     :
                     : TE_CLOBBERS);
}

__attribute__((noinline)) static void te_run_split(te_block *block)
{
    register te_block *b __asm__("r0") = block;
    __asm__ volatile("mov lr, r0\n\t"
                     "1:\n\t" TE_START "ldr r1, [lr, #32]\n\t" TE_DOT(2) "str r1, [lr, #32]\n\t"
                     "ldr r1, [lr, #36]\n\t"
                     "ldrd r12, r2, [lr, #40]\n\t" TE_DOT(3) "str r1, [lr, #36]\n\t" TE_FINISH
                     : "+r"(b)
                     :
                     : TE_CLOBBERS);
}

static inline void te_run(te_block *b)
{
    if (b->frozen_passes > 0) {
        te_run_split(b);
    } else {
        te_run_whole(b);
    }
}

#else

static int32_t te_groups(int32_t passes, int32_t skip)
{
    return passes * TE_UNROLL - skip / TE_GROUP_BYTES;
}

static void te_run(te_block *b)
{
    const int32_t n = te_groups(b->passes, b->skip);
    const int32_t rest = te_groups(b->frozen_passes, b->frozen_skip);
    for (; b->y != b->y_end; b->y++, b->bias++, b->scale += 3) {
        const te_scaling f = {b->scale[0], b->scale[1], b->scale[2]};
        int32_t sums[TE_PIXELS] = {0};
        const int32_t *x = te_dot_4(sums, b->x, b->weight, n);
        (void)te_dot_4(sums, x, b->frozen, rest);
        b->weight += 4 * n;
        b->frozen = rest > 0 ? b->frozen + 4 * rest : NULL;
        for (int32_t i = 0; i < TE_PIXELS; i++) {
            b->y[i * b->out_c] = (int8_t)te_scale(sums[i], te_qadd(*b->bias, *b->bias), f);
        }
    }
}

#endif

static inline int32_t te_quarters(int32_t count)
{
    return (count + 3) / 4;
}

static inline void te_spread_word(int32_t *to, uint32_t word, int32_t minus_zero)
{
    to[0] = te_sxtab16(minus_zero, word);
    to[1] = te_sxtab16_odd(minus_zero, word);
}

/* Spreads `count` neighbouring inputs, filled up to a multiple of four with zeros. */
static int32_t *te_spread(int32_t *to, const int8_t *x, int32_t count, int32_t minus_zero)
{
    for (; count >= 16; count -= 16, x += 16, to += 4 * TE_STRIDE) {
        te_spread_word(to, te_load(x), minus_zero);
        te_spread_word(to + TE_STRIDE, te_load(x + 4), minus_zero);
        te_spread_word(to + 2 * TE_STRIDE, te_load(x + 8), minus_zero);
        te_spread_word(to + 3 * TE_STRIDE, te_load(x + 12), minus_zero);
    }
    for (; count >= 4; count -= 4, x += 4, to += TE_STRIDE) {
        te_spread_word(to, te_load(x), minus_zero);
    }
    if (count > 0) {
        int8_t last[4];
        for (int32_t i = 0; i < 4; i++) {
            last[i] = (int8_t)(i < count ? x[i] : -(int32_t)(int16_t)minus_zero);
        }
        te_spread_word(to, te_load(last), minus_zero);
        to += TE_STRIDE;
    }
    return to;
}

static int32_t *te_spread_zeros(int32_t *to, int32_t count)
{
    for (; count > 0; count -= 4, to += TE_STRIDE) {
        to[0] = 0;
        to[1] = 0;
    }
    return to;
}

/* One output pixel: the kernel positions that see real pixels, and the input of position (0, 0). */
typedef struct te_patch {
    te_span ys, xs;
    int32_t y, x;
} te_patch;

static inline te_patch te_patch_of(const te_window *g, int32_t pixel)
{
    const int32_t oy = pixel / g->out_w, ox = pixel % g->out_w;
    const te_patch at = {te_taps_h(g, oy), te_taps_w(g, ox), oy * g->stride_h - g->pad_top,
                         ox * g->stride_w - g->pad_left};
    return at;
}

/* Spreads the c channels from x on of every kernel position; c is a multiple of 4. */
static int32_t *te_spread_patch(const te_job *j, const te_patch *at, const int8_t *x, int32_t c,
                                int32_t *to)
{
    const te_window *g = &j->p->shape.window;
    const int32_t in_c = j->p->shape.in_c;
    const int32_t merged = g->dilation_w == 1 && c == in_c ? at->xs.end - at->xs.first : 1;
    for (int32_t ky = 0; ky < g->kernel_h; ky++) {
        if (ky < at->ys.first || ky >= at->ys.end) {
            to = te_spread_zeros(to, g->kernel_w * c);
            continue;
        }
        const int8_t *line = x + (at->y + ky * g->dilation_h) * g->in_w * in_c;
        to = te_spread_zeros(to, at->xs.first * c);
        for (int32_t kx = at->xs.first; kx < at->xs.end; kx += merged) {
            to = te_spread(to, line + (at->x + kx * g->dilation_w) * in_c, merged * c,
                           j->minus_zero);
        }
        to = te_spread_zeros(to, (g->kernel_w - at->xs.end) * c);
    }
    return to;
}

static inline void te_copy(int8_t *to, const int8_t *from, int32_t n)
{
    for (; n >= 4; n -= 4, to += 4, from += 4) {
        const uint32_t word = te_load(from);
        memcpy(to, &word, sizeof word);
    }
    for (int32_t i = 0; i < n; i++) {
        to[i] = from[i];
    }
}

/* The same for any number of channels: the row is gathered as bytes behind the spread ones. */
static void te_spread_row(const te_job *j, const te_patch *at, int32_t *to)
{
    const te_window *g = &j->p->shape.window;
    const int32_t c = j->p->shape.in_c, bytes = g->kernel_h * g->kernel_w * c;
    const uint32_t fill = ((uint32_t)j->p->shape.in_zero & 255u) * 0x1010101u;
    uint32_t *words = (uint32_t *)(void *)(j->scratch + TE_STRIDE * j->groups);
    int8_t *row = (int8_t *)words;
    for (int32_t i = 0; i < j->groups; i++) {
        words[i] = fill;
    }
    const int32_t merged = g->dilation_w == 1 ? at->xs.end - at->xs.first : 1;
    for (int32_t ky = at->ys.first; ky < at->ys.end; ky++) {
        const int8_t *line = j->x + (at->y + ky * g->dilation_h) * g->in_w * c;
        for (int32_t kx = at->xs.first; kx < at->xs.end; kx += merged) {
            te_copy(row + (ky * g->kernel_w + kx) * c, line + (at->x + kx * g->dilation_w) * c,
                    merged * c);
        }
    }
    (void)te_spread(to, row, te_quarters(bytes) * 4, j->minus_zero);
}

static inline int te_is_pointwise(const te_window *g)
{
    return g->kernel_h == 1 && g->kernel_w == 1 && g->stride_h == 1 && g->stride_w == 1 &&
           g->in_h == g->out_h && g->in_w == g->out_w;
}

/* Spreads the inputs of one output pixel as number `slot` of a block. */
static void te_spread_pixel(const te_job *j, int32_t pixel, int32_t slot)
{
    const te_conv2d *s = &j->p->shape;
    const int32_t rest_c = s->in_c - s->learn_c;
    int32_t *to = j->scratch + 2 * slot;
    if (te_is_pointwise(&s->window)) {
        const int8_t *x = j->x + pixel * s->in_c;
        to = te_spread(to, x, s->learn_c, j->minus_zero);
        (void)te_spread(to, x + s->learn_c, rest_c, j->minus_zero);
        return;
    }
    const te_patch at = te_patch_of(&s->window, pixel);
    if (s->in_c % 4 == 0) {
        to = te_spread_patch(j, &at, j->x, s->learn_c, to);
        if (rest_c > 0) {
            (void)te_spread_patch(j, &at, j->x + s->learn_c, rest_c, to);
        }
    } else {
        te_spread_row(j, &at, to);
    }
}

/* The channels that te_scale cannot do, after the others. */
static void te_run_exact(const te_job *j, int8_t *y, int32_t out_c)
{
    for (int32_t i = 0; i < j->p->exact_count; i++) {
        const int32_t k = j->p->exact[i];
        const int32_t *scale = j->p->scale + 3 * k;
        int32_t sums[TE_PIXELS] = {0};
        const int32_t *x = te_dot_4(sums, j->scratch, j->weight + k * 4 * j->groups, j->groups);
        if (j->frozen_groups > 0) {
            (void)te_dot_4(sums, x, j->frozen + k * 4 * j->frozen_groups, j->frozen_groups);
        }
        for (int32_t n = 0; n < TE_PIXELS; n++) {
            y[n * out_c + k] = (int8_t)te_scale_exact(sums[n], j->bias[k], scale[0], scale[1],
                                                      j->p->shape.out_zero);
        }
    }
}

/* Four pixels from `pixel` on; with `step` 0 four times the same one. */
static void te_four(const te_job *j, te_block b, int32_t pixel, int32_t step)
{
    const int32_t out_c = j->p->shape.out_c;
    for (int32_t i = 0; i < TE_PIXELS; i++) {
        te_spread_pixel(j, pixel + i * step, i);
    }
    int8_t *y = b.y + pixel * out_c;
    b.y = y;
    b.y_end = y + out_c;
    b.out_c = step * out_c;
    te_run(&b);
    te_run_exact(j, y, b.out_c);
}

void te_conv2d_s8_dsp(const te_conv2d_dsp *p, const int8_t *x, const int8_t *weight,
                      const int32_t *bias, const int8_t *frozen, int8_t *y, int32_t *scratch)
{
    const te_conv2d *s = &p->shape;
    const int32_t taps = s->window.kernel_h * s->window.kernel_w;
    const int32_t total = s->window.out_h * s->window.out_w;
    const te_job j = {p, x, weight, frozen, bias, scratch, te_quarters(taps * s->learn_c),
                      te_quarters(taps * (s->in_c - s->learn_c)), te_twice(-s->in_zero)};
    te_block b = {.scale = p->scale, .bias = bias, .y = y, .x = scratch, .weight = weight,
                  .frozen = frozen};
    b.passes = (j.groups + TE_UNROLL - 1) / TE_UNROLL;
    b.skip = (b.passes * TE_UNROLL - j.groups) * TE_GROUP_BYTES;
    b.frozen_passes = (j.frozen_groups + TE_UNROLL - 1) / TE_UNROLL;
    b.frozen_skip = (b.frozen_passes * TE_UNROLL - j.frozen_groups) * TE_GROUP_BYTES;
    if (total < TE_PIXELS) {
        for (int32_t pixel = 0; pixel < total; pixel++) {
            te_four(&j, b, pixel, 0);
        }
        return;
    }
    for (int32_t pixel = 0; pixel < total; pixel += TE_PIXELS) {
        /* the last block may compute some pixels of the one before again */
        te_four(&j, b, te_min(pixel, total - TE_PIXELS), 1);
    }
}
