#include "mux/session_receive.h"

#include <stdlib.h>
#include <string.h>

#include "base/memory.h"
#include "mux/scheduler.h"
#include "mux/session_control.h"
#include "mux/stream.h"
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
    stream = mux_core_find(session, id);
    if (stream)
        mux_stream_check_received(stream);
}

static int receive_finish(struct mux_session *session, struct mux_stream *stream, uint64_t final)
{
    if (stream->orphan)
        return 0;
    if (final < stream->window.received || final > stream->window.limit ||
        final < mux_reassembly_end(&stream->reassembly) ||
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
        /* No credit will tell the peer any more that it may forget its bytes. */
        if (final > 0 && !stream->orphan && stream->receive_half != MUX_HALF_OVER)
            mux_control_send_simple(session, MUX_DONE, stream->id);
        mux_stream_cut(stream, (enum mux_code)message->u.reset.code, message->u.reset.reason);
        return 0;
    }
    if (final < stream->window.received || final > stream->window.limit ||
        final < mux_reassembly_end(&stream->reassembly) ||
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
    struct mux_stream *stream = mux_core_find(session, message->stream);

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
    case MUX_KEEP:
    case MUX_NAMES:
    case MUX_LOGIN:
        if (session->callbacks->message)
            session->callbacks->message(session->context, type, payload, size);
        return 0;
    default:
        return type & MUX_MAY_IGNORE ? 0 : mux_core_broken(session, "a message of an unknown type");
    }
}

/* How large the message is whose header that is, with it. */
static size_t message_wanted(const uint8_t *header)
{
    return MUX_MESSAGE_HEADER + (size_t)byte_load_u16(header + 2);
}

/* A message that lies whole in bytes is acted upon where it is; of another one, what is there is
 * collected. Returns how many bytes were taken, or a negative enum mux_error. */
static long take_message(struct mux_session *session, const uint8_t *bytes, size_t size)
{
    struct mux_collector *pieces = &session->message;
    const uint8_t *message = bytes;
    size_t want = MUX_MESSAGE_HEADER;
    size_t taken;

    if (pieces->fill >= MUX_MESSAGE_HEADER)
        want = message_wanted(mux_collector_bytes(pieces));
    else if (pieces->fill == 0 && size >= MUX_MESSAGE_HEADER)
        want = message_wanted(bytes);
    if (want > MUX_MESSAGE_HEADER + MUX_MESSAGE_PAYLOAD_MAX)
        return mux_core_broken(session, "a message is larger than the protocol allows");
    bool whole = pieces->fill == 0 && size >= want;
    if (whole) {
        taken = want;
    } else {
        taken = mux_collect(pieces, bytes, size, want);
        message = mux_collector_bytes(pieces);
        if (pieces->fill < want || want < message_wanted(message))
            return (long)taken;
    }
    int error = receive_message(session, message[0], message + MUX_MESSAGE_HEADER,
                                want - MUX_MESSAGE_HEADER);
    if (!whole)
        mux_collector_clear(pieces);
    return error ? error : (long)taken;
}

/* Takes bytes of the control stream; messages may be cut anywhere. */
static int receive_control(struct mux_session *session, const uint8_t *bytes, size_t size)
{
    while (size > 0) {
        long taken = take_message(session, bytes, size);
        if (taken < 0)
            return (int)taken;
        bytes += taken;
        size -= (size_t)taken;
        if (session->control_overflow)
            return mux_core_broken(session, "the peer does not read the control stream");
    }
    return 0;
}

/* ---- data */

/* More was promised to peers than there is memory for. */
static void cut_for_memory(struct mux_stream *stream)
{
    struct mux_session *session = stream->session;
    const struct mux_text reason = mux_text_of(limited(session, stream->id, MUX_LIMIT_MEMORY));

    mux_control_send_reset(session, MUX_RESET, stream->id, 0, MUX_CODE_LIMIT, reason);
    mux_stream_cut(stream, MUX_CODE_LIMIT, reason);
}

/* Bytes that begin where the stream stands. false: the stream is over, for this or another reason.
 */
static bool deliver(struct mux_session *session, uint32_t id, const uint8_t *bytes, size_t size)
{
    struct mux_stream *stream = mux_core_find(session, id);

    if (!mux_window_receive(&stream->window, size, session->share)) {
        cut_for_memory(stream);
        return false;
    }
    if (stream->callbacks->data)
        stream->callbacks->data(stream->owner, stream, bytes, size);
    else
        mux_stream_consume(stream, size, session->now_us);
    /* The callback may have ended the stream. */
    stream = mux_core_find(session, id);
    return stream && !stream->orphan;
}

/* What has waited for the bytes that have just come. false: as deliver(). */
static bool deliver_held(struct mux_session *session, uint32_t id)
{
    uint8_t bytes[4096];

    for (;;) {
        struct mux_stream *stream = mux_core_find(session, id);
        size_t size =
            mux_reassembly_take(&stream->reassembly, stream->window.received, bytes, sizeof bytes);
        /* It is let go of before it is received: never charged twice. */
        mux_window_hold(&stream->window, mux_reassembly_cost(&stream->reassembly), session->share);
        if (size == 0)
            return true;
        if (!deliver(session, id, bytes, size))
            return false;
    }
}

/* Bytes behind a gap wait for what is in front of them. */
static int hold_data(struct mux_stream *stream, uint64_t offset, const uint8_t *bytes, size_t size)
{
    struct mux_session *session = stream->session;

    if (!mux_reassembly_add(&stream->reassembly, session->pool, offset, bytes, size))
        return mux_core_broken(session, "DATA in more pieces than any sender makes");
    if (!mux_window_hold(&stream->window, mux_reassembly_cost(&stream->reassembly), session->share))
        cut_for_memory(stream);
    return 0;
}

/* Whether the bytes may not come; NULL: they may. */
static const char *find_excess(const struct mux_stream *stream, uint64_t offset, uint64_t size)
{
    if (offset > stream->window.limit || size > stream->window.limit - offset)
        return "DATA beyond the credit that was granted";
    if (stream->receive_half != MUX_HALF_OPEN && offset + size > stream->receive_final)
        return "DATA beyond the end of the stream";
    return NULL;
}

static int receive_stream_data(struct mux_session *session, uint32_t id, uint64_t offset,
                               const uint8_t *bytes, size_t size)
{
    struct mux_stream *stream = mux_core_find(session, id);

    if (!stream || stream->orphan || stream->receive_half == MUX_HALF_OVER)
        return 0;
    /* FINISH, RESET or LIMIT may have come over another link since the frame began. */
    const char *excess = find_excess(stream, offset, size);
    if (excess)
        return mux_core_broken(session, excess);
    uint64_t received = stream->window.received;
    if (offset > received)
        return hold_data(stream, offset, bytes, size);
    if (received - offset >= size)
        return 0; /* it came over another link */
    bytes += received - offset;
    size -= (size_t)(received - offset);
    if (!deliver(session, id, bytes, size))
        return 0;
    if (stream->reassembly.count > 0 && !deliver_held(session, id))
        return 0;
    if (session->version >= MUX_VERSION_LINKS && stream->receive_half == MUX_HALF_OPEN)
        mux_stream_owe_credit(stream, MUX_WINDOW_LATER);
    tell_finish(session, stream);
    return 0;
}

/* The control stream cannot be cut: the session ends. */
static int charge_held_control(struct mux_session *session)
{
    struct mux_stream *control = &session->control;
    uint64_t cost = mux_reassembly_cost(&control->reassembly);

    if (cost == control->window.held || mux_window_hold(&control->window, cost, session->share))
        return 0;
    return mux_core_broken(session, "there is no memory for the control stream, out of order");
}

static int hold_control_data(struct mux_session *session, uint64_t offset, const uint8_t *bytes,
                             size_t size)
{
    if (!mux_reassembly_add(&session->control.reassembly, session->pool, offset, bytes, size))
        return mux_core_broken(session, "DATA in more pieces than any sender makes");
    return charge_held_control(session);
}

static int receive_control_data(struct mux_session *session, uint64_t offset, const uint8_t *bytes,
                                size_t size)
{
    struct mux_stream *control = &session->control;
    struct mux_window *window = &control->window;
    uint8_t held[4096];

    if (offset > window->received)
        return hold_control_data(session, offset, bytes, size);
    if (window->received - offset >= size)
        return 0;
    bytes += window->received - offset;
    size -= (size_t)(window->received - offset);
    do {
        window->received += size;
        window->consumed += size;
        mux_stream_owe_credit(control, window->consumed - window->announced > MUX_CONTROL_WINDOW / 4
                                           ? MUX_WINDOW_NOW
                                           : MUX_WINDOW_LATER);
        int error = receive_control(session, bytes, size);
        if (error)
            return error;
        bytes = held;
        size = mux_reassembly_take(&control->reassembly, window->received, held, sizeof held);
    } while (size > 0);
    return charge_held_control(session);
}

int mux_session_receive_data(struct mux_session *session, uint32_t stream, uint64_t offset,
                             const uint8_t *bytes, size_t size)
{
    if (stream == MUX_CONTROL_STREAM)
        return receive_control_data(session, offset, bytes, size);
    return receive_stream_data(session, stream, offset, bytes, size);
}

/* Checks a DATA frame against the stream before any of its bytes is taken. */
int mux_session_check_data(struct mux_session *session, const struct mux_frame *frame,
                           uint64_t offset)
{
    uint64_t size = frame->size - 8u;
    struct mux_stream *stream = &session->control;

    if (frame->stream != MUX_CONTROL_STREAM)
        stream = mux_core_find(session, frame->stream);
    if (!stream)
        return known(session, frame);
    if (stream->orphan)
        return 0;
    if (stream != &session->control)
        mux_portion_note(&session->portion, &stream->bulk_us, (size_t)size, session->now_us);
    if (session->version < MUX_VERSION_LINKS && offset != stream->window.received)
        return mux_core_broken(session, "DATA at an unexpected offset");
    const char *excess = find_excess(stream, offset, size);
    return excess ? mux_core_broken(session, excess) : 0;
}

/* ---- credit */

int mux_session_receive_window(struct mux_session *session, const struct mux_frame *frame,
                               struct mux_credit *credit)
{
    struct mux_stream *stream = &session->control;

    if (frame->stream != MUX_CONTROL_STREAM)
        stream = mux_core_find(session, frame->stream);
    if (!stream)
        return known(session, frame);
    if (credit->consumed > credit->received || credit->received > mux_stream_sent(stream))
        return mux_core_broken(session, "WINDOW acknowledges bytes that were not sent");
    mux_schedule_acknowledged(stream, credit->received);
    /* From before a SHRINK that was answered: what it allowed was given back. */
    if (credit->shrinks < stream->answers)
        credit->limit = credit->consumed;
    if (!mux_stream_receive_credit(stream, credit->consumed, credit->limit))
        return mux_core_broken(session, "WINDOW acknowledges bytes that were not sent");
    mux_stream_feed_starved(session);
    return 0;
}

int mux_session_receive_shrink(struct mux_session *session, const struct mux_frame *frame,
                               uint64_t limit, uint32_t number)
{
    struct mux_stream *stream = mux_core_find(session, frame->stream);

    if (!stream)
        return known(session, frame);
    if (session->version >= MUX_VERSION_LINKS) {
        if (number < stream->answers)
            return 0; /* an older one, over a slower link */
        if (number == stream->answers)
            limit = stream->send_limit; /* said again: so is the answer */
        stream->answers = number;
    }
    if (limit < stream->send.end)
        limit = stream->send.end;
    if (limit < stream->send_limit)
        stream->send_limit = limit;
    stream->limit_due = true;
    mux_stream_owe_credit(stream, MUX_WINDOW_NOW);
    return 0;
}

int mux_session_receive_limit(struct mux_session *session, const struct mux_frame *frame,
                              uint64_t limit, uint32_t number)
{
    struct mux_stream *stream = mux_core_find(session, frame->stream);

    if (!stream)
        return known(session, frame);
    if (number > stream->shrinks)
        return mux_core_broken(session, "LIMIT that was not requested or is invalid");
    if (session->version >= MUX_VERSION_LINKS &&
        (number < stream->shrinks || !stream->window.shrinking))
        return 0; /* said again, or before a later SHRINK */
    if (limit < mux_reassembly_end(&stream->reassembly) ||
        !mux_window_limited(&stream->window, limit, session->share))
        return mux_core_broken(session, "LIMIT that was not requested or is invalid");
    stream->shrink_due = false;
    /* The peer may have used all of what it gave back: it needs new credit, or it waits for ever.
     */
    if (limit - stream->window.consumed < session->settings.window.initial &&
        stream->receive_half == MUX_HALF_OPEN)
        mux_stream_owe_credit(stream, MUX_WINDOW_NOW);
    return 0;
}
