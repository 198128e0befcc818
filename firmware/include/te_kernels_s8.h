/* te_kernels_s8.h - forward kernels of the int8 network.
 *
 * Common contract: batch 1; activations NHWC; sizes are positive and were proven when the code was
 * generated; buffers do not overlap unless a kernel says so; nothing but the output is written. A
 * `real` value is scale * (q - zero). Each kernel has the bits of the operator of the same name in
 * tinyengine/ops.
 */
#ifndef TE_KERNELS_S8_H
#define TE_KERNELS_S8_H

#include <stdint.h>

#include "te_window.h"

/* A convolution and its gradients. learn_c: channels of the first weight tensor; the other
 * in_c - learn_c are in the second, `frozen`. Depthwise: learn_c is not read. */
typedef struct te_conv2d {
    te_window window;
    int32_t in_c, learn_c, out_c;
    int32_t in_zero, out_zero;
    int32_t lo, hi; /* the activation's range */
} te_conv2d;

/* y = clamp(requantise(sum((x - in_zero) * weight) + bias) + out_zero, lo, hi)
 * x (in_h, in_w, in_c); weight (out_c, kernel_h, kernel_w, learn_c); bias, multiplier, shift
 * (out_c); frozen (out_c, kernel_h, kernel_w, in_c - learn_c) or NULL; y (out_h, out_w, out_c).
 * At most 65,792 products a sum: it is 32 bits wide. The sum with the bias saturates. */
void te_conv2d_s8(const te_conv2d *p, const int8_t *x, const int8_t *weight, const int32_t *bias,
                  const int32_t *multiplier, const int32_t *shift, const int8_t *frozen, int8_t *y);

/* Each channel on its own. weight (kernel_h, kernel_w, out_c), out_c = in_c * m; output channel
 * c * m + j reads input channel c. */
void te_depthwise_conv2d_s8(const te_conv2d *p, const int8_t *x, const int8_t *weight,
                            const int32_t *bias, const int32_t *multiplier, const int32_t *shift,
                            int8_t *y);

/* x * multiplier * 2^(shift - 31) */
typedef struct te_factor {
    int32_t multiplier, shift;
} te_factor;

/* a has `count` elements; b has `b_count`, a divisor of it: element i meets b[i % b_count]. */
typedef struct te_binary {
    int32_t count, b_count;
    int32_t a_zero, b_zero, out_zero;
    int32_t lo, hi;
    te_factor a, b, out; /* te_mul_s8 reads only `out` */
} te_binary;

/* y = clamp(a + b). y may be a, or b where b is as large. */
void te_add_s8(const te_binary *p, const int8_t *a, const int8_t *b, int8_t *y);

/* y = clamp(a * b). y may be a, or b where b is as large. */
void te_mul_s8(const te_binary *p, const int8_t *a, const int8_t *b, int8_t *y);

typedef struct te_pool {
    te_window window;
    int32_t channels;
    int32_t lo, hi;
} te_pool;

/* Mean over the window's real pixels, rounded half away from zero. */
void te_avg_pool_s8(const te_pool *p, const int8_t *x, int8_t *y);

/* Largest value of the window's real pixels. */
void te_max_pool_s8(const te_pool *p, const int8_t *x, int8_t *y);

/* x (outer, reduced, inner) -> y (outer, inner) */
typedef struct te_mean {
    int32_t outer, reduced, inner;
    int32_t in_zero, out_zero;
    te_factor factor;
} te_mean;

void te_mean_s8(const te_mean *p, const int8_t *x, int8_t *y);

/* y[i] = table[x[i] + 128]; y may be x. */
void te_lut_s8(int32_t count, const int8_t *x, const int8_t *table, int8_t *y);

/* Softmax of each row of n values at scale 1/256 from -128. exps (256): exp of a difference of
 * 0..255 steps as Q0.31. At most 8,191 classes. */
void te_softmax_s8(int32_t rows, int32_t n, const int32_t *exps, const int8_t *x, int8_t *y);

/* y = scale * (x - zero) as float32 */
void te_dequantize_s8(int32_t count, int32_t zero, float scale, const int8_t *x, float *y);

/* Bit i of `bits` (little-endian: bit i % 8 of byte i / 8) = lo < y[i] < hi; the last byte is
 * filled up with 0. */
void te_inside_s8(int32_t count, int32_t lo, int32_t hi, const int8_t *y, uint8_t *bits);

#endif
