/*
 * How fast bytes go through two sessions on one core, without a network: write into the client's
 * stream, pull 64 KiB, receive at the server. Not a test; usage: mux-speed [GIGABYTES]
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "mux/link.h"
#include "mux/session.h"

enum { PULL = 64 * 1024, READ = 128 * 1024 };

struct side {
    struct mux_session *session;
    struct mux_link *link;
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

static void carry(struct side *from, struct side *to)
{
    static uint8_t wire[PULL];
    size_t size;

    while ((size = mux_link_pull(from->link, wire, sizeof wire, ++from->now_us)) > 0)
        if (mux_link_receive(to->link, wire, size, ++to->now_us))
            abort();
}

static void link_up(struct side *client, struct side *server)
{
    uint8_t wire[PULL];
    struct mux_hello hello;
    const char *reason = NULL;
    size_t consumed;

    client->link = mux_link_attach(client->session, (struct mux_output){0}, 1);
    size_t size = mux_link_pull(client->link, wire, sizeof wire, 1);
    if (mux_hello_receive(wire, size, &hello, &consumed, &reason))
        abort();
    server->link = mux_link_accept(server->session, &hello, 0, (struct mux_text){"", 0},
                                   (struct mux_output){0}, 1);
    if (!server->link)
        abort();
    carry(server, client);
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

static void measure(uint32_t window, uint64_t bytes)
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
    printf("window %5u KiB: %.1f GB/s\n", window / 1024, (double)server.received / taken / 1e9);
    mux_link_detach(client.link);
    mux_link_detach(server.link);
    mux_session_free(client.session);
    mux_session_free(server.session);
    chunk_pool_clear(&pool);
}

int main(int argc, char **argv)
{
    uint64_t bytes = (argc > 1 ? strtoull(argv[1], NULL, 10) : 10) * 1000 * 1000 * 1000;

    for (uint32_t window = 256 * 1024; window <= 1024 * 1024; window *= 2)
        measure(window, bytes);
    return 0;
}
