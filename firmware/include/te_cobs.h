/* te_cobs.h - consistent overhead byte stuffing, one byte or one block at a time.
 *
 * Source: S. Cheshire, M. Baker, "Consistent Overhead Byte Stuffing", SIGCOMM 1997. Neither
 * direction needs a buffer for the stuffed form.
 */
#ifndef TE_COBS_H
#define TE_COBS_H

#include <stdint.h>

typedef struct te_cobs_decoder {
    uint8_t code; /* length code of the current block, 0 before the first */
    uint8_t left; /* data bytes of the block still to come */
} te_cobs_decoder;

void te_cobs_begin(te_cobs_decoder *decoder);

/* Feeds one non-zero stuffed byte. Returns 1 when it yields a data byte (in *out), else 0. */
int te_cobs_feed(te_cobs_decoder *decoder, uint8_t byte, uint8_t *out);

/* Whether the bytes fed so far are a complete stuffed message. */
int te_cobs_complete(const te_cobs_decoder *decoder);

/* Length (0..254) of the zero-free block at the start of `bytes`, for the encoder. */
uint32_t te_cobs_run(const uint8_t *bytes, uint32_t count);

#endif
