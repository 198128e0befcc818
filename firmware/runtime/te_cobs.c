/* te_cobs.c - see te_cobs.h. */
#include "te_cobs.h"

void te_cobs_begin(te_cobs_decoder *decoder)
{
    decoder->code = 0u;
    decoder->left = 0u;
}

int te_cobs_feed(te_cobs_decoder *decoder, uint8_t byte, uint8_t *out)
{
    if (decoder->left > 0u) {
        decoder->left--;
        *out = byte;
        return 1;
    }
    /* A length code. The block before it ended in a zero, unless it was full or there was none. */
    const int zero = decoder->code != 0u && decoder->code != 0xFFu;
    decoder->code = byte;
    decoder->left = (uint8_t)(byte - 1u);
    *out = 0u;
    return zero;
}

int te_cobs_complete(const te_cobs_decoder *decoder)
{
    return decoder->code != 0u && decoder->left == 0u;
}

uint32_t te_cobs_run(const uint8_t *bytes, uint32_t count)
{
    uint32_t run = 0u;
    while (run < count && run < 254u && bytes[run] != 0u) {
        run++;
    }
    return run;
}
