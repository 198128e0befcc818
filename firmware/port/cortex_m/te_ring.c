/* te_ring.c - see te_cortex_m.h. */
#include "te_cortex_m.h"

void te_ring_put(te_ring *ring, uint8_t byte)
{
    const uint32_t head = ring->head;
    if (head - ring->tail < (uint32_t)TE_RING_BYTES) {
        ring->bytes[head % (uint32_t)TE_RING_BYTES] = byte;
        ring->head = head + 1u;
    }
}

uint32_t te_ring_wait(te_ring *ring, uint8_t *bytes, uint32_t capacity)
{
    uint32_t count = 0u;
    while (ring->head == ring->tail) {
        /* With interrupts masked a byte that comes between the test and WFI still wakes it. */
        __asm__ volatile("cpsid i" ::: "memory");
        if (ring->head == ring->tail) {
            __asm__ volatile("wfi" ::: "memory");
        }
        __asm__ volatile("cpsie i" ::: "memory");
    }
    while (count < capacity && ring->head != ring->tail) {
        bytes[count] = ring->bytes[ring->tail % (uint32_t)TE_RING_BYTES];
        ring->tail++;
        count++;
    }
    return count;
}
