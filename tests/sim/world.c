#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "sim.h"

enum { SECOND = 1000 * 1000, PATIENCE = 200 * SECOND, QUIET = 150 * SECOND, PULL_MAX = 128 * 1024 };
/* While nobody wants anything: pings of eight links. */
enum { TICKS_MAX = 50 * 1000 };

void violate(struct world *world, const char *format, ...)
{
    va_list arguments;

    if (world->violation[0])
        return;
    va_start(arguments, format);
    vsnprintf(world->violation, sizeof world->violation, format, arguments);
    va_end(arguments);
}

void trace(struct world *world, const char *format, ...)
{
    va_list arguments;

    if (!world->trace)
        return;
    printf("%12.6f ", (double)world->now_us / SECOND);
    va_start(arguments, format);
    vprintf(format, arguments);
    va_end(arguments);
    putchar('\n');
}

void progress(struct world *world)
{
    world->progress_us = world->now_us;
}

/* ---- the plan of a seed */

static void plan_network(struct plan *plan, struct random *r)
{
    plan->cuts = random_chance(r, 250) ? 0 : (unsigned)random_scaled(r, 1, 40);
    plan->late_chance = random_chance(r, 700) ? 0 : (unsigned)random_below(r, 300);
    plan->cut_bytes_max = random_scaled(r, 500, 500 * 1000);
    plan->delay_us = random_scaled(r, 0, 150 * 1000);
    plan->jitter_us = random_scaled(r, 0, 5000);
    plan->bytes_per_ms = random_scaled(r, 200, 1000 * 1000);
    plan->in_flight_max = random_scaled(r, 1000, 1000 * 1000);
    plan->packet_max = random_scaled(r, 1, 60 * 1000);
    if (plan->packet_max < 64 && !random_chance(r, 100))
        plan->packet_max += 500;
    plan->silent_chance = random_chance(r, 500) ? 0 : (unsigned)random_below(r, 1000);
}

static void plan_links(struct plan *plan, struct random *r)
{
    plan->links = random_chance(r, 250) ? 1 : (unsigned)random_scaled(r, 2, 8);
    plan->join_chance = random_chance(r, 300) ? 0 : (unsigned)random_scaled(r, 1, 500);
    plan->part_chance = random_chance(r, 500) ? 0 : (unsigned)random_scaled(r, 1, 30);
    plan->heeds = random_chance(r, 700);
    plan->waits = random_chance(r, 500);
    plan->uneven = random_chance(r, 400) ? 0 : (unsigned)random_scaled(r, 1, 30);
    plan->freezes = random_chance(r, 500) ? 0 : (unsigned)random_scaled(r, 1, 20);
    plan->freeze_chance = (unsigned)random_scaled(r, 1, 100);
    plan->forever_chance = (unsigned)random_below(r, 500);
    plan->loss_chance = random_chance(r, 500) ? 0 : (unsigned)random_scaled(r, 1, 200);
    plan->version_1 = random_chance(r, 100);
    plan->hidden = random_chance(r, 300);
}

static void plan_owners(struct plan *plan, struct random *r)
{
    plan->streams = (unsigned)random_scaled(r, 1, MAX_STREAMS);
    plan->concurrent = (unsigned)random_scaled(r, 1, plan->streams);
    plan->bytes_max = random_scaled(r, 0, 8 * 1000 * 1000 / plan->streams);
    if (random_chance(r, 300))
        plan->bytes_max = random_below(r, 2 * 1000 * 1000) / plan->streams;
    plan->messages = (uint32_t)random_scaled(r, 0, 30);
    plan->reset_chance = random_chance(r, 400) ? 0 : (unsigned)random_scaled(r, 0, 100);
    plan->refuse_chance = random_chance(r, 500) ? 0 : (unsigned)random_below(r, 300);
    plan->stall_chance = random_chance(r, 500) ? 0 : (unsigned)random_below(r, 20);
    plan->pause_us = random_scaled(r, 2000, 50 * 1000);
    plan->lose_session = random_chance(r, 60);
    plan->ids_left = random_chance(r, 100) ? (uint32_t)random_scaled(r, 1, 2 * MAX_STREAMS) : 0;
    plan->spoil_version = random_chance(r, 30);
}

static void plan_end(struct world *world, struct end *end)
{
    struct random *r = &world->random;
    struct mux_settings *settings = &end->settings;
    struct mux_window_limits *window = &settings->window;

    mux_settings_default(settings);
    settings->role = end->which == CLIENT ? MUX_CLIENT : MUX_SERVER;
    settings->links_max = end->world->plan.links;
    if (end->which == SERVER && random_chance(r, 100))
        settings->links_max = 1 + (unsigned)random_below(r, settings->links_max);
    settings->software = (struct mux_text){"simulation", 10};
    window->initial = (uint32_t)random_scaled(r, random_chance(r, 500) ? 4096 : 1, 64 * 1024);
    window->base = (uint32_t)random_scaled(r, window->initial, 256 * 1024);
    window->max = (uint32_t)random_scaled(r, window->base, 4 * 1024 * 1024);
    if (random_chance(r, 100))
        settings->max_streams = (uint32_t)random_scaled(r, 1, 40);
    settings->ping_interval_us = random_scaled(r, 200 * 1000, 20 * SECOND);
    settings->dead_after_us = random_scaled(r, 1500 * 1000, 10 * SECOND);
    settings->window_idle_us = random_scaled(r, 1000, 10 * SECOND);
    uint64_t budget = random_chance(r, 500)
                          ? 256 * 1024 * 1024
                          : random_scaled(r, 4 * MUX_STREAM_FLOOR, 8 * 1024 * 1024);
    memory_budget_init(&end->budget, budget);
    memory_share_init(&end->share, &end->budget);
    chunk_pool_init(&end->pool);
}

/* Tiny windows and packets are worth trying, but not with many bytes: a seed must stay cheap. */
static void bound_work(struct world *world)
{
    struct plan *plan = &world->plan;

    for (unsigned i = 0; i < ENDS; i++)
        if (plan->bytes_max > 200 * (uint64_t)world->ends[i].settings.window.initial)
            plan->bytes_max = 200 * (uint64_t)world->ends[i].settings.window.initial;
    /* What of many large messages waits for a link is more than a little memory has room for. */
    if (world->ends[CLIENT].budget.send.total < 1024 * 1024 ||
        world->ends[SERVER].budget.send.total < 1024 * 1024)
        plan->messages = plan->messages < 10 ? plan->messages : 10;
    size_t least = (size_t)(plan->streams * plan->bytes_max / 4000);
    if (plan->packet_max < least)
        plan->packet_max = least;
}

/* ---- sessions and links */

static void new_session(struct end *end)
{
    struct mux_session_key key = {{0}, {0}};

    for (size_t i = 0; i < sizeof key.secret; i++)
        key.secret[i] = (uint8_t)random_next(&end->world->random);
    owner_new_session(end);
    end->session =
        mux_session_new(&end->settings, &owner_callbacks, end, &key, &end->pool, &end->share);
    end->session->last_stream = end->world->id_base;
}

/* The session is gone for good: every stream of it must be told so. */
static void lose_session(struct end *end)
{
    struct world *world = end->world;

    world->losing = true;
    if (end->session) {
        mux_session_reset_streams(end->session, MUX_CODE_SESSION_LOST, "lost");
        mux_session_free(end->session);
    }
    end->session = NULL;
    for (unsigned i = 0; i < MAX_STREAMS; i++)
        if (end->apps[i].live)
            violate(world, "stream %u survived its session", i + 1);
    world->losing = false;
}

static bool has_link(const struct end *end)
{
    for (unsigned i = 0; i < MAX_LINKS; i++)
        if (end->world->links[i].sides[end->which].mux)
            return true;
    return false;
}

static void drop_links(struct end *end);

static void arm(struct side *side)
{
    uint64_t deadline = mux_link_deadline(side->mux);

    if (deadline < side->timer_us)
        side->timer_us = deadline;
}

static void detach(struct side *side)
{
    struct end *end = side->end;
    struct world *world = end->world;

    if (!side->mux)
        return;
    world->totals->sent_again += mux_link_facts(side->mux).sent_again;
    mux_link_detach(side->mux);
    side->mux = NULL;
    side->wants_pull = false;
    if (end->which != CLIENT || mux_session_established(end->session))
        return;
    if (!world->plan.waits)
        drop_links(end);
    if (!has_link(end))
        world->dial_us = world->now_us + random_scaled(&world->random, 0, SECOND / 2);
}

static void drop_link(struct side *side)
{
    struct link *link = side->link;

    detach(side);
    link_close(side->end->world, link, side->end->which);
}

static void drop_links(struct end *end)
{
    for (unsigned i = 0; i < MAX_LINKS; i++)
        if (end->world->links[i].sides[end->which].mux)
            drop_link(&end->world->links[i].sides[end->which]);
}

static void attach(struct side *side)
{
    struct end *end = side->end;
    bool joins = mux_session_established(end->session);
    enum mux_entry right = joins                           ? MUX_ENTRY_JOIN
                           : end->session->known_to_server ? MUX_ENTRY_RESUME
                                                           : MUX_ENTRY_FIRST;

    side->mux = mux_link_attach(end->session, owner_output(side), end->world->now_us);
    if (mux_link_entry(side->mux) != right)
        violate(end->world, "a link is attached as something else than it is");
}

static void dial(struct world *world)
{
    struct end *client = &world->ends[CLIENT];

    if (has_link(client) && !mux_session_may_join(client->session))
        violate(world, "the client dials although it has links, and may not join");
    for (unsigned i = 0; i < MAX_LINKS; i++) {
        struct link *link = &world->links[i];
        if (link->open[CLIENT] || link->open[SERVER])
            continue;
        link_clear(link);
        link_open(world, link);
        trace(world, "client dials, %s", client->session ? "again" : "first");
        link->spoil_version = world->plan.spoil_version;
        world->plan.spoil_version = false;
        if (!client->session)
            new_session(client);
        attach(&link->sides[CLIENT]);
        world->dial_us = NEVER;
        return;
    }
    if (!has_link(client))
        world->dial_us = world->now_us + SECOND; /* the server still holds all the old ones */
}

static void reject(struct world *world, struct link *link, enum mux_code code)
{
    uint8_t buffer[128];
    struct byte_writer w;
    struct mux_reject reject = {.code = (uint16_t)code, .reason = {"no", 2}};

    trace(world, "server rejects with code %d", (int)code);
    byte_writer_init(&w, buffer, sizeof buffer);
    mux_reject_encode(&w, &reject);
    link_send(world, link, SERVER, buffer, byte_writer_size(&w));
    link_close(world, link, SERVER);
}

/* Another link of a session. */
static void greet_join(struct world *world, struct link *link, const struct mux_hello *hello)
{
    struct end *server = &world->ends[SERVER];
    struct side *side = &link->sides[SERVER];
    bool room = server->session->link_count < server->settings.links_max;
    bool fits = mux_session_established(server->session) && room &&
                mux_session_is_newer(server->session, hello);

    side->mux = mux_link_accept(server->session, hello, 0, (struct mux_text){"", 0},
                                owner_output(side), world->now_us);
    if ((side->mux != NULL) != fits)
        violate(world, "a link joins: %d, but should: %d (%s)", side->mux != NULL, fits,
                mux_session_reason(server->session));
    if (side->mux) {
        trace(world, "server lets link %u join", hello->attempt);
        world->totals->joins++;
        return;
    }
    trace(world, "no: %s", mux_session_reason(server->session));
    world->totals->refused_joins++;
    reject(world, link, MUX_CODE_LIMIT);
}

/* The stand-in for a server's table of sessions: which session does this HELLO belong to? */
static void greet(struct world *world, struct link *link, const struct mux_hello *hello)
{
    struct end *server = &world->ends[SERVER];
    bool old = hello->resume || hello->join;

    if (mux_version_choose(hello->version_min, hello->version_max) == 0) {
        reject(world, link, MUX_CODE_VERSION);
        return;
    }
    if (old &&
        (!server->session ||
         !byte_equal_secret(&hello->key, mux_session_key(server->session), sizeof hello->key))) {
        reject(world, link, MUX_CODE_UNKNOWN_SESSION);
        return;
    }
    if (hello->join) {
        greet_join(world, link, hello);
        return;
    }
    if (!hello->resume && !link->open[CLIENT]) {
        link_close(world, link, SERVER); /* a session that nobody will ever use */
        return;
    }
    if (hello->resume && !mux_session_is_newer(server->session, hello)) {
        if (link->open[CLIENT])
            violate(world, "the client's link was taken for an old one");
        link_close(world, link, SERVER);
        return;
    }
    drop_links(server);
    if (!hello->resume) {
        lose_session(server);
        new_session(server);
    }
    struct side *side = &link->sides[SERVER];
    side->mux = mux_link_accept(server->session, hello, 0, (struct mux_text){"", 0},
                                owner_output(side), world->now_us);
    if (!side->mux) {
        violate(world, "a good link was not accepted: %s", mux_session_reason(server->session));
        return;
    }
    trace(world, "server accepts link %u, resume %d", hello->attempt, hello->resume);
    world->totals->resumes += hello->resume;
}

static void link_error(struct side *side, int error)
{
    struct end *end = side->end;
    struct link *link = side->link;
    struct world *world = end->world;

    trace(world, "%u: error %d: %s", end->which, error, mux_link_reason(side->mux));
    if (error == MUX_ERROR_PROTOCOL)
        violate(world, "%u takes an honest peer for a broken one: %s", end->which,
                mux_link_reason(side->mux));
    /* Who has not asked has no right to an answer; one that could be sent has been. */
    bool works = !link->cut && link->open[1 - end->which] && !side->mux->given_up;
    if (error == MUX_ERROR_DEAD && works && mux_link_is_up(side->mux) && side->mux->ping_us == 0 &&
        (!side->mux->ping_due || link_room(world, link, end->which)))
        violate(world, "%u takes a link for dead on which it has asked nothing", end->which);
    if (side->mux->given_up && (link->open[1 - end->which] || !side->attended))
        violate(world, "%u: a link is given up that the peer holds, or nobody said so", end->which);
    bool lost = error == MUX_ERROR_REJECTED && mux_link_entry(side->mux) != MUX_ENTRY_JOIN;
    drop_link(side);
    if (!lost)
        return;
    world->totals->sessions_lost++;
    lose_session(end);
    lose_session(&world->ends[SERVER]);
    if (has_link(&world->ends[SERVER]))
        violate(world, "a session was rejected that the server still has");
    owner_new_session(&world->ends[SERVER]);
    world->opened_before += world->opened;
    world->opened = 0;
}

/* HELLO says what versions the client speaks. */
static void edit_hello(struct link *link, uint8_t *hello)
{
    const struct world *world = link->sides[CLIENT].end->world;

    if (hello[0] != MUX_HELLO)
        return;
    if (link->spoil_version) {
        byte_store_u16(hello + MUX_FRAME_HEADER + 4, 7);
        byte_store_u16(hello + MUX_FRAME_HEADER + 6, 9);
        link->spoil_version = false;
    } else if (world->plan.version_1) {
        byte_store_u16(hello + MUX_FRAME_HEADER + 6, 1);
    }
}

/* Takes bytes of a link that no session has yet. Returns how many belong to the greeting. */
static size_t receive_greeting(struct world *world, struct link *link, const uint8_t *bytes,
                               size_t size)
{
    struct mux_hello hello;
    const char *reason = NULL;
    size_t before = link->greeting_fill;
    size_t part = GREETING_MAX - before < size ? GREETING_MAX - before : size;
    size_t consumed = 0;

    memcpy(link->greeting + before, bytes, part);
    link->greeting_fill += part;
    int result = mux_hello_receive(link->greeting, link->greeting_fill, &hello, &consumed, &reason);
    if (result == MUX_HELLO_NEED_MORE)
        return part;
    if (result != 0) {
        violate(world, "HELLO was not understood: %s", reason);
        return part;
    }
    link->greeted = true;
    greet(world, link, &hello);
    return consumed - before;
}

/* Hands arrived bytes over in pieces of any size. */
static void deliver(struct world *world, struct link *link, unsigned towards, const uint8_t *bytes,
                    size_t size)
{
    struct side *side = &link->sides[towards];

    if (towards == SERVER && !link->greeted && size > 0) {
        size_t taken = receive_greeting(world, link, bytes, size);
        bytes += taken;
        size -= taken;
    }
    while (size > 0 && side->mux && !world->violation[0]) {
        size_t part = random_chance(&world->random, 500)
                          ? size
                          : (size_t)random_scaled(&world->random, 1, size);
        int error = mux_link_receive(side->mux, bytes, part, world->now_us);
        if (error) {
            link_error(side, error);
            return;
        }
        bytes += part;
        size -= part;
    }
    if (side->mux)
        arm(side);
}

static void count_frames(struct world *world, const uint8_t *bytes, size_t size)
{
    size_t at = 0;

    while (at < size) {
        at += MUX_FRAME_HEADER + (size_t)byte_load_u16(bytes + at + 2);
        world->totals->frames++;
    }
    if (at != size)
        violate(world, "pull() gave half a frame");
}

/* By either of the two verbs. */
static size_t pull_once(struct side *side, uint8_t *bytes, size_t room)
{
    static _Thread_local uint8_t buffer[PULL_MAX];
    struct world *world = side->end->world;
    struct mux_gathered gathered;
    size_t at = 0;

    if (room % 2 == 0)
        return mux_link_pull(side->mux, bytes, room, world->now_us);
    size_t size = mux_link_gather(side->mux, buffer, room, &gathered, world->now_us);
    for (size_t i = 0; i < gathered.count; at += gathered.spans[i++].iov_len)
        memcpy(bytes + at, gathered.spans[i].iov_base, gathered.spans[i].iov_len);
    if (at != size || size > room)
        violate(world, "gather() gave another size than it said");
    return size;
}

static void pull(struct side *side)
{
    static _Thread_local uint8_t buffer[PULL_MAX];
    struct world *world = side->end->world;

    while (side->wants_pull && side->mux && link_room(world, side->link, side->end->which)) {
        size_t room = (size_t)random_scaled(&world->random, MUX_PULL_MIN, PULL_MAX);
        size_t size = pull_once(side, buffer, room);
        arm(side);
        if (size == 0) {
            side->wants_pull = false;
            return;
        }
        count_frames(world, buffer, size);
        if (side->end->which == CLIENT)
            edit_hello(side->link, buffer);
        link_send(world, side->link, side->end->which, buffer, size);
    }
}

/* ---- time */

static uint64_t earlier(uint64_t a, uint64_t b)
{
    return a < b ? a : b;
}

static uint64_t next_event(const struct world *world)
{
    uint64_t next = earlier(world->wake_us, world->dial_us);

    for (unsigned end = 0; end < ENDS; end++) {
        for (unsigned i = 0; i < MAX_LINKS; i++) {
            const struct link *link = &world->links[i];
            if (!link->open[end])
                continue;
            next = earlier(next, link->learns_us[end]);
            next = earlier(next, link_next(link, end));
            if (link->sides[end].mux)
                next = earlier(next, link->sides[end].timer_us);
        }
        if (world->ends[end].session && !has_link(&world->ends[end]))
            next = earlier(next, mux_session_deadline(world->ends[end].session));
    }
    return next > world->now_us ? next : world->now_us;
}

static void run_link(struct world *world, struct link *link, unsigned end)
{
    while (link->open[end] && link_next(link, end) <= world->now_us) {
        struct packet *packet = link_arrive(world, link, end);
        deliver(world, link, end, packet->bytes, packet->size);
        free(packet);
    }
    if (!link->open[end] || link->learns_us[end] > world->now_us)
        return;
    trace(world, "%u hears that a link is gone", end);
    detach(&link->sides[end]);
    link->learns_us[end] = NEVER;
    link_close(world, link, end);
}

static void tick_link(struct side *side)
{
    struct world *world = side->end->world;

    if (!side->mux || side->timer_us > world->now_us)
        return;
    side->timer_us = NEVER;
    world->ticks++;
    int error = mux_link_tick(side->mux, world->now_us);
    if (error) {
        link_error(side, error);
        return;
    }
    arm(side);
    if (mux_link_deadline(side->mux) <= world->now_us)
        violate(world, "%u: the deadline of a link has not moved after tick()", side->end->which);
}

static void tick(struct end *end)
{
    struct world *world = end->world;

    for (unsigned i = 0; i < MAX_LINKS; i++)
        tick_link(&world->links[i].sides[end->which]);
    if (!end->session || has_link(end) || mux_session_deadline(end->session) > world->now_us)
        return;
    if (mux_session_tick(end->session, world->now_us))
        violate(world, "%u: tick() of the session failed: %s", end->which,
                mux_session_reason(end->session));
    else if (mux_session_deadline(end->session) <= world->now_us)
        violate(world, "%u: the deadline has not moved after tick()", end->which);
}

/* A link of that end, any; NULL. */
static struct side *any_side(struct world *world, unsigned end)
{
    struct side *side = NULL;
    uint64_t count = 0;

    for (unsigned i = 0; i < MAX_LINKS; i++)
        if (world->links[i].sides[end].mux && random_below(&world->random, ++count) == 0)
            side = &world->links[i].sides[end];
    return side;
}

/* Links come, go, and freeze, and kernels say that something was lost. */
static void change_links(struct world *world)
{
    struct end *client = &world->ends[CLIENT];
    struct plan *plan = &world->plan;
    struct random *r = &world->random;
    struct side *side;

    if (client->session && mux_session_may_join(client->session) &&
        (random_chance(r, plan->join_chance) ||
         (plan->heeds && client->session->link_count < client->wanted && random_chance(r, 300))))
        dial(world);
    unsigned end = (unsigned)random_below(r, ENDS);
    side = any_side(world, end);
    if (side && world->ends[end].session->link_count > 1 && random_chance(r, plan->part_chance)) {
        trace(world, "%u lets go of link %u", end, mux_link_attempt(side->mux));
        drop_link(side);
    }
    side = any_side(world, end);
    if (side && plan->freezes > 0 && random_chance(r, plan->freeze_chance))
        link_freeze(world, side->link);
    side = any_side(world, end);
    bool lost = random_chance(r, plan->loss_chance);
    if (side && lost)
        side->link->retransmitted += random_below(r, 3);
    if (side && (lost || plan->hidden))
        mux_link_observe(side->mux,
                         &(struct mux_path){.retransmitted = side->link->retransmitted,
                                            .round_trip_us = plan->hidden},
                         world->now_us);
}

static void wake(struct world *world)
{
    struct end *server = &world->ends[SERVER];

    world->wake_us = world->now_us + 1 + random_below(&world->random, 2 * world->plan.pause_us);
    for (unsigned end = 0; end < ENDS; end++)
        if (world->ends[end].session)
            owner_act(&world->ends[end]);
    change_links(world);
    if (world->plan.lose_session && server->session && random_chance(&world->random, 10)) {
        trace(world, "server loses the session");
        world->plan.lose_session = false;
        drop_links(server);
        lose_session(server);
    }
}

static void trace_streams(struct world *world, const struct end *end)
{
    const struct mux_stream *s;

    for (size_t at = 0; end->session && (s = idmap_next(&end->session->streams, &at));)
        trace(world,
              "%u: stream %u halves %d %d, send %llu %llu %llu of %llu, receive %llu %llu of %llu",
              end->which, s->id, (int)s->send_half, (int)s->receive_half,
              (unsigned long long)s->send.start, (unsigned long long)s->send.read,
              (unsigned long long)s->send.end, (unsigned long long)s->send_limit,
              (unsigned long long)s->window.consumed, (unsigned long long)s->window.received,
              (unsigned long long)s->window.limit);
}

static void step(struct world *world)
{
    world->now_us = next_event(world);
    if (world->now_us >= world->dial_us)
        dial(world);
    for (unsigned i = 0; i < MAX_LINKS; i++)
        for (unsigned end = 0; end < ENDS; end++)
            run_link(world, &world->links[i], end);
    tick(&world->ends[CLIENT]);
    tick(&world->ends[SERVER]);
    if (world->now_us >= world->wake_us)
        wake(world);
    for (unsigned i = 0; i < MAX_LINKS; i++)
        for (unsigned end = 0; end < ENDS; end++)
            pull(&world->links[i].sides[end]);
    check_world(world);
    if (world->now_us - world->progress_us <= PATIENCE)
        return;
    trace_streams(world, &world->ends[CLIENT]);
    trace_streams(world, &world->ends[SERVER]);
    violate(world, "no progress for %d seconds", PATIENCE / SECOND);
}

/* Nobody wants anything any more: the link is looked after, and stays. */
static void live_quietly(struct world *world)
{
    uint64_t end = world->now_us + QUIET;

    world->wake_us = NEVER;
    world->progress_us = world->now_us;
    world->ticks = 0;
    while (!world->violation[0] && next_event(world) < end)
        step(world);
    if (world->ticks > TICKS_MAX)
        violate(world, "the ends do not come to rest");
    check_quiet(world, &world->ends[CLIENT]);
    check_quiet(world, &world->ends[SERVER]);
}

static void finish_world(struct world *world)
{
    for (unsigned i = 0; i < ENDS; i++) {
        struct end *end = &world->ends[i];
        drop_links(end);
        mux_session_free(end->session);
        end->session = NULL;
        check_empty(world, end);
    }
    for (unsigned i = 0; i < MAX_LINKS; i++)
        link_clear(&world->links[i]);
    world->totals->seeds++;
    world->totals->virtual_us += world->now_us;
}

bool world_run(struct world *world, uint64_t seed, bool trace_on, struct totals *totals)
{
    memset(world, 0, sizeof *world);
    world->seed = seed;
    world->random.state = seed * UINT64_C(0x2545f4914f6cdd1d);
    world->totals = totals;
    world->trace = trace_on;
    world->now_us = world->wake_us = world->progress_us = SECOND;
    plan_network(&world->plan, &world->random);
    plan_owners(&world->plan, &world->random);
    plan_links(&world->plan, &world->random);
    for (unsigned i = 0; i < ENDS; i++) {
        world->ends[i].which = i;
        world->ends[i].world = world;
        plan_end(world, &world->ends[i]);
        for (unsigned j = 0; j < MAX_LINKS; j++)
            world->links[j].sides[i] =
                (struct side){.end = &world->ends[i], .link = &world->links[j]};
    }
    bound_work(world);
    if (world->plan.ids_left > 0)
        world->id_base = UINT32_MAX - world->plan.ids_left;
    while (!world->violation[0] && !all_over(world))
        step(world);
    live_quietly(world);
    finish_world(world);
    return !world->violation[0];
}
