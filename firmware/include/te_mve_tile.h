/* te_mve_tile.h - where gathering loads find eight rows, for each of six neighbouring channels. */
#ifndef TE_MVE_TILE_H
#define TE_MVE_TILE_H

#include "te_mve.h"

#if TE_HAS_MVE

enum { TE_TILE = 6 };

/* Offsets of eight rows that lie `step` apart, and from 0 to last elements on. */
typedef struct te_tile {
    uint16x8_t at[TE_TILE];
} te_tile;

TE_INLINE te_tile te_tile_of(uint32_t step, int32_t last)
{
    const uint16x8_t first = vmulq_n_u16(vidupq_n_u16(0u, 1), (uint16_t)step);
    const te_tile tile = {{first,
                           vaddq_n_u16(first, (uint16_t)te_min(1, last)),
                           vaddq_n_u16(first, (uint16_t)te_min(2, last)),
                           vaddq_n_u16(first, (uint16_t)te_min(3, last)),
                           vaddq_n_u16(first, (uint16_t)te_min(4, last)),
                           vaddq_n_u16(first, (uint16_t)te_min(5, last))}};
    return tile;
}

#endif
#endif
