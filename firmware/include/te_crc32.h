/* te_crc32.h - CRC-32 (ISO-HDLC; the one of zlib, Ethernet and PNG). */
#ifndef TE_CRC32_H
#define TE_CRC32_H

#include <stdint.h>

/* CRC-32 of `count` bytes; "123456789" gives 0xCBF43926. */
uint32_t te_crc32(const uint8_t *bytes, uint32_t count);

#endif
