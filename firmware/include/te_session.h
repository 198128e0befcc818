/* te_session.h - the device's side of the link: executes the host's commands exactly once.
 *
 * Stop and wait: the host sends a request and repeats it until its answer comes. The device
 * executes a sequence number once; a repeat is answered again without executing. Commands that
 * change something have answers of at most TE_SESSION_KEPT bytes, which are kept for that; commands
 * that only read are run again, which gives the same bytes because nothing ran in between. So one
 * frame buffer is all the memory that reliability costs.
 */
#ifndef TE_SESSION_H
#define TE_SESSION_H

#include <stdint.h>

#include "te_cobs.h"
#include "te_frame.h"
#include "te_model.h"

enum { TE_SESSION_VERSION = 1, TE_SESSION_KEPT = 8 };

/* Regions that READ and WRITE name; TE_REGION_STATE + i is state tensor i. */
enum {
    TE_REGION_INPUT = 0,
    TE_REGION_OUTPUT = 1,
    TE_REGION_HYPER = 2,    /* read only: lr f32, seed u32, step u32 */
    TE_REGION_COUNTERS = 3, /* read only: one u32 per mark of the last forward or step */
    TE_REGION_INFO = 4,     /* read only: what the model and the board are */
    TE_REGION_STATE = 16
};

/* Predicted class of a step whose forward output was not kept. */
#define TE_CLASS_UNKNOWN UINT32_C(0xFFFFFFFF)

typedef enum te_phase { TE_PHASE_START = 0, TE_PHASE_FRAME = 1, TE_PHASE_TEXT = 2 } te_phase;

typedef struct te_session {
    const te_model *model;
    uint16_t id; /* 0: no session is open */
    uint8_t sequence;
    uint8_t kept_code;
    uint8_t kept_status;
    uint8_t kept_bytes;
    uint8_t kept[TE_SESSION_KEPT];
    uint8_t phase;
    uint8_t overlong;
    uint8_t lossy; /* something was damaged or lost: answers end with a spare delimiter */
    te_cobs_decoder cobs;
    uint32_t count; /* bytes decoded into frame */
    uint8_t frame[TE_FRAME_BYTES];
} te_session;

/* `model` must outlive the session; the caller has run model->init(). */
void te_session_init(te_session *session, const te_model *model);

/* Feeds one received byte; answers through te_port_write. */
void te_session_feed(te_session *session, uint8_t byte);

/* Feeds what te_port_read yields until the link closes. */
void te_session_run(te_session *session);

/* The commands, called by te_session_feed once a request is known to be intact and new. Reads the
 * request in session->frame, leaves the answer's payload there; returns the status. */
uint8_t te_session_execute(te_session *session, uint8_t code, uint32_t request_bytes,
                           uint32_t *answer_bytes);

#endif
