/* The sending side of a session: what goes into the next bytes of the link, and in which order. */
#include <assert.h>
#include <string.h>

#include "mux/session.h"
#include "mux/session_core.h"

static size_t room(const struct byte_writer *w)
{
    return (size_t)(w->end - w->at);
}

static void put_hello(struct mux_session *session, struct byte_writer *w)
{
    struct mux_hello hello = {
        .version_min = MUX_VERSION_MIN,
        .version_max = MUX_VERSION_MAX,
        .resume = session->known_to_server,
        .attempt = session->attempt,
        .initial_window = session->settings.window.initial,
        .key = session->key,
        .software = session->settings.software,
        .message_max = session->settings.message_max,
    };

    mux_hello_encode(w, &hello);
    session->hello_due = false;
}

static void put_welcome(struct mux_session *session, struct byte_writer *w)
{
    struct mux_welcome welcome = {
        .version = session->welcome_version,
        .resumed = session->resumed,
        .initial_window = session->settings.window.initial,
        .resume_window_ms = session->settings.resume_window_ms,
        .key = session->key,
        .software = session->settings.software,
        .offer_count = session->offer_count,
        .offers = session->offers,
        .identity = session->settings.identity,
        .message_max = session->settings.message_max,
    };

    mux_welcome_encode(w, &welcome);
    session->welcome_due = false;
}

static void put_goaway(struct mux_session *session, struct byte_writer *w)
{
    uint8_t header[MUX_FRAME_HEADER];
    size_t size = strlen(session->goaway_reason);
    struct mux_frame frame = {.type = MUX_GOAWAY, .size = (uint16_t)(4 + size)};

    mux_frame_encode_header(header, &frame);
    byte_writer_bytes(w, header, sizeof header);
    byte_writer_u16(w, (uint16_t)session->goaway_code);
    byte_writer_u16(w, (uint16_t)size);
    byte_writer_bytes(w, session->goaway_reason, size);
    session->goaway_due = false;
}

/* false: no room for all of it. */
static bool put_positions(struct mux_session *session, struct byte_writer *w)
{
    while (!list_empty(&session->positions)) {
        if (room(w) < MUX_POSITION_FRAME)
            return false;
        struct mux_stream *stream =
            list_entry(list_pop(&session->positions), struct mux_stream, credit);
        struct mux_window *window = &stream->window;
        /* Whatever was asked of the old link is settled by the limits that positions state. */
        window->shrinking = stream->shrink_due = stream->limit_due = false;
        if (stream->id != MUX_CONTROL_STREAM)
            mux_window_announce(window, session->share);
        else
            window->limit = (window->announced = window->consumed) + window->size;
        mux_frame_write_position(w, stream->id, window->received, window->consumed, window->limit);
    }
    return true;
}

static void put_credit(struct mux_session *session, struct mux_stream *stream,
                       struct byte_writer *w)
{
    struct mux_window *window = &stream->window;
    const struct mux_window_limits *limits = &session->settings.window;

    if (stream->limit_due) {
        mux_frame_write_u64(w, MUX_LIMIT, stream->id, stream->send_limit);
        stream->limit_due = false;
    }
    if (stream->receive_half != MUX_HALF_OPEN)
        return;
    if (stream->id == MUX_CONTROL_STREAM) {
        window->announced = window->consumed;
        window->limit = window->consumed + window->size;
    } else {
        mux_window_announce(window, session->share);
        if (window->limit - window->consumed > limits->initial && session->sweep_us == 0)
            session->sweep_us = session->now_us + session->settings.window_idle_us;
    }
    mux_frame_write_window(w, stream->id, window->consumed, mux_window_told_limit(window));
    if (stream->shrink_due) {
        mux_frame_write_u64(w, MUX_SHRINK, stream->id, window->shrink_to);
        stream->shrink_due = false;
    }
}

static bool put_credits(struct mux_session *session, struct byte_writer *w)
{
    while (!list_empty(&session->credits)) {
        if (room(w) < MUX_WINDOW_FRAME + 2 * MUX_U64_FRAME)
            return false;
        put_credit(session, list_entry(list_pop(&session->credits), struct mux_stream, credit), w);
    }
    session->credit_us = 0;
    return true;
}

static void put_link_frames(struct mux_session *session, struct byte_writer *w)
{
    if (session->pong_due && room(w) >= MUX_U64_FRAME) {
        mux_frame_write_u64(w, MUX_PONG, MUX_CONTROL_STREAM, session->pong_token);
        session->pong_due = false;
    }
    if (session->ping_due && room(w) >= MUX_U64_FRAME) {
        /* The first one that is under way counts from here: it may have waited for the link. */
        if (session->ping_us == 0)
            session->asked_us = session->now_us ? session->now_us : 1;
        session->ping_us = session->now_us ? session->now_us : 1;
        mux_frame_write_u64(w, MUX_PING, MUX_CONTROL_STREAM, session->ping_us);
        session->pings.asked++;
        session->ping_due = false;
    }
    if (session->goaway_due && room(w) >= MUX_FRAME_HEADER + 4 + MUX_REASON_MAX)
        put_goaway(session, w);
}

/* One DATA frame with what fits, credit allows and a frame may hold; returns how many bytes of
 * data. */
static size_t put_data(struct mux_session *session, struct mux_stream *stream,
                       struct byte_writer *w)
{
    uint64_t unread = byte_queue_unread(&stream->send);
    uint64_t credit =
        stream->send_limit > stream->send.read ? stream->send_limit - stream->send.read : 0;
    size_t size = MUX_FRAME_PAYLOAD_MAX - 8;

    if (size > unread)
        size = (size_t)unread;
    if (size > credit)
        size = (size_t)credit;
    if (room(w) <= MUX_DATA_HEADER)
        return 0;
    if (size > room(w) - MUX_DATA_HEADER)
        size = room(w) - MUX_DATA_HEADER;
    if (size == 0)
        return 0;
    mux_frame_write_data_header(w, stream->id, stream->send.read, size);
    byte_queue_read(&stream->send, w->at, size);
    w->at += size;
    session->unacknowledged += size;
    return size;
}

/*
 * New arrivals first, then the rest in turn, a frame each: a stream that sends little now and then
 * never waits behind one that always has more. A stream that has sent its first frame goes to the
 * back of the others even when it is empty, so that sending in small pieces earns no second turn.
 */
static void put_stream_frames(struct mux_session *session, struct byte_writer *w)
{
    for (;;) {
        struct list *node = !list_empty(&session->fresh) ? session->fresh.next : session->busy.next;
        if (node == &session->busy)
            return;
        struct mux_stream *stream = list_entry(node, struct mux_stream, active);
        bool was_fresh = stream->fresh;
        if (byte_queue_unread(&stream->send) > 0 && room(w) < MUX_DATA_HEADER + 256 &&
            room(w) < MUX_DATA_HEADER + byte_queue_unread(&stream->send))
            return;
        size_t size = put_data(session, stream, w);
        list_remove(&stream->active);
        stream->fresh = false;
        if (size > 0 && (was_fresh || byte_queue_unread(&stream->send) > 0))
            list_append(&session->busy, &stream->active);
    }
}

size_t mux_session_pull(struct mux_session *session, uint8_t *buffer, size_t size, uint64_t now_us)
{
    struct byte_writer w;

    mux_core_reap(session);
    session->now_us = now_us;
    assert(size >= MUX_PULL_MIN);
    byte_writer_init(&w, buffer, size);
    if (session->phase == MUX_PHASE_NONE)
        return 0;
    if (session->ids_used_up) {
        session->ids_used_up = false;
        if (session->callbacks->goaway)
            session->callbacks->goaway(session->context, MUX_CODE_LIMIT,
                                       mux_text_of("all stream numbers are used up"));
    }
    if (session->hello_due)
        put_hello(session, &w);
    if (session->welcome_due)
        put_welcome(session, &w);
    if (!put_positions(session, &w) || session->phase != MUX_PHASE_UP)
        goto end;
    put_link_frames(session, &w);
    if (!list_empty(&session->control.credit) && room(&w) >= MUX_WINDOW_FRAME) {
        list_remove(&session->control.credit);
        put_credit(session, &session->control, &w);
    }
    while (byte_queue_unread(&session->control.send) > 0 &&
           put_data(session, &session->control, &w) > 0)
        ;
    /* A stream's frames must not overtake the message that opens it. */
    if (byte_queue_unread(&session->control.send) == 0 && put_credits(session, &w))
        put_stream_frames(session, &w);
end:
    if (byte_writer_size(&w) == 0)
        session->output_pending = false;
    return byte_writer_size(&w);
}
