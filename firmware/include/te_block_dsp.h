/* te_block_dsp.h - four output pixels of a convolution, all channels: the innermost loops.
 *
 * x lies in scratch as centred 16-bit pairs, (x0, x2) and (x1, x3) of every four, the four pixels
 * side by side. Each output channel's row of int8 weights streams past them once. For four weights
 * and 16 products: one load and two unpackings of weights, two loads of x, eight SMLAD.
 */
#ifndef TE_BLOCK_DSP_H
#define TE_BLOCK_DSP_H

#include <stddef.h>

#include "te_dsp.h"
#include "te_kernels_dsp.h"

enum {
    TE_PIXELS = 4,
    TE_STRIDE = 8,       /* words in scratch from one group of four products to the next */
    TE_UNROLL = 8,       /* groups that one pass of the loop takes */
    TE_SPLIT_UNROLL = 4, /* the same where weights are split */
    TE_GROUP_BYTES = 52, /* of code: 13 instructions of 32 bits */
};

/* Four pixels; the assembly below knows the offsets. The first group of all stands before the loop.
 * The first pass then starts the loop `skip` bytes of code late, so that any number of groups
 * fits. */
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

typedef struct te_sums {
    int32_t a, b, c, d;
} te_sums;

/* Adds four products: spread x and a word of weights. */
static inline int32_t te_dot_word(int32_t even, int32_t odd, uint32_t w, int32_t sum)
{
    return te_smlad(even, te_sxtb16(w), te_smlad(odd, te_sxtb16_odd(w), sum));
}

/* Adds n groups of products to the sums of four pixels; returns where x ends. */
static const int32_t *te_dot_4(int32_t *sums, const int32_t *x, const int8_t *w, int32_t n)
{
    for (; n > 0; n--, w += 4, x += TE_STRIDE) {
        const int32_t even = te_sxtb16(te_load(w)), odd = te_sxtb16_odd(te_load(w));
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

/* The same where the sums begin. */
#define TE_FIRST_GROUP                        \
    "ldr r6, [r1], #4\n\t"                    \
    "ldmia.w r0!, {r2, r3, r4, r5}\n\t"       \
    "sxtb16 r7, r6, ror #8\n\t"               \
    "sxtb16 r6, r6\n\t"                       \
    "smuad r8, r2, r6\n\t"                    \
    "smuad r9, r4, r6\n\t"                    \
    "smlad r8, r3, r7, r8\n\t"                \
    "smlad r9, r5, r7, r9\n\t"                \
    "ldmia.w r0!, {r2, r3, r4, r5}\n\t"       \
    "smuad r10, r2, r6\n\t"                   \
    "smuad r11, r4, r6\n\t"                   \
    "smlad r10, r3, r7, r10\n\t"              \
    "smlad r11, r5, r7, r11\n\t"

/* r0 = x, r1 = weights, r2 = bytes of code to skip, r12 = passes */
#define TE_DOT_4(label, more)                                                 \
    "add pc, r2\n\t"                                                          \
    "nop\n\t"                                                                 \
    #label ":\n\t" more TE_GROUP TE_GROUP TE_GROUP TE_GROUP                   \
    "subs r12, r12, #1\n\t"                                                   \
    "bne " #label "b\n\t"
#define TE_DOT_8(label) TE_DOT_4(label, TE_GROUP TE_GROUP TE_GROUP TE_GROUP)

#define TE_BEGIN(weights)                 \
    "ldrd r0, r12, [lr, #16]\n\t" weights TE_FIRST_GROUP "ldr r2, [lr, #24]\n\t"

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
                     "1:\n\t" TE_BEGIN("") TE_DOT_8(2) TE_FINISH
                     : "+r"(b)
                     :
                     : TE_CLOBBERS);
}

__attribute__((noinline)) static void te_run_split(te_block *block)
{
    register te_block *b __asm__("r0") = block;
    __asm__ volatile("mov lr, r0\n\t"
                     "1:\n\t" TE_BEGIN("ldr r1, [lr, #32]\n\t") TE_DOT_4(2, "")
                     "str r1, [lr, #32]\n\t"
                     "ldr r1, [lr, #36]\n\t"
                     "ldrd r12, r2, [lr, #40]\n\t" TE_DOT_4(3, "") "str r1, [lr, #36]\n\t" TE_FINISH
                     : "+r"(b)
                     :
                     : TE_CLOBBERS);
}

/* te_scale of sum `acc` as r4; r5.. = scaling */
#define TE_SCALE_2(acc)                           \
    "smmlar r4, " acc ", r5, r7\n\t"              \
    "add r4, r4, " acc ", asr #31\n\t"            \
    "asr r4, r4, r6\n\t"                          \
    "ssat r4, #8, r4\n\t"

/* Two groups, of up to eight products: without a loop, y in r12. */
__attribute__((noinline)) static void te_run_two_groups(te_block *block)
{
    register te_block *b __asm__("r0") = block;
    __asm__ volatile("mov lr, r0\n\t"
                     "ldr r12, [lr, #8]\n\t"
                     "ldr r1, [lr, #32]\n\t"
                     "ldr r0, [lr, #16]\n\t"
                     "1:\n\t" TE_FIRST_GROUP TE_GROUP
                     "ldmia.w lr, {r2, r3}\n\t"
                     "ldr r4, [r3], #4\n\t"
                     "ldmia.w r2!, {r5, r6, r7}\n\t"
                     "stmia.w lr, {r2, r3}\n\t"
                     "ldr r3, [lr, #12]\n\t"
                     "qadd r4, r4, r4\n\t"
                     "qdadd r8, r4, r8\n\t"
                     "qdadd r9, r4, r9\n\t"
                     "qdadd r10, r4, r10\n\t"
                     "qdadd r11, r4, r11\n\t"
                     "add r2, r3, r3, lsl #1\n\t"
                     TE_SCALE_2("r9") "strb r4, [r12, r3]\n\t"
                     TE_SCALE_2("r10") "strb r4, [r12, r3, lsl #1]\n\t"
                     TE_SCALE_2("r11") "strb r4, [r12, r2]\n\t"
                     TE_SCALE_2("r8") "strb r4, [r12], #1\n\t"
                     "subs r0, #64\n\t" /* the groups again */
                     "ldr r2, [lr, #28]\n\t"
                     "cmp r12, r2\n\t"
                     "bne 1b\n\t"
                     : "+r"(b)
                     :
                     : TE_CLOBBERS);
}

static inline void te_run(te_block *b)
{
    if (b->frozen_passes > 0) {
        te_run_split(b);
    } else if (b->passes == 1 && b->skip == (TE_UNROLL - 1) * TE_GROUP_BYTES) {
        te_run_two_groups(b);
    } else {
        te_run_whole(b);
    }
}

#else

static int32_t te_groups(int32_t unroll, int32_t passes, int32_t skip)
{
    return passes * unroll - skip / TE_GROUP_BYTES;
}

static void te_run(te_block *b)
{
    const int32_t unroll = b->frozen_passes > 0 ? TE_SPLIT_UNROLL : TE_UNROLL;
    const int32_t n = te_groups(unroll, b->passes, b->skip) + 1;
    const int32_t rest = te_groups(unroll, b->frozen_passes, b->frozen_skip);
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

/* A block without its weights, bias and output. */
static inline te_block te_block_of(const te_conv2d_dsp *p, const int32_t *x, int32_t groups,
                                   int32_t frozen_groups)
{
    te_block b = {.scale = p->scale, .out_c = p->shape.out_c, .x = x};
    const int32_t unroll = frozen_groups > 0 ? TE_SPLIT_UNROLL : TE_UNROLL;
    b.passes = groups > 1 ? (groups - 1 + unroll - 1) / unroll : 1;
    b.skip = (b.passes * unroll - (groups - 1)) * TE_GROUP_BYTES;
    b.frozen_passes = (frozen_groups + unroll - 1) / unroll;
    b.frozen_skip = (b.frozen_passes * unroll - frozen_groups) * TE_GROUP_BYTES;
    return b;
}

#endif
