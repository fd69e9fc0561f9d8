/*
 * One real session whose peer sends what it likes: frames that are right, nearly right, and
 * random bytes. Whatever comes, the session answers with an error at worst, its memory stays
 * bounded and its counters right. The owner behaves as any owner does.
 */
#include <string.h>

#include "sim.h"

enum { SECOND = 1000 * 1000, TURNS = 300, BYTES_MAX = 60000 };

/* ---- the owner: no expectations, only good manners */

static void drop(struct end *end, struct app *app)
{
    app->live = false;
    mux_stream_reset(app->stream, MUX_CODE_PEER_RESET, "enough",
                     random_chance(&end->world->random, 500) ? MUX_RESET_NOW : MUX_RESET_AFTER_DATA,
                     end->world->now_us);
}

static const struct mux_stream_callbacks stream_callbacks;

static struct app *place(struct end *end, struct mux_stream *stream)
{
    for (unsigned i = 0; i < MAX_STREAMS; i++) {
        if (end->apps[i].live)
            continue;
        end->apps[i] = (struct app){.stream = stream, .end = end, .live = true, .id = i};
        mux_stream_set_callbacks(stream, &stream_callbacks, &end->apps[i]);
        return &end->apps[i];
    }
    return NULL;
}

static void on_output(void *context)
{
    ((struct side *)context)->wants_pull = true;
}

static struct side *side_at(struct end *end, unsigned index)
{
    return &end->world->links[index].sides[end->which];
}

/* One of the session's links, any; NULL: it has none. */
static struct side *any_side(struct end *end)
{
    struct side *side = NULL;
    uint64_t count = 0;

    for (unsigned i = 0; i < MAX_LINKS; i++)
        if (side_at(end, i)->mux && random_below(&end->world->random, ++count) == 0)
            side = side_at(end, i);
    return side;
}

static struct side *free_side(struct end *end)
{
    unsigned i = 0;

    while (side_at(end, i)->mux)
        i++;
    return side_at(end, i);
}

static void detach(struct side *side)
{
    mux_link_detach(side->mux);
    side->mux = NULL;
    side->wants_pull = false;
    side->link->rest_fill = 0;
}

static void detach_all(struct end *end)
{
    for (struct side *side; (side = any_side(end));)
        detach(side);
}

static struct mux_output output_of(struct side *side)
{
    side->wants_pull = false;
    return (struct mux_output){.ready = on_output, .link = side};
}

static void on_open(void *context, struct mux_stream *stream, const struct mux_target *target,
                    struct mux_text peer)
{
    struct end *end = context;

    (void)target;
    (void)peer;
    if (mux_stream_id(stream) <= end->last_open)
        violate(end->world, "open() for stream %u after %u", mux_stream_id(stream), end->last_open);
    end->last_open = mux_stream_id(stream);
    end->idle = false;
    if (!place(end, stream))
        mux_stream_refuse(stream, MUX_CODE_LIMIT, "full");
    else if (random_chance(&end->world->random, 500))
        mux_stream_accept(stream);
}

static void on_data(void *owner, struct mux_stream *stream, const uint8_t *bytes, size_t size)
{
    struct app *app = owner;
    struct end *end = app->end;
    uint8_t sum = 0;

    for (size_t i = 0; i < size; i++)
        sum ^= bytes[i]; /* so that a sanitizer sees every byte */
    app->received += size + 0 * sum;
    if (random_chance(&end->world->random, 20)) {
        drop(end, app);
    } else if (random_chance(&end->world->random, 600)) {
        mux_stream_consume(stream, (size_t)(app->received - app->consumed), end->world->now_us);
        if (app->live)
            app->consumed = app->received;
    }
}

static void on_over(void *owner, struct mux_stream *stream)
{
    (void)stream;
    ((struct app *)owner)->live = false;
}

static void on_reset(void *owner, struct mux_stream *stream, enum mux_code code,
                     struct mux_text reason)
{
    (void)code;
    (void)reason;
    on_over(owner, stream);
}

static void on_message(void *context, uint8_t type, const uint8_t *payload, size_t size)
{
    struct mux_expose_reader reader;
    struct mux_exposed_node node;
    struct mux_text cluster, reason;
    uint8_t flags;

    (void)context;
    if (!mux_expose_read(&reader, payload, size))
        return;
    bool listed = type == MUX_EXPOSE || type == MUX_WITHDRAWN;
    while (listed ? mux_expose_next(&reader, &node) : mux_exposed_next(&reader, &node))
        ;
    if (type == MUX_EXPOSE)
        mux_expose_flags(&reader);
    if (type == MUX_NAMES)
        mux_names_tail(&reader, &flags, &reason);
    mux_keep_decode(payload, size, &cluster);
}

static const struct mux_session_callbacks session_callbacks = {
    .open = on_open,
    .idle = check_idle,
    .message = on_message,
};

static const struct mux_stream_callbacks stream_callbacks = {
    .data = on_data,
    .reset = on_reset,
    .over = on_over,
};

static void act(struct end *end, struct app *app)
{
    static const uint8_t zeros[4096];
    struct random *r = &end->world->random;
    size_t size = mux_stream_want_write(app->stream);

    if (end->which == SERVER && !app->stream->answered)
        mux_stream_accept(app->stream);
    if (!app->finished && size > 0)
        mux_stream_write(app->stream, zeros,
                         1 + random_below(r, size < sizeof zeros ? size : sizeof zeros));
    if (!app->finished && random_chance(r, 100)) {
        app->finished = true;
        mux_stream_finish(app->stream);
    }
    if (random_chance(r, 20))
        drop(end, app);
}

/* The stream that the share is charged most for, as far as it has an owner. */
static bool give_way(void *context, const struct memory_share *to, enum memory_way way)
{
    struct end *end = context;
    struct app *most = NULL;

    if (to != &end->others)
        return false;
    for (unsigned i = 0; i < MAX_STREAMS; i++) {
        struct app *app = &end->apps[i];
        if (app->live &&
            (!most || mux_stream_charged(app->stream, way) > mux_stream_charged(most->stream, way)))
            most = app;
    }
    if (!most)
        return false;
    most->live = false;
    mux_stream_reset(most->stream, MUX_CODE_LIMIT, "others need it", MUX_RESET_NOW,
                     end->world->now_us);
    return true;
}

/* Somebody else wants memory, never more than a part: it is there, whatever the peer has done. */
static void take_part(struct end *end, enum memory_way way)
{
    struct random *r = &end->world->random;
    struct supply *supply = way == MEMORY_RECEIVE ? &end->budget.receive : &end->budget.send;
    struct holding *holding = way == MEMORY_RECEIVE ? &end->others.receive : &end->others.send;
    const struct holding *peer = way == MEMORY_RECEIVE ? &end->share.receive : &end->share.send;

    if (holding->used > 0 && random_chance(r, 500)) {
        memory_share_give(&end->others, way, 1 + random_below(r, holding->used));
        return;
    }
    uint64_t part = share_part(supply, holding);
    if (part <= holding->used)
        return;
    uint64_t wanted = 1 + random_below(r, part - holding->used);
    for (int i = 0; i < MAX_STREAMS; i++)
        if (memory_share_take(&end->others, way, wanted))
            return;
    /* What is left is for orphans, and for the messages about streams. */
    if (peer->used > part + MUX_CONTROL_QUEUE_MAX && mux_session_stream_count(end->session) == 0)
        violate(end->world, "somebody with less than a part of the memory gets none");
    for (unsigned i = 0; i < MAX_STREAMS; i++)
        if (end->apps[i].live)
            violate(end->world, "a stream keeps memory that others are entitled to");
}

static void take_turn(struct end *end)
{
    struct mux_target target = {.kind = MUX_TARGET_TCP, .name = {"x", 1}, .node_id = -1};
    struct random *r = &end->world->random;

    if (end->which == CLIENT && random_chance(r, 300)) {
        struct mux_stream *stream =
            mux_stream_open(end->session, &target, (struct mux_text){"", 0}, NULL, NULL);
        end->idle = end->idle && !stream;
        if (stream && !place(end, stream))
            mux_stream_reset(stream, MUX_CODE_LIMIT, "full", MUX_RESET_NOW, end->world->now_us);
    }
    for (unsigned i = 0; i < MAX_STREAMS; i++)
        if (end->apps[i].live && random_chance(r, 300))
            act(end, &end->apps[i]);
}

/* ---- the peer */

/* A number that is often the right one, or one beside it. */
static uint64_t guess(struct random *r, uint64_t right)
{
    switch (random_below(r, 80)) {
    case 0:
        return random_next(r);
    case 1:
        return right + 1;
    case 2:
        return right - 1;
    case 3:
        return right + random_scaled(r, 0, 100000);
    case 4:
        return UINT64_MAX - random_below(r, 3);
    default:
        return right;
    }
}

static const struct mux_stream *any_stream(struct end *end, uint32_t *id)
{
    struct random *r = &end->world->random;
    const struct mux_session *session = end->session;

    *id = (uint32_t)random_below(r, (uint64_t)session->last_stream + 1 +
                                        (random_chance(r, 50) ? 2 : 0));
    return *id == 0 ? &session->control : idmap_get(&session->streams, *id);
}

/* A message for the control stream; with luck one that fits the state. */
static void add_message(struct end *end, struct byte_writer *w)
{
    static const uint8_t types[] = {MUX_OPEN,   MUX_OPENED, MUX_REFUSED, MUX_FINISH,    MUX_DONE,
                                    MUX_RESET,  MUX_EXPOSE, MUX_EXPOSED, MUX_WITHDRAWN, MUX_OPEN,
                                    MUX_FINISH, MUX_RESET,  MUX_KEEP,    MUX_NAMES,     0x90};
    struct random *r = &end->world->random;
    struct mux_message message = {.type = types[random_below(r, sizeof types)]};
    const struct mux_stream *stream = any_stream(end, &message.stream);
    uint64_t received = stream ? stream->window.received : 0;

    switch (message.type) {
    case MUX_OPEN:
        message.stream = (uint32_t)guess(r, (uint64_t)end->session->last_stream + 1);
        if (random_chance(r, 5))
            message.stream = UINT32_MAX - (uint32_t)random_below(r, 3);
        else if (message.stream - end->session->last_stream > 1000000 && !random_chance(r, 50))
            message.stream = end->session->last_stream + 1;
        message.u.open.target = (struct mux_target){MUX_TARGET_TCP, {"target", 6}, -1};
        message.u.open.peer = (struct mux_text){"host", 4};
        break;
    case MUX_FINISH:
        message.u.finish.final = guess(r, received);
        break;
    default:
        message.u.reset.final = guess(r, received + random_scaled(r, 0, 20000));
        message.u.reset.reason = (struct mux_text){"because", 7};
        break;
    }
    uint8_t *start = w->at;
    mux_message_encode(w, &message);
    if (!w->failed && random_chance(r, 20))
        start[random_below(r, (uint64_t)(w->at - start))] = (uint8_t)random_next(r);
}

/* Where DATA for the stream may begin: mostly where it stands, or behind that. */
static uint64_t any_offset(struct end *end, const struct mux_stream *stream)
{
    struct random *r = &end->world->random;
    const struct mux_window *window = &stream->window;

    if (end->session->version < MUX_VERSION_LINKS || random_chance(r, 400))
        return window->received;
    if (random_chance(r, 200))
        return random_below(r, window->received + 1);
    return window->received + random_scaled(r, 0, window->limit - window->received);
}

static void add_data(struct end *end, struct byte_writer *w)
{
    struct random *r = &end->world->random;
    uint8_t body[4000] = {0};
    uint32_t id;
    const struct mux_stream *stream = any_stream(end, &id);
    size_t size = (size_t)random_scaled(r, 1, sizeof body);

    if (id == 0) {
        struct byte_writer message;
        byte_writer_init(&message, body, sizeof body);
        add_message(end, &message);
        size = byte_writer_size(&message);
    }
    mux_frame_write_data_header(w, id, guess(r, stream ? any_offset(end, stream) : 0), size);
    byte_writer_bytes(w, body, size);
}

/* The number of a link that there is, or was, or never will be. */
static uint32_t any_attempt(struct end *end)
{
    struct random *r = &end->world->random;
    const struct side *side = any_side(end);

    if (random_chance(r, 700))
        return mux_link_attempt(side->mux);
    return (uint32_t)guess(r, random_below(r, (uint64_t)end->session->attempt + 1));
}

static void add_news_of_links(struct end *end, struct byte_writer *w)
{
    struct random *r = &end->world->random;

    switch (random_below(r, 3)) {
    case 0:
        mux_frame_write_u32(w, MUX_GONE, any_attempt(end));
        break;
    case 1:
        mux_frame_write_u32(w, MUX_SUSPECT, any_attempt(end));
        break;
    default:
        mux_frame_write_u32(w, MUX_MORE_LINKS, (uint32_t)guess(r, 1 + random_below(r, 20)));
        break;
    }
}

static void add_small(struct end *end, const struct side *side, struct byte_writer *w)
{
    struct random *r = &end->world->random;
    unsigned version = end->session->version;
    uint32_t id;
    const struct mux_stream *stream = any_stream(end, &id);
    uint64_t start = stream ? stream->send.start : 0;
    uint64_t read = stream ? stream->send.read : 0;
    struct mux_credit credit;
    uint64_t received, consumed, limit; /* in order: arguments are evaluated in any */
    uint32_t number;

    switch (random_below(r, 8)) {
    case 0:
        received = guess(r, read);
        consumed = guess(r, start);
        mux_frame_write_position(w, id, received, consumed, guess(r, read + 65536));
        break;
    case 1:
        mux_frame_write_u64(w, MUX_PING, random_next(r));
        break;
    case 2:
        mux_frame_write_u64(w, MUX_PONG, guess(r, side->mux->ping_us));
        break;
    case 3:
        number = (uint32_t)guess(r, stream ? stream->answers + random_below(r, 2) : 0);
        mux_frame_write_limit(w, version, MUX_SHRINK, id, guess(r, read), number);
        break;
    case 4:
        limit = guess(r, stream ? stream->window.shrink_to : 0);
        number = (uint32_t)guess(r, stream ? stream->shrinks : 0);
        mux_frame_write_limit(w, version, MUX_LIMIT, id, limit, number);
        break;
    case 5:
        add_news_of_links(end, w);
        break;
    default:
        credit.received = guess(r, read);
        credit.consumed = guess(r, random_chance(r, 500) ? credit.received : start);
        credit.limit = guess(r, read + random_scaled(r, 0, 1000000));
        credit.shrinks = (uint32_t)guess(r, stream ? stream->answers : 0);
        mux_frame_write_window(w, version, id, &credit);
        break;
    }
}

static void add_noise(struct end *end, struct byte_writer *w)
{
    struct random *r = &end->world->random;
    uint64_t count = random_scaled(r, 1, 300);

    while (count-- > 0)
        byte_writer_u8(w, (uint8_t)random_next(r));
}

/* ---- the same peer in its better moments: frames that fit the state */

/* Any stream that is there, NULL when none is. */
static const struct mux_stream *live_stream(struct end *end)
{
    const struct mux_session *session = end->session;
    size_t at = 0;
    /* Of a peer that crumbles its bytes, the first one gets them all. */
    size_t skip =
        end->crumbles ? 0 : (size_t)random_below(&end->world->random, session->streams.count);

    for (const struct mux_stream *stream; (stream = idmap_next(&session->streams, &at));)
        if (skip-- == 0)
            return stream;
    return NULL;
}

/* Fills in a message that the stream's state allows; the type 0x90 when there is none. */
static void fit_message(struct end *end, const struct mux_stream *stream,
                        struct mux_message *message)
{
    struct random *r = &end->world->random;
    uint64_t final = stream->window.received +
                     random_below(r, stream->window.limit - stream->window.received + 1);

    message->stream = stream->id;
    if (end->which == CLIENT && !stream->answered)
        message->type = random_chance(r, 900) ? MUX_OPENED : MUX_REFUSED;
    else if (stream->send_half == MUX_HALF_FINISHING && random_chance(r, 300))
        message->type = MUX_DONE;
    else if (stream->receive_half == MUX_HALF_OPEN && random_chance(r, 300))
        message->type = random_chance(r, 600) ? MUX_FINISH : MUX_RESET;
    if (message->type == MUX_FINISH)
        message->u.finish.final = final;
    else
        message->u.reset.final = final;
}

static void add_fitting_message(struct end *end, struct byte_writer *w)
{
    uint8_t body[MUX_MESSAGE_ENCODED_MAX];
    struct byte_writer inner;
    struct mux_message message = {.type = 0x90, .stream = 1};
    const struct mux_stream *stream = live_stream(end);

    if (end->which == SERVER && random_chance(&end->world->random, stream ? 200 : 900)) {
        /* Seldom one that was used. */
        message.type = MUX_OPEN;
        message.stream = end->session->last_stream + !random_chance(&end->world->random, 20);
        message.u.open.target = (struct mux_target){MUX_TARGET_TCP, {"target", 6}, -1};
    } else if (stream) {
        fit_message(end, stream, &message);
    }
    byte_writer_init(&inner, body, sizeof body);
    mux_message_encode(&inner, &message);
    uint64_t at = end->session->control.window.received;
    size_t size = byte_writer_size(&inner);
    /* The end of it may come first. */
    size_t late = end->session->version >= MUX_VERSION_LINKS
                      ? (size_t)random_below(&end->world->random, size)
                      : 0;
    if (late > 0) {
        mux_frame_write_data_header(w, 0, at + late, size - late);
        byte_writer_bytes(w, body + late, size - late);
    }
    mux_frame_write_data_header(w, 0, at, late > 0 ? late : size);
    byte_writer_bytes(w, body, late > 0 ? late : size);
}

/* Bytes with a gap after each: every one is a piece. */
static void add_crumbs(struct end *end, const struct mux_stream *stream, struct byte_writer *w)
{
    uint64_t at = any_offset(end, stream);
    uint64_t end_at =
        stream->receive_half == MUX_HALF_OPEN ? stream->window.limit : stream->receive_final;

    /* Or more and more of them. */
    if (end->crumbles)
        at = stream->reassembly.count > 0 ? mux_reassembly_end(&stream->reassembly) + 1
                                          : stream->window.received + 1;
    for (unsigned i = 0; i < 200 && at < end_at; i++, at += 2) {
        mux_frame_write_data_header(w, stream->id, at, 1);
        byte_writer_u8(w, 0);
    }
}

static void add_fitting_data(struct end *end, struct byte_writer *w)
{
    static const uint8_t zeros[4000];
    struct random *r = &end->world->random;
    const struct mux_stream *stream = live_stream(end);

    if (!stream || stream->orphan)
        return;
    if (end->session->version >= MUX_VERSION_LINKS && random_chance(r, end->crumbles ? 900 : 20)) {
        add_crumbs(end, stream, w);
        return;
    }
    uint64_t at = any_offset(end, stream);
    uint64_t end_at =
        stream->receive_half == MUX_HALF_OPEN ? stream->window.limit : stream->receive_final;
    if (at >= end_at)
        return;
    uint64_t most = end_at - at;
    size_t size = (size_t)random_scaled(r, 1, most < sizeof zeros ? most : sizeof zeros);
    mux_frame_write_data_header(w, stream->id, at, size);
    byte_writer_bytes(w, zeros, size);
}

static void add_fitting_credit(struct end *end, struct byte_writer *w)
{
    struct random *r = &end->world->random;
    unsigned version = end->session->version;
    const struct mux_stream *stream = live_stream(end);

    if (!stream || random_chance(r, 100))
        stream = &end->session->control;
    const struct byte_queue *queue = &stream->send;
    const struct mux_window *window = &stream->window;
    uint64_t consumed = queue->start + random_below(r, queue->read - queue->start + 1);
    uint64_t low = mux_reassembly_end(&stream->reassembly);
    if (low < window->received)
        low = window->received;
    if (window->shrinking && random_chance(r, 500)) {
        uint64_t limit = low + random_below(r, window->limit - low + 1);
        if (random_chance(r, 30))
            limit = random_below(r, low + 1); /* less than has come */
        mux_frame_write_limit(w, version, MUX_LIMIT, stream->id, limit,
                              stream->shrinks - random_chance(r, 100));
    } else if (stream->id != 0 && random_chance(r, 200)) {
        mux_frame_write_limit(w, version, MUX_SHRINK, stream->id, consumed,
                              stream->answers + !random_chance(r, 300));
    } else {
        struct mux_credit credit = {.consumed = consumed, .shrinks = stream->answers};
        credit.received = consumed + random_below(r, queue->read - consumed + 1);
        credit.limit = queue->read + random_scaled(r, 0, 200000);
        credit.shrinks -= credit.shrinks > 0 && random_chance(r, 200);
        mux_frame_write_window(w, version, stream->id, &credit);
    }
}

static void add_fitting_position(struct end *end, struct byte_writer *w)
{
    static const uint8_t ignored[MUX_FRAME_HEADER] = {MUX_MAY_IGNORE | 77};
    struct random *r = &end->world->random;
    const struct mux_stream *stream = live_stream(end);

    if (!stream || random_chance(r, 300))
        stream = &end->session->control;
    if (stream->id == MUX_CONTROL_STREAM && end->withholds) {
        byte_writer_bytes(w, ignored, sizeof ignored);
        return;
    }
    uint64_t low =
        stream->acknowledged > stream->send.start ? stream->acknowledged : stream->send.start;
    uint64_t received = low + random_below(r, stream->send.end - low + 1);
    uint64_t consumed = stream->send.start + random_below(r, received - stream->send.start + 1);
    mux_frame_write_position(w, stream->id, received, consumed,
                             received + random_scaled(r, 0, 200000));
}

static void add_fitting(struct end *end, const struct side *side, struct byte_writer *w)
{
    struct random *r = &end->world->random;

    if (side->mux->phase == MUX_PHASE_POSITIONS)
        add_fitting_position(end, w);
    else if (random_chance(r, 350))
        add_fitting_data(end, w);
    else if (random_chance(r, 500))
        add_fitting_message(end, w);
    else if (random_chance(r, 800))
        add_fitting_credit(end, w);
    else if (end->session->version >= MUX_VERSION_LINKS && random_chance(r, 100))
        mux_frame_write_u32(w, random_chance(r, 500) ? MUX_SUSPECT : MUX_GONE, any_attempt(end));
    else
        mux_frame_write_u64(w, random_chance(r, 500) ? MUX_PING : MUX_PONG, side->mux->ping_us);
}

/* WELCOME for a link that is to join, or REJECT, or nothing yet. */
static void add_welcome(struct end *end, const struct side *side, struct byte_writer *w)
{
    struct random *r = &end->world->random;
    struct mux_welcome welcome = {.version = (uint16_t)end->session->version,
                                  .resumed = side->mux->entry == MUX_ENTRY_RESUME,
                                  .joined = side->mux->entry == MUX_ENTRY_JOIN,
                                  .initial_window = 70000,
                                  .key = *mux_session_key(end->session)};
    struct mux_reject reject = {.code = MUX_CODE_LIMIT, .reason = {"no", 2}};

    if (side->link->rest_fill > 0 || random_chance(r, 500))
        return;
    if (random_chance(r, 100))
        mux_reject_encode(w, &reject);
    else if (random_chance(r, 950))
        mux_welcome_encode(w, &welcome);
    else
        add_noise(end, w);
}

/* Sends some of what a link has to send, often all of it: the rest comes after others' frames. */
static int send_rest(struct end *end, struct side *side)
{
    struct link *link = side->link;
    struct random *r = &end->world->random;
    bool all = !random_chance(r, 50);

    while (link->rest_fill > 0) {
        size_t part = 1 + (size_t)random_below(r, link->rest_fill);
        int error = mux_link_receive(side->mux, link->rest, part, end->world->now_us);
        if (error)
            return error;
        memmove(link->rest, link->rest + part, link->rest_fill - part);
        link->rest_fill -= part;
        if (!all)
            return 0;
    }
    return 0;
}

/* Everything that a turn of the peer sends. Frames are made one by one against the state. */
static int attack(struct end *end, struct side *side)
{
    struct random *r = &end->world->random;
    struct link *link = side->link;
    struct byte_writer w;

    if (link->rest_fill > REST_MAX / 2)
        return send_rest(end, side);
    byte_writer_init(&w, link->rest + link->rest_fill, REST_MAX - link->rest_fill);
    if (side->mux->phase == MUX_PHASE_GREETING)
        add_welcome(end, side, &w);
    else if (!random_chance(r, 15))
        add_fitting(end, side, &w);
    else if (random_chance(r, 100))
        add_noise(end, &w);
    else if (random_chance(r, 700))
        add_data(end, &w);
    else
        add_small(end, side, &w);
    link->rest_fill += byte_writer_size(&w);
    end->world->totals->frames++;
    return send_rest(end, side);
}

/* ---- a run */

static void greet(struct end *end, const struct mux_session_key *key, bool resume)
{
    struct random *r = &end->world->random;
    uint8_t bytes[512];
    struct byte_writer w;
    struct side *side = free_side(end);
    uint16_t version = random_chance(r, 700) ? MUX_VERSION_LINKS : MUX_VERSION_MIN;

    side->greeted_us = end->world->now_us;
    end->withholds = resume && random_chance(r, 300);
    if (end->which == SERVER) {
        struct mux_hello hello = {.version_min = 1,
                                  .version_max = version,
                                  .resume = resume,
                                  .attempt = end->session->attempt + 1,
                                  .initial_window = (uint32_t)random_next(r),
                                  .key = *key};
        side->mux = mux_link_accept(end->session, &hello, 0, (struct mux_text){"", 0},
                                    output_of(side), end->world->now_us);
        return;
    }
    struct mux_welcome welcome = {.version = version, .initial_window = 70000, .key = *key};
    welcome.resumed = end->session->known_to_server;
    side->mux = mux_link_attach(end->session, output_of(side), end->world->now_us);
    byte_writer_init(&w, bytes, sizeof bytes);
    mux_welcome_encode(&w, &welcome);
    if (mux_link_receive(side->mux, bytes, byte_writer_size(&w), end->world->now_us))
        violate(end->world, "a good WELCOME was not taken: %s", mux_link_reason(side->mux));
}

/* Another link, which may have an old number or come too many. */
static void join(struct end *end)
{
    struct random *r = &end->world->random;
    const struct mux_session *session = end->session;
    struct side *side = free_side(end);
    struct mux_hello hello = {.version_min = 1,
                              .version_max = (uint16_t)session->version,
                              .join = true,
                              .attempt = (uint32_t)guess(r, (uint64_t)session->attempt + 1),
                              .initial_window = (uint32_t)random_next(r)};
    bool room = session->link_count < session->settings.links_max;
    bool fits = room && session->up_count > 0 && session->version >= MUX_VERSION_LINKS;

    side->greeted_us = end->world->now_us;
    if (end->which == CLIENT) {
        if (mux_session_may_join(session) != fits)
            violate(end->world, "a link may join, or not, at the wrong time");
        if (fits)
            side->mux = mux_link_attach(end->session, output_of(side), end->world->now_us);
        return;
    }
    /* One number is for a link alone; this one would leave none. */
    if (hello.attempt > session->attempt + 100)
        hello.attempt = session->attempt + 2;
    fits = fits && hello.attempt > session->attempt;
    side->mux = mux_link_accept(end->session, &hello, 0, (struct mux_text){"", 0}, output_of(side),
                                end->world->now_us);
    if ((side->mux != NULL) != fits)
        violate(end->world, "a hostile link joins: %d, but should: %d", side->mux != NULL, fits);
}

static void pull(struct end *end)
{
    static _Thread_local uint8_t buffer[64 * 1024];

    for (unsigned i = 0; i < MAX_LINKS; i++) {
        struct side *side = side_at(end, i);
        if (!side->wants_pull || random_chance(&end->world->random, 200))
            continue;
        if (mux_link_pull(side->mux, buffer, sizeof buffer, end->world->now_us) == 0)
            side->wants_pull = false;
    }
}

/* A link ends; the session goes on while it has another that is up. */
static int lose_link(struct end *end, struct side *side, int error)
{
    if (error == MUX_ERROR_PROTOCOL || end->session->link_count == 1 ||
        (end->session->up_count == 1 && mux_link_is_up(side->mux)))
        return error;
    detach(side);
    return 0;
}

static int tick(struct end *end)
{
    for (unsigned i = 0; i < MAX_LINKS; i++) {
        struct side *side = side_at(end, i);
        int error = side->mux ? mux_link_tick(side->mux, end->world->now_us) : 0;
        if (error)
            error = lose_link(end, side, error);
        if (error)
            return error;
        if (side->mux && side->mux->phase != MUX_PHASE_UP &&
            end->world->now_us - side->greeted_us >= end->settings.dead_after_us)
            violate(end->world, "the peer's greeting may take as long as it likes");
    }
    return 0;
}

static void change_links(struct end *end)
{
    struct random *r = &end->world->random;
    struct side *side = any_side(end);

    if (random_chance(r, 20))
        join(end);
    if (random_chance(r, 30))
        mux_link_observe(side->mux, &(struct mux_path){.retransmitted = random_below(r, 100)},
                         end->world->now_us);
    if (random_chance(r, 5)) {
        detach_all(end);
        greet(end, mux_session_key(end->session), true);
    }
}

/* One session until the peer has earned an error; 0: it never did. */
static int run_session(struct end *end)
{
    struct world *world = end->world;

    for (unsigned turn = 0; turn < TURNS && !world->violation[0]; turn++) {
        struct side *side = any_side(end);
        world->now_us += random_scaled(&world->random, 1, SECOND / 4);
        int error = attack(end, side);
        if (error)
            error = lose_link(end, side, error);
        if (!error)
            error = tick(end);
        if (error)
            return error;
        take_turn(end);
        if (random_chance(&world->random, 100))
            take_part(end, random_chance(&world->random, 500) ? MEMORY_RECEIVE : MEMORY_SEND);
        pull(end);
        check_session(world, end);
        change_links(end);
    }
    return 0;
}

/* Who broke the protocol has no session any more; whoever was only silent has. */
static void check_broken(struct end *end, int error)
{
    struct mux_hello hello = {.version_min = 1, .version_max = 1, .resume = true};

    if (mux_session_is_broken(end->session) != (error == MUX_ERROR_PROTOCOL))
        violate(end->world, "the session does not know whether it has ended");
    detach_all(end);
    if (end->which != SERVER)
        return;
    hello.attempt = end->session->attempt + 1;
    struct side *side = side_at(end, 0);
    side->mux = mux_link_accept(end->session, &hello, 0, (struct mux_text){"", 0}, output_of(side),
                                end->world->now_us);
    if ((side->mux != NULL) != (error != MUX_ERROR_PROTOCOL))
        violate(end->world, "resume after error %d: %d", error, side->mux != NULL);
    detach_all(end);
}

static void set_up(struct world *world, struct end *end, unsigned which)
{
    struct random *r = &world->random;

    end->world = world;
    end->which = which;
    mux_settings_default(&end->settings);
    end->settings.role = end->which == CLIENT ? MUX_CLIENT : MUX_SERVER;
    end->settings.links_max = 1 + (unsigned)random_below(r, 8);
    end->settings.max_streams = (uint32_t)random_scaled(r, 1, MAX_STREAMS);
    end->settings.window.initial = (uint32_t)random_scaled(r, 1, 65536);
    end->settings.window_idle_us = random_scaled(r, 1000, 10 * SECOND);
    end->settings.dead_after_us = random_scaled(r, SECOND, 10 * SECOND);
    memory_budget_init(&end->budget, random_scaled(r, 32 * MUX_STREAM_FLOOR, 16 * 1024 * 1024));
    end->budget.give_way = give_way;
    end->budget.context = end;
    memory_share_init(&end->share, &end->budget);
    memory_share_init(&end->others, &end->budget);
    chunk_pool_init(&end->pool);
}

bool hostile_run(struct world *world, uint64_t seed, bool trace_on, struct totals *totals)
{
    struct mux_session_key key = {{1}, {2}};

    memset(world, 0, sizeof *world);
    world->seed = seed;
    world->random.state = seed * UINT64_C(0x2545f4914f6cdd1d);
    world->totals = totals;
    world->trace = trace_on;
    world->now_us = SECOND;
    unsigned which = (unsigned)random_below(&world->random, ENDS);
    struct end *end = &world->ends[which];
    set_up(world, end, which);
    for (unsigned i = 0; i < MAX_LINKS; i++) {
        side_at(end, i)->end = end;
        side_at(end, i)->link = &world->links[i];
    }
    for (unsigned i = 0; i < 10 && !world->violation[0]; i++) {
        memset(end->apps, 0, sizeof end->apps);
        end->last_open = 0;
        end->idle = true;
        struct mux_settings settings = end->settings;
        end->crumbles = random_chance(&world->random, 50);
        if (end->crumbles)
            settings.window.initial = 64 * 1024;
        end->session =
            mux_session_new(&settings, &session_callbacks, end, &key, &end->pool, &end->share);
        greet(end, &key, false);
        if (random_chance(&world->random, 200))
            end->session->last_stream = UINT32_MAX - (uint32_t)random_scaled(&world->random, 0, 20);
        int error = run_session(end);
        if (error) {
            trace(world, "refused: %s", mux_session_reason(end->session));
            totals->errors++;
        }
        check_broken(end, error);
        mux_session_free(end->session);
        end->session = NULL;
    }
    memory_share_give(&end->others, MEMORY_RECEIVE, end->others.receive.used);
    memory_share_give(&end->others, MEMORY_SEND, end->others.send.used);
    check_empty(world, end);
    totals->seeds++;
    totals->virtual_us += world->now_us;
    return !world->violation[0];
}
