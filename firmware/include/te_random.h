/* te_random.h - the counter-based generator that every target shares.
 *
 * A pure function of its argument: no state to carry, so the n-th number is the same on every
 * target however the work is ordered. The constants are those of "lowbias32" (C. Wellons,
 * "Prospecting for Hash Functions", 2018): every output bit flips with probability close to one
 * half when any input bit flips, and the map is a bijection of the 32-bit integers.
 */
#ifndef TE_RANDOM_H
#define TE_RANDOM_H

#include <stdint.h>

static inline uint32_t te_mix32(uint32_t x)
{
    x ^= x >> 16;
    x *= UINT32_C(0x7feb352d);
    x ^= x >> 15;
    x *= UINT32_C(0x846ca68b);
    x ^= x >> 16;
    return x;
}

/* Key of fake sample `index` under `seed`; see te_fake_byte and te_fake_label. */
static inline uint32_t te_fake_key(uint32_t seed, uint32_t index)
{
    return te_mix32(te_mix32(seed) + index);
}

/* Byte `i` of the fake input with this key. */
static inline uint8_t te_fake_byte(uint32_t key, uint32_t i)
{
    return (uint8_t)(te_mix32(key + i) >> 24);
}

/* Label of the fake input with this key; `classes` 0 gives label 0. */
static inline uint32_t te_fake_label(uint32_t key, uint32_t classes)
{
    return classes == 0u ? 0u : te_mix32(key ^ UINT32_C(0xA5A5A5A5)) % classes;
}

#endif
