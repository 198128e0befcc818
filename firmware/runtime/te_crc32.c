/* te_crc32.c - see te_crc32.h. A 16-entry table: 64 bytes of flash, two look-ups a byte. */
#include "te_crc32.h"

uint32_t te_crc32(const uint8_t *bytes, uint32_t count)
{
    /* Entry n is n shifted out of the reflected polynomial 0xEDB88320, four bits at a time. */
    static const uint32_t table[16] = {
        UINT32_C(0x00000000), UINT32_C(0x1db71064), UINT32_C(0x3b6e20c8), UINT32_C(0x26d930ac),
        UINT32_C(0x76dc4190), UINT32_C(0x6b6b51f4), UINT32_C(0x4db26158), UINT32_C(0x5005713c),
        UINT32_C(0xedb88320), UINT32_C(0xf00f9344), UINT32_C(0xd6d6a3e8), UINT32_C(0xcb61b38c),
        UINT32_C(0x9b64c2b0), UINT32_C(0x86d3d2d4), UINT32_C(0xa00ae278), UINT32_C(0xbdbdf21c),
    };
    uint32_t crc = UINT32_C(0xFFFFFFFF);
    for (uint32_t i = 0u; i < count; i++) {
        crc ^= bytes[i];
        crc = (crc >> 4) ^ table[crc & 15u];
        crc = (crc >> 4) ^ table[crc & 15u];
    }
    return ~crc;
}
