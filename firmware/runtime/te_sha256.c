/* te_sha256.c - see te_sha256.h. FIPS 180-4 section 6.2, the schedule in a ring of 16 words. */
#include "te_sha256.h"

#include <string.h>

static const uint32_t te_sha256_k[64] = {
    0x428a2f98u, 0x71374491u, 0xb5c0fbcfu, 0xe9b5dba5u, 0x3956c25bu, 0x59f111f1u, 0x923f82a4u,
    0xab1c5ed5u, 0xd807aa98u, 0x12835b01u, 0x243185beu, 0x550c7dc3u, 0x72be5d74u, 0x80deb1feu,
    0x9bdc06a7u, 0xc19bf174u, 0xe49b69c1u, 0xefbe4786u, 0x0fc19dc6u, 0x240ca1ccu, 0x2de92c6fu,
    0x4a7484aau, 0x5cb0a9dcu, 0x76f988dau, 0x983e5152u, 0xa831c66du, 0xb00327c8u, 0xbf597fc7u,
    0xc6e00bf3u, 0xd5a79147u, 0x06ca6351u, 0x14292967u, 0x27b70a85u, 0x2e1b2138u, 0x4d2c6dfcu,
    0x53380d13u, 0x650a7354u, 0x766a0abbu, 0x81c2c92eu, 0x92722c85u, 0xa2bfe8a1u, 0xa81a664bu,
    0xc24b8b70u, 0xc76c51a3u, 0xd192e819u, 0xd6990624u, 0xf40e3585u, 0x106aa070u, 0x19a4c116u,
    0x1e376c08u, 0x2748774cu, 0x34b0bcb5u, 0x391c0cb3u, 0x4ed8aa4au, 0x5b9cca4fu, 0x682e6ff3u,
    0x748f82eeu, 0x78a5636fu, 0x84c87814u, 0x8cc70208u, 0x90befffau, 0xa4506cebu, 0xbef9a3f7u,
    0xc67178f2u,
};

static inline uint32_t te_rotr(uint32_t x, uint32_t n)
{
    return x >> n | x << (32u - n);
}

static inline uint32_t te_word(const uint8_t *p)
{
    return (uint32_t)p[0] << 24 | (uint32_t)p[1] << 16 | (uint32_t)p[2] << 8 | (uint32_t)p[3];
}

/* Word t of the message schedule; w holds the last sixteen. */
static uint32_t te_schedule(uint32_t w[16], uint32_t t)
{
    if (t >= 16u) {
        const uint32_t w15 = w[(t + 1u) & 15u];
        const uint32_t w2 = w[(t + 14u) & 15u];
        const uint32_t s0 = te_rotr(w15, 7u) ^ te_rotr(w15, 18u) ^ (w15 >> 3);
        const uint32_t s1 = te_rotr(w2, 17u) ^ te_rotr(w2, 19u) ^ (w2 >> 10);
        w[t & 15u] += s0 + s1 + w[(t + 9u) & 15u];
    }
    return w[t & 15u];
}

static void te_sha256_block(uint32_t chain[8], const uint8_t *block)
{
    uint32_t w[16];
    uint32_t v[8];
    for (uint32_t i = 0u; i < 16u; i++) {
        w[i] = te_word(block + 4u * i);
    }
    memcpy(v, chain, sizeof v);
    for (uint32_t t = 0u; t < 64u; t++) {
        const uint32_t a = v[0];
        const uint32_t e = v[4];
        const uint32_t s1 = te_rotr(e, 6u) ^ te_rotr(e, 11u) ^ te_rotr(e, 25u);
        const uint32_t s0 = te_rotr(a, 2u) ^ te_rotr(a, 13u) ^ te_rotr(a, 22u);
        const uint32_t choice = (e & v[5]) ^ (~e & v[6]);
        const uint32_t majority = (a & v[1]) ^ (a & v[2]) ^ (v[1] & v[2]);
        const uint32_t t1 = v[7] + s1 + choice + te_sha256_k[t] + te_schedule(w, t);
        memmove(v + 1, v, 7u * sizeof v[0]);
        v[4] += t1;
        v[0] = t1 + s0 + majority;
    }
    for (uint32_t i = 0u; i < 8u; i++) {
        chain[i] += v[i];
    }
}

void te_sha256_begin(te_sha256 *sha)
{
    static const uint32_t start[8] = {0x6a09e667u, 0xbb67ae85u, 0x3c6ef372u, 0xa54ff53au,
                                      0x510e527fu, 0x9b05688cu, 0x1f83d9abu, 0x5be0cd19u};
    memcpy(sha->chain, start, sizeof start);
    sha->total_bytes = 0u;
}

void te_sha256_add(te_sha256 *sha, const uint8_t *bytes, uint32_t count)
{
    uint32_t held = (uint32_t)(sha->total_bytes & 63u);
    sha->total_bytes += count;
    while (count > 0u) {
        const uint32_t room = 64u - held;
        const uint32_t take = count < room ? count : room;
        memcpy(sha->block + held, bytes, take);
        bytes += take;
        count -= take;
        held += take;
        if (held == 64u) {
            te_sha256_block(sha->chain, sha->block);
            held = 0u;
        }
    }
}

void te_sha256_end(te_sha256 *sha, uint8_t digest[32])
{
    const uint64_t bits = sha->total_bytes * 8u;
    const uint8_t one = 0x80u;
    const uint8_t zero = 0u;
    te_sha256_add(sha, &one, 1u);
    while ((sha->total_bytes & 63u) != 56u) {
        te_sha256_add(sha, &zero, 1u);
    }
    for (uint32_t i = 0u; i < 8u; i++) {
        sha->block[56u + i] = (uint8_t)(bits >> (56u - 8u * i));
    }
    te_sha256_block(sha->chain, sha->block);
    for (uint32_t i = 0u; i < 32u; i++) {
        digest[i] = (uint8_t)(sha->chain[i / 4u] >> (24u - 8u * (i % 4u)));
    }
}
