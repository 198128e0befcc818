/* te_slide_s8.c - see te_stream.h. Four words at a time, all loaded before the first is stored: the
 * target lies below the source, so nothing is overwritten that is still to be read. */
#include <string.h>

#include "te_stream.h"

void te_slide_s8(int32_t bytes, const int8_t *from, int8_t *to)
{
    uint32_t word[4];
    for (; bytes >= (int32_t)sizeof word; bytes -= (int32_t)sizeof word) {
        memcpy(word, from, sizeof word);
        memcpy(to, word, sizeof word);
        from += sizeof word;
        to += sizeof word;
    }
    for (; bytes > 0; bytes--) {
        *to++ = *from++;
    }
}
