/* te_depthwise_conv2d_s8_mve.c - see te_kernels_mve.h.
 *
 * The map is cut into bands that fit a plane on the stack. For each band and channel: the
 * channel's pixels are brought together in the plane, within the padding; then the windows are
 * summed (te_taps_mve.h), then scaled (te_emit_mve.h).
 */
#include "te_emit_mve.h"
#include "te_kernels_mve.h"
#include "te_taps_mve.h"

#if TE_HAS_MVE

enum {
    TE_PLANE_BYTES = 2048,
    TE_SLACK_BYTES = 64, /* the last three outputs of four may not exist */
    TE_STRIDE_MAX = TE_SLACK_BYTES / 4,
    TE_OFFSET_MAX = 255,    /* what a byte's offset in a gathering load can say */
    TE_CHANNELS_MAX = 9000, /* and a half-word's, which reach over 7 pixels */
    TE_OUTPUTS = 256       /* of a channel at a time, or one row of them */
};

/* The ways to sum windows, by the registers that these take. */
typedef enum te_way { TE_PAIRS_16, TE_PAIRS_32, TE_SINGLE_32, TE_SINGLE_49, TE_SINGLE_64 } te_way;

/* How a channel's pixels come to the plane: n in each row; rows lie `line` apart in the map. Eight
 * pixels at a time, `groups` times before the last eight; the rest are the steps between. */
typedef struct te_copy {
    const int8_t *from;
    int8_t *to;
    int32_t rows, n, line, groups;
    int32_t step, in_last, out_last, in_next, out_next;
} te_copy;

typedef struct te_job {
    const te_conv2d *p;
    const int8_t *x, *weight;
    const int32_t *bias, *multiplier, *shift;
    int32_t rows, columns; /* outputs of a band */
    int32_t pitch;         /* of the plane */
    te_way way;
    int is_empty; /* the band sees nothing but padding */
    te_lanes taps;
    te_copy copy;
    te_walk walk;
    int32_t sums[TE_OUTPUTS + TE_LINE];
    int8_t plane[TE_PLANE_BYTES + TE_SLACK_BYTES];
} te_job;

/* Outputs, and the input at the plane's corner, maybe in the padding. */
typedef struct te_band {
    int32_t oy, ox, rows, columns;
    int32_t iy, ix;
} te_band;

/* What one axis of n outputs sees. */
static int32_t te_seen(int32_t n, int32_t stride, int32_t kernel, int32_t dilation)
{
    return (n - 1) * stride + (kernel - 1) * dilation + 1;
}

/* The lanes by which the second of two outputs is behind in spread windows; 0: not spread. */
static int te_spread(const te_window *g)
{
    const int32_t lanes = g->kernel_h * (g->kernel_w + g->stride_w);
    return g->dilation_w == 1 && lanes <= 2 * TE_LANES && g->stride_w <= TE_LANES / 4
               ? (int)g->stride_w
               : 0;
}

static te_way te_way_of(const te_lanes *t, const te_window *g)
{
    if (t->shift > 0) {
        return g->kernel_h * (g->kernel_w + t->shift) <= TE_LANES ? TE_PAIRS_16 : TE_PAIRS_32;
    }
    if (t->count <= 2 * TE_LANES) {
        return TE_SINGLE_32;
    }
    return t->count <= 3 * TE_LANES + 1 ? TE_SINGLE_49 : TE_SINGLE_64;
}

/* Chooses the bands; 0 where the kernel does not fit. */
static int te_cut(te_job *job)
{
    const te_conv2d *p = job->p;
    const te_window *g = &p->window;
    job->taps.count = g->kernel_h * g->kernel_w;
    job->taps.shift = te_spread(g);
    if (p->in_c != p->out_c || p->in_c > TE_CHANNELS_MAX || job->taps.count > TE_TAPS ||
        g->stride_w > TE_STRIDE_MAX) {
        return 0;
    }
    const int32_t down = (g->kernel_h - 1) * g->dilation_h;
    const int32_t across = (g->kernel_w - 1) * g->dilation_w;
    const int32_t last = across + 3 * g->stride_w; /* of four outputs' windows */
    const int32_t room = TE_PLANE_BYTES / (down + 1);
    const int32_t reach = down > 0 ? te_min((TE_OFFSET_MAX - last) / down, room) : room;
    if (across >= reach || last > TE_OFFSET_MAX) {
        return 0;
    }
    job->columns = te_min(g->out_w, (reach - across - 1) / g->stride_w + 1);
    job->columns = te_min(job->columns, TE_OUTPUTS);
    job->pitch = te_seen(job->columns, g->stride_w, g->kernel_w, g->dilation_w);
    job->rows = te_min(g->out_h, (TE_PLANE_BYTES / job->pitch - down - 1) / g->stride_h + 1);
    job->rows = te_min(job->rows, TE_OUTPUTS / job->columns);
    job->way = te_way_of(&job->taps, g);
    return 1;
}

/* Numbers lanes and taps; weights outside of the windows are 0 for all channels. */
static void te_number_taps(te_job *job)
{
    const te_window *g = &job->p->window;
    te_lanes *t = &job->taps;
    te_fill(t->w, 0, TE_TAPS + TE_LANES);
    te_fill((int8_t *)t->offsets, 0, TE_TAPS);
    const int32_t width = g->kernel_w + t->shift;
    for (int32_t ky = 0; ky < g->kernel_h; ky++) {
        const int32_t at = ky * g->dilation_h * job->pitch;
        for (int32_t kx = 0; kx < width; kx++) {
            const int32_t lane = ky * width + kx;
            t->offsets[lane] = (uint8_t)(at + kx * g->dilation_w);
            if (kx < g->kernel_w) {
                t->lanes[ky * g->kernel_w + kx] = (uint16_t)(lane + t->shift);
            }
        }
    }
}

static void te_plan(te_job *job, const te_band *band)
{
    const te_conv2d *p = job->p;
    const te_window *g = &p->window;
    const int32_t seen = te_seen(band->rows, g->stride_h, g->kernel_h, g->dilation_h);
    const int32_t y0 = band->iy < 0 ? 0 : band->iy, y1 = te_min(g->in_h, band->iy + seen);
    const int32_t x0 = band->ix < 0 ? 0 : band->ix, x1 = te_min(g->in_w, band->ix + job->pitch);
    const int32_t c = p->in_c, n = x1 - x0, groups = (n - 1) / 8;
    const te_copy copy = {job->x + (y0 * g->in_w + x0) * c,
                          job->plane + (y0 - band->iy) * job->pitch + x0 - band->ix,
                          y1 - y0,
                          n,
                          g->in_w * c,
                          groups,
                          8 * c,
                          (n - 8 - 8 * groups) * c,
                          n - 8 - 8 * groups,
                          (g->in_w - n + 8) * c,
                          job->pitch - n + 8};
    job->is_empty = copy.rows <= 0 || n <= 0;
    const te_walk walk = {job->plane, band->rows,  band->columns, g->stride_w,
                          g->stride_h * job->pitch, 0, 0, 0, 0};
    job->copy = copy;
    job->walk = walk;
    te_pace(&job->walk, job->way == TE_PAIRS_16 ? 4 : 2);
    te_fill(job->plane, p->in_zero, seen * job->pitch);
}

/* Brings channel k of the band's inputs together. */
TE_INLINE void te_load_plane(te_job *job, int32_t k)
{
    const te_copy *m = &job->copy;
    const int8_t *in = m->from + k;
    int8_t *out = m->to;
    const uint16x8_t offsets = vmulq_n_u16(vidupq_n_u16(0u, 1), (uint16_t)job->p->in_c);
    int32_t rows = m->rows;
    if (m->n <= 8) {
        __asm__ volatile("dls lr, %[rows]\n"
                         "1:\n\tvpstt\n\tvldrbt.s16 q0, [%[in], %q[offsets]]\n\t"
                         "vstrbt.16 q0, [%[out]]\n\tadd %[in], %[in], %[line]\n\t"
                         "add %[out], %[out], %[pitch]\n\tle lr, 1b"
                         : [in] "+&r"(in), [out] "+&l"(out)
                         : [rows] "r"(rows), [line] "r"(m->line), [pitch] "r"(job->pitch),
                           [offsets] "w"(offsets), "Up"(vctp16q((uint32_t)m->n))
                         : "lr", "q0", "memory");
        return;
    }
    __asm__ volatile(
        "1:\n\tdls lr, %[groups]\n"
        "2:\n\tvldrb.s16 q0, [%[in], %q[offsets]]\n\tvstrb.16 q0, [%[out]], #8\n\t"
        "add %[in], %[in], %[step]\n\tle lr, 2b\n\t"
        "add %[in], %[in], %[in_last]\n\tvldrb.s16 q0, [%[in], %q[offsets]]\n\t"
        "add %[out], %[out], %[out_last]\n\tvstrb.16 q0, [%[out]]\n\t"
        "add %[in], %[in], %[in_next]\n\tadd %[out], %[out], %[out_next]\n\t"
        "subs %[rows], %[rows], #1\n\tbne 1b"
        : [in] "+&r"(in), [out] "+&l"(out), [rows] "+&r"(rows)
        : [groups] "r"(m->groups), [step] "r"(m->step), [in_last] "r"(m->in_last),
          [out_last] "r"(m->out_last), [in_next] "r"(m->in_next), [out_next] "r"(m->out_next),
          [offsets] "w"(offsets)
        : "lr", "q0", "cc", "memory");
}

TE_INLINE void te_sum_windows(te_job *job)
{
    const te_lanes *t = &job->taps;
    const te_walk *g = &job->walk;
    switch (job->way) {
    case TE_PAIRS_16: te_sums_16(t, g, job->sums); break;
    case TE_PAIRS_32: te_sums_32(t, g, job->sums); break;
    case TE_SINGLE_32: te_sums_2(t, g, job->sums); break;
    case TE_SINGLE_49: te_sums_3(t, g, job->sums); break;
    default: te_sums_4(t, g, job->sums);
    }
}

/* Writes the sums of any channel k, row by row; y is at its first output in the band. */
static TE_NOINLINE void te_put_rows(const te_job *job, const te_band *band, int32_t k,
                                    int32_t offset, int8_t *y)
{
    const int32_t columns = band->columns, line = job->p->window.out_w * job->p->out_c;
    te_scale scale = te_scale_of(job->bias, job->multiplier, job->shift, k);
    scale.offset = offset;
    for (int32_t i = 0; i < band->rows; i++, y += line) {
        te_emit(job->sums + i * columns, columns, &scale, job->p, y);
    }
}

static void te_run_band(te_job *job, const te_band *band, int8_t *y)
{
    const te_conv2d *p = job->p;
    const te_outputs to = te_outputs_of(p);
    const int32_t width = p->window.out_w, zero = -p->in_zero;
    const int is_run = band->columns == width && p->out_c <= TE_STEP_MAX;
    te_plan(job, band);
    y += (band->oy * width + band->ox) * p->out_c;
    for (int32_t k = 0; k < p->out_c; k++) {
        if (!job->is_empty) {
            te_load_plane(job, k);
        }
        const int32_t offset = zero * te_load_taps(&job->taps, job->weight + k, p->out_c);
        te_sum_windows(job);
        if (is_run && te_is_plain(job->bias[k], offset)) {
            te_scale scale = te_scale_of(job->bias, job->multiplier, job->shift, k);
            scale.offset = offset;
            te_emit_eights(job->sums, band->rows * width, &scale, &to, y + k);
        } else {
            te_put_rows(job, band, k, offset, y + k);
        }
    }
}

#endif

void te_depthwise_conv2d_s8_mve(const te_conv2d *p, const int8_t *x, const int8_t *weight,
                                const int32_t *bias, const int32_t *multiplier,
                                const int32_t *shift, int8_t *y)
{
#if TE_HAS_MVE
    const te_window *g = &p->window;
    te_job job;
    job.p = p;
    job.x = x, job.weight = weight;
    job.bias = bias, job.multiplier = multiplier, job.shift = shift;
    if (te_cut(&job)) {
        te_number_taps(&job);
        for (int32_t oy = 0; oy < g->out_h; oy += job.rows) {
            for (int32_t ox = 0; ox < g->out_w; ox += job.columns) {
                const te_band band = {oy, ox, te_min(job.rows, g->out_h - oy),
                                      te_min(job.columns, g->out_w - ox),
                                      oy * g->stride_h - g->pad_top,
                                      ox * g->stride_w - g->pad_left};
                te_run_band(&job, &band, y);
            }
        }
        if (p->lo > INT8_MIN || p->hi < INT8_MAX) {
            te_limit(y, p->lo, p->hi, g->out_h * g->out_w * p->out_c);
        }
        return;
    }
#endif
    te_depthwise_conv2d_s8(p, x, weight, bias, multiplier, shift, y);
}
