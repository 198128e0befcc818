/* te_dwt.c - the cycle counter of the data watchpoint unit, where the part has one.
 *
 * It must be seen to count: emulators implement the register and leave it at zero.
 */
#include "te_cortex_m.h"
#include "te_port.h"

#define TE_DEMCR UINT32_C(0xE000EDFC)
#define TE_DWT_CTRL UINT32_C(0xE0001000)
#define TE_DWT_CYCCNT UINT32_C(0xE0001004)

uint32_t te_port_ticks(void)
{
    return TE_REG(TE_DWT_CYCCNT);
}

te_tick_unit te_port_tick_unit(void)
{
    TE_REG(TE_DEMCR) |= UINT32_C(1) << 24; /* TRCENA */
    TE_REG(TE_DWT_CTRL) |= 1u;
    const uint32_t before = TE_REG(TE_DWT_CYCCNT);
    __asm__ volatile("nop\n nop\n nop\n nop");
    return TE_REG(TE_DWT_CYCCNT) == before ? TE_TICK_NONE : TE_TICK_CYCLES;
}
