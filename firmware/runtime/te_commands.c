/* te_commands.c - what each command does; the byte tables are in docs/wire.md. */
#include <string.h>

#include "te_mark.h"
#include "te_port.h"
#include "te_random.h"
#include "te_session.h"
#include "te_sha256.h"

#ifndef TE_BOARD_NAME
#define TE_BOARD_NAME "unnamed"
#endif

enum { TE_NAME_BYTES = 64 }; /* longer names are cut on the wire */

static const uint8_t *te_request(const te_session *session)
{
    return session->frame + TE_FRAME_HEAD;
}

static uint8_t *te_answer(te_session *session)
{
    return session->frame + TE_FRAME_ANSWER;
}

/* Length byte, then the characters; returns the bytes written. */
static uint32_t te_put_name(uint8_t *p, const char *name)
{
    uint32_t count = 0u;
    while (name[count] != '\0' && count < (uint32_t)TE_NAME_BYTES) {
        p[1u + count] = (uint8_t)name[count];
        count++;
    }
    p[0] = (uint8_t)count;
    return count + 1u;
}

/* Writes the INFO region to `p`, returns its length: at most 63 + 2 * 65 bytes. */
static uint32_t te_put_info(const te_model *model, uint8_t *p)
{
    memcpy(p, model->hash, 32u);
    te_put_u32(p + 32, model->input_bytes);
    te_put_u32(p + 36, model->output_bytes);
    te_put_u32(p + 40, model->classes);
    te_put_u32(p + 44, model->state_count);
    te_put_u32(p + 48, model->forward_marks);
    te_put_u32(p + 52, model->train_marks);
    p[56] = (uint8_t)model->output_dtype;
    p[57] = (uint8_t)(model->train_step != NULL ? 1u : 0u);
    uint32_t count = 58u;
    count += te_put_name(p + count, TE_BOARD_NAME);
    count += te_put_name(p + count, model->name);
    return count;
}

static uint32_t te_put_hyper(const te_hyper *hyper, uint8_t *p)
{
    memcpy(p, &hyper->lr, 4u);
    te_put_u32(p + 4, hyper->seed);
    te_put_u32(p + 8, hyper->step);
    return 12u;
}

/* The memory behind a region, or NULL for the regions that are composed when read. */
static uint8_t *te_region(const te_model *model, uint32_t region, uint32_t *bytes)
{
    *bytes = 0u;
    if (region == (uint32_t)TE_REGION_INPUT) {
        *bytes = model->input_bytes;
        return model->input;
    }
    if (region == (uint32_t)TE_REGION_OUTPUT) {
        *bytes = model->output_bytes;
        return model->output;
    }
    if (region >= (uint32_t)TE_REGION_STATE &&
        region - (uint32_t)TE_REGION_STATE < model->state_count) {
        const te_tensor *tensor = &model->state[region - (uint32_t)TE_REGION_STATE];
        *bytes = tensor->bytes;
        return tensor->data;
    }
    return NULL;
}

static int te_in_range(uint32_t offset, uint32_t count, uint32_t bytes)
{
    return offset <= bytes && count <= bytes - offset;
}

static uint8_t te_do_hello(te_session *session, uint32_t *answer_bytes)
{
    uint8_t *answer = te_answer(session);
    answer[0] = (uint8_t)TE_SESSION_VERSION;
    te_put_u16(answer + 1, (uint32_t)TE_FRAME_PAYLOAD);
    *answer_bytes = 3u;
    return (uint8_t)TE_OK;
}

static uint8_t te_do_tensor(te_session *session, uint32_t request_bytes, uint32_t *answer_bytes)
{
    if (request_bytes != 2u) {
        return (uint8_t)TE_ERR_ARG;
    }
    const uint32_t index = te_get_u16(te_request(session));
    if (index >= session->model->state_count) {
        return (uint8_t)TE_ERR_RANGE;
    }
    const te_tensor *tensor = &session->model->state[index];
    uint8_t *answer = te_answer(session);
    te_put_u32(answer, tensor->bytes);
    answer[4] = (uint8_t)tensor->dtype;
    *answer_bytes = 5u + te_put_name(answer + 5, tensor->name);
    return (uint8_t)TE_OK;
}

/* The marks of a fed input come before those of the pass that uses it up, and belong to it. */
static uint8_t te_feed_input(const te_model *model, uint32_t offset, const uint8_t *bytes,
                             uint32_t count)
{
    if (offset == 0u) {
        te_mark_reset();
    }
    return (uint8_t)model->feed(offset, bytes, count);
}

/* region u16, offset u32, then the bytes */
static uint8_t te_do_write(te_session *session, uint32_t request_bytes)
{
    const uint8_t *request = te_request(session);
    uint32_t bytes = 0u;
    if (request_bytes < 6u) {
        return (uint8_t)TE_ERR_ARG;
    }
    const te_model *model = session->model;
    const uint32_t offset = te_get_u32(request + 2);
    if (te_get_u16(request) == (uint32_t)TE_REGION_INPUT && model->feed != NULL) {
        return te_feed_input(model, offset, request + 6, request_bytes - 6u);
    }
    uint8_t *memory = te_region(model, te_get_u16(request), &bytes);
    if (memory == NULL) {
        return (uint8_t)TE_ERR_ARG;
    }
    if (!te_in_range(offset, request_bytes - 6u, bytes)) {
        return (uint8_t)TE_ERR_RANGE;
    }
    memcpy(memory + offset, request + 6, request_bytes - 6u);
    return (uint8_t)TE_OK;
}

static uint8_t te_read_counters(uint8_t *answer, uint32_t offset, uint32_t count)
{
    if (((offset | count) & 3u) != 0u) {
        return (uint8_t)TE_ERR_ARG;
    }
    if (!te_in_range(offset, count, 4u * te_mark_count())) {
        return (uint8_t)TE_ERR_RANGE;
    }
    for (uint32_t at = 0u; at < count; at += 4u) {
        te_put_u32(answer + at, te_mark_at((offset + at) / 4u));
    }
    return (uint8_t)TE_OK;
}

/* Composes a whole small region in the answer, then moves the part asked for to its start. */
static uint8_t te_read_composed(te_session *session, uint32_t region, uint32_t offset,
                                uint32_t count)
{
    uint8_t *answer = te_answer(session);
    const uint32_t bytes = region == (uint32_t)TE_REGION_INFO
                               ? te_put_info(session->model, answer)
                               : te_put_hyper(session->model->hyper, answer);
    if (!te_in_range(offset, count, bytes)) {
        return (uint8_t)TE_ERR_RANGE;
    }
    memmove(answer, answer + offset, count);
    return (uint8_t)TE_OK;
}

/* region u16, offset u32, count u16 */
static uint8_t te_do_read(te_session *session, uint32_t request_bytes, uint32_t *answer_bytes)
{
    const uint8_t *request = te_request(session);
    if (request_bytes != 8u || te_get_u16(request + 6) > (uint32_t)TE_FRAME_PAYLOAD) {
        return (uint8_t)TE_ERR_ARG;
    }
    const uint32_t region = te_get_u16(request);
    const uint32_t offset = te_get_u32(request + 2);
    const uint32_t count = te_get_u16(request + 6);
    uint32_t bytes = 0u;
    uint8_t status = (uint8_t)TE_OK;
    const uint8_t *memory = te_region(session->model, region, &bytes);
    if (memory != NULL) {
        if (!te_in_range(offset, count, bytes)) {
            return (uint8_t)TE_ERR_RANGE;
        }
        memcpy(te_answer(session), memory + offset, count);
    } else if (region == (uint32_t)TE_REGION_COUNTERS) {
        status = te_read_counters(te_answer(session), offset, count);
    } else if (region == (uint32_t)TE_REGION_INFO || region == (uint32_t)TE_REGION_HYPER) {
        status = te_read_composed(session, region, offset, count);
    } else {
        status = (uint8_t)TE_ERR_ARG;
    }
    *answer_bytes = status == (uint8_t)TE_OK ? count : 0u;
    return status;
}

static int te_is_larger(te_dtype dtype, const void *values, uint32_t one, uint32_t other)
{
    if (dtype == TE_I8) {
        return ((const int8_t *)values)[one] > ((const int8_t *)values)[other];
    }
    if (dtype == TE_U8) {
        return ((const uint8_t *)values)[one] > ((const uint8_t *)values)[other];
    }
    if (dtype == TE_I32) {
        return ((const int32_t *)values)[one] > ((const int32_t *)values)[other];
    }
    return ((const float *)values)[one] > ((const float *)values)[other];
}

/* Index of the largest of `classes` values, the first of equals; TE_CLASS_UNKNOWN if the model is
 * no classification, has no such values, or they are of a type that is never an output. */
static uint32_t te_argmax(const te_model *model, te_dtype dtype, const void *values)
{
    const int known = dtype == TE_I8 || dtype == TE_U8 || dtype == TE_I32 || dtype == TE_F32;
    if (model->classes == 0u || values == NULL || !known) {
        return TE_CLASS_UNKNOWN;
    }
    uint32_t best = 0u;
    for (uint32_t i = 1u; i < model->classes; i++) {
        best = te_is_larger(dtype, values, i, best) ? i : best;
    }
    return best;
}

static void te_begin_pass(const te_model *model)
{
    if (model->feed == NULL) {
        te_mark_reset();
    }
}

static uint8_t te_do_forward(te_session *session)
{
    te_begin_pass(session->model);
    return (uint8_t)session->model->forward(NULL, NULL);
}

static uint8_t te_do_evaluate(te_session *session, uint32_t *answer_bytes)
{
    const uint8_t status = te_do_forward(session);
    const te_model *model = session->model;
    te_put_u32(te_answer(session), te_argmax(model, model->output_dtype, model->output));
    *answer_bytes = status == (uint8_t)TE_OK ? 4u : 0u;
    return status;
}

/* label u32 -> loss f32, class of the step's own forward u32 */
static uint8_t te_do_train(te_session *session, uint32_t request_bytes, uint32_t *answer_bytes)
{
    const te_model *model = session->model;
    if (request_bytes != 4u) {
        return (uint8_t)TE_ERR_ARG;
    }
    if (model->train_step == NULL) {
        return (uint8_t)TE_ERR_STATE;
    }
    const uint32_t label = te_get_u32(te_request(session));
    if (label >= model->classes) {
        return (uint8_t)TE_ERR_RANGE;
    }
    float loss = 0.0f;
    te_begin_pass(model);
    const te_status status = model->train_step(NULL, label, &loss);
    memcpy(te_answer(session), &loss, 4u);
    te_put_u32(te_answer(session) + 4, te_argmax(model, TE_F32, model->logits));
    *answer_bytes = status == TE_OK ? 8u : 0u;
    return (uint8_t)status;
}

/* field u8 (0 lr, 1 seed, 2 step), value f32 or u32 */
static uint8_t te_do_set(te_session *session, uint32_t request_bytes)
{
    const uint8_t *request = te_request(session);
    te_hyper *hyper = session->model->hyper;
    if (request_bytes != 5u || request[0] > 2u) {
        return (uint8_t)TE_ERR_ARG;
    }
    if (request[0] == 0u) {
        memcpy(&hyper->lr, request + 1, 4u);
    } else if (request[0] == 1u) {
        hyper->seed = te_get_u32(request + 1);
    } else {
        hyper->step = te_get_u32(request + 1);
    }
    return (uint8_t)TE_OK;
}

/* seed u32, index u32 -> label u32 */
static uint8_t te_do_fill(te_session *session, uint32_t request_bytes, uint32_t *answer_bytes)
{
    const te_model *model = session->model;
    if (request_bytes != 8u) {
        return (uint8_t)TE_ERR_ARG;
    }
    const uint8_t *request = te_request(session);
    const uint32_t key = te_fake_key(te_get_u32(request), te_get_u32(request + 4));
    uint8_t *piece = te_answer(session); /* the request has been read */
    uint8_t status = (uint8_t)TE_OK;
    for (uint32_t at = 0u; at < model->input_bytes && status == (uint8_t)TE_OK;) {
        const uint32_t left = model->input_bytes - at;
        const uint32_t most = (uint32_t)TE_FRAME_PAYLOAD;
        const uint32_t count = left < most ? left : most;
        for (uint32_t i = 0u; i < count; i++) {
            piece[i] = te_fake_byte(key, at + i);
        }
        if (model->feed != NULL) {
            status = te_feed_input(model, at, piece, count);
        } else {
            memcpy((uint8_t *)model->input + at, piece, count);
        }
        at += count;
    }
    te_put_u32(te_answer(session), te_fake_label(key, model->classes));
    *answer_bytes = status == (uint8_t)TE_OK ? 4u : 0u;
    return status;
}

static uint8_t te_do_hash(te_session *session, uint32_t *answer_bytes)
{
    te_sha256 sha;
    te_sha256_begin(&sha);
    for (uint32_t i = 0u; i < session->model->state_count; i++) {
        const te_tensor *tensor = &session->model->state[i];
        te_sha256_add(&sha, tensor->data, tensor->bytes);
    }
    te_sha256_end(&sha, te_answer(session));
    *answer_bytes = 32u;
    return (uint8_t)TE_OK;
}

/* unit u8 (te_tick_unit), marks logged u32 */
static uint8_t te_do_counters(te_session *session, uint32_t *answer_bytes)
{
    const uint32_t count = te_mark_count();
    te_answer(session)[0] = (uint8_t)(count > 0u ? te_port_tick_unit() : TE_TICK_NONE);
    te_put_u32(te_answer(session) + 1, count);
    *answer_bytes = 5u;
    return (uint8_t)TE_OK;
}

static uint8_t te_do_reset(te_session *session)
{
    session->model->init();
    te_mark_reset();
    return (uint8_t)TE_OK;
}

uint8_t te_session_execute(te_session *session, uint8_t code, uint32_t request_bytes,
                           uint32_t *answer_bytes)
{
    switch ((te_code)code) {
    case TE_CODE_HELLO:
        return te_do_hello(session, answer_bytes);
    case TE_CODE_TENSOR:
        return te_do_tensor(session, request_bytes, answer_bytes);
    case TE_CODE_WRITE:
        return te_do_write(session, request_bytes);
    case TE_CODE_READ:
        return te_do_read(session, request_bytes, answer_bytes);
    case TE_CODE_FORWARD:
        return te_do_forward(session);
    case TE_CODE_TRAIN:
        return te_do_train(session, request_bytes, answer_bytes);
    case TE_CODE_EVALUATE:
        return te_do_evaluate(session, answer_bytes);
    case TE_CODE_SET:
        return te_do_set(session, request_bytes);
    case TE_CODE_FILL:
        return te_do_fill(session, request_bytes, answer_bytes);
    case TE_CODE_HASH:
        return te_do_hash(session, answer_bytes);
    case TE_CODE_COUNTERS:
        return te_do_counters(session, answer_bytes);
    case TE_CODE_RESET:
        return te_do_reset(session);
    case TE_CODE_LAST:
    case TE_CODE_ANSWER:
    case TE_CODE_NAK:
    case TE_CODE_FAULT:
    default:
        return (uint8_t)TE_LINK_UNKNOWN;
    }
}
