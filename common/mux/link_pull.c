/* The sending side of a link: what goes into its next bytes, and in which order. */
#include <assert.h>
#include <string.h>

#include "mux/link.h"
#include "mux/scheduler.h"
#include "mux/session_core.h"

enum {
    /* A link that is used is pinged so often, or once a round trip, while there are others. */
    PING_USED_US = 50 * 1000,
    /* Two portions in such a round trip are more than a gigabit a second. */
    SHORT_US = 500,
    /* Fewer bytes are copied sooner than pointed at. */
    GATHER_LEAST = 2 * 1024,
    /* A frame's bytes in more pieces than that are in small chunks. */
    GATHER_PIECES = 4,
};

/* Where the bytes of a pull are, as far as they are not all copied. */
struct gatherer {
    struct mux_gathered *gathered; /* NULL: they are */
    uint8_t *written;              /* no span points at what was written from here on */
};

static size_t room(const struct byte_writer *w)
{
    return (size_t)(w->end - w->at);
}

static void put_hello(struct mux_link *link, struct byte_writer *w)
{
    const struct mux_session *session = link->session;
    bool join = link->entry == MUX_ENTRY_JOIN;
    struct mux_hello hello = {
        .version_min = join ? (uint16_t)session->version : MUX_VERSION_MIN,
        .version_max = join ? (uint16_t)session->version : MUX_VERSION_MAX,
        .resume = link->entry == MUX_ENTRY_RESUME,
        .join = join,
        .attempt = link->attempt,
        .initial_window = session->settings.window.initial,
        .key = session->key,
        .software = session->settings.software,
        .message_max = session->settings.message_max,
    };

    mux_hello_encode(w, &hello);
    link->hello_due = false;
}

static void put_welcome(struct mux_link *link, struct byte_writer *w)
{
    const struct mux_session *session = link->session;
    struct mux_welcome welcome = {
        .version = (uint16_t)session->version,
        .resumed = link->entry == MUX_ENTRY_RESUME,
        .joined = link->entry == MUX_ENTRY_JOIN,
        .tells_names = session->settings.tells_names,
        .initial_window = session->settings.window.initial,
        .resume_window_ms = session->settings.resume_window_ms,
        .key = session->key,
        .software = session->settings.software,
        .offer_count = link->offer_count,
        .offers = link->offers,
        .identity = session->settings.identity,
        .rights = session->settings.rights,
        .message_max = session->settings.message_max,
    };

    mux_welcome_encode(w, &welcome);
    link->welcome_due = false;
}

static void put_goaway(struct mux_link *link, struct byte_writer *w)
{
    const struct mux_session *session = link->session;
    uint8_t header[MUX_FRAME_HEADER];
    size_t size = strlen(session->goaway_reason);
    struct mux_frame frame = {.type = MUX_GOAWAY, .size = (uint16_t)(4 + size)};

    mux_frame_encode_header(header, &frame);
    byte_writer_bytes(w, header, sizeof header);
    byte_writer_u16(w, (uint16_t)session->goaway_code);
    byte_writer_u16(w, (uint16_t)size);
    byte_writer_bytes(w, session->goaway_reason, size);
    link->goaway_due = false;
}

/* false: no room for all of it. */
static bool put_positions(struct mux_link *link, struct byte_writer *w)
{
    struct mux_session *session = link->session;

    while (link->entry == MUX_ENTRY_RESUME && !list_empty(&session->positions)) {
        if (room(w) < MUX_POSITION_FRAME)
            return false;
        struct mux_stream *stream =
            list_entry(list_pop(&session->positions), struct mux_stream, credit);
        struct mux_window *window = &stream->window;
        /* Whatever was asked of the old links is settled by the limits that positions state. */
        window->shrinking = stream->shrink_due = stream->limit_due = false;
        if (stream->id != MUX_CONTROL_STREAM)
            mux_window_announce(window, UINT64_MAX, session->share);
        else
            window->limit = (window->announced = window->consumed) + window->size;
        mux_frame_write_position(w, stream->id, window->received, window->consumed, window->limit);
    }
    return true;
}

/* How far a stream may be ahead of its receiver: beside messages, where the path is short, all that
 * is ahead only waits, and they wait behind it. */
static uint64_t most_credit(const struct mux_session *session)
{
    const uint64_t distance_us = mux_core_distance_us(session);

    return distance_us > 0 && distance_us < SHORT_US &&
                   mux_portion_size(&session->portion, session->now_us) == MUX_PORTION
               ? 2 * MUX_PORTION
               : UINT64_MAX;
}

static void put_credit(struct mux_link *link, struct mux_stream *stream, struct byte_writer *w)
{
    struct mux_session *session = link->session;
    struct mux_window *window = &stream->window;
    const struct mux_window_limits *limits = &session->settings.window;

    list_remove(&stream->told);
    list_append(&link->told, &stream->told);
    if (stream->limit_due) {
        mux_frame_write_limit(w, session->version, MUX_LIMIT, stream->id, stream->send_limit,
                              stream->answers);
        stream->limit_due = false;
    }
    if (stream->receive_half != MUX_HALF_OPEN)
        return;
    if (stream->id == MUX_CONTROL_STREAM) {
        window->announced = window->consumed;
        window->limit = window->consumed + window->size;
    } else {
        mux_window_announce(window, most_credit(session), session->share);
        if (window->limit - window->consumed > limits->initial && session->sweep_us == 0)
            session->sweep_us = session->now_us + session->settings.window_idle_us;
    }
    const struct mux_credit credit = {window->received, window->consumed,
                                      mux_window_told_limit(window), stream->shrinks};
    mux_frame_write_window(w, session->version, stream->id, &credit);
    if (stream->shrink_due) {
        mux_frame_write_limit(w, session->version, MUX_SHRINK, stream->id, window->shrink_to,
                              stream->shrinks);
        stream->shrink_due = false;
    }
}

/* What is not urgent goes along with other things, but not with each answer: small messages would
 * cost twice as many frames. Several links need to know what has come. */
static bool credits_are_due(const struct mux_session *session)
{
    const uint64_t now_us = session->now_us;

    return now_us >= session->credit_us || mux_core_has_choice(session) ||
           now_us - session->credited_us >= MUX_CREDIT_DELAY_ALONE_US;
}

/* All that are owed. false: no room. */
static bool put_credits(struct mux_link *link, struct byte_writer *w)
{
    struct mux_session *session = link->session;

    while (!list_empty(&session->credits)) {
        if (room(w) < MUX_WINDOW_FRAME + 2 * MUX_LIMIT_FRAME) {
            session->credit_us = 0;
            return false;
        }
        put_credit(link, list_entry(list_pop(&session->credits), struct mux_stream, credit), w);
        session->credited_us = session->now_us;
    }
    session->credit_us = 0;
    return true;
}

static void put_ping(struct mux_link *link, struct byte_writer *w)
{
    const struct mux_session *session = link->session;
    const uint64_t now_us = session->now_us ? session->now_us : 1;

    /* The first one that is under way counts from here: it may have waited for the link. */
    if (link->ping_us == 0)
        link->asked_us = now_us;
    link->ping_us = now_us;
    mux_frame_write_u64(w, MUX_PING, link->ping_us);
    link->pings.asked++;
    mux_allowance_asked(&link->allowance);
    link->ping_due = link->used = false;
    link->next_ping_us =
        now_us + (link->rtt_smooth_us > PING_USED_US ? link->rtt_smooth_us : PING_USED_US);
    for (struct list *node; (node = list_pop(&link->told));)
        list_append(&link->told_before, node);
}

/* What the lead says of other links. */
static void put_news_of_links(struct mux_session *session, struct byte_writer *w)
{
    for (; session->gone_count > 0 && room(w) >= MUX_U32_FRAME; session->gone_count--)
        mux_frame_write_u32(w, MUX_GONE, session->gone[session->gone_count - 1]);
    for (unsigned i = 0; i < MUX_LINKS_MAX && mux_core_has_choice(session); i++) {
        struct mux_link *other = session->links[i];
        if (!other || !other->suspect_due || room(w) < MUX_U32_FRAME)
            continue;
        other->suspect_due = false;
        mux_frame_write_u32(w, MUX_SUSPECT, other->attempt);
    }
    if (session->more_links_due && room(w) >= MUX_U32_FRAME) {
        session->more_links_due = false;
        mux_frame_write_u32(w, MUX_MORE_LINKS, session->links_told);
    }
}

static void put_link_frames(struct mux_link *link, struct byte_writer *w)
{
    struct mux_session *session = link->session;

    if (link->pong_due && room(w) >= MUX_U64_FRAME) {
        mux_frame_write_u64(w, MUX_PONG, link->pong_token);
        link->pong_due = false;
    }
    if (link->ping_due && room(w) >= MUX_U64_FRAME)
        put_ping(link, w);
    if (link->goaway_due && room(w) >= MUX_FRAME_HEADER + 4 + MUX_REASON_MAX)
        put_goaway(link, w);
    if (link == session->lead && session->version >= MUX_VERSION_LINKS)
        put_news_of_links(session, w);
}

/* ---- data */

/* How many bytes of data a frame may have now. */
static size_t data_room(const struct byte_writer *w)
{
    size_t left = room(w);

    if (left <= MUX_DATA_HEADER)
        return 0;
    left -= MUX_DATA_HEADER;
    return left < MUX_FRAME_PAYLOAD_MAX - 8 ? left : MUX_FRAME_PAYLOAD_MAX - 8;
}

/* The control stream goes before all others, and over the lead alone. */
static void put_control(struct mux_link *link, struct byte_writer *w)
{
    struct mux_session *session = link->session;
    struct mux_stream *control = &session->control;

    if (!list_empty(&control->credit) && room(w) >= MUX_WINDOW_FRAME) {
        list_remove(&control->credit);
        put_credit(link, control, w);
    }
    for (;;) {
        uint64_t unread = byte_queue_unread(&control->send);
        uint64_t credit = control->send_limit - control->send.read;
        size_t size = data_room(w);
        if (size > unread)
            size = (size_t)unread;
        if (size > credit)
            size = (size_t)credit;
        if (size == 0)
            return;
        mux_frame_write_data_header(w, MUX_CONTROL_STREAM, control->send.read, size);
        byte_queue_read(&control->send, w->at, size);
        w->at += size;
        session->unacknowledged += size;
        link->used = true;
    }
}

static void point_at_written(struct gatherer *gatherer, const struct byte_writer *w)
{
    struct mux_gathered *gathered = gatherer->gathered;
    size_t size = (size_t)(w->at - gatherer->written);

    if (size > 0)
        gathered->spans[gathered->count++] = (struct iovec){gatherer->written, size};
    gatherer->written = w->at;
}

/* The stream's next bytes stay where they are. false: they are too few, or in too many pieces. */
static bool point_at_kept(struct gatherer *gatherer, struct byte_writer *w,
                          struct byte_queue *queue, size_t size)
{
    struct mux_gathered *gathered = gatherer->gathered;
    struct iovec pieces[GATHER_PIECES];
    size_t left = size;
    size_t used = 0;

    /* Room for what was written before it, and at the end. */
    if (!gathered || size < GATHER_LEAST || gathered->count + GATHER_PIECES + 2 > MUX_GATHERED_MAX)
        return false;
    size_t count = byte_queue_peek(queue, pieces, GATHER_PIECES);
    for (; used < count && left > 0; used++) {
        if (pieces[used].iov_len > left)
            pieces[used].iov_len = left;
        left -= pieces[used].iov_len;
    }
    if (left > 0)
        return false;
    point_at_written(gatherer, w);
    memcpy(gathered->spans + gathered->count, pieces, used * sizeof pieces[0]);
    gathered->count += used;
    byte_queue_skip(queue, size);
    w->end -= size; /* the room for frames is for these as well */
    return true;
}

static void put_data(struct gatherer *gatherer, struct byte_writer *w, const struct mux_turn *turn,
                     size_t size)
{
    struct byte_queue *queue = &turn->stream->send;

    if (turn->kind == MUX_TURN_NEW && point_at_kept(gatherer, w, queue, size))
        return;
    if (turn->kind == MUX_TURN_NEW)
        byte_queue_read(queue, w->at, size);
    else
        byte_queue_copy(queue, turn->offset, w->at, size);
    w->at += size;
}

/* Frame by frame, as the scheduler says. */
static void put_streams(struct mux_link *link, struct byte_writer *w, struct gatherer *gatherer)
{
    struct mux_turn turn;

    for (;;) {
        size_t size = data_room(w);
        if (!mux_schedule_next(link, size, &turn))
            return;
        if (size > turn.size)
            size = (size_t)turn.size;
        mux_frame_write_data_header(w, turn.stream->id, turn.offset, size);
        put_data(gatherer, w, &turn, size);
        mux_schedule_sent(link, &turn, size);
    }
}

static void put_padding(struct mux_link *link, struct byte_writer *w)
{
    uint8_t header[MUX_FRAME_HEADER];

    while (link->padding > 0 && room(w) > sizeof header) {
        size_t size = room(w) - sizeof header;
        if (size > MUX_FRAME_PAYLOAD_MAX)
            size = MUX_FRAME_PAYLOAD_MAX;
        if (size > link->padding)
            size = (size_t)link->padding;
        const struct mux_frame frame = {.type = MUX_PADDING, .size = (uint16_t)size};
        mux_frame_encode_header(header, &frame);
        byte_writer_bytes(w, header, sizeof header);
        memset(w->at, 0, size);
        w->at += size;
        link->padding -= size;
    }
}

/* Bytes wait, and no link that they may use is free. */
static bool is_pressed(const struct mux_session *session)
{
    if (list_empty(&session->busy))
        return false;
    for (unsigned i = 0; i < MUX_LINKS_MAX; i++) {
        const struct mux_link *link = session->links[i];
        if (link && link->phase == MUX_PHASE_UP && !link->suspect && !link->output_pending &&
            mux_schedule_takes_bulk(link))
            return false;
    }
    return true;
}

static void put_session_frames(struct mux_link *link, struct byte_writer *w,
                               struct gatherer *gatherer)
{
    struct mux_session *session = link->session;

    mux_schedule_link_takes(link);
    put_link_frames(link, w);
    if (link == session->lead) {
        put_control(link, w);
        /* A stream's frames must not overtake the message that opens it. */
        if (byte_queue_unread(&session->control.send) > 0)
            return;
        if (credits_are_due(session) && !put_credits(link, w))
            return;
    }
    put_streams(link, w, gatherer);
    if (mux_core_has_choice(session) && link->used && !link->ping_due && link->ping_us == 0 &&
        (session->now_us >= link->next_ping_us || link->held) && room(w) >= MUX_U64_FRAME)
        put_ping(link, w);
    put_padding(link, w);
}

/* As mux_link_gather(), and mux_link_pull() without gathered. */
static size_t pull_frames(struct mux_link *link, uint8_t *buffer, size_t size,
                          struct mux_gathered *gathered, uint64_t now_us)
{
    struct mux_session *session = link->session;
    struct gatherer gatherer = {gathered, buffer};
    struct byte_writer w;

    byte_writer_init(&w, buffer, size);
    mux_core_reap(session);
    session->now_us = now_us;
    assert(size >= MUX_PULL_MIN);
    if (session->broken)
        return 0;
    if (session->ids_used_up) {
        session->ids_used_up = false;
        if (session->callbacks->goaway)
            session->callbacks->goaway(session->context, MUX_CODE_LIMIT,
                                       mux_text_of("all stream numbers are used up"));
    }
    if (link->hello_due)
        put_hello(link, &w);
    if (link->welcome_due)
        put_welcome(link, &w);
    if (put_positions(link, &w) && link->phase == MUX_PHASE_UP)
        put_session_frames(link, &w, &gatherer);
    if (gathered)
        point_at_written(&gatherer, &w);
    if (byte_writer_size(&w) == 0)
        link->output_pending = false;
    link->pending_us = now_us;
    if (link->phase == MUX_PHASE_UP)
        mux_growth_press(&session->growth, is_pressed(session), now_us);
    return byte_writer_size(&w) + (size_t)(buffer + size - w.end);
}

size_t mux_link_pull(struct mux_link *link, uint8_t *buffer, size_t size, uint64_t now_us)
{
    return pull_frames(link, buffer, size, NULL, now_us);
}

size_t mux_link_gather(struct mux_link *link, uint8_t *buffer, size_t size,
                       struct mux_gathered *gathered, uint64_t now_us)
{
    gathered->count = 0;
    return pull_frames(link, buffer, size, gathered, now_us);
}
