/* te_window.h - sliding windows: the geometry shared by convolutions and pools.
 *
 * Output o sees input o * stride - pad + k * dilation at kernel position k, where that exists.
 */
#ifndef TE_WINDOW_H
#define TE_WINDOW_H

#include <stdint.h>

typedef struct te_window {
    int32_t in_h, in_w;
    int32_t out_h, out_w;
    int32_t kernel_h, kernel_w;
    int32_t stride_h, stride_w;
    int32_t pad_top, pad_left;
    int32_t dilation_h, dilation_w;
} te_window;

/* Indices first <= i < end. */
typedef struct te_span {
    int32_t first, end;
} te_span;

static inline int32_t te_min(int32_t a, int32_t b)
{
    return a < b ? a : b;
}

/* Kernel positions k of one axis that see a real pixel: 0 <= start + k * dilation < in. */
static inline te_span te_taps(int32_t start, int32_t in, int32_t kernel, int32_t dilation)
{
    te_span span = {0, 0};
    if (start < 0) {
        span.first = (dilation - 1 - start) / dilation;
    }
    if (in > start) {
        span.end = te_min(kernel, (in - start + dilation - 1) / dilation);
    }
    return span;
}

static inline te_span te_taps_h(const te_window *w, int32_t oy)
{
    return te_taps(oy * w->stride_h - w->pad_top, w->in_h, w->kernel_h, w->dilation_h);
}

static inline te_span te_taps_w(const te_window *w, int32_t ox)
{
    return te_taps(ox * w->stride_w - w->pad_left, w->in_w, w->kernel_w, w->dilation_w);
}

/* Outputs o of one axis with 0 <= o * stride + offset < in: those that one tap serves. */
static inline te_span te_reach(int32_t offset, int32_t stride, int32_t in, int32_t out)
{
    te_span span = {0, 0};
    if (offset < 0) {
        span.first = (stride - 1 - offset) / stride;
    }
    if (in > offset) {
        span.end = te_min(out, (in - 1 - offset) / stride + 1);
    }
    return span;
}

/* The output that reads a given input at one tap (reach = input + pad - k * dilation), or -1. */
static inline int32_t te_reader(int32_t reach, int32_t stride, int32_t out)
{
    if (reach < 0 || reach % stride != 0) {
        return -1;
    }
    return reach / stride < out ? reach / stride : -1;
}

#endif
