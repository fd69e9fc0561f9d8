#include "mux/stream.h"

#include <assert.h>
#include <stdlib.h>

#include "base/memory.h"
#include "mux/session_control.h"
#include "mux/session_core.h"
#include "mux/stream_internal.h"

enum {
    STARVED_RETRY_US = 10 * 1000,
    LINGER_US = 10 * 1000 * 1000,
};

static const struct mux_stream_callbacks no_callbacks;

void mux_stream_init(struct mux_session *session, struct mux_stream *stream, uint32_t id)
{
    stream->session = session;
    stream->callbacks = &no_callbacks;
    stream->id = id;
    list_init(&stream->active);
    list_init(&stream->again);
    list_init(&stream->credit);
    list_init(&stream->told);
    list_init(&stream->starved);
    list_init(&stream->linger);
    byte_queue_init(&stream->send, session->pool);
}

/* Memory in both directions, however little is left later. */
static bool take_floor(struct mux_session *session, struct mux_stream *stream)
{
    if (!mux_window_open(&stream->window, &session->settings.window, session->share))
        return false;
    if (memory_share_take(session->share, MEMORY_SEND, MUX_STREAM_FLOOR)) {
        stream->send_charged = MUX_STREAM_FLOOR;
        return true;
    }
    mux_window_close(&stream->window, session->share);
    return false;
}

struct mux_stream *mux_stream_new(struct mux_session *session, uint32_t id, enum mux_limit *limit)
{
    struct mux_stream *stream;

    *limit = MUX_LIMIT_STREAMS;
    if (session->streams.count >= session->settings.max_streams)
        return NULL;
    stream = memory_new(sizeof *stream);
    *limit = MUX_LIMIT_MEMORY;
    if (!take_floor(session, stream)) {
        free(stream);
        return NULL;
    }
    mux_stream_init(session, stream, id);
    stream->send_limit = session->peer_initial_window;
    idmap_put(&session->streams, id, stream);
    return stream;
}

void mux_stream_drop_sent(struct mux_stream *stream)
{
    struct mux_session *session = stream->session;

    session->unacknowledged -= stream->send.read - stream->send.start;
    mux_flight_clear(&stream->flight, session->in_flight);
    byte_queue_clear(&stream->send);
    mux_core_charge_sent(stream);
    list_remove(&stream->active);
    list_remove(&stream->again);
    list_remove(&stream->starved);
}

void mux_stream_release(struct mux_stream *stream)
{
    mux_stream_drop_sent(stream);
    memory_share_give(stream->session->share, MEMORY_SEND, stream->send_charged);
    stream->send_charged = stream->beside = 0;
    mux_window_close(&stream->window, stream->session->share);
    mux_reassembly_clear(&stream->reassembly);
    list_remove(&stream->credit);
    list_remove(&stream->told);
    list_remove(&stream->linger);
}

/* Takes the stream out of the session; its memory stays until the next verb begins. Nobody is told
 * but the session's owner, when it was the last one. */
static void forget(struct mux_stream *stream)
{
    struct mux_session *session = stream->session;

    idmap_remove(&session->streams, stream->id);
    session->latest = NULL;
    mux_stream_release(stream);
    list_append(&session->zombies, &stream->active);
    if (session->streams.count == 0 && session->callbacks->idle)
        session->callbacks->idle(session->context);
}

struct mux_stream *mux_stream_open(struct mux_session *session, const struct mux_target *target,
                                   struct mux_text peer,
                                   const struct mux_stream_callbacks *callbacks, void *owner)
{
    struct mux_message message = {.type = MUX_OPEN, .stream = session->last_stream + 1};
    struct mux_stream *stream;
    enum mux_limit limit;

    assert(session->settings.role == MUX_CLIENT && session->known_to_server);
    if (session->last_stream == UINT32_MAX)
        return NULL;
    stream = mux_stream_new(session, message.stream, &limit);
    if (!stream)
        return NULL;
    session->last_stream = message.stream;
    session->ids_used_up = session->last_stream == UINT32_MAX;
    mux_stream_set_callbacks(stream, callbacks, owner);
    message.u.open.target = *target;
    message.u.open.peer = peer;
    mux_control_send(session, &message);
    stream->known_at = session->control.send.end;
    return stream;
}

void mux_stream_accept(struct mux_stream *stream)
{
    assert(!stream->answered);
    stream->answered = true;
    mux_control_send_simple(stream->session, MUX_OPENED, stream->id);
    stream->known_at = stream->session->control.send.end;
}

void mux_stream_refuse(struct mux_stream *stream, enum mux_code code, const char *reason)
{
    assert(!stream->answered);
    mux_control_send_reset(stream->session, MUX_REFUSED, stream->id, 0, code, mux_text_of(reason));
    forget(stream);
}

void mux_stream_set_callbacks(struct mux_stream *stream,
                              const struct mux_stream_callbacks *callbacks, void *owner)
{
    stream->callbacks = callbacks ? callbacks : &no_callbacks;
    stream->owner = owner;
}

uint32_t mux_stream_id(const struct mux_stream *stream)
{
    return stream->id;
}

void *mux_stream_owner(struct mux_session *session, uint32_t id,
                       const struct mux_stream_callbacks *callbacks)
{
    const struct mux_stream *stream = mux_core_find(session, id);

    return stream && stream->callbacks == callbacks ? stream->owner : NULL;
}

uint64_t mux_stream_acknowledged(const struct mux_stream *stream)
{
    return stream->send.start;
}

bool mux_stream_linked(const struct mux_stream *stream)
{
    return stream->session->up_count > 0;
}

uint64_t mux_stream_charged(const struct mux_stream *stream, enum memory_way way)
{
    return way == MEMORY_RECEIVE ? stream->window.charged : stream->send_charged;
}

/* ---- sending */

bool mux_stream_hold(struct mux_stream *stream, uint64_t bytes)
{
    struct memory_share *share = stream->session->share;
    uint64_t before = stream->beside;

    if (bytes > before && !memory_share_take(share, MEMORY_SEND, bytes - before))
        return false;
    if (bytes < before)
        memory_share_give(share, MEMORY_SEND, before - bytes);
    stream->send_charged = stream->send_charged - before + bytes;
    stream->beside = bytes;
    return true;
}

void mux_stream_activate(struct mux_stream *stream)
{
    struct mux_session *session = stream->session;

    if (byte_queue_unread(&stream->send) == 0)
        return;
    if (stream->id == MUX_CONTROL_STREAM)
        mux_core_output_lead(session);
    else if (list_empty(&stream->active))
        mux_core_enter(stream);
    else
        mux_core_output_all(session);
}

static void note_stall(struct mux_stream *stream, enum mux_stall stall)
{
    if (!stream->blocked && stream->send_half == MUX_HALF_OPEN && stream->callbacks->stalled)
        stream->callbacks->stalled(stream->owner, stream, stall);
    stream->blocked = true;
}

size_t mux_stream_want_write(struct mux_stream *stream)
{
    struct mux_session *session = stream->session;
    uint64_t credit = stream->send_limit - stream->send.end;
    uint64_t held = stream->send.end - stream->send.start;

    if (stream->send_half != MUX_HALF_OPEN || credit == 0) {
        note_stall(stream, MUX_STALL_CREDIT);
        return 0;
    }
    uint64_t spare = stream->send_charged - stream->beside - held;
    uint64_t memory = memory_share_send_room(session->share) + spare;
    if (memory == 0) {
        note_stall(stream, MUX_STALL_MEMORY);
        if (list_empty(&stream->starved))
            list_append(&session->starved, &stream->starved);
        if (session->starved_us == 0) {
            session->starved_us = session->now_us + STARVED_RETRY_US;
            mux_core_attend_at(session, session->starved_us);
        }
        return 0;
    }
    return (size_t)(credit < memory ? credit : memory);
}

size_t mux_stream_portion(const struct mux_stream *stream)
{
    return mux_portion_size(&stream->session->portion, stream->session->now_us);
}

size_t mux_stream_reserve(struct mux_stream *stream, size_t size, struct iovec *spaces,
                          size_t count)
{
    return byte_queue_reserve(&stream->send, size, spaces, count);
}

/* What waits counts as well: a message that is behind bulk may wait long to be sent. */
static void note_written(struct mux_stream *stream, size_t size)
{
    struct mux_session *session = stream->session;

    mux_core_charge_sent(stream);
    if (size > 0)
        mux_portion_note(&session->portion, &stream->bulk_us, size, session->now_us);
    mux_stream_activate(stream);
}

void mux_stream_commit(struct mux_stream *stream, size_t size)
{
    assert(stream->send_half == MUX_HALF_OPEN && size <= stream->send_limit - stream->send.end);
    byte_queue_commit(&stream->send, size);
    note_written(stream, size);
}

void mux_stream_write(struct mux_stream *stream, const void *bytes, size_t size)
{
    assert(stream->send_half == MUX_HALF_OPEN && size <= stream->send_limit - stream->send.end);
    byte_queue_append(&stream->send, bytes, size);
    note_written(stream, size);
}

void mux_stream_finish(struct mux_stream *stream)
{
    struct mux_message message = {.type = MUX_FINISH, .stream = stream->id};

    assert(stream->send_half != MUX_HALF_FINISHING);
    /* The peer has reset the stream and its last data is still being delivered: nobody listens. */
    if (!mux_half_step(&stream->send_half, MUX_EVENT_FINISH))
        return;
    list_remove(&stream->starved);
    message.u.finish.final = stream->send.end;
    mux_control_send(stream->session, &message);
}

uint64_t mux_stream_sent(const struct mux_stream *stream)
{
    /* A new lead says again what of the control stream may not have come. */
    return stream->id == MUX_CONTROL_STREAM ? stream->send.end : stream->send.read;
}

bool mux_stream_receive_credit(struct mux_stream *stream, uint64_t consumed, uint64_t limit)
{
    struct mux_session *session = stream->session;

    if (consumed > mux_stream_sent(stream) || limit < consumed)
        return false;
    /* An old announcement may come after a newer POSITION; it changes nothing. */
    if (consumed > stream->send.start) {
        uint64_t freed = consumed - stream->send.start;
        byte_queue_drop(&stream->send, consumed);
        session->unacknowledged -= freed;
        mux_core_charge_sent(stream);
    }
    if (limit > stream->send_limit) {
        stream->send_limit = limit;
        mux_stream_activate(stream);
    }
    if (stream->blocked && !stream->orphan && stream->send_half == MUX_HALF_OPEN &&
        stream->id != MUX_CONTROL_STREAM && stream->send_limit > stream->send.end) {
        stream->blocked = false;
        if (stream->callbacks->writable)
            stream->callbacks->writable(stream->owner, stream);
    }
    return true;
}

void mux_stream_feed_starved(struct mux_session *session)
{
    struct list waiting;
    struct list *node;

    list_init(&waiting);
    while (!list_empty(&session->starved) && memory_share_send_room(session->share) > 0 &&
           (node = list_pop(&session->starved)))
        list_append(&waiting, node);
    session->starved_us = list_empty(&session->starved) ? 0 : session->now_us + STARVED_RETRY_US;
    while ((node = list_pop(&waiting))) {
        struct mux_stream *stream = list_entry(node, struct mux_stream, starved);
        stream->blocked = false;
        if (stream->callbacks->writable)
            stream->callbacks->writable(stream->owner, stream);
    }
}

/* ---- receiving */

void mux_stream_owe_credit(struct mux_stream *stream, enum mux_window_due due)
{
    struct mux_session *session = stream->session;

    if (due == MUX_WINDOW_NOTHING)
        return;
    /* Of those that are owed, the first one sets the time for all. */
    if (list_empty(&session->credits)) {
        session->credit_us = session->now_us + mux_core_credit_delay_us(session);
        mux_core_attend_at(session, session->credit_us);
    }
    if (list_empty(&stream->credit))
        list_append(&session->credits, &stream->credit);
    if (due == MUX_WINDOW_NOW) {
        session->credit_us = 0;
        mux_core_output_lead(session);
    }
}

void mux_stream_consume(struct mux_stream *stream, size_t size, uint64_t now_us)
{
    struct mux_session *session = stream->session;

    assert(size <= stream->window.received - stream->window.consumed);
    session->now_us = now_us;
    enum mux_window_due due =
        mux_window_consume(&stream->window, size, now_us, mux_core_distance_us(session),
                           &session->settings.window, session->share);
    if (stream->receive_half == MUX_HALF_OPEN)
        mux_stream_owe_credit(stream, due);
    else
        mux_stream_check_received(stream);
}

/* ---- the end */

void mux_stream_linger(struct mux_stream *stream)
{
    struct mux_session *session = stream->session;

    stream->linger_until_us = session->now_us + LINGER_US;
    list_append(&session->lingering, &stream->linger);
    mux_core_attend_at(session, stream->linger_until_us);
}

void mux_stream_cut(struct mux_stream *stream, enum mux_code code, struct mux_text reason)
{
    bool told = !stream->orphan && stream->callbacks->reset;

    forget(stream);
    if (told)
        stream->callbacks->reset(stream->owner, stream, code, reason);
}

void mux_stream_check_over(struct mux_stream *stream)
{
    if (stream->send_half != MUX_HALF_OVER || stream->receive_half != MUX_HALF_OVER)
        return;
    bool told = !stream->orphan && stream->callbacks->over;
    forget(stream);
    if (told)
        stream->callbacks->over(stream->owner, stream);
}

void mux_stream_check_received(struct mux_stream *stream)
{
    if (stream->receive_half != MUX_HALF_FINISHING ||
        stream->window.consumed < stream->receive_final ||
        (!stream->finish_told && !stream->reset_reason))
        return;
    mux_control_send_simple(stream->session, MUX_DONE, stream->id);
    mux_half_step(&stream->receive_half, MUX_EVENT_DONE);
    if (stream->reset_reason) {
        mux_stream_cut(stream, (enum mux_code)stream->reset_code,
                       mux_text_of(stream->reset_reason));
        return;
    }
    /* It stays among the credits, where an answer to SHRINK may be owed by the other half. */
    mux_stream_check_over(stream);
}

void mux_stream_reset(struct mux_stream *stream, enum mux_code code, const char *reason,
                      enum mux_reset_mode mode, uint64_t now_us)
{
    struct mux_session *session = stream->session;
    bool linger = mode == MUX_RESET_AFTER_DATA && stream->send_half != MUX_HALF_OVER &&
                  stream->send.end > stream->send.start;

    session->now_us = now_us;
    mux_control_send_reset(session, MUX_RESET, stream->id, linger ? stream->send.end : 0, code,
                           mux_text_of(reason));
    if (!linger) {
        forget(stream);
        return;
    }
    stream->orphan = true;
    stream->owner = NULL;
    mux_stream_hold(stream, 0);
    stream->send_half = MUX_HALF_FINISHING;
    mux_half_step(&stream->receive_half, MUX_EVENT_RESET);
    list_remove(&stream->credit);
    list_remove(&stream->starved);
    mux_stream_linger(stream);
}
