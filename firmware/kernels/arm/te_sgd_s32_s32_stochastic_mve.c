/* te_sgd_s32_s32_stochastic_mve.c - see te_kernels_mve.h.
 *
 * Four biases at a time. Their rates are float32 products, of which Helium flushes subnormal ones
 * to 0: four with a rate that is 0, negative, not a number or too large go to the portable kernel.
 */
#include "te_kernels_mve.h"
#include "te_mve_f32.h"
#include "te_mve_sgd.h"

#if TE_HAS_MVE_F32

typedef struct te_bias_job {
    const int32_t *g;
    const float *ratio;
    float lr;
    int32_t e;
    uint32_t stream;
} te_bias_job;

static TE_NOINLINE void te_step_each(const te_bias_job *job, int32_t i, int32_t end, int32_t *b)
{
    for (; i < end; i++) {
        const te_rate rate = te_rate_of(job->ratio[i] * job->lr, job->e);
        b[i] = te_add_sat(b[i], te_exact_step(1, job->g[i], &rate, job->stream + (uint32_t)i));
    }
}

/* floor((-g * rate + random) / 2^right); over: right - 32, from -31 to TE_SHIFT_MOST */
TE_INLINE int32x4_t te_step_4(int32x4_t g, uint32x4_t rate, int32x4_t over, uint32x4_t number)
{
    const uint32x4_t fraction = vandq_u32(rate, vdupq_n_u32(0x7FFFFF));
    const uint32x4_t whole = vorrq_n_u32(fraction, 0x800000);
    const int32x4_t mantissa = vnegq_s32(vreinterpretq_s32_u32(whole)), none = vdupq_n_s32(0);
    const int32x4_t high = vmulhq_s32(g, mantissa), down = vminq_s32(vnegq_s32(over), none);
    const uint32x4_t low = vreinterpretq_u32_s32(vmulq_s32(g, mantissa));
    const int32x4_t rest = vshlq_s32(high, vaddq_n_s32(down, TE_WORD_BITS));
    const uint32x4_t lower = vorrq_u32(vshlq_u32(low, down), vreinterpretq_u32_s32(rest));
    const int32x4_t less = vminq_s32(over, none), left = vnegq_s32(less);
    const uint32x4_t bits = vshlq_u32(te_mix32_4(number), less);
    const int32x4_t upper = te_carried(vshlq_s32(high, down), lower, bits);
    const uint32x4_t under =
        vshlq_u32(vaddq_u32(lower, bits), vsubq_n_s32(left, TE_WORD_BITS));
    const int32x4_t moved = vshlq_s32(upper, left), bound = vqshlq_s32(upper, left);
    return vpselq_s32(vorrq_s32(moved, vreinterpretq_s32_u32(under)), bound,
                      vcmpeqq_s32(moved, bound));
}

static void te_step_all(const te_bias_job *job, int32_t count, int32_t *b)
{
    /* right = 150 - power - e is over 0 where power < 150 - e; power 255: not a number */
    const uint32_t limit = (uint32_t)te_clamp(149 - job->e, 0, 254);
    const int32_t most = 150 - TE_WORD_BITS - job->e; /* over of power 0 */
    uint32x4_t number = vidupq_n_u32(job->stream, 1);
    for (int32_t i = 0; i < count; i += 4) {
        const mve_pred16_t rest = vctp32q((uint32_t)(count - i));
        const float32x4_t ratio = vldrwq_z_f32(job->ratio + i, rest);
        const uint32x4_t rate = vreinterpretq_u32_f32(vmulq_n_f32(ratio, job->lr));
        const uint32x4_t power = vshrq_n_u32(rate, 23); /* with the sign */
        if (vcmpcsq_m_n_u32(vsubq_n_u32(power, 1u), limit, rest) != 0u) {
            te_step_each(job, i, te_min(i + 4, count), b);
        } else {
            const int32x4_t over = vsubq_s32(vdupq_n_s32(most), vreinterpretq_s32_u32(power));
            const int32x4_t step =
                te_step_4(vldrwq_z_s32(job->g + i, rest), rate,
                          vminq_s32(over, vdupq_n_s32(TE_SHIFT_MOST)), number);
            vstrwq_p_s32(b + i, vqaddq_s32(vldrwq_z_s32(b + i, rest), step), rest);
        }
        number = vaddq_n_u32(number, 4u);
    }
}

#endif

void te_sgd_s32_s32_stochastic_mve(const te_sgd_s32 *p, int32_t *b, const int32_t *g,
                                   const float *ratio, const int32_t *e, const te_hyper *hyper)
{
#if TE_HAS_MVE_F32
    if (te_is_due(hyper, p->every)) {
        const uint32_t stream = te_stream(p->key, hyper->seed, hyper->step);
        const te_bias_job job = {g, ratio, hyper->lr, *e, stream};
        te_step_all(&job, p->count, b);
    }
#else
    te_sgd_s32_s32_stochastic(p, b, g, ratio, e, hyper);
#endif
}
