/* te_fault.c - a fault is told over the wire, then the firmware stops.
 *
 * The report may be lost on a bad link, so whenever the host ends a frame it is sent again.
 */
#include "te_cortex_m.h"
#include "te_frame.h"
#include "te_port.h"

void te_fault_main(const uint32_t *stacked, uint32_t stack_pointer, uint32_t vector);

/* The stack pointer itself may be the reason: the handler starts on a fresh stack. */
__attribute__((naked)) void te_fault_entry(void)
{
    __asm__ volatile("cpsid i\n"
                     "mrs r0, msp\n"
                     "mov r1, r0\n"
                     "mrs r2, ipsr\n"
                     "ldr r3, =__stack_top\n"
                     "sub r3, r3, #512\n" /* a frame stacked near the top stays readable */
                     "cmp r3, r0\n"
                     "bhi 1f\n"
                     "subs r3, r0, #8\n"
                     "1: bic r3, r3, #7\n"
                     "mov sp, r3\n"
                     "b te_fault_main\n");
}

__attribute__((naked)) void te_unexpected_entry(void)
{
    __asm__ volatile("b te_fault_entry\n");
}

static te_fault_kind te_fault_name(uint32_t vector)
{
    switch (vector) {
    case 3u:
        return TE_FAULT_HARD;
    case 4u:
        return TE_FAULT_MEMORY;
    case 5u:
        return TE_FAULT_BUS;
    case 6u:
        return TE_FAULT_USAGE;
    default:
        return TE_FAULT_OTHER;
    }
}

/* `stacked`: r0-r3, r12, LR, PC, xPSR as the processor pushed them, if that memory exists. */
__attribute__((noreturn, used)) void te_fault_main(const uint32_t *stacked, uint32_t stack_pointer,
                                                   uint32_t vector)
{
    const uint32_t top = (uint32_t)(uintptr_t)__ram_limit;
    const int readable = stack_pointer >= UINT32_C(0x20000000) && stack_pointer <= top - 32u;
    const uint32_t registers[8] = {
        readable ? stacked[6] : 0u, readable ? stacked[5] : 0u, stack_pointer,
        readable ? stacked[7] : 0u, TE_REG(TE_SCB_CFSR),        TE_REG(TE_SCB_HFSR),
        TE_REG(TE_SCB_MMFAR),       TE_REG(TE_SCB_BFAR),
    };
    const te_fault_kind kind = te_fault_name(vector);
    uint8_t byte = 0u;
    te_frame_send_fault(kind, registers);
    for (;;) {
        if (te_port_poll(&byte) && byte == 0u) {
            te_frame_send_fault(kind, registers);
        }
    }
}
