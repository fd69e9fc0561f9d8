/* The receiving side of a session: frames of the link, messages of the control stream. */
#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "base/memory.h"
#include "mux/session.h"
#include "mux/session_control.h"
#include "mux/session_core.h"
#include "mux/stream_internal.h"

/* A frame for a stream that is not there: it was forgotten while the frame was under way, or it
 * never was. */
static int known(struct mux_session *session, const struct mux_frame *frame)
{
    return frame->stream != MUX_CONTROL_STREAM && frame->stream <= session->last_stream
               ? 0
               : mux_core_broken(session, "a frame for a stream that was never opened");
}

/* ---- messages */

/* Tells the owner, and what to tell the peer. */
static const char *limited(struct mux_session *session, uint32_t stream, enum mux_limit limit)
{
    bool server = session->settings.role == MUX_SERVER;
    const char *reason = limit == MUX_LIMIT_STREAMS
                             ? "the client has reached its limit of connections (--max-streams)"
                         : server ? "the server's memory for connections is used up (--memory)"
                                  : "the client's memory for connections is used up (--memory)";

    if (session->callbacks->limited)
        session->callbacks->limited(session->context, stream, limit, reason);
    return reason;
}

static int receive_open(struct mux_session *session, const struct mux_message *message)
{
    struct mux_stream *stream;
    enum mux_limit limit;

    /* The highest id there is can be used like any other; after it no OPEN is right. */
    if (session->settings.role != MUX_SERVER || message->stream <= session->last_stream)
        return mux_core_broken(session, "OPEN for a stream that cannot be opened");
    session->last_stream = message->stream;
    stream = mux_stream_new(session, message->stream, &limit);
    if (!stream) {
        mux_control_send_reset(session, MUX_REFUSED, message->stream, 0, MUX_CODE_LIMIT,
                               mux_text_of(limited(session, message->stream, limit)));
        return 0;
    }
    if (session->callbacks->open)
        session->callbacks->open(session->context, stream, &message->u.open.target,
                                 message->u.open.peer);
    else
        mux_stream_refuse(stream, MUX_CODE_UNKNOWN_TARGET, "this end accepts no connections");
    return 0;
}

static int receive_answer(struct mux_session *session, struct mux_stream *stream,
                          const struct mux_message *message)
{
    if (session->settings.role != MUX_CLIENT || stream->answered)
        return mux_core_broken(session, "an answer for a stream that was not requested");
    stream->answered = true;
    if (message->type == MUX_REFUSED)
        mux_stream_cut(stream, (enum mux_code)message->u.reset.code, message->u.reset.reason);
    else if (!stream->orphan && stream->callbacks->opened)
        stream->callbacks->opened(stream->owner, stream);
    return 0;
}

/* Tells the owner, once, when the last byte has been handed over. May free the stream. */
static void tell_finish(struct mux_session *session, struct mux_stream *stream)
{
    uint32_t id = stream->id;

    if (stream->finish_told || stream->orphan || stream->reset_reason ||
        stream->receive_half != MUX_HALF_FINISHING ||
        stream->window.received < stream->receive_final)
        return;
    stream->finish_told = true;
    if (stream->callbacks->finished)
        stream->callbacks->finished(stream->owner, stream);
    stream = idmap_get(&session->streams, id);
    if (stream)
        mux_stream_check_received(stream);
}

static int receive_finish(struct mux_session *session, struct mux_stream *stream, uint64_t final)
{
    if (stream->orphan)
        return 0;
    if (final < stream->window.received || final > stream->window.limit ||
        !mux_half_step(&stream->receive_half, MUX_EVENT_FINISH))
        return mux_core_broken(session, "FINISH at an invalid position");
    stream->receive_final = final;
    tell_finish(session, stream);
    return 0;
}

static int receive_done(struct mux_session *session, struct mux_stream *stream)
{
    /*
     * After a resume there may be unread bytes all the same: a peer that has everything and has
     * forgotten the stream states no position for it, so its bytes were about to be sent again.
     */
    if (!mux_half_step(&stream->send_half, MUX_EVENT_DONE))
        return mux_core_broken(session, "DONE for a stream that has not ended");
    mux_stream_drop_sent(stream);
    mux_stream_check_over(stream);
    return 0;
}

/* A reset that lets data through first: the receiving half goes on to final, the sending half is
 * over. */
static int receive_reset(struct mux_session *session, struct mux_stream *stream,
                         const struct mux_message *message)
{
    uint64_t final = message->u.reset.final;

    if (final <= stream->window.consumed || stream->orphan || stream->reset_reason ||
        stream->receive_half == MUX_HALF_OVER) {
        mux_stream_cut(stream, (enum mux_code)message->u.reset.code, message->u.reset.reason);
        return 0;
    }
    if (final < stream->window.received || final > stream->window.limit ||
        (stream->receive_half == MUX_HALF_FINISHING && final != stream->receive_final))
        return mux_core_broken(session, "RESET at an invalid position");
    stream->reset_reason = memory_new(message->u.reset.reason.size + 1);
    if (message->u.reset.reason.size > 0)
        memcpy(stream->reset_reason, message->u.reset.reason.bytes, message->u.reset.reason.size);
    stream->reset_code = message->u.reset.code;
    stream->receive_final = final;
    stream->receive_half = MUX_HALF_FINISHING;
    mux_half_step(&stream->send_half, MUX_EVENT_RESET);
    mux_stream_drop_sent(stream);
    mux_stream_linger(stream);
    return 0;
}

static int receive_stream_message(struct mux_session *session, const struct mux_message *message)
{
    struct mux_stream *stream = idmap_get(&session->streams, message->stream);

    if (message->type == MUX_OPEN)
        return receive_open(session, message);
    if (!stream) {
        /* It was reset here while the message was under way; one that never was is an error. */
        if (message->stream > session->last_stream)
            return mux_core_broken(session, "a message for a stream that was never opened");
        return 0;
    }
    switch (message->type) {
    case MUX_OPENED:
    case MUX_REFUSED:
        return receive_answer(session, stream, message);
    case MUX_FINISH:
        return receive_finish(session, stream, message->u.finish.final);
    case MUX_DONE:
        return receive_done(session, stream);
    default:
        return receive_reset(session, stream, message);
    }
}

static int receive_message(struct mux_session *session, uint8_t type, const uint8_t *payload,
                           size_t size)
{
    struct mux_message message;

    switch (type) {
    case MUX_OPEN:
    case MUX_OPENED:
    case MUX_REFUSED:
    case MUX_FINISH:
    case MUX_DONE:
    case MUX_RESET:
        if (!mux_message_decode(type, payload, size, &message))
            return mux_core_broken(session, "a malformed message");
        return receive_stream_message(session, &message);
    case MUX_EXPOSE:
    case MUX_EXPOSED:
    case MUX_ADDRESSES:
    case MUX_TROUBLE:
    case MUX_WITHDRAWN:
        if (session->callbacks->message)
            session->callbacks->message(session->context, type, payload, size);
        return 0;
    default:
        return type & MUX_MAY_IGNORE ? 0 : mux_core_broken(session, "a message of an unknown type");
    }
}

/* Takes bytes of the control stream; messages may be cut anywhere. */
static int receive_control(struct mux_session *session, const uint8_t *bytes, size_t size)
{
    struct mux_message_input *input = &session->message;

    while (size > 0) {
        size_t want = MUX_MESSAGE_HEADER;
        if (input->fill >= MUX_MESSAGE_HEADER)
            want += byte_load_u16(input->bytes + 2);
        if (want > sizeof input->bytes)
            return mux_core_broken(session, "a message is larger than the protocol allows");
        size_t part = want - input->fill < size ? want - input->fill : size;
        memcpy(input->bytes + input->fill, bytes, part);
        input->fill += part;
        bytes += part;
        size -= part;
        if (input->fill < MUX_MESSAGE_HEADER ||
            input->fill < MUX_MESSAGE_HEADER + (size_t)byte_load_u16(input->bytes + 2))
            continue;
        size_t payload = input->fill - MUX_MESSAGE_HEADER;
        input->fill = 0;
        int error =
            receive_message(session, input->bytes[0], input->bytes + MUX_MESSAGE_HEADER, payload);
        if (error)
            return error;
        if (session->control_overflow)
            return mux_core_broken(session, "the peer does not read the control stream");
    }
    return 0;
}

/* ---- data */

static int receive_stream_data(struct mux_session *session, uint32_t id, const uint8_t *bytes,
                               size_t size)
{
    struct mux_stream *stream = idmap_get(&session->streams, id);

    if (!stream || stream->orphan)
        return 0;
    /* More was promised to peers than there is memory for. */
    if (!mux_window_receive(&stream->window, size, session->share)) {
        const struct mux_text reason = mux_text_of(limited(session, id, MUX_LIMIT_MEMORY));
        mux_control_send_reset(session, MUX_RESET, id, 0, MUX_CODE_LIMIT, reason);
        mux_stream_cut(stream, MUX_CODE_LIMIT, reason);
        return 0;
    }
    if (stream->callbacks->data)
        stream->callbacks->data(stream->owner, stream, bytes, size);
    else
        mux_stream_consume(stream, size, session->now_us);
    /* The callback may have ended the stream. */
    stream = idmap_get(&session->streams, id);
    if (stream)
        tell_finish(session, stream);
    return 0;
}

static int receive_data_bytes(struct mux_session *session, const uint8_t *bytes, size_t size)
{
    session->progress += size;
    if (session->input.data.stream != MUX_CONTROL_STREAM)
        return receive_stream_data(session, session->input.data.stream, bytes, size);

    struct mux_stream *control = &session->control;
    control->window.received += size;
    control->window.consumed += size;
    mux_stream_owe_credit(control, control->window.consumed - control->window.announced >
                                           MUX_CONTROL_WINDOW / 4
                                       ? MUX_WINDOW_NOW
                                       : MUX_WINDOW_LATER);
    return receive_control(session, bytes, size);
}

/* Checks a DATA frame against the stream before any of its bytes is taken. */
static int check_data(struct mux_session *session, const struct mux_frame *frame, uint64_t offset)
{
    uint64_t size = frame->size - 8u;
    const struct mux_stream *stream = &session->control;

    if (frame->stream != MUX_CONTROL_STREAM)
        stream = idmap_get(&session->streams, frame->stream);
    if (!stream)
        return known(session, frame);
    if (stream->orphan)
        return 0;
    if (offset != stream->window.received)
        return mux_core_broken(session, "DATA at an unexpected offset");
    if (size > stream->window.limit - offset)
        return mux_core_broken(session, "DATA beyond the credit that was granted");
    if (stream->receive_half != MUX_HALF_OPEN && offset + size > stream->receive_final)
        return mux_core_broken(session, "DATA beyond the end of the stream");
    return 0;
}

static int begin_data(struct mux_session *session, const struct mux_frame *frame, uint64_t offset)
{
    int error = check_data(session, frame, offset);

    if (!error) {
        session->input.data = *frame;
        session->input.data_left = frame->size - 8u;
    }
    return error;
}

/* ---- other frames */

static int receive_welcome(struct mux_session *session, const uint8_t *payload, size_t size)
{
    struct mux_welcome welcome;

    if (session->settings.role != MUX_CLIENT || session->phase != MUX_PHASE_GREETING)
        return mux_core_broken(session, "WELCOME at the wrong time");
    if (!mux_welcome_decode(payload, size, &welcome) || welcome.version < MUX_VERSION_MIN ||
        welcome.version > MUX_VERSION_MAX || welcome.resumed != session->known_to_server)
        return mux_core_broken(session, "WELCOME is malformed or contradicts HELLO");
    session->known_to_server = true;
    session->peer_initial_window = welcome.initial_window;
    session->key = welcome.key;
    session->greeting_us = session->now_us;
    session->phase = welcome.resumed ? MUX_PHASE_POSITIONS : MUX_PHASE_UP;
    if (!welcome.resumed)
        mux_core_ask(session);
    if (session->callbacks->established)
        session->callbacks->established(session->context, &welcome);
    mux_core_output(session);
    return 0;
}

static int receive_reject(struct mux_session *session, const uint8_t *payload, size_t size)
{
    if (session->settings.role != MUX_CLIENT || session->phase != MUX_PHASE_GREETING ||
        !mux_reject_decode(payload, size, &session->rejection))
        return mux_core_broken(session, "REJECT is malformed or at the wrong time");
    struct mux_text *text = &session->rejection.reason;
    size_t kept = text->size < MUX_REASON_MAX ? text->size : MUX_REASON_MAX;
    memcpy(session->rejection_reason, text->bytes ? text->bytes : "", kept);
    *text = (struct mux_text){session->rejection_reason, kept};
    session->reason = "the server rejected the session";
    return MUX_ERROR_REJECTED;
}

static int receive_position(struct mux_session *session, const struct mux_frame *frame,
                            struct byte_reader *r)
{
    struct mux_stream *stream = &session->control;
    uint64_t received = byte_reader_u64(r);
    uint64_t consumed = byte_reader_u64(r);
    uint64_t limit = byte_reader_u64(r);

    if (session->phase != MUX_PHASE_POSITIONS)
        return mux_core_broken(session, "POSITION at the wrong time");
    if (frame->stream != MUX_CONTROL_STREAM)
        stream = idmap_get(&session->streams, frame->stream);
    if (stream) {
        struct byte_queue *queue = &stream->send;
        if (consumed > received || received < queue->start || received > queue->end ||
            limit < received)
            return mux_core_broken(session, "POSITION at an invalid position");
        session->unacknowledged -= queue->read - queue->start;
        byte_queue_rewind(queue, received);
        session->unacknowledged += received - queue->start;
        if (consumed < queue->start)
            consumed = queue->start;
        if (!mux_stream_receive_credit(stream, consumed, limit))
            return mux_core_broken(session, "POSITION at an invalid position");
    }
    if (frame->stream == MUX_CONTROL_STREAM) {
        session->phase = MUX_PHASE_UP;
        mux_core_ask(session);
        if (session->settings.role == MUX_SERVER && session->callbacks->established)
            session->callbacks->established(session->context, NULL);
        mux_core_output(session);
    }
    return 0;
}

static int receive_window(struct mux_session *session, const struct mux_frame *frame,
                          struct byte_reader *r)
{
    struct mux_stream *stream = &session->control;
    uint64_t consumed = byte_reader_u64(r);
    uint64_t limit = byte_reader_u64(r);

    if (frame->stream != MUX_CONTROL_STREAM)
        stream = idmap_get(&session->streams, frame->stream);
    if (!stream)
        return known(session, frame);
    if (!mux_stream_receive_credit(stream, consumed, limit))
        return mux_core_broken(session, "WINDOW acknowledges bytes that were not sent");
    mux_stream_feed_starved(session);
    return 0;
}

static int receive_shrink(struct mux_session *session, const struct mux_frame *frame,
                          uint64_t limit)
{
    struct mux_stream *stream = idmap_get(&session->streams, frame->stream);

    if (!stream)
        return known(session, frame);
    if (limit < stream->send.end)
        limit = stream->send.end;
    if (limit < stream->send_limit)
        stream->send_limit = limit;
    stream->limit_due = true;
    mux_stream_owe_credit(stream, MUX_WINDOW_NOW);
    return 0;
}

static int receive_limit(struct mux_session *session, const struct mux_frame *frame, uint64_t limit)
{
    struct mux_stream *stream = idmap_get(&session->streams, frame->stream);

    if (!stream)
        return known(session, frame);
    if (!mux_window_limited(&stream->window, limit, session->share))
        return mux_core_broken(session, "LIMIT that was not requested or is invalid");
    /* The peer may have used all of what it gave back: it needs new credit, or it waits for ever.
     */
    if (limit - stream->window.consumed < session->settings.window.initial &&
        stream->receive_half == MUX_HALF_OPEN)
        mux_stream_owe_credit(stream, MUX_WINDOW_NOW);
    return 0;
}

static int receive_pong(struct mux_session *session, uint64_t token)
{
    if (session->ping_us == 0 || token != session->ping_us)
        return 0; /* the answer to a probe of an earlier link */
    session->rtt_us = session->now_us - session->ping_us;
    if (session->rtt_us == 0)
        session->rtt_us = 1;
    if (session->rtt_min_us == 0 || session->rtt_us < session->rtt_min_us)
        session->rtt_min_us = session->rtt_us;
    session->rtt_at_us = session->now_us;
    session->ping_us = 0;
    session->pings.answered = session->pings.asked;
    session->asked_us = session->ping_due ? session->now_us : 0;
    if (session->callbacks->measured)
        session->callbacks->measured(session->context, session->rtt_us);
    return 0;
}

static int receive_goaway(struct mux_session *session, struct byte_reader *r)
{
    uint16_t code = byte_reader_u16(r);
    uint16_t size = byte_reader_u16(r);
    struct mux_text reason = {.size = size};

    reason.bytes = (const char *)byte_reader_bytes(r, size);
    if (r->failed)
        return mux_core_broken(session, "GOAWAY is malformed");
    if (session->callbacks->goaway)
        session->callbacks->goaway(session->context, (enum mux_code)code, reason);
    return 0;
}

/* A whole frame other than DATA. */
static int receive_frame(struct mux_session *session, const struct mux_frame *frame,
                         const uint8_t *payload)
{
    struct byte_reader r;

    if (session->phase == MUX_PHASE_GREETING && frame->type != MUX_WELCOME &&
        frame->type != MUX_REJECT && !(frame->type & MUX_MAY_IGNORE))
        return mux_core_broken(session, "the first frame is neither WELCOME nor REJECT");
    if (session->phase == MUX_PHASE_POSITIONS && frame->type != MUX_POSITION &&
        !(frame->type & MUX_MAY_IGNORE))
        return mux_core_broken(session, "a frame comes before the peer's positions");
    byte_reader_init(&r, payload, frame->size);
    switch (frame->type) {
    case MUX_WELCOME:
        return receive_welcome(session, payload, frame->size);
    case MUX_REJECT:
        return receive_reject(session, payload, frame->size);
    case MUX_POSITION:
        return receive_position(session, frame, &r);
    case MUX_WINDOW:
        return receive_window(session, frame, &r);
    case MUX_PING:
        session->pong_due = true;
        session->pong_token = byte_reader_u64(&r);
        mux_core_output(session);
        return 0;
    case MUX_PONG:
        return receive_pong(session, byte_reader_u64(&r));
    case MUX_GOAWAY:
        return receive_goaway(session, &r);
    case MUX_SHRINK:
        return receive_shrink(session, frame, byte_reader_u64(&r));
    case MUX_LIMIT:
        return receive_limit(session, frame, byte_reader_u64(&r));
    case MUX_HELLO:
        return mux_core_broken(session, "HELLO in the middle of a link");
    default:
        return 0; /* may be ignored: mux_frame_check() has looked */
    }
}

/*
 * Collects a frame header, with the offset when it is DATA, or a whole small frame: up to want
 * bytes in input->bytes, which has all of them when input->fill is want. Returns the bytes taken.
 */
static size_t collect_frame(struct mux_frame_input *input, const uint8_t *bytes, size_t size,
                            size_t want)
{
    size_t part = want - input->fill < size ? want - input->fill : size;

    memcpy(input->bytes + input->fill, bytes, part);
    input->fill += part;
    return part;
}

/* How many bytes the frame that begins in bytes must have before it can be acted upon. */
static size_t frame_wanted(const struct mux_frame *frame)
{
    return frame->type == MUX_DATA ? MUX_DATA_HEADER : MUX_FRAME_HEADER + (size_t)frame->size;
}

static int act(struct mux_session *session, const uint8_t *bytes)
{
    struct mux_frame frame;

    mux_frame_decode_header(bytes, &frame);
    if (frame.type != MUX_DATA)
        return receive_frame(session, &frame, bytes + MUX_FRAME_HEADER);
    if (session->phase != MUX_PHASE_UP)
        return mux_core_broken(session, "DATA before the link is up");
    return begin_data(session, &frame, byte_load_u64(bytes + MUX_FRAME_HEADER));
}

/* One step: some bytes of a DATA frame, or of a frame's beginning. */
static int receive_step(struct mux_session *session, const uint8_t *bytes, size_t size,
                        size_t *taken)
{
    struct mux_frame_input *input = &session->input;
    struct mux_frame frame;

    if (input->data_left > 0) {
        *taken = size < input->data_left ? size : input->data_left;
        input->data_left -= (uint32_t)*taken;
        return receive_data_bytes(session, bytes, *taken);
    }
    if (input->fill == 0 && size >= MUX_FRAME_HEADER) {
        /* The common case: a frame's beginning lies whole in bytes. */
        mux_frame_decode_header(bytes, &frame);
        const char *wrong = mux_frame_check(&frame);
        if (wrong)
            return mux_core_broken(session, wrong);
        size_t want = frame_wanted(&frame);
        if (size >= want) {
            *taken = want;
            return act(session, bytes);
        }
    }
    if (input->fill < MUX_FRAME_HEADER) {
        *taken = collect_frame(input, bytes, size, MUX_FRAME_HEADER);
        if (input->fill < MUX_FRAME_HEADER)
            return 0;
        mux_frame_decode_header(input->bytes, &frame);
        const char *wrong = mux_frame_check(&frame);
        if (wrong)
            return mux_core_broken(session, wrong);
    } else {
        mux_frame_decode_header(input->bytes, &frame);
        *taken = collect_frame(input, bytes, size, frame_wanted(&frame));
    }
    if (input->fill < frame_wanted(&frame))
        return 0;
    input->fill = 0;
    return act(session, input->bytes);
}

int mux_session_receive(struct mux_session *session, const uint8_t *bytes, size_t size,
                        uint64_t now_us)
{
    mux_core_reap(session);
    assert(session->phase != MUX_PHASE_NONE);
    session->now_us = session->heard_us = now_us;
    session->doubted_us = 0;
    while (size > 0) {
        size_t taken = 0;
        int error = receive_step(session, bytes, size, &taken);
        if (error)
            return error;
        bytes += taken;
        size -= taken;
    }
    return 0;
}
