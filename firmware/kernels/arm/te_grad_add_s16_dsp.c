/* te_grad_add_s16_dsp.c - see te_kernels_dsp.h.
 *
 * Four sums at a time, two to a word. An exponent that is lower by n costs n halving additions,
 * the first of which rounds: (x + half - (x < 0)) / 2, / 2, ... Where a magnitude has 15
 * bits it may have been saturated: the four are then made one by one.
 */
#define TE_GRAD_BITS 16
#include "te_grad_maps.h"
#include "te_kernels_dsp.h"
#include "te_packed_dsp.h"

typedef struct te_terms {
    const int16_t *a, *b;
    int16_t *y;
    int32_t fours;
    int32_t shift_a, shift_b;
} te_terms;

/* round(x / 2^n) of halves, ties away from zero; n is a constant, 0..2 */
static inline int32_t te_halved(int32_t x, int32_t n)
{
    const int32_t half = te_twice((1 << n) >> 1), ones = te_twice(1);
    x = n > 0 ? te_shadd16(x, te_by_sign(x, half, half - ones)) : x;
    return n > 1 ? te_shadd16(x, 0) : x;
}

/* Of each half, the highest bit set is the highest at which x differs from the bit below: that of
 * its magnitude and one more. */
static inline int32_t te_changes(int32_t x)
{
    return (int32_t)((uint32_t)x ^ (uint32_t)x << 1);
}

/* Out of line: it is rarely needed. */
__attribute__((noinline)) static void te_add_one_by_one(const te_terms *t, te_output_grad *out,
                                                        int32_t first, int32_t end)
{
    for (int32_t i = first; i < end; i++) {
        t->y[i] = te_grad_put(out, te_grad_sum(t->a[i], t->b[i], t->shift_a, t->shift_b));
    }
}

/* Inlined: n_a and n_b are constants. */
__attribute__((always_inline)) static inline void te_add_fours(const te_terms *t, int32_t n_a,
                                                               int32_t n_b, te_output_grad *out)
{
    const int16_t *a = t->a, *b = t->b, *const end = a + 4 * t->fours;
    int16_t *y = t->y;
    int32_t peak = 0;
    for (; a != end; a += 4, b += 4, y += 4) {
        const int32_t low = te_qadd16(te_halved(te_load_halves(a), n_a),
                                      te_halved(te_load_halves(b), n_b));
        const int32_t high = te_qadd16(te_halved(te_load_halves(a + 2), n_a),
                                       te_halved(te_load_halves(b + 2), n_b));
        const int32_t any = te_changes(low) | te_changes(high);
        if ((any & te_twice(1 << 15)) != 0) {
            const int32_t at = (int32_t)(a - t->a);
            te_add_one_by_one(t, out, at, at + 4);
            continue;
        }
        peak |= any;
        te_store_word(y, low);
        te_store_word(y + 2, high);
    }
    out->peak |= (((uint32_t)peak & 0xFFFFu) | (uint32_t)peak >> 16) >> 1;
}

/* The first `fours` fours, if there is a fast way; returns how many numbers it has made. */
static inline int32_t te_add_fast(const te_terms *t, te_output_grad *out)
{
    if (t->shift_a == 0 && t->shift_b == 0) {
        te_add_fours(t, 0, 0, out);
    } else if (t->shift_a == 0 && t->shift_b == -1) {
        te_add_fours(t, 0, 1, out);
    } else if (t->shift_a == -1 && t->shift_b == -1) {
        te_add_fours(t, 1, 1, out);
    } else if (t->shift_a == 0 && t->shift_b == -2) {
        te_add_fours(t, 0, 2, out);
    } else if (t->shift_a == -1 && t->shift_b == -2) {
        te_add_fours(t, 1, 2, out);
    } else {
        return 0;
    }
    return 4 * t->fours;
}

void te_grad_add_s16_dsp(int32_t count, const int16_t *a, const int16_t *b, const int32_t *e_a,
                         const int32_t *e_b, int32_t *state, int16_t *y, int32_t *e)
{
    te_output_grad out = te_grad_begin(state, e);
    const int32_t shift_a = te_grad_align(e_a, &out), shift_b = te_grad_align(e_b, &out);
    const te_terms t = {a, b, y, count / 4, shift_a, shift_b};
    const te_terms turned = {b, a, y, count / 4, shift_b, shift_a};
    const int32_t made = te_add_fast(shift_a >= shift_b ? &t : &turned, &out);
    te_add_one_by_one(&t, &out, made, count);
    te_grad_end(&out, state);
}
