/*
 * The worked example in docs/protocol.md: the lines of its hex block are the bytes that two
 * sessions exchange. The test plays the same scene and compares, so the document cannot go stale.
 * Run it with the argument --print to see what the block must hold.
 */
#include "../lib/cmocka.h"

#include <stdio.h>
#include <string.h>

#include "mux/frame.h"
#include "mux/link.h"
#include "mux/session.h"

struct side {
    char name;
    struct mux_session *session;
    struct mux_link *link;
    struct mux_stream *stream;
};

static uint8_t played[4096];
static size_t played_size;
static bool printing;

static void on_open(void *context, struct mux_stream *stream, const struct mux_target *target,
                    struct mux_text peer)
{
    (void)target;
    (void)peer;
    ((struct side *)context)->stream = stream;
}

static const struct mux_session_callbacks callbacks = {.open = on_open};

static void record(char sender, const uint8_t *bytes, size_t size)
{
    size_t at = 0;

    assert_true(played_size + size <= sizeof played);
    memcpy(played + played_size, bytes, size);
    played_size += size;
    while (printing && at < size) {
        size_t frame = MUX_FRAME_HEADER + (size_t)byte_load_u16(bytes + at + 2);
        printf("%c type %u:", sender, bytes[at]);
        for (size_t i = 0; i < frame; i++)
            printf(" %02x", bytes[at + i]);
        putchar('\n');
        at += frame;
    }
}

static void carry(struct side *from, struct side *to)
{
    static uint8_t wire[MUX_PULL_MIN];
    size_t size;

    while ((size = mux_link_pull(from->link, wire, sizeof wire, 1000)) > 0) {
        record(from->name, wire, size);
        assert_int_equal(mux_link_receive(to->link, wire, size, 1000), 0);
    }
}

static void greet(struct side *client, struct side *server)
{
    static const char offers[] = "\001\005kafka";
    uint8_t wire[MUX_PULL_MIN];
    struct mux_hello hello;
    const char *reason = NULL;
    size_t consumed;

    client->link = mux_link_attach(client->session, (struct mux_output){0}, 1000);
    size_t size = mux_link_pull(client->link, wire, sizeof wire, 1000);
    record('C', wire, size);
    assert_int_equal(mux_hello_receive(wire, size, &hello, &consumed, &reason), 0);
    assert_int_equal(consumed, size);
    server->link =
        mux_link_accept(server->session, &hello, 1, (struct mux_text){offers, sizeof offers - 1},
                        (struct mux_output){0}, 1000);
    assert_non_null(server->link);
    carry(server, client);
}

static void scene(struct side *client, struct side *server)
{
    const struct mux_target target = {MUX_TARGET_CLUSTER, {"kafka", 5}, -1};

    greet(client, server);
    carry(client, server);
    carry(server, client);
    client->stream = mux_stream_open(client->session, &target,
                                     (struct mux_text){"127.0.0.1:50000", 15}, NULL, NULL);
    mux_stream_write(client->stream, "ping", 4);
    mux_stream_finish(client->stream);
    carry(client, server);
    mux_stream_accept(server->stream);
    mux_stream_write(server->stream, "pong", 4);
    mux_stream_finish(server->stream);
    carry(server, client);
    carry(client, server);
}

static void play(void)
{
    struct mux_settings settings;
    struct chunk_pool pool;
    struct memory_budget budget;
    struct memory_share share;
    struct side client = {.name = 'C'}, server = {.name = 'S'};
    struct mux_session_key key;

    memset(key.id, 0x1d, sizeof key.id);
    memset(key.secret, 0x5e, sizeof key.secret);
    chunk_pool_init(&pool);
    memory_budget_init(&budget, 1024 * 1024);
    memory_share_init(&share, &budget);
    mux_settings_default(&settings);
    settings.software = (struct mux_text){"example", 7};
    settings.identity = (struct mux_text){"alice", 5};
    settings.message_max = 65536;
    settings.role = MUX_SERVER;
    server.session = mux_session_new(&settings, &callbacks, &server, &key, &pool, &share);
    settings.role = MUX_CLIENT;
    memset(&key, 0, sizeof key);
    client.session = mux_session_new(&settings, &callbacks, &client, &key, &pool, &share);
    played_size = 0;
    scene(&client, &server);
    assert_int_equal(mux_session_stream_count(client.session), 0);
    assert_int_equal(mux_session_stream_count(server.session), 0);
    mux_link_detach(client.link);
    mux_link_detach(server.link);
    mux_session_free(client.session);
    mux_session_free(server.session);
    chunk_pool_clear(&pool);
}

/* The hex bytes of one line, up to its comment. */
static size_t parse_line(const char *line, uint8_t *bytes, size_t room)
{
    size_t size = 0;
    unsigned value;
    int used;

    while (*line != '#' && sscanf(line, " %2x%n", &value, &used) == 1) {
        assert_true(size < room);
        bytes[size++] = (uint8_t)value;
        line += used;
    }
    return size;
}

static void the_example_is_what_sessions_say(void **state)
{
    (void)state;
    uint8_t written[4096];
    size_t size = 0;
    char line[400];
    bool inside = false;
    FILE *file = fopen(PROTOCOL, "r");

    assert_non_null(file);
    while (fgets(line, sizeof line, file)) {
        if (strncmp(line, "```", 3) == 0)
            inside = strncmp(line, "```hex", 6) == 0;
        else if (inside)
            size += parse_line(line, written + size, sizeof written - size);
    }
    fclose(file);
    play();
    for (size_t i = 0; i < size && i < played_size; i++)
        if (written[i] != played[i])
            fail_msg("byte %zu of the example is %02x, a session says %02x", i, written[i],
                     played[i]);
    assert_int_equal(size, played_size);
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_example_is_what_sessions_say),
    };
    printing = argc > 1 && strcmp(argv[1], "--print") == 0;
    return cmocka_run_group_tests(tests, NULL, NULL);
}
