/* te_conv2d_s8_mve.c - see te_kernels_mve.h.
 *
 * One output channel at a time passes over four pixels at once. A pixel is a column of n products:
 * the channels themselves (1x1), or a copy of its patch on the stack. Rows of weights of up to 48
 * products stay in registers for all pixels.
 */
#include <stddef.h>

#include "te_kernels_mve.h"
#include "te_mve.h"

#if TE_HAS_MVE

enum {
    TE_COLUMNS = 4,
    TE_WIDTH = 16,         /* products of one instruction */
    TE_BUFFER_BYTES = 2304 /* four patches of 3x3 pixels with 64 channels */
};

/* The columns hold first n then n_frozen products. */
typedef struct te_job {
    const te_conv2d *p;
    const int8_t *weight, *frozen;
    const int32_t *bias, *multiplier, *shift;
    int32_t n, n_frozen;
} te_job;

/* Columns lie `pitch` apart. Behind each of the first `safe` 15 bytes more may be read. */
typedef struct te_columns {
    const int8_t *x;
    int32_t pitch, count, safe;
} te_columns;

typedef struct te_sums {
    int32_t a0, a1, a2, a3, weights;
} te_sums;

/* The sum of n products; of the weights alone where x is NULL. */
static int32_t te_dot(const int8_t *x, const int8_t *w, int32_t n)
{
    int32_t sum = 0;
    for (; n > 0; n -= TE_WIDTH, w += TE_WIDTH) {
        const mve_pred16_t rest = vctp8q((uint32_t)n);
        const int8x16_t row = vldrbq_z_s8(w, rest);
        if (x == NULL) {
            sum = vaddvaq_s8(sum, row);
        } else {
            sum = vmladavaq_s8(sum, vldrbq_z_s8(x, rest), row);
            x += TE_WIDTH;
        }
    }
    return sum;
}

/* Adds n products to the sums of four columns. */
TE_INLINE te_sums te_dot_4(te_sums s, const int8_t *x, int32_t pitch, const int8_t *w, int32_t n,
                           int weigh)
{
    const int8_t *x1 = x + pitch, *x2 = x1 + pitch, *x3 = x2 + pitch;
    for (int32_t i = n / TE_WIDTH; i > 0; i--) {
        const int8x16_t row = vldrbq_s8(w);
        if (weigh) {
            s.weights = vaddvaq_s8(s.weights, row);
        }
        s.a0 = vmladavaq_s8(s.a0, vldrbq_s8(x), row);
        s.a1 = vmladavaq_s8(s.a1, vldrbq_s8(x1), row);
        s.a2 = vmladavaq_s8(s.a2, vldrbq_s8(x2), row);
        s.a3 = vmladavaq_s8(s.a3, vldrbq_s8(x3), row);
        w += TE_WIDTH, x += TE_WIDTH, x1 += TE_WIDTH, x2 += TE_WIDTH, x3 += TE_WIDTH;
    }
    if (n % TE_WIDTH != 0) {
        const mve_pred16_t rest = vctp8q((uint32_t)(n % TE_WIDTH));
        const int8x16_t row = vldrbq_z_s8(w, rest);
        if (weigh) {
            s.weights = vaddvaq_s8(s.weights, row);
        }
        s.a0 = vmladavaq_s8(s.a0, vldrbq_z_s8(x, rest), row);
        s.a1 = vmladavaq_s8(s.a1, vldrbq_z_s8(x1, rest), row);
        s.a2 = vmladavaq_s8(s.a2, vldrbq_z_s8(x2, rest), row);
        s.a3 = vmladavaq_s8(s.a3, vldrbq_z_s8(x3, rest), row);
    }
    return s;
}

/* The last columns, less than four or not safe, of channel k. */
static void te_rest(const te_job *job, const te_columns *at, int32_t done, te_scale scale,
                    int32_t k, int8_t *y)
{
    const int32_t n = job->n, m = job->n_frozen, out_c = job->p->out_c;
    const int8_t *w = job->weight + k * n, *frozen = m > 0 ? job->frozen + k * m : NULL;
    const te_target target = te_target_of(job->p, out_c);
    scale.offset = -job->p->in_zero * (te_dot(NULL, w, n) + te_dot(NULL, frozen, m));
    for (; done < at->count; done += TE_COLUMNS) {
        const int32_t count = te_min(TE_COLUMNS, at->count - done);
        int32_t sums[TE_COLUMNS] = {0};
        for (int32_t i = 0; i < count; i++) {
            const int8_t *x = at->x + (done + i) * at->pitch;
            sums[i] = te_dot(x, w, n) + te_dot(x + n, frozen, m);
        }
        const int32x4_t q = te_scaled_4(vldrwq_s32(sums), &scale, &target, 1);
        vstrbq_scatter_offset_p_s32(y + done * out_c, target.steps, q,
                                    vctp32q((uint32_t)count));
    }
}

/* Four columns at a time from column `done` on; returns how many are done. */
static int32_t te_stream(const te_job *job, const te_columns *at, int32_t done, te_scale scale,
                         int32_t k, int8_t *y)
{
    const int32_t n = job->n, m = job->n_frozen, out_c = job->p->out_c;
    const int8_t *w = job->weight + k * n, *frozen = job->frozen + k * m;
    const int8_t *x = at->x + done * at->pitch;
    const te_target target = te_target_of(job->p, out_c);
    int weigh = 1;
    y += done * out_c + k;
    for (; done + TE_COLUMNS <= at->count; done += TE_COLUMNS) {
        te_sums s = {0, 0, 0, 0, 0};
        if (weigh) {
            s = te_dot_4(s, x, at->pitch, w, n, 1);
            s = m > 0 ? te_dot_4(s, x + n, at->pitch, frozen, m, 1) : s;
            scale.offset = -job->p->in_zero * s.weights;
            weigh = 0;
        } else {
            s = te_dot_4(s, x, at->pitch, w, n, 0);
            s = m > 0 ? te_dot_4(s, x + n, at->pitch, frozen, m, 0) : s;
        }
        const int32x4_t q = te_scaled_4(te_four(s.a0, s.a1, s.a2, s.a3), &scale, &target, 1);
        vstrbq_scatter_offset_s32(y, target.steps, q);
        x += TE_COLUMNS * at->pitch;
        y += TE_COLUMNS * out_c;
    }
    return done;
}

/* Rounds of four columns with the row of weights in registers. A pair of sums goes to lanes 0 and
 * 2 or 1 and 3, as pairs of registers move: q6 has the outputs in that order. */
#define TE_FIRST(sum) "vldrb.8 q4, [%[x]]\n\tvmladav.s8 " sum ", q4, %q[w0]\n\t"
#define TE_MORE(sum, at, w) "vldrb.8 q4, [%[x], #" at "]\n\tvmladava.s8 " sum ", q4, " w "\n\t"
#define TE_COLUMN_1(sum) TE_FIRST(sum)
#define TE_COLUMN_2(sum) TE_COLUMN_1(sum) TE_MORE(sum, "16", "%q[w1]")
#define TE_COLUMN_3(sum) TE_COLUMN_2(sum) TE_MORE(sum, "32", "%q[w2]")
#define TE_NEXT "add %[x], %[x], %[pitch]\n\t"
#define TE_UPWARDS ""
#define TE_AWAY "vshr.s32 q4, q5, #31\n\tvqadd.s32 q5, q5, q4\n\t"
#define TE_ROUNDS(column, ties)                                                             \
    __asm__ volatile("dls lr, %[rounds]\n"                                                  \
                     "1:\n\t" column("r4") TE_NEXT column("r6") TE_NEXT                     \
                     "vmov q5[2], q5[0], r4, r6\n\t"                                        \
                     column("r4") TE_NEXT column("r6") TE_NEXT                              \
                     "vmov q5[3], q5[1], r4, r6\n\t"                                        \
                     "vadd.i32 q5, q5, %[bias]\n\t"                                         \
                     "vqrdmulh.s32 q5, q5, %[multiplier]\n\t" ties                          \
                     "vrshl.s32 q5, %[right]\n\t"                                           \
                     "vqadd.s32 q5, q5, %[zero]\n\t"                                        \
                     "vmax.s32 q5, q5, %q[lo]\n\t"                                          \
                     "vmin.s32 q5, q5, %q[hi]\n\t"                                          \
                     "vstrb.32 q5, [%[y], %q[steps]]\n\t"                                   \
                     "add %[y], %[y], %[step]\n\t"                                          \
                     "le lr, 1b"                                                            \
                     : [x] "+&r"(x), [y] "+&r"(y)                                           \
                     : [rounds] "r"(rounds), [pitch] "r"(at->pitch), [bias] "r"(bias),      \
                       [multiplier] "r"(scale->multiplier), [right] "r"(scale->right),      \
                       [zero] "r"(p->out_zero), [step] "r"(step), [w0] "w"(w[0]),           \
                       [w1] "w"(w[1]), [w2] "w"(w[2]), [lo] "w"(vdupq_n_s32(p->lo)),        \
                       [hi] "w"(vdupq_n_s32(p->hi)), [steps] "w"(steps)                     \
                     : "lr", "r4", "r6", "q4", "q5", "memory")

/* All rounds of channel k, which needs no general scaling but maybe ties away from zero. */
TE_INLINE void te_held(const te_job *job, const te_columns *at, const te_scale *scale, int32_t k,
                       int width, int8_t *y)
{
    const te_conv2d *p = job->p;
    const int32_t n = job->n, step = TE_COLUMNS * p->out_c, rounds = at->safe / TE_COLUMNS;
    const int8_t *x = at->x, *row = job->weight + k * n;
    const uint32_t order[4] = {0u, 2u, 1u, 3u};
    const uint32x4_t steps = vmulq_n_u32(vldrwq_u32(order), (uint32_t)p->out_c);
    int8x16_t w[3] = {vdupq_n_s8(0), vdupq_n_s8(0), vdupq_n_s8(0)};
    int32_t sum = 0;
#pragma GCC unroll 3
    for (int i = 0; i < width; i++) {
        w[i] = vldrbq_z_s8(row + i * TE_WIDTH, vctp8q((uint32_t)(n - i * TE_WIDTH)));
        sum = vaddvaq_s8(sum, w[i]);
    }
    const int32_t bias = scale->bias - p->in_zero * sum;
    y += k;
    if (p->lo >= p->out_zero) {
        if (width == 1) {
            TE_ROUNDS(TE_COLUMN_1, TE_UPWARDS);
        } else if (width == 2) {
            TE_ROUNDS(TE_COLUMN_2, TE_UPWARDS);
        } else {
            TE_ROUNDS(TE_COLUMN_3, TE_UPWARDS);
        }
    } else if (width == 1) {
        TE_ROUNDS(TE_COLUMN_1, TE_AWAY);
    } else if (width == 2) {
        TE_ROUNDS(TE_COLUMN_2, TE_AWAY);
    } else {
        TE_ROUNDS(TE_COLUMN_3, TE_AWAY);
    }
}

/* Every sum with the bias stays within 32 bits, and ties need no look at the shift. */
static int te_is_plain(const te_job *job, const te_scale *scale)
{
    const int32_t limit = INT32_C(1) << 30;
    return scale->left == 0 && scale->bias > -limit && scale->bias < limit &&
           (scale->right < 0 || job->p->lo >= job->p->out_zero);
}

/* All output channels of some columns. */
static void te_multiply(const te_job *job, const te_columns *at, int8_t *y)
{
    const int32_t width = job->n_frozen > 0 ? 0 : (job->n + TE_WIDTH - 1) / TE_WIDTH;
    const int32_t rounds = at->safe / TE_COLUMNS;
    for (int32_t k = 0; k < job->p->out_c; k++) {
        const te_scale scale = te_scale_of(job->bias, job->multiplier, job->shift, k);
        int32_t done = 0;
        if (rounds > 0 && width <= 3 && width > 0 && te_is_plain(job, &scale)) {
            if (width == 1) {
                te_held(job, at, &scale, k, 1, y);
            } else if (width == 2) {
                te_held(job, at, &scale, k, 2, y);
            } else {
                te_held(job, at, &scale, k, 3, y);
            }
            done = rounds * TE_COLUMNS;
        }
        done = te_stream(job, at, done, scale, k, y);
        if (done < at->count) {
            te_rest(job, at, done, scale, k, y + k);
        }
    }
}

static void te_move(int8_t *to, const int8_t *from, int32_t n)
{
    for (; n > 0; n -= TE_WIDTH, to += TE_WIDTH, from += TE_WIDTH) {
        const mve_pred16_t rest = vctp8q((uint32_t)n);
        vstrbq_p_s8(to, vldrbq_z_s8(from, rest), rest);
    }
}

/* Copies c channels, from x on, of every tap of output (oy, ox); padding is the zero point. */
static void te_gather(const te_conv2d *p, const int8_t *x, int32_t c, int32_t oy, int32_t ox,
                      int8_t *to)
{
    const te_window *g = &p->window;
    const int32_t iy = oy * g->stride_h - g->pad_top, ix = ox * g->stride_w - g->pad_left;
    const int32_t y_end = iy + (g->kernel_h - 1) * g->dilation_h;
    const int32_t x_end = ix + (g->kernel_w - 1) * g->dilation_w;
    const int is_run = g->dilation_w == 1 && c == p->in_c;
    te_span ys = {0, g->kernel_h}, xs = {0, g->kernel_w};
    if (iy < 0 || ix < 0 || y_end >= g->in_h || x_end >= g->in_w) {
        ys = te_taps_h(g, oy);
        xs = te_taps_w(g, ox);
        te_fill(to, p->in_zero, g->kernel_h * g->kernel_w * c);
    }
    const int32_t taps = is_run ? xs.end - xs.first : 1;
    for (int32_t ky = ys.first; ky < ys.end; ky++) {
        const int8_t *line = x + (iy + ky * g->dilation_h) * g->in_w * p->in_c;
        for (int32_t kx = xs.first; kx < xs.end; kx += taps) {
            te_move(to + (ky * g->kernel_w + kx) * c, line + (ix + kx * g->dilation_w) * p->in_c,
                    taps * c);
        }
    }
}

/* Any window: as many patches at a time as fit the buffer, which has room for over-reading. */
static void te_patches(const te_job *job, const int8_t *x, int8_t *y)
{
    int8_t buffer[TE_BUFFER_BYTES + TE_WIDTH];
    const te_conv2d *p = job->p;
    const int32_t outputs = p->window.out_h * p->window.out_w, pitch = job->n + job->n_frozen;
    const int32_t fit = TE_BUFFER_BYTES / pitch;
    const int32_t block = fit >= TE_COLUMNS ? fit / TE_COLUMNS * TE_COLUMNS : fit;
    int32_t oy = 0, ox = 0;
    for (int32_t at = 0; at < outputs; at += block) {
        const int32_t count = te_min(block, outputs - at);
        for (int32_t i = 0; i < count; i++) {
            int8_t *to = buffer + i * pitch;
            te_gather(p, x, p->learn_c, oy, ox, to);
            if (job->n_frozen > 0) {
                te_gather(p, x + p->learn_c, p->in_c - p->learn_c, oy, ox, to + job->n);
            }
            ox++;
            if (ox == p->window.out_w) {
                ox = 0;
                oy++;
            }
        }
        const te_columns columns = {buffer, pitch, count, count};
        te_multiply(job, &columns, y + at * p->out_c);
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
    const te_job job = {p,          weight, frozen,           bias,
                        multiplier, shift,  taps * p->learn_c, frozen ? taps * rest_c : 0};
    if (te_is_pointwise(&p->window)) {
        const int32_t count = p->window.out_h * p->window.out_w;
        /* registers are read whole: up to 15 bytes of the next pixels */
        const int32_t over = (TE_WIDTH - p->in_c % TE_WIDTH) % TE_WIDTH;
        const int32_t unsafe = (over + p->in_c - 1) / p->in_c;
        const te_columns columns = {x, p->in_c, count, count > unsafe ? count - unsafe : 0};
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
