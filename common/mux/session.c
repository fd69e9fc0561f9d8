#include "mux/session.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "base/memory.h"
#include "mux/session_control.h"
#include "mux/session_core.h"
#include "mux/stream_internal.h"

void mux_settings_default(struct mux_settings *settings)
{
    memset(settings, 0, sizeof *settings);
    settings->window = (struct mux_window_limits){
        .initial = 64 * 1024, .base = 512 * 1024, .max = 64 * 1024 * 1024};
    settings->max_streams = 2000;
    settings->ping_interval_us = 20 * 1000 * 1000;
    settings->dead_after_us = 10 * 1000 * 1000;
    settings->window_idle_us = 10 * 1000 * 1000;
    settings->resume_window_ms = 120 * 1000;
}

struct mux_session *mux_session_new(const struct mux_settings *settings,
                                    const struct mux_session_callbacks *callbacks, void *context,
                                    const struct mux_session_key *key, struct chunk_pool *pool,
                                    struct memory_share *share)
{
    static const struct mux_session_callbacks nothing;
    struct mux_session *session = memory_new(sizeof *session);

    session->settings = *settings;
    session->callbacks = callbacks ? callbacks : &nothing;
    session->context = context;
    session->key = *key;
    session->pool = pool;
    session->share = share;
    idmap_init(&session->streams, &session->settings.hash_key);
    list_init(&session->fresh);
    list_init(&session->busy);
    list_init(&session->credits);
    list_init(&session->positions);
    list_init(&session->starved);
    list_init(&session->lingering);
    list_init(&session->zombies);
    mux_stream_init(session, &session->control, MUX_CONTROL_STREAM);
    session->control.answered = true;
    session->control.send_limit = MUX_CONTROL_WINDOW;
    session->control.window.limit = MUX_CONTROL_WINDOW;
    session->control.window.size = MUX_CONTROL_WINDOW;
    return session;
}

void mux_session_free(struct mux_session *session)
{
    struct mux_stream *stream;

    if (!session)
        return;
    for (size_t at = 0; (stream = idmap_next(&session->streams, &at));) {
        mux_stream_release(stream);
        list_append(&session->zombies, &stream->active);
    }
    mux_core_reap(session);
    idmap_clear(&session->streams);
    mux_stream_drop_sent(&session->control);
    byte_wipe(&session->key, sizeof session->key);
    free(session);
}

/* ---- links */

static void reset_link(struct mux_session *session, struct mux_output output, uint64_t now_us)
{
    session->output = output;
    session->now_us = session->heard_us = now_us;
    session->doubted_us = 0;
    session->greeting_us = now_us;
    session->asked_us = session->ping_us = 0;
    session->pings = (struct mux_pings){0, 0};
    session->progress = 0;
    session->rtt_us = session->rtt_min_us = 0;
    session->hello_due = session->welcome_due = session->pong_due = session->ping_due = false;
    session->output_pending = false;
    session->reason = NULL;
    session->input.fill = 0;
    session->input.data_left = 0;
}

/* Every stream tells the peer where it stands, stream 0 last. */
static void queue_positions(struct mux_session *session)
{
    struct mux_stream *stream;

    for (size_t at = 0; (stream = idmap_next(&session->streams, &at));) {
        list_remove(&stream->credit);
        if (!stream->orphan)
            list_append(&session->positions, &stream->credit);
    }
    list_remove(&session->control.credit);
    list_append(&session->positions, &session->control.credit);
}

/*
 * What was sent on the old link and did not arrive must be sent again. Where the peer stands is not
 * known yet: start from what it has surely consumed; its POSITION moves that forward.
 */
static void rewind_streams(struct mux_session *session)
{
    struct mux_stream *stream;

    for (size_t at = 0; (stream = idmap_next(&session->streams, &at));) {
        byte_queue_rewind(&stream->send, stream->send.start);
        mux_stream_activate(stream);
    }
    byte_queue_rewind(&session->control.send, session->control.send.start);
    session->unacknowledged = 0;
}

void mux_session_attach(struct mux_session *session, struct mux_output output, uint64_t now_us)
{
    assert(session->settings.role == MUX_CLIENT);
    mux_core_reap(session);
    reset_link(session, output, now_us);
    session->attempt++;
    session->phase = MUX_PHASE_GREETING;
    session->hello_due = true;
    if (session->known_to_server) {
        rewind_streams(session);
        queue_positions(session);
    }
    mux_core_output(session);
}

bool mux_session_is_newer(const struct mux_session *session, const struct mux_hello *hello)
{
    return hello->attempt > session->attempt;
}

int mux_session_accept(struct mux_session *session, const struct mux_hello *hello,
                       uint16_t offer_count, struct mux_text offers, struct mux_output output,
                       uint64_t now_us)
{
    uint16_t version = mux_version_choose(hello->version_min, hello->version_max);

    assert(session->settings.role == MUX_SERVER);
    mux_core_reap(session);
    if (session->broken)
        return MUX_ERROR_PROTOCOL;
    if (version == 0) {
        session->reason = "no protocol version in common";
        return MUX_ERROR_PROTOCOL;
    }
    /* A link that the client has given up may come to life after the one that took its place. */
    if (!mux_session_is_newer(session, hello)) {
        session->reason = "the link is older than the one that carries the session";
        return MUX_ERROR_PROTOCOL;
    }
    reset_link(session, output, now_us);
    session->attempt = hello->attempt;
    session->welcome_version = version;
    session->offer_count = offer_count;
    session->offers = offers;
    session->welcome_due = true;
    session->resumed = hello->resume;
    session->peer_initial_window = hello->initial_window;
    session->phase = hello->resume ? MUX_PHASE_POSITIONS : MUX_PHASE_UP;
    if (hello->resume) {
        rewind_streams(session);
        queue_positions(session);
    } else {
        mux_core_ask(session);
        if (session->callbacks->established)
            session->callbacks->established(session->context, NULL);
    }
    mux_core_output(session);
    return 0;
}

void mux_session_detach(struct mux_session *session)
{
    session->phase = MUX_PHASE_NONE;
    session->output = (struct mux_output){NULL, NULL};
    session->output_pending = false;
    while (list_pop(&session->positions))
        ;
}

/* ---- the owner's questions and wishes */

void mux_session_reset_streams(struct mux_session *session, enum mux_code code, const char *reason)
{
    /* Taking one out moves others towards its slot, or the owner may take out more: on with the
     * same slot, and once more from the start while any is left. */
    for (size_t at = 0; session->streams.count > 0;) {
        struct mux_stream *stream = idmap_next(&session->streams, &at);
        if (!stream) {
            at = 0;
            continue;
        }
        at--;
        mux_stream_cut(stream, code, mux_text_of(reason));
    }
}

int mux_session_send_message(struct mux_session *session, uint8_t type, const uint8_t *payload,
                             size_t size)
{
    assert(size <= MUX_MESSAGE_PAYLOAD_MAX);
    mux_control_send_payload(session, type, payload, size);
    return session->control_overflow ? MUX_ERROR_PROTOCOL : 0;
}

void mux_session_goaway(struct mux_session *session, enum mux_code code, const char *reason)
{
    session->goaway_due = true;
    session->goaway_code = code;
    strncpy(session->goaway_reason, reason, sizeof session->goaway_reason - 1);
    mux_core_output(session);
}

bool mux_session_wants_output(const struct mux_session *session)
{
    return session->output_pending;
}

bool mux_session_is_broken(const struct mux_session *session)
{
    return session->broken;
}

const char *mux_session_reason(const struct mux_session *session)
{
    return session->reason ? session->reason : "";
}

const struct mux_reject *mux_session_rejection(const struct mux_session *session)
{
    return &session->rejection;
}

const struct mux_session_key *mux_session_key(const struct mux_session *session)
{
    return &session->key;
}

bool mux_session_established(const struct mux_session *session)
{
    return session->phase == MUX_PHASE_UP;
}

size_t mux_session_stream_count(const struct mux_session *session)
{
    return session->streams.count;
}

struct mux_pings mux_session_pings(const struct mux_session *session)
{
    return (struct mux_pings){session->pings.asked + session->ping_due, session->pings.answered};
}

uint64_t mux_session_progress(const struct mux_session *session)
{
    return session->progress;
}

void mux_session_limit_messages(struct mux_session *session, uint32_t message_max)
{
    session->settings.message_max = message_max;
}

uint64_t mux_session_charged(const struct mux_session *session, enum memory_way way)
{
    const struct mux_stream *stream;
    uint64_t charged = 0;

    for (size_t at = 0; (stream = idmap_next(&session->streams, &at));)
        charged += mux_stream_charged(stream, way);
    return charged;
}

uint64_t mux_session_rtt_us(const struct mux_session *session)
{
    return session->rtt_us;
}

uint64_t mux_session_rtt_at_us(const struct mux_session *session)
{
    return session->rtt_at_us;
}
