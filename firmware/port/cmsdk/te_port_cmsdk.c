/* te_port_cmsdk.c - MPS2 and MPS3 boards: CMSDK APB UART 0.
 *
 * Registers: Cortex-M System Design Kit Technical Reference Manual (DDI 0479), table 4-6. The
 * receiver holds one byte and interrupts for each. AN386 and AN500 have the unit at 0x40004000 and
 * the receiver's interrupt on line 0; the TOML of a board that has them elsewhere says where.
 */
#include "te_cortex_m.h"
#include "te_port.h"

#ifndef TE_UART_BASE
#define TE_UART_BASE 0x40004000
#define TE_UART_IRQ 0
#endif

#define TE_UART(offset) TE_REG((uint32_t)TE_UART_BASE + UINT32_C(offset))
#define TE_UART_DATA TE_UART(0x00)
#define TE_UART_STATE TE_UART(0x04) /* bit 0: transmitter full, bit 1: receiver full */
#define TE_UART_CTRL TE_UART(0x08)
#define TE_UART_INTCLEAR TE_UART(0x0C)
#define TE_UART_BAUDDIV TE_UART(0x10)

static te_ring te_received;

void te_uart_interrupt(void);

/* Also takes the bytes that follow at once, which saves an interrupt each. */
void te_uart_interrupt(void)
{
    TE_UART_INTCLEAR = 2u;
    while ((TE_UART_STATE & 2u) != 0u) {
        if (te_ring_full(&te_received)) {
            te_port_listen(0);
            return;
        }
        te_ring_put(&te_received, (uint8_t)TE_UART_DATA);
    }
}

/* The controller remembers a byte's arrival as an edge, so a byte that was left in the receiver
 * makes itself heard only when its interrupt is set pending by hand. */
void te_port_listen(int on)
{
    const uint32_t bit = UINT32_C(1) << TE_UART_IRQ % 32;
    const uint32_t word = 4u * (TE_UART_IRQ / 32u);
    if (on == 0) {
        TE_REG(TE_NVIC_ICER + word) = bit;
    } else if ((TE_REG(TE_NVIC_ISER + word) & bit) == 0u) {
        TE_REG(TE_NVIC_ISPR + word) = bit;
        TE_REG(TE_NVIC_ISER + word) = bit;
    }
}

__attribute__((section(".vectors"), used)) const te_handler te_vectors[16 + 1 + TE_UART_IRQ] = {
    [0] = __stack_top,
    [1] = Reset_Handler,
    [2] = te_unexpected_entry,
    [3] = te_fault_entry,
    [4] = te_fault_entry,
    [5] = te_fault_entry,
    [6] = te_fault_entry,
    [7] = te_unexpected_entry,
    [11] = te_unexpected_entry,
    [12] = te_unexpected_entry,
    [14] = te_unexpected_entry,
    [15] = te_unexpected_entry,
    [16 + TE_UART_IRQ] = te_uart_interrupt,
};

void te_port_init(void)
{
    TE_UART_BAUDDIV = 217u; /* 25 MHz / 115200; the least the UART accepts is 16 */
    TE_UART_CTRL = 0xBu;    /* transmitter, receiver, receive interrupt */
    /* Discards what came before the receiver was on; an emulator looks for input only after a
     * read, and would otherwise sleep through bytes that already wait for it. */
    (void)TE_UART_DATA;
    te_nvic_enable((uint32_t)TE_UART_IRQ);
}

uint32_t te_port_read(uint8_t *bytes, uint32_t capacity)
{
    return te_ring_wait(&te_received, bytes, capacity);
}

void te_port_write(const uint8_t *bytes, uint32_t count)
{
    for (uint32_t i = 0u; i < count; i++) {
        while ((TE_UART_STATE & 1u) != 0u) {
        }
        TE_UART_DATA = bytes[i];
    }
}

int te_port_poll(uint8_t *byte)
{
    if ((TE_UART_STATE & 2u) == 0u) {
        return 0;
    }
    *byte = (uint8_t)TE_UART_DATA;
    return 1;
}
