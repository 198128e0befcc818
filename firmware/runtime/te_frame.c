/* te_frame.c - see te_frame.h. */
#include "te_frame.h"

#include "te_cobs.h"
#include "te_crc32.h"
#include "te_port.h"

void te_frame_send(uint8_t *frame, uint32_t count)
{
    te_put_u32(frame + count, te_crc32(frame, count));
    const uint32_t total = count + (uint32_t)TE_FRAME_CRC;
    uint32_t at = 0u;
    for (;;) {
        const uint32_t run = te_cobs_run(frame + at, total - at);
        const uint8_t code = (uint8_t)(run + 1u);
        te_port_write(&code, 1u);
        te_port_write(frame + at, run);
        at += run;
        if (at == total) {
            break;
        }
        if (run < 254u) {
            at++; /* the zero that the code stands for */
        }
    }
    const uint8_t end = 0u;
    te_port_write(&end, 1u);
}

void te_frame_send_fault(te_fault_kind kind, const uint32_t registers[8])
{
    uint8_t frame[TE_FRAME_ANSWER + 1 + 8 * 4 + TE_FRAME_CRC];
    const uint8_t delimiter = 0u;
    te_port_write(&delimiter, 1u); /* ends whatever the fault cut short */
    frame[0] = 0u;
    te_put_u16(frame + 1, 0u);
    frame[3] = 0u;
    frame[4] = (uint8_t)TE_CODE_FAULT;
    frame[TE_FRAME_STATUS] = (uint8_t)TE_LINK_FAULT;
    frame[TE_FRAME_ANSWER] = (uint8_t)kind;
    for (uint32_t i = 0u; i < 8u; i++) {
        te_put_u32(frame + TE_FRAME_ANSWER + 1 + 4u * i, registers[i]);
    }
    te_frame_send(frame, (uint32_t)TE_FRAME_ANSWER + 1u + 8u * 4u);
}
