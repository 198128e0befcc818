/* te_conv2d_s8_mve.c - see te_kernels_mve.h.
 *
 * A pixel is a column of n products: its channels themselves (1x1), or a copy of its patch on the
 * stack. Columns of up to 64 products meet rows of weights in registers, eight columns a round
 * (te_held_mve.h); longer ones meet three rows at a time (te_pair_mve.h).
 */
#include <stddef.h>
#include <string.h>

#include "te_fixed.h"
#include "te_held_mve.h"
#include "te_kernels_mve.h"
#include "te_pair_mve.h"
#include "te_patch_mve.h"

#if TE_HAS_MVE

enum {
    TE_BUFFER_BYTES = 2304, /* four patches of 3x3 pixels with 64 channels */
    TE_SUMS_MAX = 256       /* sums of weights that are kept from block to block */
};

/* The columns hold first n then n_frozen products. sums: of the rows of weights, or NULL; known:
 * they are there. */
typedef struct te_job {
    const te_conv2d *p;
    const int8_t *weight, *frozen;
    const int32_t *bias, *multiplier, *shift;
    int32_t n, n_frozen;
    int32_t *sums;
    int known;
} te_job;

typedef struct te_columns {
    const int8_t *x;
    int32_t pitch, count;
} te_columns;

static void te_move(int8_t *to, const int8_t *from, int32_t n)
{
    for (; n > 0; n -= TE_WIDTH, to += TE_WIDTH, from += TE_WIDTH) {
        const mve_pred16_t rest = vctp8q((uint32_t)n);
        vstrbq_p_s8(to, vldrbq_z_s8(from, rest), rest);
    }
}

/* Sums of channels k and k1 with 2..TE_SUMS columns. */
static void te_any_sums(const te_job *job, const te_columns *at, int32_t k, int32_t k1,
                        int32_t *sums)
{
    const int32_t n = job->n, m = job->n_frozen, pitch = at->pitch;
    for (int32_t i = 0; i < at->count; i += 2) {
        const int32_t first = te_min(i, at->count - 2);
        const int8_t *x = at->x + first * pitch;
        te_pair s = {0, 0, 0, 0};
        s = te_add_pair(s, x, x + pitch, job->weight + k * n, job->weight + k1 * n, n);
        s = te_add_pair(s, x + n, x + pitch + n, job->frozen + k * m, job->frozen + k1 * m, m);
        sums[first] = s.a0;
        sums[first + 1] = s.a1;
        sums[first + TE_SUMS] = s.b0;
        sums[first + TE_SUMS + 1] = s.b1;
    }
}

static void te_write(const te_job *job, int32_t k, int32_t sum, int32_t weights, int8_t *y)
{
    const te_conv2d *p = job->p;
    const int32_t q = te_requantise(te_add_sat(sum - p->in_zero * weights, job->bias[k]),
                                    job->multiplier[k], job->shift[k]);
    y[k] = te_output(q, p->out_zero, p->lo, p->hi);
}

/* Channels k and k1 of one column. */
static void te_one_column(const te_job *job, const int8_t *x, int32_t k, int32_t k1, int8_t *y)
{
    const int32_t n = job->n, m = job->n_frozen;
    te_pair s = {0, 0, 0, 0};
    s = te_add_single(s, x, job->weight + k * n, job->weight + k1 * n, n);
    if (m > 0) {
        s = te_add_single(s, x + n, job->frozen + k * m, job->frozen + k1 * m, m);
    }
    te_write(job, k, s.a0, s.a1, y);
    te_write(job, k1, s.b0, s.b1, y);
}

static int32_t te_weight_sum(const te_job *job, int32_t k)
{
    const int32_t n = job->n, m = job->n_frozen;
    return te_row_sum(job->weight + k * n, n) + te_row_sum(job->frozen + k * m, m);
}

/* Channels k and k1, maybe the same, of all columns. */
static TE_NOINLINE void te_two_channels(const te_job *job, const te_columns *at, int32_t k,
                                         int32_t k1, int8_t *y)
{
    const te_conv2d *p = job->p;
    te_scale a = te_scale_of(job->bias, job->multiplier, job->shift, k);
    te_scale b = te_scale_of(job->bias, job->multiplier, job->shift, k1);
    int32_t sums[2 * TE_SUMS];
    if (at->count == 1) {
        te_one_column(job, at->x, k, k1, y);
        return;
    }
    if (job->sums != NULL && !job->known) {
        job->sums[k] = te_weight_sum(job, k);
        job->sums[k1] = te_weight_sum(job, k1);
    }
    a.offset = -p->in_zero * (job->sums != NULL ? job->sums[k] : te_weight_sum(job, k));
    b.offset = -p->in_zero * (job->sums != NULL ? job->sums[k1] : te_weight_sum(job, k1));
    for (int32_t done = 0; done < at->count; done += TE_SUMS) {
        const te_columns some = {at->x + done * at->pitch, at->pitch,
                                 te_min(TE_SUMS, at->count - done)};
        if (some.count == 1) {
            te_one_column(job, some.x, k, k1, y + done * p->out_c);
            return;
        }
        te_any_sums(job, &some, k, k1, sums);
        te_emit(sums, some.count, &a, p, y + done * p->out_c + k);
        te_emit(sums + TE_SUMS, some.count, &b, p, y + done * p->out_c + k1);
    }
}

/* Sums of channels k, k + 1, k + 2 with 2..TE_SUMS columns: of their first n products, or of the
 * frozen ones behind them, which are added. weights: takes the sums of the weights, or NULL. */
static TE_NOINLINE void te_three_sums(const te_job *job, const te_columns *at, int32_t k,
                                      int frozen, int32_t *weights, int32_t *sums)
{
    const int32_t n = frozen ? job->n_frozen : job->n, odd = at->count % 2;
    const int8_t *w = frozen ? job->frozen : job->weight, *x = at->x + (frozen ? job->n : 0);
    te_trio t;
    for (int32_t i = 0; i < TE_ROWS; i++) {
        te_split_row(&t, i, w + (k + i) * n, n);
    }
    if (weights != NULL) {
        te_add_weights(&t, weights);
    }
    t.step = 2 * at->pitch - n;
    t.to = sums, t.end = sums + at->count - odd;
    te_add_trio(&t, x, at->pitch, frozen);
    if (odd != 0 && !frozen) {
        t.to = sums + at->count - 2, t.end = sums + at->count;
        te_add_trio(&t, x + (at->count - 2) * at->pitch, at->pitch, 0);
    }
}

/* Channels k, k + 1, k + 2 of all columns, an even number of them if the rows have two parts. */
static TE_NOINLINE void te_three_channels(const te_job *job, const te_columns *at, int32_t k,
                                          int8_t *y)
{
    const te_conv2d *p = job->p;
    const te_outputs to = te_outputs_of(p);
    int32_t sums[TE_ROWS * TE_SUMS], weights[TE_ROWS] = {0};
    if (job->known) {
        memcpy(weights, job->sums + k, sizeof weights);
    }
    for (int32_t done = 0; done < at->count; done += TE_SUMS) {
        const te_columns some = {at->x + done * at->pitch, at->pitch,
                                 te_min(TE_SUMS, at->count - done)};
        int32_t *wanted = done == 0 && !job->known ? weights : NULL;
        te_three_sums(job, &some, k, 0, wanted, sums);
        if (job->n_frozen > 0) {
            te_three_sums(job, &some, k, 1, wanted, sums);
        }
        for (int32_t i = 0; i < TE_ROWS; i++) {
            int8_t *from = y + done * p->out_c + k + i;
            te_scale scale = te_scale_of(job->bias, job->multiplier, job->shift, k + i);
            scale.offset = -p->in_zero * weights[i];
            if (te_is_plain(scale.bias, scale.offset) && p->out_c <= TE_STEP_MAX) {
                te_emit_eights(sums + i * TE_SUMS, some.count, &scale, &to, from);
            } else {
                te_emit_any(sums + i * TE_SUMS, some.count, &scale, p, from);
            }
        }
    }
    if (job->sums != NULL) {
        memcpy(job->sums + k, weights, sizeof weights);
    }
}

/* Whether te_three_channels can be used: no column stands alone, and each part of a row has more
 * than a register. */
static int te_takes_three(const te_job *job, const te_columns *at)
{
    const int32_t n = job->n, m = job->n_frozen;
    return job->p->out_c >= TE_ROWS && at->count % TE_SUMS != 1 && at->pitch == n + m &&
           n > TE_WIDTH && (m == 0 || (m > TE_WIDTH && at->count % 2 == 0));
}

/* All output channels, some at a time. */
static void te_any_columns(te_job *job, const te_columns *at, int8_t *y)
{
    const int32_t c = job->p->out_c;
    if (te_takes_three(job, at)) {
        for (int32_t k = 0; k < c; k += TE_ROWS) {
            te_three_channels(job, at, te_min(k, c - TE_ROWS), y);
        }
    } else {
        for (int32_t k = 0; k < c; k += 2) {
            te_two_channels(job, at, k, te_min(k + 1, c - 1), y);
        }
    }
    job->known = job->sums != NULL;
}

/* The row of channel k; joined in `to` where it has two parts. */
TE_INLINE const int8_t *te_weights_of(const te_job *job, int32_t k, int8_t *to)
{
    const int32_t n = job->n, m = job->n_frozen;
    if (m == 0) {
        return job->weight + k * n;
    }
    te_move(to, job->weight + k * n, n);
    te_move(to + n, job->frozen + k * m, m);
    return to;
}

/* Weights in registers as te_run_rounds wants them; returns their sum. Rows of n products meet
 * columns of whole registers, or of n = 8, 24, 40, 56 where registers overlap. */
TE_INLINE int32_t te_hold(const int8_t *row, int32_t n, int pitch, int8x16_t *w)
{
    const mve_pred16_t upper = 0xFF00u;
    int32_t sum = 0;
    if (pitch == 8) {
        int8_t both[3 * 8] = {0};
        vstrbq_p_s8(both + 8, vldrbq_z_s8(row, 0x00FFu), 0x00FFu);
        w[0] = vldrbq_s8(both + 8);
        w[1] = vldrbq_s8(both);
        return vaddvq_s8(w[0]);
    }
#pragma GCC unroll 4
    for (int i = 0; i < pitch / TE_WIDTH; i++) {
        w[i] = vldrbq_z_s8(row + i * TE_WIDTH, vctp8q((uint32_t)(n - i * TE_WIDTH)));
        sum = vaddvaq_s8(sum, w[i]);
    }
    if (pitch % TE_WIDTH != 0) {
        w[pitch / TE_WIDTH] = vldrbq_z_s8(row + pitch - TE_WIDTH, upper);
        sum = vaddvaq_s8(sum, w[pitch / TE_WIDTH]);
    }
    return sum;
}

/* All channels of eight columns or more. */
TE_INLINE void te_held(const te_job *job, const te_columns *at, int pitch, int8_t *y)
{
    const te_conv2d *p = job->p;
    static const uint16_t order[TE_ROUND] = {0, 4, 2, 6, 1, 5, 3, 7};
    const int upwards = te_is_upwards(p);
    const int32_t c = p->out_c, n = job->n + job->n_frozen;
    const int32_t last = at->count % TE_ROUND != 0 ? at->count - TE_ROUND : 0;
    int8_t joined[TE_HELD_MAX + TE_WIDTH];
    te_rounds r;
    r.step = TE_ROUND * c;
    r.zero = p->out_zero;
    r.steps = vmulq_n_u16(vldrhq_u16(order), (uint16_t)c);
    r.w[0] = r.w[1] = r.w[2] = r.w[3] = vdupq_n_s8(0);
    for (int32_t k = 0; k < c; k++) {
        const int32_t bias = job->bias[k], shift = job->shift[k];
        const int32_t offset = -p->in_zero * te_hold(te_weights_of(job, k, joined), n, pitch, r.w);
        if (shift > 0 || !te_is_plain(bias, offset)) {
            te_two_channels(job, at, k, k, y);
            continue;
        }
        r.bias = bias + offset;
        r.multiplier = job->multiplier[k];
        r.right = shift;
        r.x = at->x;
        r.y = y + k;
        r.count = at->count / TE_ROUND;
        for (int32_t end = last;; end = 0) {
            te_run_rounds(&r, pitch, upwards || shift == 0);
            if (end == 0) {
                break;
            }
            r.x = at->x + last * pitch;
            r.y = y + last * c + k;
            r.count = 1;
        }
    }
}

#define TE_CASE(pitch)                \
    case pitch:                       \
        te_held(job, at, pitch, y);   \
        break

/* All output channels of some columns. */
static void te_multiply(te_job *job, const te_columns *at, int8_t *y)
{
    const int32_t c = job->p->out_c;
    const int fits = at->count >= TE_ROUND && at->pitch % 8 == 0 && c <= TE_STEP_MAX;
    switch (fits ? at->pitch : 0) {
        TE_CASE(8);
        TE_CASE(16);
        TE_CASE(24);
        TE_CASE(32);
        TE_CASE(40);
        TE_CASE(48);
        TE_CASE(56);
        TE_CASE(64);
    default:
        te_any_columns(job, at, y);
    }
    if (job->p->lo > INT8_MIN || job->p->hi < INT8_MAX) {
        te_limit(y, job->p->lo, job->p->hi, at->count * c);
    }
}

/* Any window: as many patches at a time as fit the buffer. The last block is as large as the
 * others and begins earlier: what overlaps is computed again. */
static void te_patches(te_job *job, const int8_t *x, int8_t *y)
{
    int8_t buffer[TE_BUFFER_BYTES];
    int32_t sums[TE_SUMS_MAX];
    const te_conv2d *p = job->p;
    const int32_t width = p->window.out_w, outputs = p->window.out_h * width;
    const int32_t n = job->n + job->n_frozen;
    const int32_t pitch = n <= TE_HELD_MAX ? (n + TE_WIDTH - 1) / TE_WIDTH * TE_WIDTH : n;
    const int32_t fit = TE_BUFFER_BYTES / pitch, even = fit > TE_ROUND ? TE_ROUND : 2;
    const int32_t block = te_min(fit > 1 ? fit / even * even : fit, outputs);
    job->sums = p->out_c <= TE_SUMS_MAX ? sums : NULL;
    for (int32_t done = 0; done < outputs; done += block) {
        const int32_t first = te_min(done, outputs - block);
        int32_t oy = first / width, ox = first % width;
        for (int32_t i = 0; i < block;) {
            int8_t *to = buffer + i * pitch;
            const te_pixel at = te_alike(&p->window, oy, ox, block - i);
            te_gather(p, x, p->learn_c, at, to, pitch);
            if (job->n_frozen > 0) {
                te_gather(p, x + p->learn_c, p->in_c - p->learn_c, at, to + job->n, pitch);
            }
            i += at.count;
            ox += at.count;
            if (ox == width) {
                ox = 0;
                oy++;
            }
        }
        const te_columns columns = {buffer, pitch, block};
        te_multiply(job, &columns, y + first * p->out_c);
    }
}

static int te_is_pointwise(const te_window *g)
{
    return g->kernel_h == 1 && g->kernel_w == 1 && g->stride_h == 1 && g->stride_w == 1 &&
           g->in_h == g->out_h && g->in_w == g->out_w;
}

#endif

void te_conv2d_s8_mve(const te_conv2d *p, const int8_t *x, const int8_t *weight,
                      const int32_t *bias, const int32_t *multiplier, const int32_t *shift,
                      const int8_t *frozen, int8_t *y)
{
#if TE_HAS_MVE
    const int32_t taps = p->window.kernel_h * p->window.kernel_w, rest_c = p->in_c - p->learn_c;
    te_job job = {p,     weight, frozen, bias, multiplier, shift, taps * p->learn_c,
                  frozen ? taps * rest_c : 0, NULL, 0};
    if (te_is_pointwise(&p->window) && (p->in_c % 8 == 0 || p->in_c > TE_HELD_MAX)) {
        const te_columns columns = {x, p->in_c, p->window.out_h * p->window.out_w};
        te_multiply(&job, &columns, y);
        return;
    }
    if (job.n + job.n_frozen <= TE_BUFFER_BYTES) {
        te_patches(&job, x, y);
        return;
    }
#endif
    te_conv2d_s8(p, x, weight, bias, multiplier, shift, frozen, y);
}
