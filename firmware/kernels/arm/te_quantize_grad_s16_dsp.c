/* te_quantize_grad_s16_dsp.c - see te_kernels_dsp.h. With an FPU: vcvtr rounds to nearest, ties to
 * even (FPSCR as after reset), saturates, and makes 0 of what is not a number. */
#define TE_GRAD_BITS 16
#include "te_grad_maps.h"
#include "te_kernels_dsp.h"

#if defined(__ARM_FP) && (__ARM_FP & 4)

static inline int32_t te_nearest(float x)
{
    int32_t d;
    __asm__("vcvtr.s32.f32 %0, %0\n\tvmov %1, %0" : "+t"(x), "=r"(d));
    return d;
}

void te_quantize_grad_s16_dsp(int32_t count, const float *d, int32_t *state, int16_t *y, int32_t *e)
{
    te_output_grad out = te_grad_begin(state, e);
    const float scale = te_float_of_bits((uint32_t)(127 - out.exponent) << 23); /* 2^-e */
    for (int32_t i = 0; i < count; i++) {
        y[i] = te_grad_put(&out, te_nearest(d[i] * scale));
    }
    te_grad_end(&out, state);
}

#else

void te_quantize_grad_s16_dsp(int32_t count, const float *d, int32_t *state, int16_t *y, int32_t *e)
{
    te_quantize_grad_s16(count, d, state, y, e);
}

#endif
