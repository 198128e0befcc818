/* te_port.h - the five functions that a board (or a host process) provides. */
#ifndef TE_PORT_H
#define TE_PORT_H

#include <stdint.h>

/* What te_port_ticks() counts. */
typedef enum te_tick_unit { TE_TICK_NONE = 0, TE_TICK_CYCLES = 1, TE_TICK_NS = 2 } te_tick_unit;

/* Clock, link and meters ready; the receiver is enabled before anything else can send to it. */
void te_port_init(void);

/* Waits for at least one byte, stores up to `capacity`; returns how many, 0: the link closed. */
uint32_t te_port_read(uint8_t *bytes, uint32_t capacity);

/* Sends all `count` bytes. Must also work with interrupts off: the fault handler uses it. */
void te_port_write(const uint8_t *bytes, uint32_t count);

/* A free-running counter that wraps at 2^32, and its unit (TE_TICK_NONE: there is none). */
uint32_t te_port_ticks(void);
te_tick_unit te_port_tick_unit(void);

#endif
