/* te_sha256.h - SHA-256 (FIPS 180-4), for the hash of the trainable state. */
#ifndef TE_SHA256_H
#define TE_SHA256_H

#include <stdint.h>

typedef struct te_sha256 {
    uint32_t chain[8];
    uint64_t total_bytes;
    uint8_t block[64];
} te_sha256;

void te_sha256_begin(te_sha256 *sha);
void te_sha256_add(te_sha256 *sha, const uint8_t *bytes, uint32_t count);
void te_sha256_end(te_sha256 *sha, uint8_t digest[32]);

#endif
