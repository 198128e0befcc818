/* te_session.c - the link's state machine; see te_session.h and docs/wire.md. */
#include "te_session.h"

#include <string.h>

#include "te_crc32.h"
#include "te_port.h"

void te_session_init(te_session *session, const te_model *model)
{
    memset(session, 0, sizeof *session);
    session->model = model;
}

/* Sends the answer whose payload of `count` bytes stands in the frame. */
static void te_session_answer(te_session *session, uint8_t code, uint8_t status, uint32_t count)
{
    session->frame[4] = code;
    session->frame[TE_FRAME_STATUS] = status;
    te_frame_send(session->frame, (uint32_t)TE_FRAME_ANSWER + count);
    if (session->lossy != 0u) {
        const uint8_t delimiter = 0u;
        te_port_write(&delimiter, 1u);
    }
}

static void te_session_nak(te_session *session)
{
    session->lossy = 1u;
    session->frame[0] = 0u;
    te_put_u16(session->frame + 1, session->id);
    session->frame[3] = session->sequence;
    te_session_answer(session, (uint8_t)TE_CODE_NAK, (uint8_t)TE_LINK_NAK, 0u);
}

static int te_session_reads_only(uint8_t code)
{
    return code == TE_CODE_HELLO || code == TE_CODE_TENSOR || code == TE_CODE_READ ||
           code == TE_CODE_HASH || code == TE_CODE_COUNTERS;
}

/* Executes the request in the frame and keeps its answer, if executing it again would matter. */
static void te_session_obey(te_session *session, uint8_t code, uint32_t request_bytes)
{
    uint32_t answer_bytes = 0u;
    const uint8_t status = te_session_execute(session, code, request_bytes, &answer_bytes);
    session->kept_code = code;
    session->kept_status = status;
    if (!te_session_reads_only(code)) {
        session->kept_bytes = (uint8_t)answer_bytes;
        memcpy(session->kept, session->frame + TE_FRAME_ANSWER, answer_bytes);
    }
    te_session_answer(session, (uint8_t)(code | TE_CODE_ANSWER), status, answer_bytes);
}

/* The host did not get our last answer: ends what is left of it on the wire, sends it again. */
static void te_session_repeat(te_session *session, uint8_t code, uint32_t request_bytes)
{
    const uint8_t delimiter = 0u;
    session->lossy = 1u;
    te_port_write(&delimiter, 1u);
    if (te_session_reads_only(code)) {
        te_session_obey(session, code, request_bytes);
        return;
    }
    memcpy(session->frame + TE_FRAME_ANSWER, session->kept, session->kept_bytes);
    te_session_answer(session, (uint8_t)(code | TE_CODE_ANSWER), session->kept_status,
                      session->kept_bytes);
}

/* A request arrived intact: decides whether it is new, a repeat, or not ours. */
static void te_session_request(te_session *session)
{
    const uint32_t request_bytes =
        session->count - (uint32_t)TE_FRAME_HEAD - (uint32_t)TE_FRAME_CRC;
    const uint16_t id = (uint16_t)te_get_u16(session->frame + 1);
    const uint8_t sequence = session->frame[3];
    const uint8_t code = session->frame[4];
    const uint8_t answer = (uint8_t)(code | TE_CODE_ANSWER);
    if (code == TE_CODE_HELLO && id != 0u && id != session->id) {
        session->id = id;
        session->sequence = sequence;
        session->lossy = 0u;
        te_session_obey(session, code, request_bytes);
    } else if (id == 0u || id != session->id) {
        te_session_answer(session, answer, (uint8_t)TE_LINK_SESSION, 0u);
    } else if (sequence == session->sequence && code == session->kept_code) {
        te_session_repeat(session, code, request_bytes);
    } else if (sequence == (uint8_t)(session->sequence + 1u)) {
        session->sequence = sequence;
        te_session_obey(session, code, request_bytes);
    } else {
        te_session_answer(session, answer, (uint8_t)TE_LINK_SEQUENCE, 0u);
    }
}

/* The delimiter came: the frame is judged. */
static void te_session_end(te_session *session)
{
    const uint32_t least = (uint32_t)TE_FRAME_HEAD + (uint32_t)TE_FRAME_CRC;
    int intact = session->phase == TE_PHASE_FRAME && session->overlong == 0u &&
                 te_cobs_complete(&session->cobs) && session->count >= least;
    if (intact) {
        const uint32_t body = session->count - (uint32_t)TE_FRAME_CRC;
        intact = te_crc32(session->frame, body) == te_get_u32(session->frame + body) &&
                 session->frame[4] <= TE_CODE_LAST;
    }
    if (intact) {
        te_session_request(session);
    } else if (session->phase != TE_PHASE_START) {
        te_session_nak(session);
    }
    session->phase = (uint8_t)TE_PHASE_START;
}

/* First byte of a message: 0x01 opens a frame, anything else the text protocol. */
static void te_session_start(te_session *session, uint8_t byte)
{
    session->phase = (uint8_t)(byte == 0x01u ? TE_PHASE_FRAME : TE_PHASE_TEXT);
    session->overlong = 0u;
    session->count = 0u;
    te_cobs_begin(&session->cobs);
}

void te_session_feed(te_session *session, uint8_t byte)
{
    uint8_t data = 0u;
    if (byte == 0u) {
        te_session_end(session);
        return;
    }
    if (session->phase == TE_PHASE_START) {
        te_session_start(session, byte);
    }
    if (session->phase == TE_PHASE_TEXT) {
        return; /* the seam for text commands: until there are any, they are skipped */
    }
    if (te_cobs_feed(&session->cobs, byte, &data)) {
        if (session->count < (uint32_t)TE_FRAME_BYTES) {
            session->frame[session->count] = data;
            session->count++;
        } else {
            session->overlong = 1u;
        }
    }
}

void te_session_run(te_session *session)
{
    uint8_t bytes[64];
    uint32_t count = te_port_read(bytes, (uint32_t)sizeof bytes);
    while (count > 0u) {
        for (uint32_t i = 0u; i < count; i++) {
            te_session_feed(session, bytes[i]);
        }
        count = te_port_read(bytes, (uint32_t)sizeof bytes);
    }
}
