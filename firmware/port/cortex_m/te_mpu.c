/* te_mpu.c - the memory protection unit as the end of RAM.
 *
 * An emulated board has more RAM than the part it stands for, and stores past the end of some
 * vanish without a fault. Three regions, of which a higher number wins where they overlap:
 *
 *   0  0x20000000, 512 MB   no access
 *   1  the RAM's origin     read, write; up to the limit
 *   2  0x00000000, 512 MB   read and execute only: flash, and the null pointer
 *
 * Peripherals stay as the architecture's default map has them (PRIVDEFENA).
 *
 * Armv8-M has regions from a base to a limit, which must not overlap, and none without access.
 * There the default map is off, so that what no region names faults: the RAM up to the limit, code
 * to read, and the peripherals are named; the system space needs no region.
 */
#include "te_cortex_m.h"

#if __ARM_ARCH >= 8

enum { TE_WRITE = 1 << 1, TE_READ = 3 << 1, TE_XN = 1, TE_NORMAL = 0, TE_DEVICE = 1 << 1 };

/* Region `number` from `base` to `last`, both included; memory type by its number in MAIR0. */
static void te_mpu_region(uint32_t number, uint32_t base, uint32_t last, int access, int type)
{
    TE_REG(TE_MPU_RNR) = number;
    TE_REG(TE_MPU_RBAR) = base | (uint32_t)access;
    TE_REG(TE_MPU_RLAR) = (last & ~UINT32_C(31)) | (uint32_t)type | 1u;
}

void te_mpu_limit(uintptr_t ram_origin, uintptr_t limit)
{
    if ((TE_REG(TE_MPU_TYPE) >> 8 & 0xFFu) < 3u) {
        return; /* this part has no MPU: its bus faults instead */
    }
    TE_REG(TE_MPU_MAIR0) = UINT32_C(0x04AA); /* 0: normal, write through; 1: device nGnRE */
    te_mpu_region(0u, 0u, UINT32_C(0x1FFFFFFF), TE_READ, TE_NORMAL);
    te_mpu_region(1u, (uint32_t)ram_origin, (uint32_t)limit - 1u, TE_WRITE | TE_XN, TE_NORMAL);
    te_mpu_region(2u, UINT32_C(0x40000000), UINT32_C(0x5FFFFFFF), TE_WRITE | TE_XN, TE_DEVICE);
    TE_REG(TE_MPU_CTRL) = 1u; /* ENABLE; off inside the hard fault handler */
    __asm__ volatile("dsb\n isb" ::: "memory");
}

#else

enum { TE_AP_NONE = 0, TE_AP_FULL = 3, TE_AP_READ = 6 };

#define TE_RASR_XN (UINT32_C(1) << 28)
#define TE_RASR_NORMAL (UINT32_C(1) << 17) /* C: normal memory, write through */

static void te_mpu_region(uint32_t number, uint32_t base, uint32_t attributes, uint32_t log2_bytes)
{
    TE_REG(TE_MPU_RNR) = number;
    TE_REG(TE_MPU_RBAR) = base;
    TE_REG(TE_MPU_RASR) = attributes | (log2_bytes - 1u) << 1 | 1u;
}

void te_mpu_limit(uintptr_t ram_origin, uintptr_t limit)
{
    const uint32_t bytes = (uint32_t)(limit - ram_origin);
    uint32_t log2_bytes = 8u; /* from here on a region has eight subregions */
    if ((TE_REG(TE_MPU_TYPE) >> 8 & 0xFFu) < 3u) {
        return; /* this part has no MPU: its bus faults instead */
    }
    while ((UINT32_C(1) << log2_bytes) < bytes) {
        log2_bytes++;
    }
    /* 192 KB: of a 256 KB region the subregions 6 and 7 are switched off. */
    const uint32_t part = (UINT32_C(1) << log2_bytes) / 8u;
    const uint32_t used = (bytes + part - 1u) / part;
    const uint32_t off = 0xFFu & ~((UINT32_C(1) << used) - 1u);
    const uint32_t none = (uint32_t)TE_AP_NONE << 24 | TE_RASR_XN | TE_RASR_NORMAL;
    const uint32_t full = (uint32_t)TE_AP_FULL << 24 | TE_RASR_XN | TE_RASR_NORMAL | off << 8;
    const uint32_t code = (uint32_t)TE_AP_READ << 24 | TE_RASR_NORMAL;
    te_mpu_region(0u, UINT32_C(0x20000000), none, 29u);
    te_mpu_region(1u, (uint32_t)ram_origin, full, log2_bytes);
    te_mpu_region(2u, 0u, code, 29u);
    TE_REG(TE_MPU_CTRL) = 5u; /* ENABLE, PRIVDEFENA; off inside the hard fault handler */
    __asm__ volatile("dsb\n isb" ::: "memory");
}

#endif
