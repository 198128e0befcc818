/* te_grad_dsp.h - input gradient of a pointwise convolution with SMLAD, for both formats.
 *
 * Some tiles of four pixels at a time. Their scaled gradients d' lie in scratch, two output
 * channels to a pair and without channels at which all are zero (many of a masked gradient). For
 * two input channels after another the weights of all output channels are widened and woven into
 * pairs, then each tile's eight sums take 11 instructions for 16 products. Sums are exact, so their
 * order does not show.
 */
#ifndef TE_GRAD_DSP_H
#define TE_GRAD_DSP_H

#include <stddef.h>

#include "te_grad_conv.h"
#include "te_packed_dsp.h"

enum {
    TE_TILE = 4,         /* pixels */
    TE_PASS = 4,         /* pairs that the loops take at a time; lists are filled up with zeros */
    TE_PAIR_HALVES = 8,  /* of a tile: (d'[k], d'[l]) of each pixel */
    TE_COLUMNS = 2,      /* input channels */
    TE_END_WORDS = 2     /* behind a strip */
};
#define TE_STRIP_END ((int32_t)0x80008000u) /* no pair of weights */

/* One tile of two input channels; the assembly below knows the offsets. */
typedef struct te_grad_tile {
    int32_t sums[TE_TILE * TE_COLUMNS]; /* 0 */
    int32_t multiplier, half, shift;    /* 32: of te_grad_rescale */
    int32_t step;                       /* 44: bytes of d_x from pixel to pixel */
    te_grad *d_x;
    te_grad spare[TE_TILE * TE_COLUMNS]; /* for what d_x has no room for */
} te_grad_tile;

/* A group of tiles in the making, and where in scratch things are. */
typedef struct te_grad_group {
    const te_conv2d_grad *p;
    const int16_t *scale;
    int32_t *rows;   /* of each output channel of a pair: where its row of weights starts */
    int32_t *strip;  /* the woven weights of two input channels */
    int16_t *pairs;  /* of the first tile */
    int32_t pitch;   /* halves from a tile's pairs to those of the next */
    int32_t count;   /* of pairs, a multiple of TE_PASS */
    int32_t pixels;  /* of the group */
    int32_t shift;   /* of the factor, with the exponents */
    int32_t is_fast; /* te_grad_rescale holds */
    te_grad_tile tile;
} te_grad_group;

static inline int te_grad_is_pointwise(const te_window *g)
{
    return g->kernel_h == 1 && g->kernel_w == 1 && g->stride_h == 1 && g->stride_w == 1 &&
           g->pad_top == 0 && g->pad_left == 0 && g->in_h == g->out_h && g->in_w == g->out_w;
}

/* d' of one output channel at all pixels of the group, into every other half from `to` on; returns
 * the OR of them. */
static inline int32_t te_grad_scale_channel(const te_grad_group *s, const te_grad *d, int32_t scale,
                                            int16_t *to)
{
    const int32_t n = s->p->conv.out_c, bits = s->p->bits, half = 1 << (bits - 1);
    int32_t any = 0, left = s->pixels;
    for (; left >= TE_TILE; left -= TE_TILE, d += TE_TILE * n, to += s->pitch) {
        const int32_t d0 = te_shift_floor(d[0] * scale + half, bits);
        const int32_t d1 = te_shift_floor(d[n] * scale + half, bits);
        const int32_t d2 = te_shift_floor(d[2 * n] * scale + half, bits);
        const int32_t d3 = te_shift_floor(d[3 * n] * scale + half, bits);
        to[0] = (int16_t)d0;
        to[2] = (int16_t)d1;
        to[4] = (int16_t)d2;
        to[6] = (int16_t)d3;
        any |= d0 | d1 | d2 | d3;
    }
    for (int32_t i = 0; left > 0 && i < TE_TILE; i++) {
        const int32_t q = i < left ? te_shift_floor(d[i * n] * scale + half, bits) : 0;
        to[2 * i] = (int16_t)q;
        any |= q;
    }
    return any;
}

static inline void te_grad_clear_channel(const te_grad_group *s, int16_t *to)
{
    for (int32_t left = s->pixels; left > 0; left -= TE_TILE, to += s->pitch) {
        to[0] = to[2] = to[4] = to[6] = 0;
    }
}

/* d' of output channels k and k + 1 at one pixel */
static inline int32_t te_grad_scale_two(const te_grad *d, int32_t scales, int32_t half,
                                        int32_t bits)
{
#if TE_GRAD_BITS == 16
    int32_t both;
    memcpy(&both, d, sizeof both);
#else
    const int32_t both = te_low_halves(d[0], d[1]);
#endif
    return te_low_halves(te_shift_floor(te_smlabb(both, scales, half), bits),
                         te_shift_floor(te_smlatt(both, scales, half), bits));
}

/* The same at all pixels of the group, as pairs from `to` on; returns the OR of them. */
static inline int32_t te_grad_scale_pair(const te_grad_group *s, const te_grad *d,
                                         const int16_t *scale, int16_t *to)
{
    const int32_t n = s->p->conv.out_c, bits = s->p->bits, half = 1 << (bits - 1);
    const int32_t scales = te_low_halves(scale[0], scale[1]), pitch = s->pitch;
    int32_t any = 0, left = s->pixels;
    for (; left >= TE_TILE; left -= TE_TILE, to += pitch) {
        const int32_t d0 = te_grad_scale_two(d, scales, half, bits);
        const int32_t d1 = te_grad_scale_two(d + n, scales, half, bits);
        d += 2 * n;
        const int32_t d2 = te_grad_scale_two(d, scales, half, bits);
        const int32_t d3 = te_grad_scale_two(d + n, scales, half, bits);
        d += 2 * n;
        int32_t *const four = (int32_t *)(void *)to;
        four[0] = d0, four[1] = d1, four[2] = d2, four[3] = d3;
        any |= d0 | d1 | d2 | d3;
    }
    for (int32_t i = 0; left > 0 && i < TE_TILE; i++) {
        const int32_t q = i < left ? te_grad_scale_two(d + i * n, scales, half, bits) : 0;
        ((int32_t *)(void *)to)[i] = q;
        any |= q;
    }
    return any;
}

/* Lists the output channels that have a gradient at any pixel of the group. Those that come in
 * pairs lie as they are; the others wait at the end of the list, and are put together. stride: of
 * the rows of weights. */
static inline void te_grad_list(te_grad_group *s, const te_grad *d_y, int32_t stride)
{
    const int32_t out_c = s->p->conv.out_c;
    int32_t count = 0; /* of channels */
    int32_t *const end = s->strip, *alone = end;
    for (int32_t k = 0; k + 1 < out_c; k += 2) {
        int16_t *const to = s->pairs + count / 2 * TE_PAIR_HALVES;
        const uint32_t any = (uint32_t)te_grad_scale_pair(s, d_y + k, s->scale + k, to);
        if ((any & 0xFFFFu) != 0u && any >> 16 != 0u) {
            s->rows[count++] = k * stride;
            s->rows[count++] = (k + 1) * stride;
        } else if (any != 0u) {
            *--alone = any >> 16 != 0u ? k + 1 : k;
        }
    }
    if (out_c % 2 != 0) {
        *--alone = out_c - 1;
    }
    for (; alone != end; alone++) {
        int16_t *const to = s->pairs + count / 2 * TE_PAIR_HALVES + count % 2;
        (void)te_grad_scale_channel(s, d_y + *alone, s->scale[*alone], to);
        s->rows[count++] = *alone * stride;
    }
    const int32_t step = 2 * TE_PASS, whole = count == 0 ? step : (count + step - 1) / step * step;
    for (; count < whole; count++) {
        te_grad_clear_channel(s, s->pairs + count / 2 * TE_PAIR_HALVES + count % 2);
        s->rows[count] = 0;
    }
    s->count = count / 2;
}

/* te_requantise if te_grad_is_fast: the sum times twice the multiplier less 2^32 (the tile's), and
 * the sum itself; round(x / 2^n) with ties away from 0 is floor((x + half - (x < 0)) / 2^n). */
static inline int32_t te_grad_rescale(const te_grad_tile *t, int32_t sum)
{
    const int32_t x = te_smmlar(sum, t->multiplier, sum);
    return te_asr(x + te_shift_floor(sum, 31) + t->half, t->shift);
}

#if defined(__ARM_FEATURE_DSP) && defined(__thumb2__)

#define TE_WEAVE                          \
    "ldrd r2, r3, [%0], #8\n\t"           \
    "ldrh r2, [%3, r2]\n\t"               \
    "ldrh r3, [%3, r3]\n\t"               \
    "orr r2, r2, r3, lsl #16\n\t"         \
    "sxtb16 r3, r2, ror #8\n\t"           \
    "sxtb16 r2, r2\n\t"                   \
    "strd r2, r3, [%1], #8\n\t"

/* The strip of the channels at w and w + 1. */
static inline void te_grad_weave(const te_grad_group *s, const int8_t *w)
{
    const int32_t *rows = s->rows;
    int32_t *to = s->strip, passes = s->count / TE_PASS;
    __asm__ volatile("1:\n\t" TE_WEAVE TE_WEAVE TE_WEAVE TE_WEAVE
                     "subs %2, %2, #1\n\t"
                     "bne 1b\n\t"
                     : "+r"(rows), "+r"(to), "+r"(passes)
                     : "r"(w)
                     : "r2", "r3", "cc", "memory");
}

/* r0 = pairs of the tile, r1 = strip, r2 and r3 = weights, r12 and lr = d', r4..r11 = sums */
#define TE_SMLAD(sum, a, b) "smlad " sum ", " a ", " b ", " sum "\n\t"
#define TE_DOT_PAIR                                                                     \
    "ldrd r2, r3, [r1], #8\n\t"                                                         \
    "ldrd r12, lr, [r0], #8\n\t"                                                        \
    TE_SMLAD("r4", "r2", "r12") TE_SMLAD("r5", "r3", "r12")                             \
    TE_SMLAD("r6", "r2", "lr") TE_SMLAD("r7", "r3", "lr")                               \
    "ldrd r12, lr, [r0], #8\n\t"                                                        \
    TE_SMLAD("r8", "r2", "r12") TE_SMLAD("r9", "r3", "r12")                             \
    TE_SMLAD("r10", "r2", "lr") TE_SMLAD("r11", "r3", "lr")

/* Then r0 = multiplier, r1 = half, r2 = shift, r3 = tile, lr = OR of magnitudes: te_grad_rescale */
#define TE_RESCALE(sum)                                 \
    "smmlar r12, " sum ", r0, " sum "\n\t"              \
    "add r12, r12, " sum ", asr #31\n\t"                \
    "add r12, r12, r1\n\t"                              \
    "asr " sum ", r12, r2\n\t"                          \
    "eor r12, " sum ", " sum ", asr #31\n\t"            \
    "orr lr, lr, r12\n\t"
#if TE_GRAD_BITS == 16
#define TE_JOIN(a, b) "pkhbt " a ", " a ", " b ", lsl #16\n\t"
#define TE_PUT "str "
#else
#define TE_JOIN(a, b) "bfi " a ", " b ", #8, #8\n\t"
#define TE_PUT "strh "
#endif
#define TE_RESCALE_2(a, b) TE_RESCALE(a) TE_RESCALE(b) TE_JOIN(a, b)

/* The sums of a tile go to the tile that the strip's second word behind its end points to. Those
 * rescaled go to d_x; returns the OR of their magnitudes. Out of line: it needs every register. */
__attribute__((noinline)) static uint32_t te_grad_run(const int16_t *pairs, int32_t *strip)
{
    register const int16_t *r0 __asm__("r0") = pairs;
    register int32_t *r1 __asm__("r1") = strip;
    __asm__ volatile("mov r4, #0\n\t mov r5, #0\n\t mov r6, #0\n\t mov r7, #0\n\t"
                     "mov r8, #0\n\t mov r9, #0\n\t mov r10, #0\n\t mov r11, #0\n\t"
                     "1:\n\t" TE_DOT_PAIR TE_DOT_PAIR TE_DOT_PAIR TE_DOT_PAIR
                     "ldr r2, [r1]\n\t"
                     "cmp r2, #0x80008000\n\t"
                     "bne 1b\n\t"
                     "ldr r3, [r1, #4]\n\t"
                     "mov lr, #0\n\t"
                     "stmia.w r3, {r4, r5, r6, r7, r8, r9, r10, r11}\n\t"
                     "ldrd r0, r1, [r3, #32]\n\t"
                     "ldr r2, [r3, #40]\n\t" TE_RESCALE_2("r4", "r5")
                     "ldrd r5, r3, [r3, #44]\n\t" /* step, d_x */
                     TE_PUT "r4, [r3]\n\t" TE_RESCALE_2("r6", "r7")
                     TE_PUT "r6, [r3, r5]\n\t" TE_RESCALE_2("r8", "r9")
                     TE_PUT "r8, [r3, r5, lsl #1]\n\t" TE_RESCALE_2("r10", "r11")
                     "add r3, r3, r5, lsl #1\n\t"
                     TE_PUT "r10, [r3, r5]\n\t"
                     "mov r0, lr\n\t"
                     : "+r"(r0), "+r"(r1)
                     :
                     : "r2", "r3", "r4", "r5", "r6", "r7", "r8", "r9", "r10", "r11", "r12", "lr",
                       "cc", "memory");
    return (uint32_t)(uintptr_t)r0;
}

static inline void te_grad_end_strip(te_grad_group *s)
{
    int32_t *const end = s->strip + TE_COLUMNS * s->count;
    end[0] = TE_STRIP_END;
    end[1] = (int32_t)(uintptr_t)&s->tile;
}

/* The sums of a tile, and d_x of them; returns the OR of the latter's magnitudes. */
static inline uint32_t te_grad_dot(te_grad_group *s, const int16_t *pairs)
{
    return te_grad_run(pairs, s->strip);
}

#else

static inline void te_grad_weave(const te_grad_group *s, const int8_t *w)
{
    for (int32_t i = 0; i < s->count; i++) {
        const int8_t *k = w + s->rows[2 * i], *l = w + s->rows[2 * i + 1];
        s->strip[2 * i] = te_low_halves(k[0], l[0]);
        s->strip[2 * i + 1] = te_low_halves(k[1], l[1]);
    }
}

static inline void te_grad_end_strip(te_grad_group *s)
{
    (void)s;
}

static inline uint32_t te_grad_dot(te_grad_group *s, const int16_t *pairs)
{
    te_grad_tile *t = &s->tile;
    uint32_t peak = 0u;
    for (int32_t i = 0; i < TE_TILE * TE_COLUMNS; i++) {
        const int16_t *d = pairs + i / TE_COLUMNS * 2;
        const int32_t *w = s->strip + i % TE_COLUMNS;
        int32_t sum = 0;
        for (int32_t j = 0; j < s->count; j++) {
            const int32_t both = te_low_halves(d[TE_PAIR_HALVES * j], d[TE_PAIR_HALVES * j + 1]);
            sum = te_smlad(both, w[TE_COLUMNS * j], sum);
        }
        t->sums[i] = sum;
        if (s->is_fast) {
            const int32_t q = te_grad_rescale(t, sum);
            peak |= (uint32_t)(q ^ te_shift_floor(q, 31));
            te_grad *d_x = t->d_x + i / TE_COLUMNS * (t->step / (int32_t)sizeof *t->d_x);
            d_x[i % TE_COLUMNS] = (te_grad)q;
        }
    }
    return peak;
}

#endif

/* The strip of a last channel alone. */
static inline void te_grad_weave_last(const te_grad_group *s, const int8_t *w)
{
    for (int32_t i = 0; i < s->count; i++) {
        s->strip[2 * i] = te_low_halves(w[s->rows[2 * i]], w[s->rows[2 * i + 1]]);
        s->strip[2 * i + 1] = 0;
    }
}

/* `pixels` pixels of a tile, `columns` channels each, from its sums: for all cases. */
static inline void te_grad_finish(const te_grad_group *s, int32_t pixels, int32_t columns,
                                  te_grad *d_x, te_output_grad *out)
{
    const te_conv2d_grad *p = s->p;
    for (int32_t i = 0; i < pixels; i++) {
        for (int32_t j = 0; j < columns; j++) {
            const int32_t sum = s->tile.sums[i * TE_COLUMNS + j];
            const int32_t q = te_requantise(sum, p->factor.multiplier, s->shift);
            d_x[i * p->conv.in_c + j] = te_grad_put(out, q);
        }
    }
}

/* A tile's d_x where it is not whole, or its factor not te_grad_rescale's. */
static inline void te_grad_one_tile(te_grad_group *s, const int16_t *pairs, int32_t pixels,
                                    int32_t columns, te_grad *d_x, te_output_grad *out)
{
    s->tile.d_x = s->tile.spare;
    s->tile.step = TE_COLUMNS * (int32_t)sizeof *d_x;
    (void)te_grad_dot(s, pairs);
    te_grad_finish(s, pixels, columns, d_x, out);
}

/* The whole tiles of two channels; returns how many. What leaves the format's range is made again.
 */
static inline int32_t te_grad_tiles(te_grad_group *s, te_grad *d_x, te_output_grad *out)
{
    const int32_t count = s->pixels / TE_TILE, in_c = s->p->conv.in_c, pitch = s->pitch;
    const int16_t *pairs = s->pairs;
    uint32_t all = 0u;
    s->tile.step = in_c * (int32_t)sizeof *d_x;
    for (int32_t i = count; i > 0; i--, pairs += pitch, d_x += TE_TILE * in_c) {
        s->tile.d_x = d_x;
        const uint32_t peak = te_grad_dot(s, pairs);
        if (peak >= TE_GRAD_LIMIT) {
            te_grad_finish(s, TE_TILE, TE_COLUMNS, d_x, out);
        } else {
            all |= peak;
        }
    }
    out->peak |= all;
    return count;
}

/* The group's d_x for `columns` channels, whose weights are rows of that many. */
static inline void te_grad_columns(te_grad_group *s, const int8_t *w, int32_t columns,
                                   te_grad *d_x, te_output_grad *out)
{
    const int32_t in_c = s->p->conv.in_c;
    for (int32_t c = 0; c < columns; c += TE_COLUMNS) {
        const int32_t both = te_min(TE_COLUMNS, columns - c);
        if (both == TE_COLUMNS) {
            te_grad_weave(s, w + c);
        } else {
            te_grad_weave_last(s, w + c);
        }
        te_grad_end_strip(s);
        int32_t i = s->is_fast && both == TE_COLUMNS ? te_grad_tiles(s, d_x + c, out) : 0;
        for (; i * TE_TILE < s->pixels; i++) {
            const int32_t left = te_min(TE_TILE, s->pixels - i * TE_TILE);
            te_grad_one_tile(s, s->pairs + i * s->pitch, left, both, d_x + i * TE_TILE * in_c + c,
                             out);
        }
    }
}

/* Whether te_grad_rescale has te_requantise's bits: a common factor, and no sum leaves 31 bits. */
static inline int te_grad_is_fast(const te_conv2d_grad *p, int32_t shift)
{
    const int64_t half = INT64_C(1) << (p->bits - 1);
    const int64_t largest = ((int64_t)TE_GRAD_LIMIT * INT16_MAX + half) >> p->bits;
    return shift < 0 && p->factor.multiplier >= 1 << 30 &&
           largest * -INT8_MIN * p->conv.out_c + (INT64_C(1) << (-shift - 1)) <= INT32_MAX;
}

static inline te_grad_group te_grad_group_of(const te_conv2d_grad *p, const int16_t *scale,
                                             int32_t shift, int32_t *scratch)
{
    const int32_t step = 2 * TE_PASS, channels = (p->conv.out_c + step - 1) / step * step;
    te_grad_group s = {.p = p, .scale = scale, .rows = scratch, .shift = shift};
    s.strip = scratch + channels;
    s.pairs = (int16_t *)(void *)(s.strip + channels + TE_END_WORDS);
    s.pitch = channels * TE_TILE;
    s.is_fast = te_grad_is_fast(p, shift);
    if (s.is_fast) {
        s.tile.multiplier = (int32_t)((uint32_t)p->factor.multiplier << 1);
        s.tile.half = 1 << (-shift - 1);
        s.tile.shift = -shift;
    }
    return s;
}

static inline void te_conv2d_bwd_input_dsp(const te_conv2d_grad *p, const te_grad *d_y,
                                           const int8_t *weight, const int16_t *scale,
                                           const int8_t *frozen, const int32_t *e_d,
                                           int32_t *state, te_grad *d_x, int32_t *e,
                                           int32_t *scratch)
{
    const te_conv2d *conv = &p->conv;
    const int32_t pixels = conv->window.in_h * conv->window.in_w;
    const int32_t rest = conv->in_c - conv->learn_c;
    te_output_grad out = te_grad_begin(state, e);
    te_grad_group s =
        te_grad_group_of(p, scale, te_grad_shift(p->factor.shift, e_d, &out), scratch);
    for (int32_t i = 0; i < pixels; i += s.pixels) {
        s.pixels = te_min(TE_TILE * p->tiles, pixels - i);
        te_grad_list(&s, d_y + i * conv->out_c, conv->learn_c);
        te_grad_columns(&s, weight, conv->learn_c, d_x + i * conv->in_c, &out);
        if (frozen != NULL) {
            for (int32_t k = 0; k < 2 * s.count; k++) {
                s.rows[k] = s.rows[k] / conv->learn_c * rest;
            }
            te_grad_columns(&s, frozen, rest, d_x + i * conv->in_c + conv->learn_c, &out);
        }
    }
    te_grad_end(&out, state);
}

#endif
