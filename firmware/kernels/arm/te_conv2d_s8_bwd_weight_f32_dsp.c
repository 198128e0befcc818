/* te_conv2d_s8_bwd_weight_f32_dsp.c - see te_kernels_dsp.h. Four output channels by four input
 * channels at a time: an output pixel gives four of d_y and four of x for 16 products. */
#include "te_float_dsp.h"
#include "te_kernels_dsp.h"

/* Output pixels in raster order and the inputs that they meet: `rows` lines of `n`. Steps go from
 * pixel to pixel, skips from the end of a line to the next one; all in elements. */
typedef struct te_meets {
    const float *d;
    const int8_t *x;
    int32_t rows, n;
    int32_t d_step, x_step, d_skip, x_skip;
    int32_t zero;
    int32_t stride; /* of rows of d_w */
} te_meets;

/* Four rows of d_w by four columns; first output and input channel k and c. */
__attribute__((noinline)) static void te_tile(const te_meets *m, int32_t k, int32_t c, float *d_w)
{
    const te_f4 none = {0.0f, 0.0f, 0.0f, 0.0f};
    te_f4 s0 = none, s1 = none, s2 = none, s3 = none;
    const float *d = m->d + k;
    const int8_t *x = m->x + c;
    const int32_t zero = m->zero;
    for (int32_t row = m->rows; row > 0; row--, d += m->d_skip, x += m->x_skip) {
        for (int32_t i = m->n; i > 0; i--, d += m->d_step, x += m->x_step) {
            const te_f4 centred = te_floats_of(x, zero);
            s0 = te_add_4(s0, d[0], centred);
            s1 = te_add_4(s1, d[1], centred);
            s2 = te_add_4(s2, d[2], centred);
            s3 = te_add_4(s3, d[3], centred);
        }
    }
    te_store_4(d_w, s0);
    te_store_4(d_w + m->stride, s1);
    te_store_4(d_w + 2 * m->stride, s2);
    te_store_4(d_w + 3 * m->stride, s3);
}

/* One number. */
static void te_single(const te_meets *m, int32_t k, int32_t c, float *d_w)
{
    float sum = 0.0f;
    const float *d = m->d + k;
    const int8_t *x = m->x + c;
    for (int32_t row = m->rows; row > 0; row--, d += m->d_skip, x += m->x_skip) {
        for (int32_t i = m->n; i > 0; i--, d += m->d_step, x += m->x_step) {
            sum += *d * (float)(*x - m->zero);
        }
    }
    *d_w = sum;
}

static te_meets te_meets_of(const te_conv2d *p, const float *d_y, const int8_t *x, int32_t ky,
                            int32_t kx)
{
    const te_window *g = &p->window;
    const int32_t dy = ky * g->dilation_h - g->pad_top, dx = kx * g->dilation_w - g->pad_left;
    const te_span ys = te_reach(dy, g->stride_h, g->in_h, g->out_h);
    const te_span xs = te_reach(dx, g->stride_w, g->in_w, g->out_w);
    const int32_t first = (ys.first * g->stride_h + dy) * g->in_w + xs.first * g->stride_w + dx;
    te_meets m = {.rows = ys.end - ys.first, .n = xs.end - xs.first, .d_step = p->out_c,
                  .x_step = g->stride_w * p->in_c, .zero = p->in_zero};
    if (m.n <= 0) {
        m.rows = 0;
    }
    m.d = d_y + (ys.first * g->out_w + xs.first) * p->out_c;
    m.x = x + (m.rows > 0 ? first * p->in_c : 0);
    m.d_skip = (g->out_w - m.n) * p->out_c;
    m.x_skip = g->stride_h * g->in_w * p->in_c - m.n * m.x_step;
    m.stride = g->kernel_h * g->kernel_w * p->in_c;
    if (m.d_skip == 0 && m.x_skip == 0 && m.rows > 0) {
        m.n *= m.rows, m.rows = 1; /* one after the other in both tensors */
    }
    return m;
}

/* One tap of four rows from k on. */
static void te_tap(const te_meets *m, int32_t in_c, int32_t k, float *d_w)
{
    int32_t c = 0;
    for (; c + TE_SIDE <= in_c; c += TE_SIDE) {
        te_tile(m, k, c, d_w + c);
    }
    for (; c < in_c; c++) {
        for (int32_t i = 0; i < TE_SIDE; i++) {
            te_single(m, k + i, c, d_w + i * m->stride + c);
        }
    }
}

void te_conv2d_s8_bwd_weight_f32_dsp(const te_conv2d *p, const float *d_y, const int8_t *x,
                                     int32_t k0, int32_t k1, float *d_w)
{
    const int32_t kernel_w = p->window.kernel_w, taps = p->window.kernel_h * kernel_w;
    const int32_t fours = p->in_c < TE_SIDE ? 0 : (k1 - k0) / TE_SIDE;
    const int32_t row = taps * p->in_c, end = k0 + fours * TE_SIDE;
    for (int32_t tap = 0; tap < taps && end > k0; tap++) {
        const te_meets m = te_meets_of(p, d_y, x, tap / kernel_w, tap % kernel_w);
        for (int32_t k = k0; k < end; k += TE_SIDE) {
            te_tap(&m, p->in_c, k, d_w + (k - k0) * row + tap * p->in_c);
        }
    }
    if (end < k1) {
        te_conv2d_s8_bwd_weight_f32(p, d_y, x, end, k1, d_w + (end - k0) * row);
    }
}
