/* te_port_cmsdk.c - MPS2 boards (AN386, AN500): CMSDK APB UART 0 at 0x40004000.
 *
 * Registers: Cortex-M System Design Kit Technical Reference Manual (DDI 0479), table 4-6. The
 * receiver holds one byte and interrupts for each: interrupt 0 receives, 1 transmits.
 */
#include "te_cortex_m.h"
#include "te_port.h"

#define TE_UART_DATA UINT32_C(0x40004000)
#define TE_UART_STATE UINT32_C(0x40004004) /* bit 0: transmitter full, bit 1: receiver full */
#define TE_UART_CTRL UINT32_C(0x40004008)
#define TE_UART_INTCLEAR UINT32_C(0x4000400C)
#define TE_UART_BAUDDIV UINT32_C(0x40004010)

enum { TE_UART_IRQ = 0 };

static te_ring te_received;

void te_uart_interrupt(void);

/* Also takes the bytes that follow at once, which saves an interrupt each. */
void te_uart_interrupt(void)
{
    TE_REG(TE_UART_INTCLEAR) = 2u;
    while ((TE_REG(TE_UART_STATE) & 2u) != 0u) {
        if (te_ring_full(&te_received)) {
            te_port_listen(0);
            return;
        }
        te_ring_put(&te_received, (uint8_t)TE_REG(TE_UART_DATA));
    }
}

/* The controller remembers a byte's arrival as an edge, so a byte that was left in the receiver
 * makes itself heard only when its interrupt is set pending by hand. */
void te_port_listen(int on)
{
    const uint32_t bit = UINT32_C(1) << TE_UART_IRQ;
    if (on == 0) {
        TE_REG(TE_NVIC_ICER) = bit;
    } else if ((TE_REG(TE_NVIC_ISER) & bit) == 0u) {
        TE_REG(TE_NVIC_ISPR) = bit;
        TE_REG(TE_NVIC_ISER) = bit;
    }
}

__attribute__((section(".vectors"), used)) const te_handler te_vectors[16 + 1 + TE_UART_IRQ] = {
    __stack_top,         Reset_Handler,  te_unexpected_entry, te_fault_entry, te_fault_entry,
    te_fault_entry,      te_fault_entry, 0,                   0,              0,
    0,                   te_unexpected_entry, te_unexpected_entry, 0,         te_unexpected_entry,
    te_unexpected_entry, te_uart_interrupt,
};

void te_port_init(void)
{
    TE_REG(TE_UART_BAUDDIV) = 217u; /* 25 MHz / 115200; the least the UART accepts is 16 */
    TE_REG(TE_UART_CTRL) = 0xBu;    /* transmitter, receiver, receive interrupt */
    /* Discards what came before the receiver was on; an emulator looks for input only after a
     * read, and would otherwise sleep through bytes that already wait for it. */
    (void)TE_REG(TE_UART_DATA);
    te_nvic_enable((uint32_t)TE_UART_IRQ);
}

uint32_t te_port_read(uint8_t *bytes, uint32_t capacity)
{
    return te_ring_wait(&te_received, bytes, capacity);
}

void te_port_write(const uint8_t *bytes, uint32_t count)
{
    for (uint32_t i = 0u; i < count; i++) {
        while ((TE_REG(TE_UART_STATE) & 1u) != 0u) {
        }
        TE_REG(TE_UART_DATA) = bytes[i];
    }
}

int te_port_poll(uint8_t *byte)
{
    if ((TE_REG(TE_UART_STATE) & 2u) == 0u) {
        return 0;
    }
    *byte = (uint8_t)TE_REG(TE_UART_DATA);
    return 1;
}
