/*
 * Received frames against an established session of either role. The first byte chooses the role,
 * whether it is a resumed link, and seeds the splits; the rest is what the peer sends. Whatever
 * that is: no crash, bounded memory, and counters that are zero at the end.
 */
#include <stdlib.h>
#include <string.h>

#include "check.h"
#include "mux/frame.h"
#include "mux/link.h"
#include "mux/session.h"

struct owner {
    uint64_t now_us;
    unsigned calls;
    struct mux_session *session;
    struct mux_link *links[2];
    enum mux_role role;
    uint16_t version;
    uint32_t attempts;
};

static void on_data(void *context, struct mux_stream *stream, const uint8_t *bytes, size_t size)
{
    struct owner *owner = context;
    size_t writable = mux_stream_want_write(stream);

    if (writable > size)
        writable = size;
    if (writable > 0)
        mux_stream_write(stream, bytes, writable); /* an echo */
    switch (owner->calls++ % 8) {
    case 6:
        mux_stream_reset(stream, MUX_CODE_PEER_RESET, "no", MUX_RESET_AFTER_DATA, owner->now_us);
        break;
    case 7:
        break;
    default:
        mux_stream_consume(stream, size, owner->now_us);
        break;
    }
}

static void on_reset(void *context, struct mux_stream *stream, enum mux_code code,
                     struct mux_text reason)
{
    (void)context;
    (void)stream;
    (void)code;
    CHECK(reason.size < 256);
}

static const struct mux_stream_callbacks stream_callbacks = {
    .data = on_data,
    .reset = on_reset,
};

static void on_open(void *context, struct mux_stream *stream, const struct mux_target *target,
                    struct mux_text peer)
{
    struct owner *owner = context;

    CHECK(target->name.size > 0 && target->name.size <= MUX_NAME_MAX && peer.size < 256);
    bool numbered = mux_target_is_node(target->kind) || target->kind == MUX_TARGET_BOOTSTRAP;
    CHECK(numbered ? target->node_id >= 0 : target->node_id == -1);
    mux_stream_set_callbacks(stream, &stream_callbacks, owner);
    if (owner->calls++ % 5 == 4)
        mux_stream_refuse(stream, MUX_CODE_UNKNOWN_TARGET, "no");
    else
        mux_stream_accept(stream);
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

static void on_goaway(void *context, enum mux_code code, struct mux_text reason)
{
    (void)context;
    (void)code;
    CHECK(reason.size < MUX_FRAME_PAYLOAD_MAX);
}

static void on_idle(void *context)
{
    const struct owner *owner = context;

    CHECK(mux_session_stream_count(owner->session) == 0);
}

static const struct mux_session_callbacks callbacks = {
    .open = on_open,
    .idle = on_idle,
    .message = on_message,
    .goaway = on_goaway,
};

/* A link whose peer has greeted; a resumed one still waits for positions. */
static struct mux_link *greet(struct owner *owner, enum mux_entry entry)
{
    struct mux_session *session = owner->session;
    uint8_t bytes[512];
    struct byte_writer w;
    struct mux_hello hello = {.version_min = owner->version,
                              .version_max = owner->version,
                              .resume = entry == MUX_ENTRY_RESUME,
                              .join = entry == MUX_ENTRY_JOIN,
                              .attempt = ++owner->attempts,
                              .initial_window = 5000};
    struct mux_welcome welcome = {.version = owner->version,
                                  .resumed = entry == MUX_ENTRY_RESUME,
                                  .joined = entry == MUX_ENTRY_JOIN,
                                  .initial_window = 5000};
    struct mux_link *link;

    if (owner->role == MUX_SERVER) {
        link = mux_link_accept(session, &hello, 0, (struct mux_text){"", 0}, (struct mux_output){0},
                               1);
        CHECK(link);
        return link;
    }
    link = mux_link_attach(session, (struct mux_output){0}, 1);
    byte_writer_init(&w, bytes, sizeof bytes);
    mux_welcome_encode(&w, &welcome);
    CHECK(mux_link_receive(link, bytes, byte_writer_size(&w), 1) == 0);
    return link;
}

static void use_streams(struct mux_session *session, struct owner *owner)
{
    const struct mux_target target = {MUX_TARGET_BROKER, {"kafka", 5}, 3};

    for (int i = 0; i < 3; i++) {
        struct mux_stream *stream = mux_stream_open(session, &target, (struct mux_text){"peer", 4},
                                                    &stream_callbacks, owner);
        CHECK(stream);
        mux_stream_write(stream, "request", 7);
        if (i == 1)
            mux_stream_finish(stream);
        if (i == 2)
            mux_stream_reset(stream, MUX_CODE_PEER_RESET, "x", MUX_RESET_AFTER_DATA, 1);
    }
}

/* Hands a part over, pulls and lets time pass. false: the link or the session has ended. */
static bool hand_over(struct owner *owner, struct mux_link *link, const uint8_t *bytes, size_t size,
                      uint64_t passes_us, bool pulls)
{
    static uint8_t out[MUX_PULL_MIN * 2];
    uint8_t *copy = malloc(size); /* so that a read beyond the part is seen */

    CHECK(copy);
    memcpy(copy, bytes, size);
    int error = mux_link_receive(link, copy, size, ++owner->now_us);
    free(copy);
    if (error || mux_link_tick(link, owner->now_us += passes_us))
        return false;
    if (pulls)
        mux_link_pull(link, out, sizeof out, owner->now_us);
    return true;
}

/* Over the one link, in parts of any size. */
static void run_one(struct owner *owner, const uint8_t *bytes, size_t size, uint32_t step)
{
    while (size > 0) {
        size_t part = 1 + (step >> 8) % 97;
        if (part > size)
            part = size;
        if (!hand_over(owner, owner->links[0], bytes, part, step & 0xffff, step & 0x10000))
            return;
        bytes += part;
        size -= part;
        step = step * 1664525u + 1013904223u;
    }
}

/* The second link ends, with whatever it has, and another joins. */
static void change_second(struct owner *owner)
{
    mux_link_detach(owner->links[1]);
    owner->links[1] = mux_session_established(owner->session) && owner->attempts < 50
                          ? greet(owner, MUX_ENTRY_JOIN)
                          : NULL;
}

/*
 * Over two links, each with frames of its own, cut and interleaved. Before each part stands a byte:
 * 1 the second link, 2 pull, 4 time passes; the five high bits say how long the part is, 31: none
 * comes, the second link ends and another joins.
 */
static void run_two(struct owner *owner, const uint8_t *bytes, size_t size)
{
    while (size > 1) {
        const uint8_t say = *bytes++;
        size--;
        if (say >> 3 == 31) {
            change_second(owner);
            continue;
        }
        struct mux_link *link = owner->links[say & 1];
        size_t part = 1u + (size_t)(say >> 3) * (say >> 3);
        if (part > size)
            part = size;
        if (!link || !hand_over(owner, link, bytes, part, say & 4 ? 70 * 1000 : 0, say & 2))
            return;
        bytes += part;
        size -= part;
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size);

/* The first byte: 1 server, 2 resumed, 4 version 2, 8 with a second link. */
int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size)
{
    struct mux_settings settings;
    struct chunk_pool pool;
    struct memory_budget budget;
    struct memory_share share;
    struct owner owner = {.now_us = 1};
    const struct mux_session_key key = {{0}, {0}};

    if (size < 1)
        return 0;
    mux_settings_default(&settings);
    settings.role = bytes[0] & 1 ? MUX_SERVER : MUX_CLIENT;
    settings.max_streams = 50;
    settings.window.initial = 3000;
    memory_budget_init(&budget, 1024 * 1024);
    memory_share_init(&share, &budget);
    chunk_pool_init(&pool);
    owner.role = settings.role;
    owner.version = bytes[0] & 4 ? 2 : 1;
    owner.session = mux_session_new(&settings, &callbacks, &owner, &key, &pool, &share);
    owner.links[0] = greet(&owner, MUX_ENTRY_FIRST);
    if (settings.role == MUX_CLIENT)
        use_streams(owner.session, &owner);
    if (bytes[0] & 2) {
        mux_link_detach(owner.links[0]);
        owner.links[0] = greet(&owner, MUX_ENTRY_RESUME);
    } else if ((bytes[0] & 12) == 12) {
        owner.links[1] = greet(&owner, MUX_ENTRY_JOIN);
    }
    if (owner.links[1])
        run_two(&owner, bytes + 1, size - 1);
    else
        run_one(&owner, bytes + 1, size - 1, bytes[0] * 2654435761u);
    CHECK(budget.receive.used <= budget.receive.total);
    CHECK(pool.allocated < 20 * 1024 * 1024);
    mux_link_detach(owner.links[0]);
    mux_link_detach(owner.links[1]);
    mux_session_free(owner.session);
    CHECK(budget.send.used == 0 && budget.receive.used == 0);
    chunk_pool_clear(&pool);
    return 0;
}
