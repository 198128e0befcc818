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

#include "te_tiles_dsp.h"

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
#define TE_SMUAD(sum, a, b) "smuad " sum ", " a ", " b "\n\t"
#define TE_DOT(mac)                                                                     \
    "ldrd r2, r3, [r1], #8\n\t"                                                         \
    "ldrd r12, lr, [r0], #8\n\t"                                                        \
    mac("r4", "r2", "r12") mac("r5", "r3", "r12")                                       \
    mac("r6", "r2", "lr") mac("r7", "r3", "lr")                                         \
    "ldrd r12, lr, [r0], #8\n\t"                                                        \
    mac("r8", "r2", "r12") mac("r9", "r3", "r12")                                       \
    mac("r10", "r2", "lr") mac("r11", "r3", "lr")
#define TE_DOT_PAIR TE_DOT(TE_SMLAD)

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
    __asm__ volatile(TE_DOT(TE_SMUAD) "b 2f\n"
                     "1:\n\t" TE_DOT_PAIR "2:\n\t" TE_DOT_PAIR TE_DOT_PAIR TE_DOT_PAIR
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
