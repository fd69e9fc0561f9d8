#include "mux/session.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "mux/session_internal.h"

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

struct mux_text session_text(const char *string)
{
    return (struct mux_text){string, strlen(string)};
}

static void *allocate(size_t size)
{
    void *memory = calloc(1, size);
    if (!memory)
        abort();
    return memory;
}

struct mux_session *mux_session_new(const struct mux_settings *settings,
                                    const struct mux_callbacks *callbacks, void *context,
                                    const struct mux_session_key *key, struct chunk_pool *pool,
                                    struct mux_budget *budget)
{
    struct mux_session *session = allocate(sizeof *session);

    session->settings = *settings;
    session->callbacks = callbacks;
    session->context = context;
    session->key = *key;
    session->pool = pool;
    session->budget = budget;
    session->next_stream = 1;
    idmap_init(&session->streams);
    list_init(&session->fresh);
    list_init(&session->busy);
    list_init(&session->credits);
    list_init(&session->positions);
    list_init(&session->starved);
    list_init(&session->lingering);
    list_init(&session->zombies);
    stream_init(session, &session->control, MUX_CONTROL_STREAM);
    session->control.answered = true;
    session->control.send_limit = MUX_CONTROL_WINDOW;
    session->control.window.limit = MUX_CONTROL_WINDOW;
    session->control.window.size = MUX_CONTROL_WINDOW;
    return session;
}

void stream_init(struct mux_session *session, struct mux_stream *stream, uint32_t id)
{
    stream->session = session;
    stream->id = id;
    list_init(&stream->active);
    list_init(&stream->credit);
    list_init(&stream->starved);
    list_init(&stream->linger);
    byte_queue_init(&stream->send, session->pool);
}

void stream_drop_sent(struct mux_stream *stream)
{
    struct mux_session *session = stream->session;

    session->unacknowledged -= stream->send.read - stream->send.start;
    session->budget->send_held -= stream->send.end - stream->send.start;
    byte_queue_clear(&stream->send);
    list_remove(&stream->active);
    list_remove(&stream->starved);
}

static void stream_release(struct mux_session *session, struct mux_stream *stream)
{
    stream_drop_sent(stream);
    mux_window_close(&stream->window, session->budget);
    list_remove(&stream->credit);
    list_remove(&stream->linger);
}

void session_forget(struct mux_session *session, struct mux_stream *stream)
{
    idmap_remove(&session->streams, stream->id);
    stream_release(session, stream);
    list_append(&session->zombies, &stream->active);
}

void session_reap(struct mux_session *session)
{
    for (struct list *node; (node = list_pop(&session->zombies));) {
        struct mux_stream *stream = list_entry(node, struct mux_stream, active);
        free(stream->reset_reason);
        free(stream);
    }
}

void mux_session_free(struct mux_session *session)
{
    struct mux_stream *stream;

    if (!session)
        return;
    for (size_t at = 0; (stream = idmap_next(&session->streams, &at));) {
        stream_release(session, stream);
        list_append(&session->zombies, &stream->active);
    }
    session_reap(session);
    idmap_clear(&session->streams);
    session->budget->send_held -= session->control.send.end - session->control.send.start;
    byte_queue_clear(&session->control.send);
    byte_wipe(&session->key, sizeof session->key);
    free(session);
}

void session_awaits_answer(struct mux_session *session)
{
    if (session->outstanding_us == 0)
        session->outstanding_us = session->now_us;
}

void session_output(struct mux_session *session)
{
    if (session->output_pending || session->phase == LINK_NONE)
        return;
    session->output_pending = true;
    session->callbacks->output(session->context);
}

/* ---- links */

static void reset_link(struct mux_session *session, uint64_t now_us)
{
    session->now_us = session->heard_us = now_us;
    session->outstanding_us = now_us;
    session->ping_us = 0;
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
        stream_activate(stream);
    }
    byte_queue_rewind(&session->control.send, session->control.send.start);
    session->unacknowledged = 0;
}

void mux_session_attach(struct mux_session *session, uint64_t now_us)
{
    assert(session->settings.role == MUX_CLIENT);
    session_reap(session);
    reset_link(session, now_us);
    session->attempt++;
    session->phase = LINK_GREETING;
    session->hello_due = true;
    if (session->known_to_server) {
        rewind_streams(session);
        queue_positions(session);
    }
    session_output(session);
}

bool mux_session_is_newer(const struct mux_session *session, const struct mux_hello *hello)
{
    return hello->attempt > session->attempt;
}

int mux_session_accept(struct mux_session *session, const struct mux_hello *hello,
                       uint16_t offer_count, struct mux_text offers, uint64_t now_us)
{
    uint16_t version = mux_version_choose(hello->version_min, hello->version_max);

    assert(session->settings.role == MUX_SERVER);
    session_reap(session);
    if (version == 0) {
        session->reason = "no protocol version in common";
        return MUX_ERROR_PROTOCOL;
    }
    /* A link that the client has given up may come to life after the one that took its place. */
    if (!mux_session_is_newer(session, hello)) {
        session->reason = "the link is older than the one that carries the session";
        return MUX_ERROR_PROTOCOL;
    }
    reset_link(session, now_us);
    session->attempt = hello->attempt;
    session->welcome_version = version;
    session->offer_count = offer_count;
    session->offers = offers;
    session->welcome_due = true;
    session->resumed = hello->resume;
    session->peer_initial_window = hello->initial_window;
    session->phase = hello->resume ? LINK_POSITIONS : LINK_UP;
    if (hello->resume) {
        rewind_streams(session);
        queue_positions(session);
    } else {
        session->outstanding_us = 0;
        session->ping_due = true;
        session->callbacks->established(session->context, NULL);
    }
    session_output(session);
    return 0;
}

void mux_session_detach(struct mux_session *session)
{
    session->phase = LINK_NONE;
    session->output_pending = false;
    while (list_pop(&session->positions))
        ;
}

/* ---- messages */

static void control_append(struct mux_session *session, const uint8_t *bytes, size_t size)
{
    struct byte_queue *queue = &session->control.send;

    if (queue->end - queue->start + size > CONTROL_QUEUE_MAX) {
        session->control_overflow = true;
        return;
    }
    byte_queue_append(queue, bytes, size);
    session->budget->send_held += size;
    session_output(session);
}

void session_send(struct mux_session *session, const struct mux_message *message)
{
    uint8_t buffer[MUX_MESSAGE_ENCODED_MAX];
    struct byte_writer w;

    byte_writer_init(&w, buffer, sizeof buffer);
    mux_message_encode(&w, message);
    assert(!w.failed);
    control_append(session, buffer, byte_writer_size(&w));
}

void session_send_simple(struct mux_session *session, enum mux_message_type type, uint32_t stream)
{
    session_send(session, &(struct mux_message){.type = (uint8_t)type, .stream = stream});
}

void session_send_reset(struct mux_session *session, enum mux_message_type type, uint32_t stream,
                        uint64_t final, enum mux_code code, struct mux_text reason)
{
    struct mux_message message = {.type = (uint8_t)type, .stream = stream};

    message.u.reset.final = final;
    message.u.reset.code = (uint16_t)code;
    message.u.reset.reason = reason;
    session_send(session, &message);
}

int mux_session_send_message(struct mux_session *session, uint8_t type, const uint8_t *payload,
                             size_t size)
{
    uint8_t header[MUX_MESSAGE_HEADER] = {type, 0};

    assert(size <= MUX_MESSAGE_PAYLOAD_MAX);
    byte_store_u16(header + 2, (uint16_t)size);
    control_append(session, header, sizeof header);
    control_append(session, payload, size);
    return session->control_overflow ? MUX_ERROR_PROTOCOL : 0;
}

/* ---- streams */

struct mux_stream *session_stream_new(struct mux_session *session, uint32_t id)
{
    struct mux_stream *stream;

    if (session->streams.count >= session->settings.max_streams)
        return NULL;
    stream = allocate(sizeof *stream);
    if (!mux_window_open(&stream->window, &session->settings.window, session->budget)) {
        free(stream);
        return NULL;
    }
    stream_init(session, stream, id);
    stream->send_limit = session->peer_initial_window;
    idmap_put(&session->streams, id, stream);
    return stream;
}

struct mux_stream *mux_stream_open(struct mux_session *session, const struct mux_target *target,
                                   struct mux_text peer, void *owner)
{
    struct mux_message message = {.type = MUX_OPEN, .stream = session->next_stream};
    struct mux_stream *stream;

    assert(session->settings.role == MUX_CLIENT && session->known_to_server);
    if (session->next_stream == UINT32_MAX)
        return NULL;
    stream = session_stream_new(session, session->next_stream);
    if (!stream)
        return NULL;
    session->next_stream++;
    stream->owner = owner;
    message.u.open.target = *target;
    message.u.open.peer = peer;
    session_send(session, &message);
    return stream;
}

void mux_stream_accept(struct mux_stream *stream)
{
    assert(!stream->answered);
    stream->answered = true;
    session_send_simple(stream->session, MUX_OPENED, stream->id);
}

void mux_stream_refuse(struct mux_stream *stream, enum mux_code code, const char *reason)
{
    assert(!stream->answered);
    session_send_reset(stream->session, MUX_REFUSED, stream->id, 0, code, session_text(reason));
    session_forget(stream->session, stream);
}

void mux_stream_set_owner(struct mux_stream *stream, void *owner)
{
    stream->owner = owner;
}

void *mux_stream_owner(const struct mux_stream *stream)
{
    return stream->owner;
}

uint32_t mux_stream_id(const struct mux_stream *stream)
{
    return stream->id;
}

uint64_t mux_stream_received(const struct mux_stream *stream)
{
    return stream->window.received;
}

uint64_t mux_stream_sent(const struct mux_stream *stream)
{
    return stream->send.end;
}

void stream_activate(struct mux_stream *stream)
{
    if (byte_queue_unread(&stream->send) == 0)
        return;
    if (stream->id != MUX_CONTROL_STREAM && list_empty(&stream->active)) {
        stream->fresh = true;
        list_append(&stream->session->fresh, &stream->active);
    }
    session_output(stream->session);
}

size_t mux_stream_writable(struct mux_stream *stream)
{
    struct mux_session *session = stream->session;
    uint64_t credit = stream->send_limit - stream->send.end;
    uint64_t held = stream->send.end - stream->send.start;
    uint64_t memory = 0;

    if (session->budget->send_held < session->budget->send_cap)
        memory = session->budget->send_cap - session->budget->send_held;
    if (held < MUX_BUDGET_SEND_FLOOR && memory < MUX_BUDGET_SEND_FLOOR - held)
        memory = MUX_BUDGET_SEND_FLOOR - held;
    if (stream->send_half != MUX_HALF_OPEN || credit == 0) {
        stream->blocked = true;
        return 0;
    }
    if (memory == 0) {
        stream->blocked = true;
        if (list_empty(&stream->starved))
            list_append(&session->starved, &stream->starved);
        if (session->starved_us == 0)
            session->starved_us = session->now_us + STARVED_RETRY_US;
        return 0;
    }
    return (size_t)(credit < memory ? credit : memory);
}

size_t mux_stream_reserve(struct mux_stream *stream, size_t size, struct iovec *spaces,
                          size_t count)
{
    return byte_queue_reserve(&stream->send, size, spaces, count);
}

void mux_stream_commit(struct mux_stream *stream, size_t size)
{
    assert(stream->send_half == MUX_HALF_OPEN && size <= stream->send_limit - stream->send.end);
    byte_queue_commit(&stream->send, size);
    stream->session->budget->send_held += size;
    stream_activate(stream);
}

void mux_stream_write(struct mux_stream *stream, const void *bytes, size_t size)
{
    assert(stream->send_half == MUX_HALF_OPEN && size <= stream->send_limit - stream->send.end);
    byte_queue_append(&stream->send, bytes, size);
    stream->session->budget->send_held += size;
    stream_activate(stream);
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
    session_send(stream->session, &message);
}

void stream_credit_due(struct mux_stream *stream, enum mux_window_due due)
{
    struct mux_session *session = stream->session;

    if (due == MUX_WINDOW_NOTHING)
        return;
    if (list_empty(&stream->credit))
        list_append(&session->credits, &stream->credit);
    if (due == MUX_WINDOW_NOW) {
        session_output(session);
    } else if (session->credit_us == 0) {
        session->credit_us = session->now_us + CREDIT_DELAY_US;
    }
}

void mux_stream_consume(struct mux_stream *stream, size_t size, uint64_t now_us)
{
    struct mux_session *session = stream->session;

    assert(size <= stream->window.received - stream->window.consumed);
    session->now_us = now_us;
    enum mux_window_due due = mux_window_consume(&stream->window, size, now_us, session->rtt_min_us,
                                                 &session->settings.window, session->budget);
    if (stream->receive_half == MUX_HALF_OPEN)
        stream_credit_due(stream, due);
    else
        stream_check_received(stream);
}

bool stream_acknowledged(struct mux_stream *stream, uint64_t consumed, uint64_t limit)
{
    struct mux_session *session = stream->session;

    if (consumed > stream->send.read || limit < consumed)
        return false;
    /* An old announcement may come after a newer POSITION; it changes nothing. */
    if (consumed > stream->send.start) {
        uint64_t freed = consumed - stream->send.start;
        byte_queue_drop(&stream->send, consumed);
        session->unacknowledged -= freed;
        session->budget->send_held -= freed;
    }
    if (limit > stream->send_limit) {
        stream->send_limit = limit;
        stream_activate(stream);
    }
    if (stream->blocked && !stream->orphan && stream->send_half == MUX_HALF_OPEN &&
        stream->id != MUX_CONTROL_STREAM && stream->send_limit > stream->send.end) {
        stream->blocked = false;
        session->callbacks->writable(session->context, stream);
    }
    return true;
}

void stream_check_over(struct mux_stream *stream)
{
    struct mux_session *session = stream->session;

    if (stream->send_half != MUX_HALF_OVER || stream->receive_half != MUX_HALF_OVER)
        return;
    bool told = !stream->orphan;
    session_forget(session, stream);
    if (told)
        session->callbacks->over(session->context, stream);
}

void stream_check_received(struct mux_stream *stream)
{
    struct mux_session *session = stream->session;

    if (stream->receive_half != MUX_HALF_FINISHING ||
        stream->window.consumed < stream->receive_final ||
        (!stream->finish_told && !stream->reset_reason))
        return;
    session_send_simple(session, MUX_DONE, stream->id);
    mux_half_step(&stream->receive_half, MUX_EVENT_DONE);
    if (stream->reset_reason) {
        session_forget(session, stream);
        session->callbacks->reset(session->context, stream, (enum mux_code)stream->reset_code,
                                  session_text(stream->reset_reason));
        return;
    }
    /* It stays among the credits, where an answer to SHRINK may be owed by the other half. */
    stream_check_over(stream);
}

void mux_stream_reset(struct mux_stream *stream, enum mux_code code, const char *reason,
                      enum mux_reset_mode mode)
{
    struct mux_session *session = stream->session;
    bool linger = mode == MUX_RESET_AFTER_DATA && stream->send_half != MUX_HALF_OVER &&
                  stream->send.end > stream->send.start;

    session_send_reset(session, MUX_RESET, stream->id, linger ? stream->send.end : 0, code,
                       session_text(reason));
    if (!linger) {
        session_forget(session, stream);
        return;
    }
    stream->orphan = true;
    stream->owner = NULL;
    stream->send_half = MUX_HALF_FINISHING;
    mux_half_step(&stream->receive_half, MUX_EVENT_RESET);
    list_remove(&stream->credit);
    list_remove(&stream->starved);
    stream->linger_until_us = session->now_us + LINGER_US;
    list_append(&session->lingering, &stream->linger);
}

void mux_session_reset_streams(struct mux_session *session, enum mux_code code, const char *reason)
{
    for (size_t at = 0;;) {
        struct mux_stream *stream = idmap_next(&session->streams, &at);
        if (!stream)
            break;
        bool told = !stream->orphan;
        session_forget(session, stream);
        if (told)
            session->callbacks->reset(session->context, stream, code, session_text(reason));
        at = 0;
    }
}

/* ---- time */

static uint64_t earlier(uint64_t a, uint64_t b)
{
    return b != 0 && b < a ? b : a;
}

/* When silence has lasted so long that the link must be probed, or, already probed, is dead. */
static uint64_t probe_at(const struct mux_session *session)
{
    if (session->phase != LINK_UP || session->ping_us != 0 || session->ping_due)
        return UINT64_MAX;
    if (session->unacknowledged > 0)
        return session->heard_us + BUSY_PROBE_US;
    return session->heard_us + session->settings.ping_interval_us;
}

static uint64_t dead_at(const struct mux_session *session)
{
    uint64_t since = session->outstanding_us;

    if (since == 0)
        return UINT64_MAX;
    if (session->heard_us > since)
        since = session->heard_us;
    return since + session->settings.dead_after_us;
}

uint64_t mux_session_deadline(const struct mux_session *session)
{
    uint64_t deadline = UINT64_MAX;

    if (session->phase != LINK_NONE) {
        deadline = earlier(deadline, dead_at(session));
        deadline = earlier(deadline, probe_at(session));
        if (session->phase == LINK_UP)
            deadline = earlier(deadline, session->credit_us);
    }
    if (!list_empty(&session->lingering)) {
        const struct mux_stream *stream =
            list_entry(session->lingering.next, struct mux_stream, linger);
        deadline = earlier(deadline, stream->linger_until_us);
    }
    deadline = earlier(deadline, session->starved_us);
    return earlier(deadline, session->sweep_us);
}

static void sweep_idle_windows(struct mux_session *session)
{
    struct mux_stream *stream;
    uint64_t next = 0;

    for (size_t at = 0; (stream = idmap_next(&session->streams, &at));) {
        if (stream->window.limit - stream->window.consumed <= session->settings.window.initial)
            continue;
        next = session->now_us + session->settings.window_idle_us;
        if (stream->receive_half == MUX_HALF_OPEN && session->phase == LINK_UP &&
            mux_window_shrink(&stream->window, session->now_us, session->settings.window_idle_us,
                              &session->settings.window)) {
            stream->shrink_due = true;
            stream_credit_due(stream, MUX_WINDOW_NOW);
        }
    }
    session->sweep_us = next;
}

void session_feed_starved(struct mux_session *session)
{
    struct list waiting;
    struct list *node;

    list_init(&waiting);
    while (session->budget->send_held < session->budget->send_cap &&
           (node = list_pop(&session->starved)))
        list_append(&waiting, node);
    session->starved_us = list_empty(&session->starved) ? 0 : session->now_us + STARVED_RETRY_US;
    while ((node = list_pop(&waiting))) {
        struct mux_stream *stream = list_entry(node, struct mux_stream, starved);
        stream->blocked = false;
        session->callbacks->writable(session->context, stream);
    }
}

static void end_lingering(struct mux_session *session)
{
    while (!list_empty(&session->lingering)) {
        struct mux_stream *stream = list_entry(session->lingering.next, struct mux_stream, linger);
        if (stream->linger_until_us > session->now_us)
            return;
        bool told = !stream->orphan;
        session_forget(session, stream);
        if (told)
            session->callbacks->reset(session->context, stream, (enum mux_code)stream->reset_code,
                                      session_text(stream->reset_reason));
    }
}

int mux_session_tick(struct mux_session *session, uint64_t now_us)
{
    session_reap(session);
    session->now_us = now_us;
    end_lingering(session);
    if (session->starved_us != 0 && now_us >= session->starved_us)
        session_feed_starved(session);
    if (session->sweep_us != 0 && now_us >= session->sweep_us)
        sweep_idle_windows(session);
    if (session->phase == LINK_NONE)
        return 0;
    if (session->control_overflow) {
        session->reason = "the peer does not read the control stream";
        return MUX_ERROR_PROTOCOL;
    }
    if (now_us >= dead_at(session)) {
        session->reason = "the peer has been silent for too long";
        return MUX_ERROR_DEAD;
    }
    if (now_us >= probe_at(session))
        mux_session_ping(session);
    if (session->phase == LINK_UP && session->credit_us != 0 && now_us >= session->credit_us) {
        /* The next pull carries them, whenever the link has room for one. */
        session->credit_us = 0;
        session_output(session);
    }
    return 0;
}

void mux_session_ping(struct mux_session *session)
{
    if (session->phase == LINK_NONE)
        return;
    session->ping_due = true;
    /* Counts from here, not from the pull: a link that takes no more bytes is dead, too. */
    session_awaits_answer(session);
    session_output(session);
}

void mux_session_goaway(struct mux_session *session, enum mux_code code, const char *reason)
{
    session->goaway_due = true;
    session->goaway_code = code;
    strncpy(session->goaway_reason, reason, sizeof session->goaway_reason - 1);
    session_output(session);
}

bool mux_session_wants_output(const struct mux_session *session)
{
    return session->output_pending;
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
    return session->phase == LINK_UP;
}

size_t mux_session_stream_count(const struct mux_session *session)
{
    return session->streams.count;
}

uint64_t mux_session_rtt_us(const struct mux_session *session)
{
    return session->rtt_us;
}
