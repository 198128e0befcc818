/* te_max_pool_dsp.h - input gradient of a maximum pool without overlaps, both formats: four
 * channels at a time, in words. Bytes of a mask are 255 where an input is the first largest one. */
#ifndef TE_MAX_POOL_DSP_H
#define TE_MAX_POOL_DSP_H

#include "te_grad_pools.h"
#include "te_packed_dsp.h"

/* Gradients of channels 0 and 2, and of 1 and 3. */
typedef struct te_four_grads {
    int32_t even, odd;
} te_four_grads;

/* 255 where bytes are 0 */
static inline uint32_t te_zero_bytes(uint32_t x)
{
#if defined(__ARM_FEATURE_DSP) && defined(__thumb2__)
    uint32_t d;
    __asm__("usub8 %0, %1, %2\n\tsel %0, %3, %1"
            : "=&r"(d)
            : "r"(0), "r"(x), "r"(UINT32_MAX)
            : "cc");
    return d;
#else
    uint32_t d = 0u;
    for (uint32_t i = 0u; i < 32u; i += 8u) {
        d |= (x >> i & 255u) == 0u ? UINT32_C(255) << i : 0u;
    }
    return d;
#endif
}

static inline void te_put_four(te_grad *to, te_four_grads q, uint32_t mask)
{
    const int32_t even = q.even & te_sxtb16(mask), odd = q.odd & te_sxtb16_odd(mask);
#if TE_GRAD_BITS == 16
    te_store_word(to, te_low_halves(even, odd));
    te_store_word(to + 2, te_high_halves(even, odd));
#else
    te_store_word(to, (int32_t)(((uint32_t)even & UINT32_C(0xFF00FF)) |
                                ((uint32_t)odd & UINT32_C(0xFF00FF)) << 8));
#endif
}

/* Four channels of one output; x and d_x begin at the first input. step: of a line's inputs, back:
 * from the end of a line to the next one. Inlined: lines and columns may be constants. */
__attribute__((always_inline)) static inline void
te_put_patch(int32_t lines, int32_t columns, int32_t step, int32_t back, te_four_grads q,
             const int8_t *x, te_grad *d_x)
{
    uint32_t most = te_load(x), open = UINT32_MAX;
    const int8_t *from = x;
    for (int32_t i = lines; i > 0; i--, from += back) {
        for (int32_t j = columns; j > 0; j--, from += step) {
            most = te_max_4(most, te_load(from));
        }
    }
    for (int32_t i = lines; i > 0; i--, x += back, d_x += back) {
        for (int32_t j = columns; j > 0; j--, x += step, d_x += step) {
            const uint32_t mask = te_zero_bytes(te_load(x) ^ most) & open;
            open &= ~mask;
            te_put_four(d_x, q, mask);
        }
    }
}

/* Out of line, so that all stays in registers. */
__attribute__((noinline)) static void te_put_largest(te_grad_patch at, int32_t step, int32_t back,
                                                     te_four_grads q, const int8_t *x,
                                                     te_grad *d_x)
{
    if (at.columns == 2) {
        te_put_patch(at.lines, 2, step, back, q, x, d_x);
    } else {
        te_put_patch(at.lines, at.columns, step, back, q, x, d_x);
    }
}

static inline te_four_grads te_shift_four(const te_grad *d, te_grad_right by, te_output_grad *out)
{
    const int32_t a = te_grad_put(out, te_grad_move(d[0], by));
    const int32_t b = te_grad_put(out, te_grad_move(d[1], by));
    const int32_t c = te_grad_put(out, te_grad_move(d[2], by));
    const int32_t e = te_grad_put(out, te_grad_move(d[3], by));
    const te_four_grads four = {te_low_halves(a, c), te_low_halves(b, e)};
    return four;
}

/* Whether te_max_pool_bwd_dsp can: windows do not overlap, the output's exponent is not lower. */
static inline int te_max_pool_fits(const te_pool *p, const int32_t *e_d, const int32_t *state)
{
    const te_output_grad out = {te_shift_floor(*state, TE_EXPONENT_STATE_BITS), 0u};
    return p->channels >= 4 && te_grad_is_disjoint(&p->window) && te_grad_align(e_d, &out) <= 0;
}

static inline void te_max_pool_bwd_dsp(const te_pool *p, const te_grad *d_y, const int8_t *x,
                                       const int32_t *e_d, int32_t *state, te_grad *d_x,
                                       int32_t *e)
{
    const te_window *g = &p->window;
    const int32_t n = p->channels, line = g->in_w * n;
    te_output_grad out = te_grad_begin(state, e);
    const te_grad_right by = te_grad_right_of(te_grad_align(e_d, &out));
    te_grad_clear_gaps(p, d_x);
    for (int32_t oy = 0; oy < g->out_h; oy++) {
        for (int32_t ox = 0; ox < g->out_w; ox++, d_y += n) {
            const te_grad_patch at = te_grad_patch_of(g, oy, ox);
            for (int32_t c = 0; c < n; c += 4) {
                const int32_t k = te_min(c, n - 4), first = at.first * n + k;
                const te_four_grads q = te_shift_four(d_y + k, by, &out);
                te_put_largest(at, n, line - at.columns * n, q, x + first, d_x + first);
            }
        }
    }
    te_grad_end(&out, state);
}

#endif
