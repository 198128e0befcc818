/* te_stream.h - what a generated stream, which runs layers row by row, is made of. */
#ifndef TE_STREAM_H
#define TE_STREAM_H

#include <stddef.h>
#include <stdint.h>
#include <string.h>

/* One step: which call runs, and where its rows are, counted in rows from the beginning of each
 * map's memory: the first of each input, and the output. A slide moves `b` rows from `a` to `y`. */
typedef struct te_row {
    uint16_t call, a, b, y;
} te_row;

/* How far a stream is whose input arrives in pieces: bytes that have come, the step that it is at,
 * and how many bytes of the rows which that step waits for are there. */
typedef struct te_feed {
    uint32_t bytes, at, part;
} te_feed;

/* The next step of `count`, or NULL behind the last one. */
static inline const te_row *te_feed_next(te_feed *feed, const te_row *rows, uint32_t count)
{
    return feed->at < count ? &rows[feed->at++] : NULL;
}

/* Moves what has come to `rows`, which want `wanted` bytes: 1 once they are there; 0: more must come,
 * and the same step is the next one again. */
static inline int te_feed_take(te_feed *feed, const uint8_t **bytes, uint32_t *count, int8_t *rows,
                               uint32_t wanted)
{
    const uint32_t missing = wanted - feed->part;
    const uint32_t taken = *count < missing ? *count : missing;
    if (taken > 0u) {
        memcpy(rows + feed->part, *bytes, taken);
        *bytes += taken;
        *count -= taken;
    }
    feed->part += taken;
    if (feed->part < wanted) {
        feed->at--;
        return 0;
    }
    feed->part = 0u;
    return 1;
}

/* Moves bytes towards lower addresses; the ranges may overlap. */
void te_slide_s8(int32_t bytes, const int8_t *from, int8_t *to);

#endif
