#include "mux/session_control.h"

#include <assert.h>

static void control_append(struct mux_session *session, const uint8_t *bytes, size_t size)
{
    struct byte_queue *queue = &session->control.send;

    uint64_t held = queue->end - queue->start + size;

    if (held > MUX_CONTROL_QUEUE_MAX ||
        (held > MUX_CONTROL_QUEUE_FREE && memory_share_send_room(session->share) < size)) {
        session->control_overflow = true;
        return;
    }
    byte_queue_append(queue, bytes, size);
    mux_core_charge_sent(&session->control);
    mux_core_output_lead(session);
}

void mux_control_send(struct mux_session *session, const struct mux_message *message)
{
    uint8_t buffer[MUX_MESSAGE_ENCODED_MAX];
    struct byte_writer w;

    byte_writer_init(&w, buffer, sizeof buffer);
    mux_message_encode(&w, message);
    assert(!w.failed);
    control_append(session, buffer, byte_writer_size(&w));
}

void mux_control_send_simple(struct mux_session *session, enum mux_message_type type,
                             uint32_t stream)
{
    mux_control_send(session, &(struct mux_message){.type = (uint8_t)type, .stream = stream});
}

void mux_control_send_reset(struct mux_session *session, enum mux_message_type type,
                            uint32_t stream, uint64_t final, enum mux_code code,
                            struct mux_text reason)
{
    struct mux_message message = {.type = (uint8_t)type, .stream = stream};

    message.u.reset.final = final;
    message.u.reset.code = (uint16_t)code;
    message.u.reset.reason = reason;
    mux_control_send(session, &message);
}

void mux_control_send_payload(struct mux_session *session, uint8_t type, const uint8_t *payload,
                              size_t size)
{
    uint8_t header[MUX_MESSAGE_HEADER] = {type, 0};

    byte_store_u16(header + 2, (uint16_t)size);
    control_append(session, header, sizeof header);
    control_append(session, payload, size);
}
