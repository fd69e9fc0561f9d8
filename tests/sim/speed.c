/*
 * How fast bytes go through two sessions on one core, without a network: write into the client's
 * stream, pull 64 KiB, receive at the server; over one link, and over several, where the scheduler
 * has a choice and every other batch arrives before its turn. Not a test; usage: mux-speed
 * [GIGABYTES]
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "mux/link.h"
#include "mux/session.h"

enum { PULL = 64 * 1024, READ = 128 * 1024, LINKS = 8 };

struct side {
    struct mux_session *session;
    struct mux_link *links[LINKS];
    unsigned link_count;
    struct mux_stream *stream;
    uint64_t received;
    uint64_t now_us;
};

static void on_data(void *owner, struct mux_stream *stream, const uint8_t *bytes, size_t size)
{
    struct side *side = owner;

    (void)bytes;
    side->received += size;
    mux_stream_consume(stream, size, side->now_us);
}

static const struct mux_stream_callbacks stream_callbacks = {.data = on_data};

static void on_open(void *context, struct mux_stream *stream, const struct mux_target *target,
                    struct mux_text peer)
{
    (void)target;
    (void)peer;
    ((struct side *)context)->stream = stream;
    mux_stream_set_callbacks(stream, &stream_callbacks, context);
    mux_stream_accept(stream);
}

static const struct mux_session_callbacks session_callbacks = {.open = on_open};

/* A batch over each link; the last one's comes first. */
static bool carry_batches(struct side *from, struct side *to)
{
    static uint8_t wire[LINKS][PULL];
    size_t size[LINKS];
    bool any = false;

    for (unsigned i = 0; i < from->link_count; i++)
        size[i] = mux_link_pull(from->links[i], wire[i], PULL, ++from->now_us);
    for (unsigned i = from->link_count; i-- > 0;) {
        if (size[i] > 0 && mux_link_receive(to->links[i], wire[i], size[i], ++to->now_us))
            abort();
        any = any || size[i] > 0;
    }
    return any;
}

static void carry(struct side *from, struct side *to)
{
    while (carry_batches(from, to))
        ;
}

static void link_up(struct side *client, struct side *server)
{
    uint8_t wire[PULL];
    struct mux_hello hello;
    const char *reason = NULL;
    size_t consumed;

    struct mux_link *link = mux_link_attach(client->session, (struct mux_output){0}, 1);
    size_t size = mux_link_pull(link, wire, sizeof wire, 1);
    if (mux_hello_receive(wire, size, &hello, &consumed, &reason))
        abort();
    client->links[client->link_count++] = link;
    link = mux_link_accept(server->session, &hello, 0, (struct mux_text){"", 0},
                           (struct mux_output){0}, 1);
    if (!link)
        abort();
    server->links[server->link_count++] = link;
    carry(server, client);
    carry(client, server);
}

/* As a relay does: reserve, let the kernel fill (here: copy, as readv() does), commit. */
static void fill(struct mux_stream *stream)
{
    static const uint8_t source[READ];
    struct iovec spaces[4];
    size_t wanted = mux_stream_want_write(stream);

    if (wanted > READ)
        wanted = READ;
    if (wanted == 0)
        return;
    size_t count = mux_stream_reserve(stream, wanted, spaces, 4);
    size_t done = 0;
    for (size_t i = 0; i < count && done < wanted; i++) {
        size_t part = spaces[i].iov_len < wanted - done ? spaces[i].iov_len : wanted - done;
        memcpy(spaces[i].iov_base, source + done, part);
        done += part;
    }
    mux_stream_commit(stream, done);
}

static double seconds(void)
{
    struct timespec time;

    clock_gettime(CLOCK_MONOTONIC, &time);
    return (double)time.tv_sec + (double)time.tv_nsec / 1e9;
}

static void measure(uint32_t window, unsigned links, uint64_t bytes)
{
    struct chunk_pool pool;
    struct memory_budget budget;
    struct memory_share share;
    struct mux_settings settings;
    struct side client = {.now_us = 1}, server = {.now_us = 1};
    const struct mux_session_key key = {{0}, {0}};
    const struct mux_target target = {MUX_TARGET_TCP, {"x", 1}, -1};

    chunk_pool_init(&pool);
    memory_budget_init(&budget, 512 * 1024 * 1024);
    memory_share_init(&share, &budget);
    mux_settings_default(&settings);
    settings.window.initial = settings.window.base = settings.window.max = window;
    settings.role = MUX_CLIENT;
    settings.software = (struct mux_text){"speed", 5};
    client.session = mux_session_new(&settings, &session_callbacks, &client, &key, &pool, &share);
    settings.role = MUX_SERVER;
    server.session = mux_session_new(&settings, &session_callbacks, &server, &key, &pool, &share);
    for (unsigned i = 0; i < links; i++)
        link_up(&client, &server);
    client.stream = mux_stream_open(client.session, &target, (struct mux_text){"", 0},
                                    &stream_callbacks, &client);
    double start = seconds();
    while (server.received < bytes) {
        fill(client.stream);
        carry(&client, &server);
        carry(&server, &client);
    }
    double taken = seconds() - start;
    printf("window %5u KiB, %u link%s: %.1f GB/s\n", window / 1024, links, links > 1 ? "s" : "",
           (double)server.received / taken / 1e9);
    for (unsigned i = 0; i < links; i++) {
        mux_link_detach(client.links[i]);
        mux_link_detach(server.links[i]);
    }
    mux_session_free(client.session);
    mux_session_free(server.session);
    chunk_pool_clear(&pool);
}

int main(int argc, char **argv)
{
    uint64_t bytes = (argc > 1 ? strtoull(argv[1], NULL, 10) : 10) * 1000 * 1000 * 1000;

    for (uint32_t window = 256 * 1024; window <= 1024 * 1024; window *= 2)
        measure(window, 1, bytes);
    for (unsigned links = 2; links <= LINKS; links *= 2)
        measure(1024 * 1024, links, bytes);
    return 0;
}
