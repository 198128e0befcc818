/* te_axpy.h - y += a * x over contiguous channels, four x at a time.
 *
 * Each y[i] takes its four products one after the other, in the order they were pushed, so the
 * bits are those of four passes; but y is loaded and stored once.
 */
#ifndef TE_AXPY_H
#define TE_AXPY_H

#include <stdint.h>

enum { TE_AXPY_WIDTH = 4 };

typedef struct te_axpy {
    float a[TE_AXPY_WIDTH];
    int32_t at[TE_AXPY_WIDTH]; /* offsets of the x in their tensor */
    int32_t count;
} te_axpy;

/* y[i] += a * (x[i] - zero) */
static inline void te_axpy_1(float *restrict y, float a, const int8_t *restrict x, int32_t zero,
                             int32_t n)
{
    for (int32_t i = 0; i < n; i++) {
        y[i] += a * (float)(x[i] - zero);
    }
}

static inline void te_axpy_4(float *restrict y, const float *a, const int8_t *restrict x0,
                             const int8_t *restrict x1, const int8_t *restrict x2,
                             const int8_t *restrict x3, int32_t zero, int32_t n)
{
    const float a0 = a[0], a1 = a[1], a2 = a[2], a3 = a[3];
    for (int32_t i = 0; i < n; i++) {
        float sum = y[i];
        sum += a0 * (float)(x0[i] - zero);
        sum += a1 * (float)(x1[i] - zero);
        sum += a2 * (float)(x2[i] - zero);
        sum += a3 * (float)(x3[i] - zero);
        y[i] = sum;
    }
}

/* Adds what was pushed; each x is the run of n elements at x + at[j] * n. */
static inline void te_axpy_apply(const te_axpy *s, float *y, const int8_t *x, int32_t zero,
                                 int32_t n)
{
    if (s->count == TE_AXPY_WIDTH) {
        te_axpy_4(y, s->a, x + s->at[0] * n, x + s->at[1] * n, x + s->at[2] * n, x + s->at[3] * n,
                  zero, n);
        return;
    }
    for (int32_t j = 0; j < s->count; j++) {
        te_axpy_1(y, s->a[j], x + s->at[j] * n, zero, n);
    }
}

static inline void te_axpy_push(te_axpy *s, float a, int32_t at)
{
    s->a[s->count] = a;
    s->at[s->count] = at;
    s->count++;
}

#endif
