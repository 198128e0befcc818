/* te_mul_s8_bwd_s16_dsp.c - see te_kernels_dsp.h. */
#define TE_GRAD_BITS 16
#include "te_grad_maps.h"
#include "te_kernels_dsp.h"
#include "te_packed_dsp.h"

void te_mul_s8_bwd_s16_dsp(const te_mul_grad *p, const int16_t *d_y, const int8_t *other,
                           const int32_t *e_d, int32_t *state, int16_t *d_x, int32_t *e)
{
    te_output_grad out = {te_shift_floor(*state, TE_EXPONENT_STATE_BITS), 0u};
    const int32_t shift = te_grad_shift(p->factor.shift, e_d, &out), zero = p->zero;
    const te_rescaling r = te_rescaling_of(p->factor.multiplier, shift);
    uint32_t peak = 0u;
    if (r.shift == 0) {
        te_mul_s8_bwd_s16(p, d_y, other, e_d, state, d_x, e);
        return;
    }
    for (int32_t i = 0; i < p->count; i += p->other_count) {
        for (int32_t j = 0; j < p->other_count; j++) {
            const int32_t q = te_rescale(*d_y++ * (other[j] - zero), r);
            peak |= (uint32_t)(q ^ te_shift_floor(q, 31));
            *d_x++ = (int16_t)te_ssat16(q);
        }
    }
    for (int32_t i = p->count; i > 0 && peak >= (uint32_t)TE_GRAD_LIMIT; i--) {
        d_x--; /* -32768 has been let pass */
        *d_x = *d_x < -TE_GRAD_LIMIT ? (int16_t)-TE_GRAD_LIMIT : *d_x;
    }
    out.peak = peak;
    *e = out.exponent;
    te_grad_end(&out, state);
}
