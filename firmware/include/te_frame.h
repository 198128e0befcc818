/* te_frame.h - frames on the wire; docs/wire.md is the specification.
 *
 *   request  00 | session u16 | sequence u8 | code u8        | payload      | CRC-32
 *   answer   00 | session u16 | sequence u8 | code u8 | 0x80 | status u8 .. | CRC-32
 *
 * all little endian, then COBS, then one 0x00. The leading zero makes the first byte on the wire
 * always 0x01, which no text command can start with.
 */
#ifndef TE_FRAME_H
#define TE_FRAME_H

#include <stdint.h>

enum {
    TE_FRAME_PAYLOAD = 512, /* largest payload of a request, and of an answer after its status */
    TE_FRAME_HEAD = 5,
    TE_FRAME_STATUS = 5, /* offset of an answer's status */
    TE_FRAME_ANSWER = 6, /* offset of an answer's payload */
    TE_FRAME_CRC = 4,
    TE_FRAME_BYTES = TE_FRAME_ANSWER + TE_FRAME_PAYLOAD + TE_FRAME_CRC
};

typedef enum te_code {
    TE_CODE_HELLO = 0x01,
    TE_CODE_TENSOR = 0x02,
    TE_CODE_WRITE = 0x03,
    TE_CODE_READ = 0x04,
    TE_CODE_FORWARD = 0x05,
    TE_CODE_TRAIN = 0x06,
    TE_CODE_EVALUATE = 0x07,
    TE_CODE_SET = 0x08,
    TE_CODE_FILL = 0x09,
    TE_CODE_HASH = 0x0A,
    TE_CODE_COUNTERS = 0x0B,
    TE_CODE_RESET = 0x0C,
    TE_CODE_LAST = 0x6F,   /* for requests to come: 0x7E, 0x7F would answer like NAK, FAULT */
    TE_CODE_ANSWER = 0x80, /* or-ed into the code of the request */
    TE_CODE_NAK = 0xFE,    /* unsolicited: a frame arrived damaged */
    TE_CODE_FAULT = 0xFF   /* unsolicited: the processor faulted; the firmware has stopped */
} te_code;

/* An answer's status: te_status, or one of these. */
enum {
    TE_LINK_UNKNOWN = 16,  /* no such command */
    TE_LINK_SESSION = 17,  /* another session is open, or none (the device restarted) */
    TE_LINK_SEQUENCE = 18, /* neither the last sequence number nor the next */
    TE_LINK_NAK = 19,
    TE_LINK_FAULT = 20
};

static inline uint32_t te_get_u16(const uint8_t *p)
{
    return (uint32_t)p[0] | (uint32_t)p[1] << 8;
}

static inline uint32_t te_get_u32(const uint8_t *p)
{
    return te_get_u16(p) | te_get_u16(p + 2) << 16;
}

static inline void te_put_u16(uint8_t *p, uint32_t value)
{
    p[0] = (uint8_t)value;
    p[1] = (uint8_t)(value >> 8);
}

static inline void te_put_u32(uint8_t *p, uint32_t value)
{
    te_put_u16(p, value);
    te_put_u16(p + 2, value >> 16);
}

/* Sends frame[0..count) as one frame; writes the CRC into frame[count..count+4). */
void te_frame_send(uint8_t *frame, uint32_t count);

/* Tells the host that the processor faulted. `kind` is te_fault_kind, then eight registers:
 * PC, LR, SP, xPSR, CFSR, HFSR, MMFAR, BFAR. Needs no session: the fault may have come from it. */
typedef enum te_fault_kind {
    TE_FAULT_HARD = 1,
    TE_FAULT_MEMORY = 2,
    TE_FAULT_BUS = 3,
    TE_FAULT_USAGE = 4,
    TE_FAULT_OTHER = 5
} te_fault_kind;

void te_frame_send_fault(te_fault_kind kind, const uint32_t registers[8]);

#endif
