/* te_mark.h - layer boundaries that a meter can see.
 *
 * Generated code calls te_mark() before the first node, between nodes and after the last one. An
 * emulator plug-in records its instruction counter whenever te_mark executes; a board with a
 * cycle counter records that instead, when the firmware was built with TE_MARK_SLOTS > 0.
 */
#ifndef TE_MARK_H
#define TE_MARK_H

#include <stdint.h>

/* A layer boundary. Never inlined, never optimised away; about three instructions. */
void te_mark(void);

/* The session's side: forget the log, count its entries, read entry `index` (0 past the end). */
void te_mark_reset(void);
uint32_t te_mark_count(void);
uint32_t te_mark_at(uint32_t index);

#endif
