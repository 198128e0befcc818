/* te_startup.c - from reset to main(): floating point on, .data copied, .bss cleared, MPU on. */
#include "te_cortex_m.h"

/* SRAM starts here on every Armv7-M device (Armv7-M ARM, B3.1). */
#define TE_RAM_ORIGIN UINT32_C(0x20000000)

static void te_start_memory(void)
{
    const uint32_t *from = __data_load;
    for (uint32_t *to = __data_start; to != __data_end; to++) {
        *to = *from;
        from++;
    }
    for (uint32_t *to = __bss_start; to != __bss_end; to++) {
        *to = 0u;
    }
}

__attribute__((noreturn)) void Reset_Handler(void)
{
    /* CP10 and CP11 full access before any function that might save a floating-point register. */
    TE_REG(TE_SCB_CPACR) |= UINT32_C(0xF) << 20;
    __asm__ volatile("dsb\n isb" ::: "memory");
    TE_REG(TE_SCB_VTOR) = (uint32_t)(uintptr_t)__vectors;
    te_start_memory();
    TE_REG(TE_SCB_SHCSR) |= UINT32_C(7) << 16; /* memory, bus, usage faults: their own vectors */
    te_mpu_limit((uintptr_t)TE_RAM_ORIGIN, (uintptr_t)__ram_limit);
    (void)main();
    for (;;) {
        __asm__ volatile("wfi");
    }
}
