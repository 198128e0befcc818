/* te_port_stm32f4.c - STM32F405: USART1 on PA9 (TX) and PA10 (RX), core on the 16 MHz HSI clock.
 *
 * Registers: RM0090, chapters 7 (RCC), 8 (GPIO) and 30 (USART).
 */
#include "te_cortex_m.h"
#include "te_port.h"

#define TE_RCC_AHB1ENR UINT32_C(0x40023830)
#define TE_RCC_APB2ENR UINT32_C(0x40023844)
#define TE_GPIOA_MODER UINT32_C(0x40020000)
#define TE_GPIOA_AFRH UINT32_C(0x40020024)
#define TE_USART_SR UINT32_C(0x40011000) /* bit 3: overrun, bit 5: byte received, bit 7: empty */
#define TE_USART_DR UINT32_C(0x40011004)
#define TE_USART_BRR UINT32_C(0x40011008)
#define TE_USART_CR1 UINT32_C(0x4001100C)
#define TE_USART_ON (1u << 13 | 1u << 3 | 1u << 2) /* unit, transmitter, receiver */

enum { TE_USART_IRQ = 37 };

static te_ring te_received;

void te_usart_interrupt(void);

void te_usart_interrupt(void)
{
    /* Reading the status and then the data also clears an overrun. */
    while ((TE_REG(TE_USART_SR) & 0x28u) != 0u) {
        if (te_ring_full(&te_received)) {
            te_port_listen(0);
            return;
        }
        te_ring_put(&te_received, (uint8_t)TE_REG(TE_USART_DR));
    }
}

void te_port_listen(int on)
{
    const uint32_t wanted = TE_USART_ON | (on != 0 ? 1u << 5 : 0u);
    if (TE_REG(TE_USART_CR1) != wanted) {
        TE_REG(TE_USART_CR1) = wanted;
    }
}

__attribute__((section(".vectors"), used)) const te_handler te_vectors[16 + 1 + TE_USART_IRQ] = {
    [0] = __stack_top,
    [1] = Reset_Handler,
    [2] = te_unexpected_entry,
    [3] = te_fault_entry,
    [4] = te_fault_entry,
    [5] = te_fault_entry,
    [6] = te_fault_entry,
    [11] = te_unexpected_entry,
    [12] = te_unexpected_entry,
    [14] = te_unexpected_entry,
    [15] = te_unexpected_entry,
    [16 + TE_USART_IRQ] = te_usart_interrupt,
};

void te_port_init(void)
{
    TE_REG(TE_RCC_AHB1ENR) |= 1u;       /* GPIOA */
    TE_REG(TE_RCC_APB2ENR) |= 1u << 4;  /* USART1 */
    (void)TE_REG(TE_RCC_APB2ENR);       /* the clock needs two cycles after the write */
    TE_REG(TE_GPIOA_MODER) = (TE_REG(TE_GPIOA_MODER) & ~(0xFu << 18)) | 0xAu << 18;
    TE_REG(TE_GPIOA_AFRH) = (TE_REG(TE_GPIOA_AFRH) & ~(0xFFu << 4)) | 0x77u << 4;
    TE_REG(TE_USART_BRR) = 139u; /* 16 MHz / 115200 */
    /* The receiver is on before anything can arrive; the interrupt only after the port is up. */
    te_port_listen(1);
    (void)TE_REG(TE_USART_DR); /* as in the CMSDK port: what came before is discarded */
    te_nvic_enable((uint32_t)TE_USART_IRQ);
}

uint32_t te_port_read(uint8_t *bytes, uint32_t capacity)
{
    return te_ring_wait(&te_received, bytes, capacity);
}

void te_port_write(const uint8_t *bytes, uint32_t count)
{
    for (uint32_t i = 0u; i < count; i++) {
        while ((TE_REG(TE_USART_SR) & 1u << 7) == 0u) {
        }
        TE_REG(TE_USART_DR) = bytes[i];
    }
}

int te_port_poll(uint8_t *byte)
{
    if ((TE_REG(TE_USART_SR) & 0x28u) == 0u) {
        return 0;
    }
    *byte = (uint8_t)TE_REG(TE_USART_DR);
    return 1;
}
