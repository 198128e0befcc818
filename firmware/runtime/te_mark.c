/* te_mark.c - see te_mark.h. */
#include "te_mark.h"

#include "te_port.h"

/* A log costs four bytes of RAM per mark, so bare-metal builds have none unless asked. */
#ifndef TE_MARK_SLOTS
#if defined(__arm__) && !defined(__linux__)
#define TE_MARK_SLOTS 0
#else
#define TE_MARK_SLOTS 1024
#endif
#endif

#if TE_MARK_SLOTS > 0

static struct {
    uint32_t count;
    uint32_t at[TE_MARK_SLOTS];
} te_mark_log;

__attribute__((noinline)) void te_mark(void)
{
    if (te_mark_log.count < (uint32_t)TE_MARK_SLOTS) {
        te_mark_log.at[te_mark_log.count] = te_port_ticks();
        te_mark_log.count++;
    }
}

void te_mark_reset(void)
{
    te_mark_log.count = 0u;
}

uint32_t te_mark_count(void)
{
    return te_port_tick_unit() == TE_TICK_NONE ? 0u : te_mark_log.count;
}

uint32_t te_mark_at(uint32_t index)
{
    return index < te_mark_log.count ? te_mark_log.at[index] : 0u;
}

#else

__attribute__((noinline)) void te_mark(void)
{
    /* The empty asm is a side effect: calls to a function without one could be dropped. */
    __asm__ volatile("" ::: "memory");
}

void te_mark_reset(void)
{
}

uint32_t te_mark_count(void)
{
    return 0u;
}

uint32_t te_mark_at(uint32_t index)
{
    (void)index;
    return 0u;
}

#endif
