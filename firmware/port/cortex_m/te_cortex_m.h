/* te_cortex_m.h - what the Cortex-M ports share: system registers, the MPU, the receive ring. */
#ifndef TE_CORTEX_M_H
#define TE_CORTEX_M_H

#include <stdint.h>

#define TE_REG(address) (*(volatile uint32_t *)(uintptr_t)(address))

/* System control space (Armv7-M Architecture Reference Manual, B3.2 and B3.5). */
#define TE_NVIC_ISER UINT32_C(0xE000E100)
#define TE_NVIC_ICER UINT32_C(0xE000E180)
#define TE_NVIC_ISPR UINT32_C(0xE000E200)
#define TE_SCB_VTOR UINT32_C(0xE000ED08)
#define TE_SCB_SHCSR UINT32_C(0xE000ED24)
#define TE_SCB_CFSR UINT32_C(0xE000ED28)
#define TE_SCB_HFSR UINT32_C(0xE000ED2C)
#define TE_SCB_MMFAR UINT32_C(0xE000ED34)
#define TE_SCB_BFAR UINT32_C(0xE000ED38)
#define TE_SCB_CPACR UINT32_C(0xE000ED88)
#define TE_MPU_TYPE UINT32_C(0xE000ED90)
#define TE_MPU_CTRL UINT32_C(0xE000ED94)
#define TE_MPU_RNR UINT32_C(0xE000ED98)
#define TE_MPU_RBAR UINT32_C(0xE000ED9C)
#define TE_MPU_RASR UINT32_C(0xE000EDA0)
#define TE_MPU_RLAR UINT32_C(0xE000EDA0) /* Armv8-M: in the place of RASR */
#define TE_MPU_MAIR0 UINT32_C(0xE000EDC0)

typedef void (*te_handler)(void);

/* Symbols of the linker script. */
extern uint32_t __data_load[];
extern uint32_t __data_start[];
extern uint32_t __data_end[];
extern uint32_t __bss_start[];
extern uint32_t __bss_end[];
extern uint32_t __ram_limit[];
extern uint32_t __vectors[];

/* The stack's end stands first in the vector table, among handlers: declared as one of them,
 * because ISO C has no cast from an object's address to a function's. */
void __stack_top(void);

int main(void);
void Reset_Handler(void);
void te_fault_entry(void); /* vector of every fault */
void te_unexpected_entry(void); /* vector of every interrupt that nobody enabled */

/* Makes accesses to RAM past `limit`, and writes to the code region, fault. */
void te_mpu_limit(uintptr_t ram_origin, uintptr_t limit);

/* Bytes received by interrupt and not read yet. One writer (the interrupt) and one reader; the
 * reader drains it while it decodes, so it need not hold a frame. When it is full the interrupt
 * switches itself off until the reader has made room; what a real UART drops meanwhile, the frame's
 * CRC tells. */
enum { TE_RING_BYTES = 256 };

typedef struct te_ring {
    volatile uint32_t head; /* bytes put since the start */
    volatile uint32_t tail; /* bytes taken */
    volatile uint8_t bytes[TE_RING_BYTES];
} te_ring;

int te_ring_full(const te_ring *ring);
void te_ring_put(te_ring *ring, uint8_t byte); /* not when full */

/* Sleeps until there is something, takes up to `capacity` bytes, returns how many. */
uint32_t te_ring_wait(te_ring *ring, uint8_t *bytes, uint32_t capacity);

static inline void te_nvic_enable(uint32_t irq)
{
    TE_REG(TE_NVIC_ISER + 4u * (irq / 32u)) = UINT32_C(1) << (irq % 32u);
}

/* Provided by the port: the receive interrupt on (1) or off (0). */
void te_port_listen(int on);

/* Provided by the port: 1 and the byte when one waits in the receiver, without interrupts. */
int te_port_poll(uint8_t *byte);

#endif
