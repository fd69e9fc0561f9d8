#include <string.h>

#include "sim.h"

/* A prime length, so that no power of two maps the content onto itself. */
enum { CONTENT = 65521, CONTENT_MAX = 2 * CONTENT, PROBE_US = 500 * 1000 };
static uint8_t content[CONTENT_MAX];

void content_init(void)
{
    struct random random = {.state = 1};

    for (size_t i = 0; i < CONTENT; i++)
        content[i] = content[i + CONTENT] = (uint8_t)random_next(&random);
}

/* What the stream holds at offset, when from wrote it: up to CONTENT bytes from there. */
static const uint8_t *content_at(unsigned from, uint32_t id, uint64_t offset)
{
    return content + (offset + id * 7919u + from * 104729u) % CONTENT;
}

static struct app *peer_of(struct app *app, struct world *world)
{
    return &world->ends[1 - app->end->which].apps[place_of(world, app->id)];
}

static const struct mux_stream_callbacks stream_callbacks;

static void init_app(struct end *end, struct app *app, struct mux_stream *stream)
{
    struct world *world = end->world;
    const struct plan *plan = &world->plan;

    memset(app, 0, sizeof *app);
    app->stream = stream;
    app->end = end;
    app->id = mux_stream_id(stream);
    app->exists = app->live = true;
    app->target = random_below(&world->random, plan->bytes_max + 1);
    app->pace = random_scaled(&world->random, 1 + plan->bytes_max / 32, plan->bytes_max + 1);
    mux_stream_set_callbacks(stream, &stream_callbacks, app);
    end->idle = false;
}

static void on_output(void *context)
{
    struct side *side = context;

    if (side->wants_pull)
        violate(side->end->world, "ready() was called twice without a pull that returned 0");
    side->wants_pull = true;
}

static void on_attend(void *context)
{
    struct side *side = context;

    side->attended = true;
    side->timer_us = 0;
}

struct mux_output owner_output(struct side *side)
{
    side->wants_pull = side->attended = false;
    side->timer_us = 0;
    return (struct mux_output){.ready = on_output, .attend = on_attend, .link = side};
}

static void on_established(void *context, struct mux_link *link, const struct mux_welcome *welcome)
{
    struct end *end = context;

    (void)link;

    trace(end->world, "%u established", end->which);
    if ((welcome != NULL) != (end->which == CLIENT))
        violate(end->world, "WELCOME at the wrong end");
}

static void on_joined(void *context, struct mux_link *link, const struct mux_welcome *welcome)
{
    struct end *end = context;

    trace(end->world, "link %u has joined", mux_link_attempt(link));
    if (end->which != CLIENT || !welcome->joined || !mux_link_is_up(link))
        violate(end->world, "joined() at the wrong end, or too early");
}

static void on_links_wanted(void *context, unsigned links)
{
    struct end *end = context;

    trace(end->world, "%u links are wanted", links);
    if (end->which != CLIENT || links == end->wanted || links == 0 ||
        links > end->settings.links_max)
        violate(end->world, "links_wanted() with %u", links);
    end->wanted = links;
}

/* Both kinds of node, so that a mix-up shows. */
static enum mux_target_kind kind_of(unsigned place)
{
    return place % 2 ? MUX_TARGET_BROKER : MUX_TARGET_CONTROLLER;
}

static void on_open(void *context, struct mux_stream *stream, const struct mux_target *target,
                    struct mux_text peer)
{
    struct end *end = context;
    struct world *world = end->world;
    uint32_t id = mux_stream_id(stream);

    trace(world, "server: stream %u opens", id);
    unsigned place = place_of(world, id);
    if (place >= world->opened || end->apps[place].exists) {
        violate(world, "open() for stream %u, which was not opened or was before", id);
        return;
    }
    if (target->kind != kind_of(place) || target->node_id != (int32_t)place || peer.size != 3)
        violate(world, "open() of stream %u with another target", id);
    init_app(end, &end->apps[place], stream);
    progress(world);
}

static void on_opened(void *owner, struct mux_stream *stream)
{
    struct app *app = owner;
    struct end *end = app->end;

    (void)stream;
    if (app->answered || !peer_of(app, end->world)->answered)
        violate(end->world, "opened() for stream %u, which was not accepted", app->id);
    app->answered = true;
    progress(end->world);
}

static void reset_app(struct end *end, struct app *app)
{
    struct world *world = end->world;

    app->mode = random_chance(&world->random, 500) ? MUX_RESET_NOW : MUX_RESET_AFTER_DATA;
    app->was_reset = true;
    app->live = false;
    app->reset_us = world->now_us;
    trace(world, "%u resets stream %u, mode %d, written %llu", end->which, app->id, app->mode,
          (unsigned long long)app->written);
    mux_stream_reset(app->stream, MUX_CODE_PEER_RESET, "the simulation wants it", app->mode,
                     world->now_us);
    progress(world);
}

static void consume(struct end *end, struct app *app, uint64_t size)
{
    if (size > app->received - app->consumed)
        size = app->received - app->consumed;
    if (size == 0)
        return;
    app->consumed += size;
    progress(end->world);
    mux_stream_consume(app->stream, (size_t)size, end->world->now_us);
}

static void on_data(void *owner, struct mux_stream *stream, const uint8_t *bytes, size_t size)
{
    struct app *app = owner;
    struct end *end = app->end;
    struct world *world = end->world;
    const struct app *from = peer_of(app, world);

    (void)stream;
    if (!app->live || app->told_finish)
        violate(world, "data() on stream %u, which is over", app->id);
    if (size == 0 || size > CONTENT || app->received + size > from->written)
        violate(world, "stream %u: bytes that were never written", app->id);
    else if (memcmp(bytes, content_at(1 - end->which, app->id, app->received), size) != 0)
        violate(world, "stream %u: lost, doubled or reordered bytes from offset %llu", app->id,
                (unsigned long long)app->received);
    app->received += size;
    world->totals->bytes += size;
    progress(world);
    if (random_chance(&world->random, world->plan.reset_chance / 4))
        reset_app(end, app);
    else if (random_chance(&world->random, 300) && world->now_us >= app->stalled_until_us)
        consume(end, app, app->pace);
}

static void on_finished(void *owner, struct mux_stream *stream)
{
    struct app *app = owner;
    struct end *end = app->end;
    const struct app *from = peer_of(app, end->world);

    (void)stream;
    trace(end->world, "%u: stream %u has finished", end->which, app->id);
    if (!app->live || app->told_finish || !from->finished || from->written != app->received)
        violate(end->world, "finish() on stream %u at the wrong place", app->id);
    app->told_finish = true;
    progress(end->world);
}

static void write_some(struct end *end, struct app *app)
{
    struct world *world = end->world;
    uint64_t size = mux_stream_want_write(app->stream);
    uint64_t bound = random_scaled(&world->random, 1, 65000);

    if (size > app->target - app->written)
        size = app->target - app->written;
    if (size > bound)
        size = bound;
    if (size == 0)
        return;
    const uint8_t *bytes = content_at(end->which, app->id, app->written);
    app->written += size;
    progress(world);
    if (random_chance(&world->random, 500)) {
        mux_stream_write(app->stream, bytes, (size_t)size);
        return;
    }
    struct iovec spaces[3];
    size_t left = (size_t)size;
    size_t count = mux_stream_reserve(app->stream, left, spaces, 3);
    for (size_t i = 0; i < count && left > 0; i++) {
        size_t part = spaces[i].iov_len < left ? spaces[i].iov_len : left;
        memcpy(spaces[i].iov_base, bytes, part);
        bytes += part;
        left -= part;
    }
    app->written -= left;
    mux_stream_commit(app->stream, (size_t)size - left);
}

static void on_writable(void *owner, struct mux_stream *stream)
{
    struct app *app = owner;
    struct end *end = app->end;

    (void)stream;
    if (!app->live || app->finished) {
        violate(end->world, "writable() on a stream that does not write any more");
        return;
    }
    if (random_chance(&end->world->random, 500))
        write_some(end, app);
}

static void on_reset(void *owner, struct mux_stream *stream, enum mux_code code,
                     struct mux_text reason)
{
    enum { LINGER = 10 * 1000 * 1000 };
    struct app *app = owner;
    struct end *end = app->end;
    struct world *world = end->world;
    const struct app *by = peer_of(app, world);
    bool no_room = end->which == CLIENT && !by->exists && code == MUX_CODE_LIMIT;

    (void)stream;
    (void)reason;
    trace(world, "%u: stream %u is reset, code %d", end->which, app->id, (int)code);
    if (!app->live)
        violate(world, "reset() on stream %u, which is gone", app->id);
    app->live = false;
    progress(world);
    if (world->losing || no_room)
        return;
    if (app->no_memory || by->no_memory)
        return;
    if (!by->was_reset)
        violate(world, "stream %u was reset by nobody", app->id);
    if (by->mode == MUX_RESET_AFTER_DATA && world->now_us - by->reset_us < LINGER &&
        app->received != by->written)
        violate(world, "stream %u was reset before its data had come", app->id);
}

static void on_over(void *owner, struct mux_stream *stream)
{
    struct app *app = owner;
    struct end *end = app->end;
    struct world *world = end->world;
    const struct app *peer = peer_of(app, world);

    (void)stream;
    trace(world, "%u: stream %u is over", end->which, app->id);
    if (!app->live || !app->finished || !app->told_finish || app->consumed != peer->written ||
        peer->consumed != app->written)
        violate(world, "over() on stream %u too early", app->id);
    app->live = false;
    app->told_over = true;
    progress(world);
}

/* A message is its number and a tail whose length and content follow from it. */
static size_t message_size(uint32_t number)
{
    return 4 + (number % 7 == 6 ? 16000 : number * 37 % 600);
}

static void on_message(void *context, uint8_t type, const uint8_t *payload, size_t size)
{
    struct end *end = context;
    struct world *world = end->world;
    uint32_t number = end->messages_seen++;

    if (type != (end->which == CLIENT ? MUX_EXPOSE : MUX_EXPOSED) || size != message_size(number) ||
        byte_load_u32(payload) != number ||
        memcmp(payload + 4, content_at(1 - end->which, number, 0), size - 4) != 0)
        violate(world, "message %u was lost, doubled or changed", number);
    progress(world);
}

static void send_message(struct end *end)
{
    uint8_t payload[MUX_MESSAGE_PAYLOAD_MAX];
    uint32_t number = end->messages_sent++;
    size_t size = message_size(number);

    byte_store_u32(payload, number);
    memcpy(payload + 4, content_at(end->which, number, 0), size - 4);
    if (mux_session_send_message(end->session, end->which == CLIENT ? MUX_EXPOSED : MUX_EXPOSE,
                                 payload, size))
        violate(end->world, "the control queue is full");
}

static void on_goaway(void *context, enum mux_code code, struct mux_text reason)
{
    struct end *end = context;
    struct world *world = end->world;

    /* The ids are used up: what was planned beyond them belongs to another session. */
    if (code == MUX_CODE_LIMIT && end->which == CLIENT && world->opened == world->plan.ids_left) {
        world->plan.streams = world->opened_before + world->opened;
        return;
    }
    if (code != MUX_CODE_GOING_AWAY || reason.size != 3)
        violate(end->world, "GOAWAY with another reason");
}

static void on_limited(void *context, uint32_t stream, enum mux_limit limit, const char *reason)
{
    struct end *end = context;
    struct world *world = end->world;
    struct app *app = &end->apps[place_of(world, stream)];

    (void)reason;
    if (!app->exists)
        return; /* it is refused, which the other end hears */
    if (limit != MUX_LIMIT_MEMORY || !app->live)
        violate(world, "stream %u is cut because of a limit that it has not met", stream);
    app->no_memory = true;
    world->totals->cut++;
}

const struct mux_session_callbacks owner_callbacks = {
    .established = on_established,
    .joined = on_joined,
    .links_wanted = on_links_wanted,
    .open = on_open,
    .idle = check_idle,
    .message = on_message,
    .goaway = on_goaway,
    .limited = on_limited,
};

static const struct mux_stream_callbacks stream_callbacks = {
    .opened = on_opened,
    .data = on_data,
    .finished = on_finished,
    .writable = on_writable,
    .reset = on_reset,
    .over = on_over,
};

static void answer(struct end *end, struct app *app)
{
    if (random_chance(&end->world->random, 400))
        return;
    progress(end->world);
    app->answered = true;
    if (!random_chance(&end->world->random, end->world->plan.refuse_chance)) {
        mux_stream_accept(app->stream);
        return;
    }
    app->was_reset = true;
    app->live = false;
    app->reset_us = end->world->now_us;
    app->mode = MUX_RESET_NOW;
    mux_stream_refuse(app->stream, MUX_CODE_UPSTREAM_UNREACHABLE, "the simulation refuses");
}

static void act(struct end *end, struct app *app)
{
    struct world *world = end->world;

    if (end->which == SERVER && !app->answered)
        answer(end, app);
    if (app->live && !app->finished)
        write_some(end, app);
    if (app->live && !app->finished && app->written == app->target &&
        random_chance(&world->random, 700)) {
        app->finished = true;
        progress(world);
        trace(world, "%u finishes stream %u at %llu", end->which, app->id,
              (unsigned long long)app->written);
        mux_stream_finish(app->stream);
    }
    if (random_chance(&world->random, world->plan.stall_chance))
        app->stalled_until_us = world->now_us + random_scaled(&world->random, 1, 12 * 1000 * 1000);
    if (app->live && world->now_us >= app->stalled_until_us)
        consume(end, app, app->pace);
    if (app->live && random_chance(&world->random, world->plan.reset_chance))
        reset_app(end, app);
}

static unsigned live_count(const struct end *end)
{
    unsigned count = 0;

    for (unsigned i = 0; i < MAX_STREAMS; i++)
        count += end->apps[i].live;
    return count;
}

static void open_streams(struct end *end)
{
    struct world *world = end->world;
    unsigned live = live_count(end);

    while (end->session->known_to_server && live++ < world->plan.concurrent &&
           world->opened < MAX_STREAMS &&
           world->opened + world->opened_before < world->plan.streams &&
           random_chance(&world->random, 600)) {
        struct mux_target target = {.kind = kind_of(world->opened),
                                    .name = {"kafka", 5},
                                    .node_id = (int32_t)world->opened};
        struct mux_stream *stream =
            mux_stream_open(end->session, &target, (struct mux_text){"peer", 3}, NULL, NULL);
        if (!stream)
            return;
        world->opened++;
        world->totals->streams++;
        trace(world, "client opens stream %u", mux_stream_id(stream));
        init_app(end, &end->apps[place_of(world, mux_stream_id(stream))], stream);
    }
}

/* One turn of an owner: a little of everything. */
void owner_act(struct end *end)
{
    struct world *world = end->world;

    if (end->which == CLIENT)
        open_streams(end);
    for (unsigned i = 0; i < world->opened; i++)
        if (end->apps[i].live && random_chance(&world->random, 700))
            act(end, &end->apps[i]);
    if (end->messages_sent < world->plan.messages && random_chance(&world->random, 300))
        send_message(end);
    for (unsigned i = 0; i < MAX_LINKS; i++) {
        struct mux_link *link = world->links[i].sides[end->which].mux;
        if (link && random_chance(&world->random, 5))
            mux_link_ping(link, world->now_us);
        if (link && random_chance(&world->random, 2))
            mux_link_probe(link, world->now_us, PROBE_US);
    }
    if (random_chance(&world->random, 2))
        mux_session_goaway(end->session, MUX_CODE_GOING_AWAY, "bye");
}

/* Streams and messages of an earlier session are history. */
void owner_new_session(struct end *end)
{
    memset(end->apps, 0, sizeof end->apps);
    end->messages_sent = end->messages_seen = 0;
    end->idle = true;
    end->wanted = 1;
}
