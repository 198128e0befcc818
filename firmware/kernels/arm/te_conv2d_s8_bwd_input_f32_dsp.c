/* te_conv2d_s8_bwd_input_f32_dsp.c - see te_kernels_dsp.h. Four neighbouring input pixels by four
 * input channels at a time: an output channel gives four of d_y and four weights for 16 products.
 * A pixel that no output reads at a tap adds zeros: a sum that starts from +0 stays as it is. */
#include "te_float_dsp.h"
#include "te_kernels_dsp.h"

static const float te_zero = 0.0f;

/* Gradients that four pixels meet at one tap; step 0: te_zero again and again. */
typedef struct te_readers {
    const float *d[TE_SIDE];
    int32_t step[TE_SIDE];
    const float *scale;
    int32_t out_c;
} te_readers;

/* Weights of one tap: rows of `channels` from w on, `pitch` apart. */
typedef struct te_weights {
    const int8_t *w;
    int32_t channels, pitch;
} te_weights;

/* Adds to four channels of four pixels, which are in_c apart. */
__attribute__((noinline)) static void te_tile(const te_readers *r, const int8_t *w, int32_t pitch,
                                              int32_t in_c, float *d_x)
{
    const float *d0 = r->d[0], *d1 = r->d[1], *d2 = r->d[2], *d3 = r->d[3];
    const int32_t step0 = r->step[0], step1 = r->step[1], step2 = r->step[2], step3 = r->step[3];
    const float *scale = r->scale, *const end = scale + r->out_c;
    te_f4 s0 = te_load_4(d_x), s1 = te_load_4(d_x + in_c);
    te_f4 s2 = te_load_4(d_x + 2 * in_c), s3 = te_load_4(d_x + 3 * in_c);
    for (; scale != end; w += pitch) {
        const float factor = *scale++;
        const te_f4 weights = te_floats_of(w, 0);
        s0 = te_add_4(s0, *d0 * factor, weights);
        s1 = te_add_4(s1, *d1 * factor, weights);
        s2 = te_add_4(s2, *d2 * factor, weights);
        s3 = te_add_4(s3, *d3 * factor, weights);
        d0 += step0, d1 += step1, d2 += step2, d3 += step3;
    }
    te_store_4(d_x, s0);
    te_store_4(d_x + in_c, s1);
    te_store_4(d_x + 2 * in_c, s2);
    te_store_4(d_x + 3 * in_c, s3);
}

/* Adds to one channel of one pixel. */
static void te_single(const te_readers *r, int32_t pixel, const int8_t *w, int32_t pitch,
                      float *d_x)
{
    const float *d = r->d[pixel];
    float sum = *d_x;
    for (int32_t k = 0; k < r->out_c; k++, d += r->step[pixel], w += pitch) {
        sum += *d * r->scale[k] * (float)*w;
    }
    *d_x = sum;
}

/* All channels of a part of the weights. */
static void te_part(const te_readers *r, const te_weights *part, int32_t in_c, float *d_x)
{
    int32_t c = 0;
    for (; c + TE_SIDE <= part->channels; c += TE_SIDE) {
        te_tile(r, part->w + c, part->pitch, in_c, d_x + c);
    }
    for (; c < part->channels; c++) {
        for (int32_t i = 0; i < TE_SIDE; i++) {
            te_single(r, i, part->w + c, part->pitch, d_x + i * in_c + c);
        }
    }
}

static void te_clear(float *d_x, int32_t n)
{
    for (int32_t i = 0; i < n; i++) {
        d_x[i] = 0.0f;
    }
}

/* Four pixels from ix of line iy on; returns whether any output reads them at this tap. */
static int te_find_readers(const te_conv2d *p, const float *d_y, int32_t iy, int32_t ix,
                           int32_t tap, te_readers *r)
{
    const te_window *g = &p->window;
    const int32_t ky = tap / g->kernel_w, kx = tap % g->kernel_w;
    const int32_t oy = te_reader(iy + g->pad_top - ky * g->dilation_h, g->stride_h, g->out_h);
    int any = 0;
    for (int32_t i = 0; i < TE_SIDE; i++) {
        const int32_t reach = ix + i + g->pad_left - kx * g->dilation_w;
        const int32_t ox = oy < 0 ? -1 : te_reader(reach, g->stride_w, g->out_w);
        r->d[i] = ox < 0 ? &te_zero : d_y + (oy * g->out_w + ox) * p->out_c;
        r->step[i] = ox < 0 ? 0 : 1;
        any |= ox >= 0;
    }
    return any;
}

void te_conv2d_s8_bwd_input_f32_dsp(const te_conv2d *p, const float *d_y, const int8_t *weight,
                                    const float *scale, const int8_t *frozen, float *d_x)
{
    const te_window *g = &p->window;
    const int32_t taps = g->kernel_h * g->kernel_w, in_c = p->in_c;
    const int32_t learn_c = p->learn_c, rest_c = frozen != NULL ? in_c - learn_c : 0;
    const int8_t *const other = frozen != NULL ? frozen : weight;
    /* lines of a 1x1 convolution follow one another */
    const int32_t is_flat = taps == 1 && g->in_w == g->out_w && g->in_h == g->out_h &&
                            g->stride_h == 1 && g->stride_w == 1 && g->pad_top == 0 &&
                            g->pad_left == 0;
    te_conv2d flat = *p;
    flat.window.in_w = flat.window.out_w = is_flat ? g->in_w * g->in_h : g->in_w;
    flat.window.in_h = flat.window.out_h = 1;
    const te_conv2d *const q = is_flat ? &flat : p;
    te_readers r = {.scale = scale, .out_c = p->out_c};
    if (q->window.in_w < TE_SIDE || in_c < TE_SIDE) {
        te_conv2d_s8_bwd_input_f32(p, d_y, weight, scale, frozen, d_x);
        return;
    }
    for (int32_t iy = 0; iy < q->window.in_h; iy++, d_x += q->window.in_w * in_c) {
        for (int32_t i = 0; i < q->window.in_w; i += TE_SIDE) {
            /* the last four may be some of the ones before again */
            const int32_t ix = te_min(i, q->window.in_w - TE_SIDE);
            float *const four = d_x + ix * in_c;
            te_clear(four, TE_SIDE * in_c);
            for (int32_t tap = 0; tap < taps; tap++) {
                if (te_find_readers(q, d_y, iy, ix, tap, &r)) {
                    const te_weights first = {weight + tap * learn_c, learn_c, taps * learn_c};
                    const te_weights rest = {other + tap * rest_c, rest_c, taps * rest_c};
                    te_part(&r, &first, in_c, four);
                    te_part(&r, &rest, in_c, four + learn_c);
                }
            }
        }
    }
}
