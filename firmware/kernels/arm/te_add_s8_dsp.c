/* te_add_s8_dsp.c - see te_kernels_dsp.h. Eleven instructions for a sum. */
#include "te_dsp.h"
#include "te_kernels_dsp.h"

void te_add_s8_dsp(const te_add_dsp *p, const int8_t *a, const int8_t *b, int8_t *y)
{
    const uint8_t *from_a = (const uint8_t *)a, *from_b = (const uint8_t *)b;
    const int32_t *table_a = p->a, *table_b = p->b;
    const te_scaling f = p->out;
#pragma GCC unroll 4
    for (const int8_t *end = y + p->count; y < end; y++) {
        const int32_t twice = table_a[*from_a++] + table_b[*from_b++];
        const int32_t scaled = te_smmlar(twice, f.multiplier, f.addend) + te_shift_floor(twice, 31);
        *y = (int8_t)te_ssat8(te_asr(scaled, f.exponent));
    }
}
