/* te_ring.c - see te_cortex_m.h. */
#include "te_cortex_m.h"

int te_ring_full(const te_ring *ring)
{
    return ring->head - ring->tail >= (uint32_t)TE_RING_BYTES;
}

void te_ring_put(te_ring *ring, uint8_t byte)
{
    ring->bytes[ring->head % (uint32_t)TE_RING_BYTES] = byte;
    ring->head++;
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
    te_port_listen(1); /* in case the interrupt found the ring full */
    return count;
}
