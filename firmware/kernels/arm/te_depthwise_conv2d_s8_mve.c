/* te_depthwise_conv2d_s8_mve.c - see te_kernels_mve.h.
 *
 * The map is cut into bands that fit a plane on the stack. For each band and channel: the
 * channel's pixels are brought together in the plane, within the padding; then one gathering load
 * takes up to 16 of an output's inputs, one instruction multiplies and sums them.
 */
#include "te_kernels_mve.h"
#include "te_mve.h"

#if TE_HAS_MVE

enum {
    TE_LANES = 16,
    TE_TAPS = 64,
    TE_PLANE_BYTES = 2048,
    TE_SLACK_BYTES = 64, /* the last three outputs of four may not exist */
    TE_STRIDE_MAX = TE_SLACK_BYTES / 4,
    TE_OFFSET_MAX = 255,   /* what a byte's offset in a gathering load can say */
    TE_CHANNELS_MAX = 9000 /* and a half-word's, which reach over 7 pixels */
};

typedef struct te_job {
    const te_conv2d *p;
    const int8_t *x, *weight;
    const int32_t *bias, *multiplier, *shift;
    int32_t taps, rows, columns; /* outputs of a band */
    int32_t pitch;               /* of the plane */
    uint8_t offsets[TE_TAPS];    /* of the taps in the plane */
    int8_t w[TE_TAPS];           /* of one channel, then zeros */
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

/* Chooses the bands; 0 where the kernel does not fit. */
static int te_cut(te_job *job)
{
    const te_conv2d *p = job->p;
    const te_window *g = &p->window;
    job->taps = g->kernel_h * g->kernel_w;
    if (p->in_c != p->out_c || p->in_c > TE_CHANNELS_MAX || job->taps > TE_TAPS ||
        g->stride_w > TE_STRIDE_MAX) {
        return 0;
    }
    const int32_t down = (g->kernel_h - 1) * g->dilation_h;
    const int32_t across = (g->kernel_w - 1) * g->dilation_w;
    const int32_t room = TE_PLANE_BYTES / (down + 1);
    const int32_t reach = down > 0 ? te_min((TE_OFFSET_MAX - across) / down, room) : room;
    if (across >= reach || across > TE_OFFSET_MAX) {
        return 0;
    }
    job->columns = te_min(g->out_w, (reach - across - 1) / g->stride_w + 1);
    job->pitch = te_seen(job->columns, g->stride_w, g->kernel_w, g->dilation_w);
    job->rows = te_min(g->out_h, (TE_PLANE_BYTES / job->pitch - down - 1) / g->stride_h + 1);
    return 1;
}

static void te_number_taps(te_job *job)
{
    const te_window *g = &job->p->window;
    te_fill(job->w, 0, TE_TAPS);
    te_fill((int8_t *)job->offsets, 0, TE_TAPS);
    uint8_t *to = job->offsets;
    for (int32_t ky = 0; ky < g->kernel_h; ky++) {
        const int32_t at = ky * g->dilation_h * job->pitch;
        for (int32_t kx = 0; kx < g->kernel_w; kx++) {
            *to++ = (uint8_t)(at + kx * g->dilation_w);
        }
    }
}

/* Brings the channel's weights together; returns their sum. */
static int32_t te_load_weights(te_job *job, int32_t k)
{
    const int32_t step = job->p->out_c;
    const uint16x8_t offsets = vmulq_n_u16(vidupq_n_u16(0u, 1), (uint16_t)step);
    const int8_t *from = job->weight + k;
    int32_t sum = 0;
    for (int32_t t = 0; t < job->taps; t += 8) {
        const mve_pred16_t rest = vctp16q((uint32_t)(job->taps - t));
        const int16x8_t w = vldrbq_gather_offset_z_s16(from, offsets, rest);
        vstrbq_p_s16(job->w + t, w, rest);
        sum = vaddvaq_s16(sum, w);
        from += 8 * step;
    }
    return sum;
}

/* Brings channel k of the band's inputs together. */
static void te_load_plane(te_job *job, const te_band *band, int32_t k)
{
    const te_conv2d *p = job->p;
    const te_window *g = &p->window;
    const int32_t seen = te_seen(band->rows, g->stride_h, g->kernel_h, g->dilation_h);
    const int32_t y0 = band->iy < 0 ? 0 : band->iy, y1 = te_min(g->in_h, band->iy + seen);
    const int32_t x0 = band->ix < 0 ? 0 : band->ix, x1 = te_min(g->in_w, band->ix + job->pitch);
    const uint16x8_t offsets = vmulq_n_u16(vidupq_n_u16(0u, 1), (uint16_t)p->in_c);
    for (int32_t iy = y0; iy < y1; iy++) {
        const int8_t *from = job->x + (iy * g->in_w + x0) * p->in_c + k;
        int8_t *to = job->plane + (iy - band->iy) * job->pitch + x0 - band->ix;
        int32_t n = x1 - x0;
        for (; n >= 8; n -= 8, to += 8, from += 8 * p->in_c) {
            vstrbq_s16(to, vldrbq_gather_offset_s16(from, offsets));
        }
        if (n > 0) {
            const mve_pred16_t rest = vctp16q((uint32_t)n);
            vstrbq_p_s16(to, vldrbq_gather_offset_z_s16(from, offsets, rest), rest);
        }
    }
}

/* Sums of four neighbouring outputs, the first of which starts at x; width: registers of taps. */
TE_INLINE int32x4_t te_sum_4(const te_job *job, const int8_t *x, int32_t stride, int width)
{
    const int8_t *x1 = x + stride, *x2 = x1 + stride, *x3 = x2 + stride;
    int32_t a0 = 0, a1 = 0, a2 = 0, a3 = 0;
#pragma GCC unroll 4
    for (int i = 0; i < width; i++) {
        const int8x16_t w = vldrbq_s8(job->w + i * TE_LANES);
        const uint8x16_t at = vldrbq_u8(job->offsets + i * TE_LANES);
        a0 = vmladavaq_s8(a0, vldrbq_gather_offset_s8(x, at), w);
        a1 = vmladavaq_s8(a1, vldrbq_gather_offset_s8(x1, at), w);
        a2 = vmladavaq_s8(a2, vldrbq_gather_offset_s8(x2, at), w);
        a3 = vmladavaq_s8(a3, vldrbq_gather_offset_s8(x3, at), w);
    }
    return te_four(a0, a1, a2, a3);
}

/* One channel of a band; y is at its first output. */
TE_INLINE void te_outputs(const te_job *job, const te_band *band, const te_scale *scale, int width,
                          int general, int8_t *y)
{
    const te_window *g = &job->p->window;
    const int32_t c = job->p->out_c, stride = g->stride_w;
    const te_target target = te_target_of(job->p, c);
    const mve_pred16_t rest = vctp32q((uint32_t)band->columns % 4u);
    for (int32_t row = 0; row < band->rows; row++) {
        const int8_t *x = job->plane + row * g->stride_h * job->pitch;
        int8_t *to = y + row * g->out_w * c;
        for (int32_t n = band->columns / 4; n > 0; n--) {
            const int32x4_t sum = te_sum_4(job, x, stride, width);
            const int32x4_t q = te_scaled_4(sum, scale, &target, general);
            vstrbq_scatter_offset_s32(to, target.steps, q);
            x += 4 * stride;
            to += 4 * c;
        }
        if (band->columns % 4 != 0) {
            const int32x4_t sum = te_sum_4(job, x, stride, width);
            const int32x4_t q = te_scaled_4(sum, scale, &target, general);
            vstrbq_scatter_offset_p_s32(to, target.steps, q, rest);
        }
    }
}

static void te_run_band(te_job *job, const te_band *band, int8_t *y)
{
    const te_conv2d *p = job->p;
    const te_window *g = &p->window;
    const int32_t seen = te_seen(band->rows, g->stride_h, g->kernel_h, g->dilation_h);
    te_fill(job->plane, p->in_zero, seen * job->pitch);
    y += (band->oy * g->out_w + band->ox) * p->out_c;
    for (int32_t k = 0; k < p->out_c; k++) {
        te_scale scale = te_scale_of(job->bias, job->multiplier, job->shift, k);
        const int general = te_is_general(p, &scale);
        te_load_plane(job, band, k);
        scale.offset = -p->in_zero * te_load_weights(job, k);
        if (job->taps > 2 * TE_LANES) {
            te_outputs(job, band, &scale, 4, 1, y + k);
        } else if (job->taps > TE_LANES && general) {
            te_outputs(job, band, &scale, 2, 1, y + k);
        } else if (job->taps > TE_LANES) {
            te_outputs(job, band, &scale, 2, 0, y + k);
        } else if (general) {
            te_outputs(job, band, &scale, 1, 1, y + k);
        } else {
            te_outputs(job, band, &scale, 1, 0, y + k);
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
        return;
    }
#endif
    te_depthwise_conv2d_s8(p, x, weight, bias, multiplier, shift, y);
}
