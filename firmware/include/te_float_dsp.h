/* te_float_dsp.h - float32 gradients for cores with an FPU of single precision: four by four sums
 * in registers. Each sum takes its products one after the other, in the written order; only
 * different sums are made side by side, so the bits are those of the portable kernels.
 */
#ifndef TE_FLOAT_DSP_H
#define TE_FLOAT_DSP_H

#include "te_dsp.h"
#include "te_kernels_f32.h"

enum { TE_SIDE = 4 };

typedef struct te_f4 {
    float a, b, c, d;
} te_f4;

/* s + f * x, the product rounded first: vmla is no fused multiplication. The compiler does not take
 * it by itself. */
static inline float te_add_product(float s, float f, float x)
{
#if defined(__ARM_FP) && (__ARM_FP & 4) && defined(__thumb2__) && __ARM_ARCH == 7
    __asm__("vmla.f32 %0, %1, %2" : "+t"(s) : "t"(f), "t"(x));
    return s;
#else
    return s + f * x;
#endif
}

static inline te_f4 te_add_4(te_f4 s, float f, te_f4 x)
{
    s.a = te_add_product(s.a, f, x.a);
    s.b = te_add_product(s.b, f, x.b);
    s.c = te_add_product(s.c, f, x.c);
    s.d = te_add_product(s.d, f, x.d);
    return s;
}

static inline te_f4 te_floats_of(const int8_t *x, int32_t zero)
{
    const te_f4 made = {(float)(x[0] - zero), (float)(x[1] - zero), (float)(x[2] - zero),
                        (float)(x[3] - zero)};
    return made;
}

static inline te_f4 te_load_4(const float *from)
{
    const te_f4 made = {from[0], from[1], from[2], from[3]};
    return made;
}

static inline void te_store_4(float *to, te_f4 x)
{
    to[0] = x.a, to[1] = x.b, to[2] = x.c, to[3] = x.d;
}

#endif
