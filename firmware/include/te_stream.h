/* te_stream.h - what a generated stream, which runs layers row by row, is made of. */
#ifndef TE_STREAM_H
#define TE_STREAM_H

#include <stdint.h>

/* One step: which call runs, and where its rows are, counted in rows from the beginning of each
 * map's memory: the first of each input, and the output. A slide moves `b` rows from `a` to `y`. */
typedef struct te_row {
    uint16_t call, a, b, y;
} te_row;

/* Moves bytes towards lower addresses; the ranges may overlap. */
void te_slide_s8(int32_t bytes, const int8_t *from, int8_t *to);

#endif
