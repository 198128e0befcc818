/* te_tiles_dsp.h - input gradient of a pointwise convolution: tiles, and lists of what they sum. */
#ifndef TE_TILES_DSP_H
#define TE_TILES_DSP_H

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

#endif
