/* te_mve_view.h - what an output of a pool sees. */
#ifndef TE_MVE_VIEW_H
#define TE_MVE_VIEW_H

#include "te_kernels_s8.h"

/* A window's real pixels: `rows` of them, `line` apart, each of `taps`, `step` apart. */
typedef struct te_view {
    const int8_t *x;
    int32_t rows, taps, line, step, count;
} te_view;

static inline te_view te_view_of(const te_pool *p, const int8_t *x, int32_t oy, int32_t ox)
{
    const te_window *g = &p->window;
    const te_span ys = te_taps_h(g, oy), xs = te_taps_w(g, ox);
    const int32_t iy = oy * g->stride_h - g->pad_top + ys.first * g->dilation_h;
    const int32_t ix = ox * g->stride_w - g->pad_left + xs.first * g->dilation_w;
    const int32_t rows = ys.end - ys.first, taps = xs.end - xs.first;
    const te_view view = {x + (iy * g->in_w + ix) * p->channels,
                          rows,
                          taps,
                          g->dilation_h * g->in_w * p->channels,
                          g->dilation_w * p->channels,
                          rows * taps};
    return view;
}

#endif
