/* Two sessions, or one and hand-made frames, without a network: each rule of a stream's life. */
#include "../lib/cmocka.h"

#include <stdio.h>
#include <string.h>

#include "mux/link.h"
#include "mux/session.h"
#include "mux/session_core.h"

enum { MS = 1000, SECOND = 1000 * 1000, CREDIT_DELAY = MUX_CREDIT_DELAY_ALONE_US };

struct side {
    struct mux_session *session;
    struct mux_link *link;
    struct mux_settings settings;
    struct chunk_pool pool;
    struct memory_budget budget;
    struct memory_share share;
    struct mux_stream *opened; /* the latest stream that open() or opened() told of */
    char events[600];          /* what the callbacks told, in words */
    bool lazy;                 /* does not consume by itself */
    uint64_t writable_calls;
    unsigned idle_calls;
    unsigned stalls[MUX_STALLS];
    enum mux_code code;
};

static struct side client, server;
static uint64_t now;
static uint16_t version; /* of the protocol, that the sessions have in common */
static uint8_t wire[256 * 1024];
/* The links of these tests pull when they like. */
static const struct mux_output NO_OUTPUT;

static void note(struct side *side, const char *word, const struct mux_stream *stream)
{
    size_t used = strlen(side->events);

    snprintf(side->events + used, sizeof side->events - used, "%s%s%.0u", used ? " " : "", word,
             stream ? mux_stream_id(stream) : 0);
}

static void assert_events(struct side *side, const char *expected)
{
    assert_string_equal(side->events, expected);
    side->events[0] = '\0';
}

static const struct mux_stream_callbacks stream_callbacks;

static void on_established(void *context, struct mux_link *link, const struct mux_welcome *welcome)
{
    (void)link;
    (void)welcome;
    note(context, "established", NULL);
}

static void on_open(void *context, struct mux_stream *stream, const struct mux_target *target,
                    struct mux_text peer)
{
    (void)target;
    (void)peer;
    ((struct side *)context)->opened = stream;
    mux_stream_set_callbacks(stream, &stream_callbacks, context);
    note(context, "open", stream);
}

static void on_opened(void *owner, struct mux_stream *stream)
{
    note(owner, "opened", stream);
}

static void on_data(void *owner, struct mux_stream *stream, const uint8_t *bytes, size_t size)
{
    struct side *side = owner;
    char word[40];

    if (size < 20)
        snprintf(word, sizeof word, "data:%.*s:", (int)size, (const char *)bytes);
    else
        snprintf(word, sizeof word, "data#%zu:", size);
    note(side, word, stream);
    if (!side->lazy)
        mux_stream_consume(stream, size, now);
}

static void on_finished(void *owner, struct mux_stream *stream)
{
    note(owner, "finish", stream);
}

static void on_writable(void *owner, struct mux_stream *stream)
{
    (void)stream;
    ((struct side *)owner)->writable_calls++;
}

static void on_stalled(void *owner, struct mux_stream *stream, enum mux_stall stall)
{
    (void)stream;
    ((struct side *)owner)->stalls[stall]++;
}

static void on_reset(void *owner, struct mux_stream *stream, enum mux_code code,
                     struct mux_text reason)
{
    (void)reason;
    ((struct side *)owner)->code = code;
    note(owner, "reset", stream);
}

static void on_over(void *owner, struct mux_stream *stream)
{
    note(owner, "over", stream);
}

static void on_message(void *context, uint8_t type, const uint8_t *payload, size_t size)
{
    char word[40];

    snprintf(word, sizeof word, "message%d:%.*s", type, (int)size, (const char *)payload);
    note(context, word, NULL);
}

static void on_goaway(void *context, enum mux_code code, struct mux_text reason)
{
    char word[60];

    snprintf(word, sizeof word, "goaway%d:%.*s", (int)code, (int)reason.size, reason.bytes);
    note(context, word, NULL);
}

static void on_idle(void *context)
{
    ((struct side *)context)->idle_calls++;
}

static const struct mux_session_callbacks session_callbacks = {
    .established = on_established,
    .open = on_open,
    .idle = on_idle,
    .message = on_message,
    .goaway = on_goaway,
};

static const struct mux_stream_callbacks stream_callbacks = {
    .opened = on_opened,
    .data = on_data,
    .finished = on_finished,
    .writable = on_writable,
    .reset = on_reset,
    .over = on_over,
    .stalled = on_stalled,
};

static void set_up(struct side *side, enum mux_role role)
{
    struct mux_session_key key = {{(uint8_t)role}, {7}};

    memset(side, 0, sizeof *side);
    mux_settings_default(&side->settings);
    side->settings.role = role;
    side->settings.software = (struct mux_text){"test", 4};
    memory_budget_init(&side->budget, 64 * 1024 * 1024);
    memory_share_init(&side->share, &side->budget);
    chunk_pool_init(&side->pool);
    side->session =
        mux_session_new(&side->settings, &session_callbacks, side, &key, &side->pool, &side->share);
}

/* Carries all there is one way; what receive() answered. */
static int carry(struct side *from, struct side *to)
{
    size_t size;

    while ((size = mux_link_pull(from->link, wire, MUX_PULL_MIN * 2, now)) > 0) {
        int error = mux_link_receive(to->link, wire, size, now);
        if (error)
            return error;
    }
    return 0;
}

static void exchange(void)
{
    for (int i = 0; i < 6; i++) {
        assert_int_equal(carry(&client, &server), 0);
        assert_int_equal(carry(&server, &client), 0);
    }
}

static int accept_link(const struct mux_hello *hello)
{
    server.link =
        mux_link_accept(server.session, hello, 0, (struct mux_text){"", 0}, NO_OUTPUT, now);
    return server.link ? 0 : MUX_ERROR_PROTOCOL;
}

/* As a program does: by the link, if there is one. */
static int tick(struct side *side)
{
    return side->link ? mux_link_tick(side->link, now) : mux_session_tick(side->session, now);
}

static uint64_t due(const struct side *side)
{
    return side->link ? mux_link_deadline(side->link) : mux_session_deadline(side->session);
}

/* A new link: HELLO goes through the server's greeter, the rest flows. */
static int link_up(void)
{
    struct mux_hello hello;
    const char *reason = NULL;
    size_t consumed = 0;

    client.link = mux_link_attach(client.session, NO_OUTPUT, now);
    size_t size = mux_link_pull(client.link, wire, MUX_PULL_MIN, now);
    assert_int_equal(mux_hello_receive(wire, size, &hello, &consumed, &reason), 0);
    hello.version_max = version;
    int error = accept_link(&hello);
    if (!error)
        error = mux_link_receive(server.link, wire + consumed, size - consumed, now);
    return error;
}

static void detach(void)
{
    mux_link_detach(client.link);
    mux_link_detach(server.link);
    client.link = server.link = NULL;
}

static int pair(void **state)
{
    version = *(const uint16_t *)*state;
    now = SECOND;
    set_up(&client, MUX_CLIENT);
    set_up(&server, MUX_SERVER);
    assert_int_equal(link_up(), 0);
    exchange();
    assert_events(&client, "established");
    assert_events(&server, "established");
    return 0;
}

static int part(void **state)
{
    struct side *sides[] = {&client, &server};

    (void)state;
    for (int i = 0; i < 2; i++) {
        mux_link_detach(sides[i]->link);
        mux_session_free(sides[i]->session);
        assert_true(sides[i]->budget.send.used == 0 && sides[i]->budget.receive.used == 0);
        chunk_pool_clear(&sides[i]->pool);
    }
    return 0;
}

static struct mux_stream *open_stream(void)
{
    struct mux_target target = {MUX_TARGET_CLUSTER, {"kafka", 5}, -1};
    struct mux_stream *stream = mux_stream_open(client.session, &target, (struct mux_text){"me", 2},
                                                &stream_callbacks, &client);

    assert_non_null(stream);
    exchange();
    mux_stream_accept(server.opened);
    exchange();
    client.events[0] = server.events[0] = '\0';
    return stream;
}

static void a_stream_lives_and_ends(void **state)
{
    (void)state;
    struct mux_target target = {MUX_TARGET_TCP, {"registry", 8}, -1};
    struct mux_stream *stream = mux_stream_open(client.session, &target, (struct mux_text){"me", 2},
                                                &stream_callbacks, &client);

    mux_stream_write(stream, "hello", 5);
    exchange();
    assert_events(&server, "open1 data:hello:1");
    mux_stream_accept(server.opened);
    mux_stream_write(server.opened, "answer", 6);
    exchange();
    assert_events(&client, "opened1 data:answer:1");
    mux_stream_finish(stream);
    exchange();
    assert_events(&server, "finish1");
    mux_stream_write(server.opened, "late", 4); /* half-closed: the other way still flows */
    mux_stream_finish(server.opened);
    exchange();
    assert_events(&client, "data:late:1 finish1 over1");
    assert_events(&server, "over1");
    assert_int_equal(mux_session_stream_count(client.session), 0);
    assert_int_equal(mux_session_stream_count(server.session), 0);
}

static void the_server_may_finish_first(void **state)
{
    (void)state;
    struct mux_stream *stream = open_stream();

    mux_stream_finish(server.opened);
    exchange();
    assert_events(&client, "finish1");
    mux_stream_write(stream, "bye", 3);
    mux_stream_finish(stream);
    exchange();
    assert_events(&server, "data:bye:1 finish1 over1");
    assert_events(&client, "over1");
}

static void a_finish_waits_for_data_and_over_for_consumption(void **state)
{
    (void)state;
    struct mux_stream *stream = open_stream();

    server.lazy = true;
    mux_stream_write(stream, "abc", 3);
    mux_stream_finish(stream);
    mux_stream_finish(server.opened);
    exchange();
    assert_events(&server, "data:abc:1 finish1");
    assert_events(&client, "finish1");
    mux_stream_consume(server.opened, 2, now);
    exchange();
    assert_events(&client, "");
    mux_stream_consume(server.opened, 1, now);
    exchange();
    assert_events(&client, "over1");
    assert_events(&server, "over1");
}

static void a_refused_stream_is_reset(void **state)
{
    (void)state;
    struct mux_target target = {MUX_TARGET_CLUSTER, {"kafka", 5}, -1};

    mux_stream_open(client.session, &target, (struct mux_text){"", 0}, &stream_callbacks, &client);
    exchange();
    mux_stream_refuse(server.opened, MUX_CODE_UNKNOWN_TARGET, "no such cluster");
    exchange();
    assert_events(&client, "reset1");
    assert_int_equal(client.code, MUX_CODE_UNKNOWN_TARGET);
    assert_int_equal(mux_session_stream_count(server.session), 0);
}

static void a_reset_now_overtakes_data(void **state)
{
    (void)state;
    struct mux_stream *stream = open_stream();

    server.lazy = true;
    mux_stream_write(stream, "abc", 3);
    exchange();
    mux_stream_reset(stream, MUX_CODE_PEER_RESET, "gone", MUX_RESET_NOW, now);
    exchange();
    assert_events(&server, "data:abc:1 reset1");
    assert_int_equal(mux_session_stream_count(client.session), 0);
}

static void a_reset_after_data_waits_for_the_owner(void **state)
{
    (void)state;
    struct mux_stream *stream = open_stream();

    server.lazy = true;
    mux_stream_write(stream, "abcd", 4);
    mux_stream_reset(stream, MUX_CODE_PEER_RESET, "gone", MUX_RESET_AFTER_DATA, now);
    exchange();
    assert_events(&server, "data:abcd:1");
    assert_int_equal(mux_stream_want_write(server.opened), 0);
    mux_stream_finish(server.opened); /* nobody listens any more, but the owner cannot know */
    mux_stream_consume(server.opened, 4, now);
    exchange();
    assert_events(&server, "reset1");
    assert_events(&client, "");
    assert_int_equal(mux_session_stream_count(client.session), 0);
}

/* All is consumed, and the credit for it not told yet: nothing else would tell the end that has
 * reset that it may forget the bytes. */
static void a_reset_after_data_that_is_consumed_is_over(void **state)
{
    (void)state;
    struct mux_stream *stream = open_stream();

    server.lazy = true;
    mux_stream_write(stream, "abcd", 4);
    exchange();
    mux_stream_consume(server.opened, 4, now);
    mux_stream_reset(stream, MUX_CODE_PEER_RESET, "gone", MUX_RESET_AFTER_DATA, now);
    exchange();
    assert_events(&server, "data:abcd:1 reset1");
    assert_int_equal(mux_session_stream_count(client.session), 0);
}

static void a_reset_after_a_finish_keeps_the_data(void **state)
{
    (void)state;
    struct mux_stream *stream = open_stream();

    server.lazy = true;
    mux_stream_write(stream, "abcd", 4);
    mux_stream_finish(stream);
    exchange();
    mux_stream_reset(stream, MUX_CODE_PEER_RESET, "gone", MUX_RESET_AFTER_DATA, now);
    exchange();
    assert_events(&server, "data:abcd:1 finish1");
    mux_stream_consume(server.opened, 4, now);
    assert_events(&server, "reset1");
}

static void lingering_ends(void **state)
{
    (void)state;
    struct mux_stream *stream = open_stream();

    server.lazy = true;
    mux_stream_write(stream, "abcd", 4);
    mux_stream_reset(stream, MUX_CODE_PEER_RESET, "gone", MUX_RESET_AFTER_DATA, now);
    exchange();
    detach();
    assert_int_equal(due(&client), now + 10 * SECOND);
    now += 10 * SECOND - 1;
    tick(&client);
    tick(&server);
    assert_int_equal(mux_session_stream_count(client.session), 1);
    now += 1;
    tick(&client);
    tick(&server);
    assert_int_equal(mux_session_stream_count(client.session), 0);
    assert_events(&server, "data:abcd:1 reset1");
    assert_events(&client, "");
}

static void credit_stops_the_writer_and_starts_it_again(void **state)
{
    (void)state;
    struct mux_stream *stream = open_stream();
    static uint8_t zeros[65536];

    server.lazy = true;
    assert_int_equal(mux_stream_want_write(stream), 65536);
    mux_stream_write(stream, zeros, sizeof zeros);
    assert_int_equal(mux_stream_want_write(stream), 0);
    exchange();
    assert_int_equal(server.opened->window.received, 65536);
    assert_int_equal(client.writable_calls, 0);
    mux_stream_consume(server.opened, 65536, now);
    exchange();
    assert_int_equal(client.writable_calls, 1);
    assert_int_equal(mux_stream_want_write(stream), 65536);
    assert_true(client.budget.send.used == MUX_STREAM_FLOOR);
}

static void small_consumption_is_told_late(void **state)
{
    (void)state;
    struct mux_stream *stream = open_stream();

    mux_stream_write(stream, "abc", 3);
    exchange();
    now += 2 * CREDIT_DELAY; /* what the control stream owes goes out */
    tick(&server);
    exchange();
    assert_true(client.budget.send.used == MUX_STREAM_FLOOR);
    mux_stream_write(stream, "abc", 3);
    carry(&client, &server);
    assert_int_equal(due(&server), now + CREDIT_DELAY);
    now += CREDIT_DELAY;
    assert_int_equal(tick(&server), 0);
    assert_true(due(&server) > now);
    carry(&server, &client);
    assert_true(client.budget.send.used == MUX_STREAM_FLOOR);
}

static void starved_streams_are_fed(void **state)
{
    (void)state;
    struct mux_stream *stream = open_stream();
    static uint8_t zeros[MUX_STREAM_FLOOR];

    client.budget.send.total = 0;
    assert_int_equal(mux_stream_want_write(stream), MUX_STREAM_FLOOR);
    mux_stream_write(stream, zeros, sizeof zeros);
    assert_int_equal(mux_stream_want_write(stream), 0);
    assert_int_equal(due(&client), now + 10 * MS);
    client.budget.send.total = 1024 * 1024;
    now += 10 * MS;
    tick(&client);
    assert_int_equal(client.writable_calls, 1);
    assert_int_equal(mux_stream_want_write(stream), 65536 - MUX_STREAM_FLOOR);
}

/* Frames of a type in what the side has to say now. */
static unsigned count_frames(const struct side *side, enum mux_frame_type type)
{
    size_t size = mux_link_pull(side->link, wire, MUX_PULL_MIN * 2, now);
    unsigned count = 0;

    for (size_t at = 0; at < size;) {
        struct mux_frame frame;
        mux_frame_decode_header(wire + at, &frame);
        count += frame.type == type;
        at += MUX_FRAME_HEADER + frame.size;
    }
    return count;
}

/* A WINDOW goes along with what there is to say, but not with each of many answers. */
static void small_messages_do_not_bring_a_window_each(void **state)
{
    (void)state;
    struct mux_stream *stream = open_stream();
    unsigned windows = 0;

    now += SECOND;
    exchange();
    for (int i = 0; i < 100; i++) {
        mux_stream_write(stream, "question", 8);
        carry(&client, &server);
        mux_stream_write(server.opened, "answer", 6);
        windows += count_frames(&server, MUX_WINDOW);
        now += 100;
    }
    assert_int_equal(windows, 1);
    /* Nothing more is said: the rest comes in time. */
    assert_true(due(&server) <= now + CREDIT_DELAY);
    now = due(&server);
    tick(&server);
    assert_int_equal(count_frames(&server, MUX_WINDOW), 1);
    now += SECOND;
    assert_int_equal(count_frames(&server, MUX_WINDOW), 0);
    /* After a while the next one goes along, and a stream that has consumed much does not wait. */
    static uint8_t much[16 * 1024 + 1];
    for (unsigned first = 1; first < 2; first--) {
        mux_stream_write(stream, "question", 8);
        carry(&client, &server);
        assert_int_equal(count_frames(&server, MUX_WINDOW), first);
    }
    mux_stream_write(stream, much, sizeof much);
    carry(&client, &server);
    assert_int_equal(count_frames(&server, MUX_WINDOW), 1);
    detach(); /* what was counted here has not come */
    link_up();
    client.events[0] = server.events[0] = '\0';
}

/* Both ends see that messages pass beside bulk, whoever sends which. */
static void messages_beside_bulk_are_seen(void **state)
{
    (void)state;
    static uint8_t zeros[16 * 1024];
    struct mux_stream *bulk = open_stream();
    struct mux_stream *answering = (open_stream(), server.opened);

    mux_stream_write(bulk, zeros, sizeof zeros);
    exchange();
    assert_int_equal(mux_link_portion(client.link), SIZE_MAX);
    assert_int_equal(mux_stream_portion(answering), SIZE_MAX);
    mux_stream_write(answering, "message", 7);
    exchange();
    assert_int_equal(mux_link_portion(client.link), MUX_PORTION);
    assert_int_equal(mux_stream_portion(bulk), MUX_PORTION);
    assert_int_equal(mux_link_portion(server.link), MUX_PORTION);
    assert_int_equal(mux_stream_portion(answering), MUX_PORTION);
    now += SECOND;
    exchange();
    assert_int_equal(mux_link_portion(client.link), SIZE_MAX);
    assert_int_equal(mux_link_portion(server.link), SIZE_MAX);
}

/* Sends as much as the credit allows, 64 KiB of it if that is less. A message goes first. */
static size_t push(struct mux_stream *bulk, struct mux_stream *talk)
{
    static uint8_t zeros[65536];
    size_t size = mux_stream_want_write(bulk);

    if (talk)
        mux_stream_write(talk, "message", 7);
    size = size < sizeof zeros ? size : sizeof zeros;
    if (size > 0)
        mux_stream_write(bulk, zeros, size);
    exchange();
    return mux_stream_want_write(bulk);
}

/* On a short path, what bulk has ahead of its receiver only waits, and messages behind it: its
 * credit falls while they pass, and comes back after them. */
static void messages_bound_what_bulk_has_ahead(void **state)
{
    (void)state;
    struct mux_stream *bulk = open_stream();
    struct mux_stream *talk = open_stream();
    size_t credit = 0;

    for (unsigned round = 0; round < 2; round++) {
        client.link->rtt_min_us = server.link->rtt_min_us = round == 0 ? 100 : 10 * MS;
        for (int i = 0; i < 20; i++)
            credit = push(bulk, NULL);
        assert_true(credit >= 384 * 1024);
        for (int i = 0; i < 80; i++) /* what was given before goes first: 4 MiB at most */
            credit = push(bulk, talk);
        if (round == 0)
            assert_in_range(credit, 1, 128 * 1024);
        else
            assert_true(credit >= 384 * 1024);
        now += SECOND;
    }
}

static void idle_windows_are_taken_back(void **state)
{
    (void)state;
    struct mux_stream *stream = open_stream();
    static uint8_t zeros[65536];
    struct mux_settings settings;

    mux_settings_default(&settings);
    for (int i = 0; i < 3; i++) {
        mux_stream_write(stream, zeros, sizeof zeros);
        exchange();
    }
    now += CREDIT_DELAY;
    exchange();
    assert_int_equal(server.budget.receive.used, settings.window.base);
    for (int i = 0; i < 2; i++) {
        now += 10 * SECOND + 1;
        tick(&server);
        exchange();
    }
    assert_int_equal(server.budget.receive.used, MUX_STREAM_FLOOR);
    assert_int_equal(mux_stream_want_write(stream), 65536);
}

static void messages_come_once_and_in_order(void **state)
{
    (void)state;
    mux_session_send_message(server.session, MUX_EXPOSE, (const uint8_t *)"one", 3);
    mux_link_pull(server.link, wire, MUX_PULL_MIN, now); /* lost with the link */
    mux_session_send_message(server.session, MUX_EXPOSE, (const uint8_t *)"two", 3);
    detach();
    assert_int_equal(link_up(), 0);
    exchange();
    assert_events(&client, "established message32:one message32:two");
    mux_session_goaway(server.session, MUX_CODE_GOING_AWAY, "stop");
    exchange();
    assert_events(&client, "goaway9:stop");
}

static void a_lost_link_loses_nothing(void **state)
{
    (void)state;
    struct mux_stream *stream = open_stream();

    mux_stream_write(stream, "abc", 3);
    size_t size = mux_link_pull(client.link, wire, MUX_PULL_MIN, now);
    assert_int_equal(mux_link_receive(server.link, wire, size - 1, now), 0);
    assert_events(&server, "data:ab:1");
    mux_stream_write(stream, "def", 3);
    mux_stream_finish(stream);
    detach();
    assert_int_equal(link_up(), 0);
    exchange();
    assert_events(&server, "established data:cdef:1 finish1");
    mux_stream_finish(server.opened);
    exchange();
    assert_events(&client, "established finish1 over1");
}

static void a_done_that_was_lost_comes_again(void **state)
{
    (void)state;
    struct mux_stream *stream = open_stream();

    mux_stream_write(stream, "abc", 3);
    mux_stream_finish(stream);
    mux_stream_finish(server.opened);
    carry(&server, &client);
    carry(&client, &server);
    assert_events(&server, "data:abc:1 finish1 over1");
    detach(); /* DONE is still under way, and the server has forgotten the stream */
    assert_int_equal(link_up(), 0);
    exchange();
    assert_events(&client, "finish1 established over1");
}

static void an_older_link_cannot_take_over(void **state)
{
    (void)state;
    uint8_t old[512];
    struct mux_hello hello;
    const char *reason = NULL;
    size_t consumed;

    detach();
    client.link = mux_link_attach(client.session, NO_OUTPUT, now);
    size_t size = mux_link_pull(client.link, wire, MUX_PULL_MIN, now);
    memcpy(old, wire, size);
    detach();
    assert_int_equal(link_up(), 0);
    struct mux_link *present = server.link;
    exchange();
    assert_int_equal(mux_hello_receive(old, size, &hello, &consumed, &reason), 0);
    assert_false(mux_session_is_newer(server.session, &hello));
    assert_int_equal(accept_link(&hello), MUX_ERROR_PROTOCOL);
    server.link = present;
    exchange();
    assert_true(mux_session_established(server.session));
}

static void round_trips_are_measured(void **state)
{
    (void)state;
    mux_link_ping(client.link, now);
    carry(&client, &server);
    now += 7 * MS;
    carry(&server, &client);
    assert_int_equal(mux_session_rtt_us(client.session), 7 * MS);
}

static void an_idle_link_is_probed_then_dead(void **state)
{
    (void)state;
    now += 20 * MS;
    mux_link_ping(client.link, now);
    exchange();
    assert_int_equal(due(&client), now + 20 * SECOND);
    now += 20 * SECOND;
    assert_int_equal(tick(&client), 0);
    assert_true(mux_link_pull(client.link, wire, MUX_PULL_MIN, now) > 0);
    assert_int_equal(due(&client), now + 10 * SECOND);
    now += 10 * SECOND;
    assert_int_equal(tick(&client), MUX_ERROR_DEAD);
}

static void a_link_that_takes_no_bytes_is_dead(void **state)
{
    (void)state;
    now += 40 * SECOND;
    assert_int_equal(tick(&client), 0);
    for (int i = 0; due(&client) < now + 10 * SECOND; i++) {
        assert_true(i < 10 && due(&client) > now);
        mux_session_tick(client.session, due(&client));
    }
    now += 10 * SECOND;
    assert_int_equal(tick(&client), MUX_ERROR_DEAD);
}

/* What counts is what the peer has acknowledged or sent on this link, not what was pulled for it.
 */
static void progress_is_what_the_peer_has_acknowledged(void **state)
{
    (void)state;
    struct mux_stream *stream = open_stream();
    uint64_t before = mux_link_facts(client.link).progress;

    server.lazy = true;
    mux_stream_write(stream, "abcd", 4);
    exchange();
    /* In version 1 a peer tells only of what it has consumed. */
    assert_int_equal(mux_link_facts(client.link).progress, version == 1 ? before : before + 4);
    assert_true(mux_link_facts(server.link).progress >= 4);
    mux_stream_consume(server.opened, 4, now);
    now += 20 * MS;
    assert_int_equal(tick(&server), 0);
    exchange();
    assert_int_equal(mux_link_facts(client.link).progress, before + 4);
    /* What was acknowledged while there was no link is nothing that the next one did. */
    mux_stream_write(stream, "efgh", 4);
    exchange();
    mux_stream_consume(server.opened, 4, now);
    detach();
    assert_int_equal(link_up(), 0);
    exchange();
    assert_int_equal(mux_link_facts(client.link).progress, 0);
}

static void answers_are_counted_by_ping(void **state)
{
    (void)state;
    struct mux_pings pings = mux_link_pings(client.link);

    assert_true(pings.asked == 1 && pings.answered == 1);
    mux_link_ping(client.link, now);
    mux_link_ping(client.link, now);
    pings = mux_link_pings(client.link);
    assert_true(pings.asked == 2 && pings.answered == 1);
    now += MS;
    assert_int_equal(carry(&client, &server), 0);
    /* One more before the answer comes: an answer to the older one tells nothing of it. */
    now += MS;
    mux_link_ping(client.link, now);
    assert_int_equal(carry(&client, &server), 0);
    exchange();
    pings = mux_link_pings(client.link);
    assert_true(pings.asked == 3 && pings.answered == 3);
    detach();
    assert_int_equal(link_up(), 0);
    pings = mux_link_pings(client.link);
    assert_true(pings.answered == 0);
}

/* Both ends for so long, each called when it wants to be, over a link that works. */
static void live(uint64_t us)
{
    uint64_t end = now + us;
    struct side *sides[] = {&client, &server};

    while (now < end) {
        uint64_t next = end;
        for (int i = 0; i < 2; i++) {
            uint64_t deadline = due(sides[i]);
            next = deadline < next ? deadline : next;
        }
        now = next > now ? next : now;
        for (int i = 0; i < 2; i++)
            assert_int_equal(tick(sides[i]), 0);
        exchange();
    }
}

/* Every way in which bytes that the peer has not consumed stop mattering. */
static void a_link_outlives_bytes_that_nobody_consumes(void **state)
{
    (void)state;
    struct mux_stream *streams[5];
    struct mux_stream *opened[5];

    server.lazy = client.lazy = true;
    for (int i = 0; i < 5; i++) {
        streams[i] = open_stream();
        opened[i] = server.opened;
        mux_stream_write(streams[i], "abc", 3);
        mux_stream_write(opened[i], "abc", 3);
    }
    exchange();
    now += 30 * MS;
    mux_stream_reset(streams[0], MUX_CODE_PEER_RESET, "gone", MUX_RESET_NOW, now);
    mux_stream_reset(opened[1], MUX_CODE_PEER_RESET, "gone", MUX_RESET_NOW, now);
    mux_stream_reset(streams[2], MUX_CODE_PEER_RESET, "gone", MUX_RESET_AFTER_DATA, now);
    mux_stream_reset(opened[3], MUX_CODE_PEER_RESET, "gone", MUX_RESET_AFTER_DATA, now);
    exchange();
    live(60 * SECOND); /* one stream still holds bytes */
    assert_int_equal(mux_session_stream_count(client.session), 1);
    detach();
    assert_int_equal(link_up(), 0);
    exchange();
    live(60 * SECOND);
    mux_stream_reset(streams[4], MUX_CODE_PEER_RESET, "gone", MUX_RESET_NOW, now);
    live(60 * SECOND);
    assert_int_equal(mux_session_stream_count(server.session), 0);
}

static void a_ping_of_an_idle_link_counts_from_now(void **state)
{
    (void)state;
    live(30 * MS);
    now += 15 * SECOND;
    mux_link_ping(client.link, now);
    assert_true(due(&client) >= now + 10 * SECOND);
    assert_int_equal(tick(&client), 0);
    live(60 * SECOND);
}

static void an_end_that_was_asleep_asks_first(void **state)
{
    (void)state;
    struct mux_stream *stream = open_stream();

    server.lazy = true;
    mux_stream_write(stream, "abc", 3);
    exchange();
    now += 60 * SECOND; /* the machine slept: the peer was never asked anything */
    assert_int_equal(tick(&client), 0);
    assert_int_equal(tick(&server), 0);
    exchange();
    live(10 * SECOND);
}

static void a_reset_after_data_of_an_idle_session_delivers_it(void **state)
{
    (void)state;
    struct mux_stream *stream = open_stream();

    live(30 * MS);
    now += 15 * SECOND;
    mux_stream_write(stream, "abc", 3);
    mux_stream_reset(stream, MUX_CODE_PEER_RESET, "gone", MUX_RESET_AFTER_DATA, now);
    assert_int_equal(tick(&client), 0);
    exchange();
    assert_events(&server, "data:abc:1 reset1");
}

/* Each time that a stream has to wait, however often it is asked meanwhile. */
static void stalls_are_told_once(void **state)
{
    static uint8_t bytes[65536];

    (void)state;
    struct mux_stream *stream = open_stream();
    for (unsigned i = 1; i <= 2; i++) {
        mux_stream_write(stream, bytes, mux_stream_want_write(stream));
        for (int asked = 0; asked < 3; asked++)
            assert_int_equal(mux_stream_want_write(stream), 0);
        assert_int_equal(client.stalls[MUX_STALL_CREDIT], i);
        exchange();
        assert_int_equal(client.writable_calls, i);
    }
    assert_int_equal(client.stalls[MUX_STALL_MEMORY], 0);
}

/* Told once, whoever has ended the last stream, and not for one that still delivers. */
static void idle_comes_with_the_last_stream(void **state)
{
    (void)state;
    struct mux_stream *first = open_stream();
    struct mux_stream *second = open_stream();

    mux_stream_reset(first, MUX_CODE_PEER_RESET, "gone", MUX_RESET_NOW, now);
    exchange();
    assert_int_equal(client.idle_calls + server.idle_calls, 0);
    server.lazy = true;
    mux_stream_write(second, "abc", 3);
    mux_stream_reset(second, MUX_CODE_PEER_RESET, "gone", MUX_RESET_AFTER_DATA, now);
    exchange();
    assert_int_equal(client.idle_calls + server.idle_calls, 0);
    mux_stream_consume(server.opened, 3, now);
    assert_int_equal(server.idle_calls, 1);
    exchange();
    assert_int_equal(client.idle_calls, 1);
    mux_stream_reset(open_stream(), MUX_CODE_PEER_RESET, "gone", MUX_RESET_NOW, now);
    assert_int_equal(client.idle_calls, 2);
}

/* What nobody wants to hear of happens all the same. */
static void callbacks_may_be_left_out(void **state)
{
    static const struct mux_session_callbacks opens = {.open = on_open};
    static uint8_t bytes[100000];

    (void)state;
    server.session->callbacks = client.session->callbacks = &opens;
    struct mux_stream *stream = open_stream();
    mux_stream_set_callbacks(stream, NULL, NULL);
    mux_stream_set_callbacks(server.opened, NULL, NULL);
    for (size_t left = sizeof bytes; left > 0; exchange()) {
        size_t size = mux_stream_want_write(stream);
        assert_true(size > 0);
        mux_stream_write(stream, bytes, size < left ? size : left);
        left -= size < left ? size : left;
    }
    assert_int_equal(mux_stream_acknowledged(stream), sizeof bytes);
    mux_stream_write(server.opened, bytes, mux_stream_want_write(server.opened));
    assert_int_equal(mux_stream_want_write(server.opened), 0);
    exchange();
    assert_true(mux_stream_want_write(server.opened) > 0);
    mux_stream_finish(stream);
    mux_stream_finish(server.opened);
    exchange();
    assert_int_equal(mux_session_stream_count(client.session), 0);
    mux_session_send_message(client.session, MUX_EXPOSED, bytes, 9);
    mux_session_goaway(client.session, MUX_CODE_GOING_AWAY, "stop");
    mux_link_ping(client.link, now);
    stream = open_stream();
    mux_stream_set_callbacks(stream, NULL, NULL);
    mux_stream_reset(server.opened, MUX_CODE_PEER_RESET, "gone", MUX_RESET_NOW, now);
    exchange();
    assert_int_equal(mux_session_stream_count(client.session), 0);
    assert_string_equal(client.events, "");
    assert_string_equal(server.events, "");
}

static void who_takes_no_streams_refuses_them(void **state)
{
    static const struct mux_session_callbacks nothing;
    const struct mux_target target = {MUX_TARGET_CLUSTER, {"kafka", 5}, -1};

    (void)state;
    server.session->callbacks = &nothing;
    mux_stream_open(client.session, &target, (struct mux_text){"", 0}, &stream_callbacks, &client);
    exchange();
    assert_events(&client, "reset1");
    assert_int_equal(client.code, MUX_CODE_UNKNOWN_TARGET);
    assert_int_equal(mux_session_stream_count(server.session), 0);
}

static void a_lost_session_resets_its_streams(void **state)
{
    (void)state;
    open_stream();
    open_stream();
    mux_session_reset_streams(client.session, MUX_CODE_SESSION_LOST, "lost");
    assert_int_equal(strlen(client.events), strlen("reset1 reset2"));
    assert_int_equal(client.code, MUX_CODE_SESSION_LOST);
    assert_int_equal(mux_session_stream_count(client.session), 0);
}

/* Beside the queue: it takes room from what may be written, up to the end of the stream. */
static void what_an_owner_holds_counts(void **state)
{
    (void)state;
    struct mux_stream *stream = open_stream();
    const uint64_t total = client.budget.send.total;
    const uint64_t queued = 2 * MUX_STREAM_FLOOR;
    char bytes[2 * MUX_STREAM_FLOOR] = {0};

    server.lazy = true;
    mux_stream_write(stream, bytes, sizeof bytes);
    assert_true(mux_stream_hold(stream, total - queued));
    assert_int_equal(client.budget.send.used, total);
    assert_int_equal(mux_stream_charged(stream, MEMORY_SEND), total);
    assert_int_equal(mux_stream_want_write(stream), 0);
    assert_false(mux_stream_hold(stream, total));
    assert_int_equal(client.budget.send.used, total);
    assert_true(mux_stream_hold(stream, 1000));
    assert_int_equal(client.budget.send.used, queued + 1000);
    exchange();
    mux_stream_consume(server.opened, sizeof bytes, now);
    now += CREDIT_DELAY;
    exchange();
    assert_int_equal(client.budget.send.used, MUX_STREAM_FLOOR + 1000);
    /* An owner that has gone holds nothing, though its bytes stay for a while. */
    mux_stream_write(stream, bytes, sizeof bytes);
    mux_stream_reset(stream, MUX_CODE_PEER_RESET, "gone", MUX_RESET_AFTER_DATA, now);
    assert_true(client.budget.send.used < queued + 1000);
}

static void too_many_streams_are_refused(void **state)
{
    (void)state;
    memory_budget_init(&server.budget, 2 * (MUX_STREAM_FLOOR + 1));
    open_stream();
    struct mux_target target = {MUX_TARGET_CLUSTER, {"kafka", 5}, -1};
    mux_stream_open(client.session, &target, (struct mux_text){"", 0}, &stream_callbacks, &client);
    exchange();
    assert_events(&client, "reset2");
    assert_int_equal(client.code, MUX_CODE_LIMIT);
}

static int link_up_as(uint16_t offered, uint8_t code)
{
    struct byte_writer w;
    struct mux_reject reject = {.code = code, .reason = {"no", 2}};
    struct mux_hello hello = {.version_min = offered, .version_max = offered, .attempt = 99};

    if (accept_link(&hello) == 0)
        return 0;
    client.link = mux_link_attach(client.session, NO_OUTPUT, now);
    mux_link_pull(client.link, wire, MUX_PULL_MIN, now);
    byte_writer_init(&w, wire, sizeof wire);
    mux_reject_encode(&w, &reject);
    return mux_link_receive(client.link, wire, byte_writer_size(&w), now);
}

static void another_version_is_rejected(void **state)
{
    (void)state;
    detach();
    assert_int_equal(link_up_as(MUX_VERSION_MAX + 1, MUX_CODE_VERSION), MUX_ERROR_REJECTED);
    assert_int_equal(mux_link_rejection(client.link)->code, MUX_CODE_VERSION);
    assert_string_equal(mux_link_reason(client.link), "the server rejected the session");
}

/* ---- what a broken peer sends */

/* After an error as well: each is a session of its own. */
static int receive_by_hand(struct side *to, size_t size)
{
    to->session->broken = false;
    return mux_link_receive(to->link, wire, size, now);
}

static int send_frame(struct side *to, uint8_t type, uint32_t stream, const uint64_t *values,
                      size_t count, size_t bytes)
{
    struct byte_writer w;
    uint8_t header[MUX_FRAME_HEADER];
    static const uint8_t zeros[MUX_FRAME_PAYLOAD_MAX];
    struct mux_frame frame = {type, (uint16_t)(8 * count + bytes), stream};

    /* Version 2 says more with each. */
    bool numbered = version > 1 && count > 0 &&
                    ((type == MUX_WINDOW && count == 2) || type == MUX_SHRINK || type == MUX_LIMIT);
    if (numbered)
        frame.size = (uint16_t)(frame.size + (type == MUX_WINDOW ? 12 : 4));
    byte_writer_init(&w, wire, sizeof wire);
    mux_frame_encode_header(header, &frame);
    byte_writer_bytes(&w, header, sizeof header);
    if (numbered && type == MUX_WINDOW)
        byte_writer_u64(&w, values[0]);
    for (size_t i = 0; i < count; i++)
        byte_writer_u64(&w, values[i]);
    if (numbered)
        byte_writer_u32(&w, type == MUX_WINDOW ? 0 : 1);
    byte_writer_bytes(&w, zeros, bytes);
    return receive_by_hand(to, byte_writer_size(&w));
}

#define SEND(to, type, stream, bytes, ...)                                                         \
    send_frame(to, type, stream, (const uint64_t[]){__VA_ARGS__},                                  \
               sizeof((const uint64_t[]){__VA_ARGS__}) / 8, bytes)

/* The next message of the control stream, by hand. */
static int send_message(struct side *to, uint64_t offset, struct mux_message message)
{
    struct byte_writer w;
    uint8_t bytes[MUX_MESSAGE_ENCODED_MAX];

    byte_writer_init(&w, bytes, sizeof bytes);
    mux_message_encode(&w, &message);
    size_t size = byte_writer_size(&w);
    byte_writer_init(&w, wire, sizeof wire);
    mux_frame_write_data_header(&w, 0, offset, size);
    byte_writer_bytes(&w, bytes, size);
    return receive_by_hand(to, byte_writer_size(&w));
}

/* Bytes of it that come before their turn are charged for, and end the session when there is no
 * memory for them. */
static void the_control_stream_out_of_order_is_charged(void **state)
{
    (void)state;
    if (version == 1)
        return; /* it is an error */
    open_stream();
    const uint64_t at = server.session->control.window.received;
    uint64_t charged = server.budget.receive.used;
    assert_int_equal(SEND(&server, MUX_DATA, 0, 1, at + 1), 0);
    assert_int_equal(SEND(&server, MUX_DATA, 0, 16000, at + 3), 0);
    assert_true(server.budget.receive.used >= charged + 16000);
    server.budget.receive.total = server.budget.receive.used + 8 * CHUNK_SMALL_SIZE;
    unsigned pieces = 1;
    while (SEND(&server, MUX_DATA, 0, 1, at + 16002 + 2 * pieces) == 0)
        pieces++;
    assert_true(pieces > 1 && pieces < 16);
    assert_true(mux_session_is_broken(server.session));
}

static void offsets_and_credit_are_enforced(void **state)
{
    (void)state;
    open_stream();
    /* Twice, or before its turn, it may come over another link. */
    int out_of_order = version == 1 ? MUX_ERROR_PROTOCOL : 0;
    assert_int_equal(SEND(&server, MUX_DATA, 1, 10, 0), 0);
    assert_int_equal(SEND(&server, MUX_DATA, 1, 10, 0), out_of_order);
    assert_int_equal(SEND(&server, MUX_DATA, 1, 10, 11), out_of_order);
    assert_int_equal(SEND(&server, MUX_DATA, 2, 10, 0), MUX_ERROR_PROTOCOL);
    server.lazy = true;
    for (uint64_t at = 10; at + 16376 < 65536; at += 16376)
        assert_int_equal(SEND(&server, MUX_DATA, 1, 16376, at), 0);
    uint64_t at = server.opened->window.received;
    assert_int_equal(SEND(&server, MUX_DATA, 1, (size_t)(65536 - at + 1), at), MUX_ERROR_PROTOCOL);
    assert_int_equal(SEND(&server, MUX_DATA, 1, (size_t)(65536 - at), at), 0);
    assert_int_equal(SEND(&server, MUX_DATA, 1, 1, 65536), MUX_ERROR_PROTOCOL);
}

static void nothing_comes_after_a_finish(void **state)
{
    (void)state;
    struct mux_stream *stream = open_stream();

    mux_stream_write(stream, "abc", 3);
    mux_stream_finish(stream);
    exchange();
    assert_int_equal(SEND(&server, MUX_DATA, 1, 1, 3), MUX_ERROR_PROTOCOL);
}

static void impossible_messages_end_the_link(void **state)
{
    (void)state;
    struct mux_message finish = {.type = MUX_FINISH, .stream = 1};
    uint64_t at = 0;

    open_stream();
    uint8_t bytes[MUX_MESSAGE_ENCODED_MAX];
    struct byte_writer w;
    struct mux_message open = {.type = MUX_OPEN, .stream = 1};
    open.u.open.target = (struct mux_target){MUX_TARGET_CLUSTER, {"kafka", 5}, -1};
    open.u.open.peer = (struct mux_text){"me", 2};
    byte_writer_init(&w, bytes, sizeof bytes);
    mux_message_encode(&w, &open);
    at = byte_writer_size(&w); /* the control stream stands here */
    assert_int_equal(send_message(&server, at, open), MUX_ERROR_PROTOCOL);
    at *= 2;
    finish.u.finish.final = 70000; /* beyond the credit */
    assert_int_equal(send_message(&server, at, finish), MUX_ERROR_PROTOCOL);
    at += 16;
    assert_int_equal(send_message(&server, at, (struct mux_message){.type = MUX_DONE, .stream = 1}),
                     MUX_ERROR_PROTOCOL);
    at += 8;
    assert_int_equal(
        send_message(&server, at, (struct mux_message){.type = MUX_OPENED, .stream = 1}),
        MUX_ERROR_PROTOCOL);
    at += 8;
    finish.stream = 9;
    assert_int_equal(send_message(&server, at, finish), MUX_ERROR_PROTOCOL);
}

static void impossible_frames_end_the_link(void **state)
{
    (void)state;
    open_stream();
    assert_int_equal(SEND(&server, MUX_WINDOW, 1, 0, 1, 70000), MUX_ERROR_PROTOCOL);
    assert_int_equal(SEND(&server, MUX_WINDOW, 2, 0, 0, 1), MUX_ERROR_PROTOCOL);
    assert_int_equal(SEND(&server, MUX_LIMIT, 1, 0, 65536), MUX_ERROR_PROTOCOL);
    assert_int_equal(SEND(&server, MUX_POSITION, 0, 0, 0, 0, 0), MUX_ERROR_PROTOCOL);
    assert_int_equal(SEND(&server, MUX_SHRINK, 5, 0, 0), MUX_ERROR_PROTOCOL);
    assert_int_equal(SEND(&server, MUX_WELCOME, 0, 0, 0, 0), MUX_ERROR_PROTOCOL);
    assert_int_equal(SEND(&server, MUX_HELLO, 0, 0, 0, 0), MUX_ERROR_PROTOCOL);
    assert_int_equal(SEND(&server, 77, 0, 0, 0, 0), MUX_ERROR_PROTOCOL);
    assert_int_equal(SEND(&server, 0x80 + 77, 0, 100, 0, 0), 0);
    assert_int_equal(SEND(&server, MUX_PONG, 0, 0, 12345), 0);
    assert_int_equal(SEND(&client, MUX_HELLO, 0, 0, 0, 0), MUX_ERROR_PROTOCOL);
}

static void positions_come_first_after_a_resume(void **state)
{
    (void)state;
    open_stream();
    detach();
    client.link = mux_link_attach(client.session, NO_OUTPUT, now);
    mux_link_pull(client.link, wire, MUX_PULL_MIN, now);
    struct mux_hello hello = {.version_min = 1,
                              .version_max = version,
                              .resume = true,
                              .attempt = 2,
                              .initial_window = 65536};
    assert_int_equal(accept_link(&hello), 0);
    assert_int_equal(SEND(&server, MUX_DATA, 1, 1, 0), MUX_ERROR_PROTOCOL);
    assert_int_equal(SEND(&server, MUX_WINDOW, 1, 0, 0, 70000), MUX_ERROR_PROTOCOL);
    assert_int_equal(SEND(&server, MUX_POSITION, 1, 0, 5, 5, 70000), MUX_ERROR_PROTOCOL);
    assert_int_equal(SEND(&server, MUX_POSITION, 1, 0, 0, 0, 65536), 0);
    assert_false(mux_session_established(server.session));
}

/* Frames that may be ignored, one a second. */
static int trickle(struct side *to)
{
    int error = 0;

    for (int second = 0; second < 60 && !error; second++) {
        now += SECOND;
        assert_int_equal(SEND(to, 0x80 + 77, 0, 0, 0), 0);
        error = tick(to);
    }
    return error;
}

static void a_greeting_has_a_deadline_that_nothing_moves(void **state)
{
    (void)state;
    open_stream();
    detach();
    client.link = mux_link_attach(client.session, NO_OUTPUT, now);
    uint64_t begin = now;
    assert_int_equal(trickle(&client), MUX_ERROR_DEAD);
    assert_true(now == begin + 10 * SECOND);
    assert_string_equal(mux_link_reason(client.link), "the server did not answer HELLO in time");
    detach();

    assert_int_equal(link_up(), 0); /* HELLO was answered, and all positions have come but ... */
    now += 9 * SECOND;
    size_t size = mux_link_pull(server.link, wire, MUX_PULL_MIN, now);
    assert_int_equal(
        mux_link_receive(client.link, wire, MUX_FRAME_HEADER + byte_load_u16(wire + 2), now), 0);
    assert_true(size > 0);
    begin = now;
    assert_int_equal(trickle(&client), MUX_ERROR_DEAD);
    assert_true(now == begin + 10 * SECOND);
    detach();

    struct mux_hello hello = {.version_min = 1,
                              .version_max = version,
                              .resume = true,
                              .attempt = 9,
                              .initial_window = 65536};
    assert_int_equal(accept_link(&hello), 0);
    begin = now;
    assert_int_equal(trickle(&server), MUX_ERROR_DEAD);
    assert_true(now == begin + 10 * SECOND);
    assert_false(mux_session_is_broken(server.session)); /* late is not wrong */
}

static void a_session_that_broke_the_protocol_is_not_resumed(void **state)
{
    (void)state;
    open_stream();
    assert_false(mux_session_is_broken(server.session));
    assert_int_equal(SEND(&server, 77, 0, 0, 0, 0), MUX_ERROR_PROTOCOL);
    assert_true(mux_session_is_broken(server.session));
    detach();
    assert_int_equal(link_up(), MUX_ERROR_PROTOCOL);
    assert_string_equal(mux_session_reason(server.session), "a frame has an unknown type");
}

/* The message that opens the stream, by hand. */
static int send_open(struct side *to, uint32_t stream)
{
    struct mux_message open = {.type = MUX_OPEN, .stream = stream};

    open.u.open.target = (struct mux_target){MUX_TARGET_CLUSTER, {"kafka", 5}, -1};
    return send_message(to, to->session->control.window.received, open);
}

static void ids_grow_and_end(void **state)
{
    (void)state;
    assert_int_equal(send_open(&server, 7), 0);
    assert_int_equal(send_open(&server, UINT32_MAX), 0);
    assert_events(&server, "open7 open4294967295");
    assert_int_equal(mux_session_stream_count(server.session), 2);
    assert_int_equal(SEND(&server, MUX_DATA, UINT32_MAX, 3, 0), 0);
    assert_int_equal(strncmp(server.events, "data:", 5), 0);
    assert_int_equal(SEND(&server, MUX_WINDOW, 8, 0, 0, 70000), 0); /* may have been and gone */
    assert_int_equal(send_open(&server, UINT32_MAX), MUX_ERROR_PROTOCOL);
    assert_int_equal(mux_session_stream_count(server.session), 2);
    mux_session_reset_streams(server.session, MUX_CODE_SESSION_LOST, "lost");
    assert_int_equal(mux_session_stream_count(server.session), 0);
}

static void no_open_is_right_after_the_last_id(void **state)
{
    static const uint32_t wrong[] = {0, 1, 7, UINT32_MAX - 1, UINT32_MAX};

    (void)state;
    assert_int_equal(send_open(&server, UINT32_MAX), 0);
    for (size_t i = 0; i < sizeof wrong / sizeof wrong[0]; i++) {
        assert_int_equal(send_open(&server, wrong[i]), MUX_ERROR_PROTOCOL);
        assert_int_equal(mux_session_stream_count(server.session), 1);
    }
}

/* As after GOAWAY: what there is goes on, new streams need another session. */
static void a_client_leaves_a_session_without_ids(void **state)
{
    (void)state;
    const struct mux_target target = {MUX_TARGET_CLUSTER, {"kafka", 5}, -1};

    client.session->last_stream = server.session->last_stream = UINT32_MAX - 2;
    struct mux_stream *stream = open_stream();
    assert_int_equal(mux_stream_id(stream), UINT32_MAX - 1);
    mux_stream_open(client.session, &target, (struct mux_text){"me", 2}, &stream_callbacks,
                    &client);
    assert_events(&client, "");
    exchange();
    assert_events(&client, "goaway6:all stream numbers are used up");
    assert_events(&server, "open4294967295");
    assert_null(mux_stream_open(client.session, &target, (struct mux_text){"me", 2},
                                &stream_callbacks, &client));
    mux_stream_write(stream, "still", 5);
    exchange();
    assert_events(&server, "data:still:4294967294");
    assert_events(&client, "");
}

/* Copies the spans to wire. Returns how many bytes lie elsewhere than in buffer. */
static size_t flatten(const struct mux_gathered *gathered, const uint8_t *buffer, size_t size)
{
    size_t at = 0;
    size_t elsewhere = 0;

    for (size_t i = 0; i < gathered->count; i++) {
        const struct iovec *span = &gathered->spans[i];
        const uint8_t *base = span->iov_base;
        if (base < buffer || base >= buffer + 4 * MUX_PULL_MIN)
            elsewhere += span->iov_len;
        memcpy(wire + at, base, span->iov_len);
        at += span->iov_len;
    }
    assert_int_equal(at, size);
    return elsewhere;
}

/* Looks at the DATA in wire: it is what from has from offset on. Returns how much of it there is.
 */
static size_t expect_data(size_t size, const uint8_t *from, uint64_t offset)
{
    size_t found = 0;

    for (size_t at = 0; at < size;) {
        struct mux_frame frame;
        mux_frame_decode_header(wire + at, &frame);
        at += MUX_FRAME_HEADER;
        if (frame.type == MUX_DATA && frame.stream != MUX_CONTROL_STREAM) {
            assert_int_equal(byte_load_u64(wire + at), offset + found);
            assert_memory_equal(wire + at + 8, from + offset + found, frame.size - 8u);
            found += frame.size - 8u;
        }
        at += frame.size;
    }
    return found;
}

/* What is gathered is what would be pulled; long runs are not copied, and stay as they are, to be
 * sent again. In small pieces, in large ones, and both. */
static void what_is_gathered_is_what_is_sent(void **state)
{
    static const size_t pieces[][3] = {{50000, 10000, 1}, {300, 300, 300}, {100, 40000, 100}};
    static uint8_t bytes[61000];
    static uint8_t buffer[4 * MUX_PULL_MIN];
    struct mux_gathered gathered;

    (void)state;
    for (size_t i = 0; i < sizeof bytes; i++)
        bytes[i] = (uint8_t)(i * 7 + i / 251);
    for (size_t which = 0; which < 3; which++) {
        struct mux_stream *stream = open_stream();
        size_t written = 0;
        size_t elsewhere = 0;
        uint64_t sent = 0;
        size_t size;
        for (int i = 0; i < 3; written += pieces[which][i++])
            mux_stream_write(stream, bytes + written, pieces[which][i]);
        server.lazy = true;
        while ((size = mux_link_gather(client.link, buffer, MUX_PULL_MIN * (1 + sent % 3),
                                       &gathered, now)) > 0) {
            elsewhere += flatten(&gathered, buffer, size);
            sent += expect_data(size, bytes, sent);
        }
        assert_int_equal(gathered.count, 0);
        assert_int_equal(sent, written);
        assert_true(pieces[which][1] > 1000 ? elsewhere > written / 2 : elsewhere == 0);
        /* All of it is lost. */
        detach();
        assert_int_equal(link_up(), 0);
        assert_int_equal(carry(&server, &client), 0);
        for (sent = 0; (size = mux_link_pull(client.link, wire, MUX_PULL_MIN, now)) > 0;) {
            sent += expect_data(size, bytes, sent);
            assert_int_equal(mux_link_receive(server.link, wire, size, now), 0);
        }
        assert_int_equal(sent, written);
        mux_stream_reset(stream, MUX_CODE_PEER_RESET, "", MUX_RESET_NOW, now);
        server.lazy = false;
        exchange();
        client.events[0] = server.events[0] = '\0';
    }
}

/* Each in both versions of the protocol. */
#define IN_A_PAIR(test)                                                                            \
    {"1: " #test, test, pair, part, &versions[0]},                                                 \
    {                                                                                              \
        "2: " #test, test, pair, part, &versions[1]                                                \
    }
int main(void)
{
    static uint16_t versions[] = {1, 2};
    const struct CMUnitTest tests[] = {
        IN_A_PAIR(a_stream_lives_and_ends),
        IN_A_PAIR(what_is_gathered_is_what_is_sent),
        IN_A_PAIR(the_server_may_finish_first),
        IN_A_PAIR(a_finish_waits_for_data_and_over_for_consumption),
        IN_A_PAIR(a_refused_stream_is_reset),
        IN_A_PAIR(a_reset_now_overtakes_data),
        IN_A_PAIR(a_reset_after_data_waits_for_the_owner),
        IN_A_PAIR(a_reset_after_data_that_is_consumed_is_over),
        IN_A_PAIR(a_reset_after_a_finish_keeps_the_data),
        IN_A_PAIR(lingering_ends),
        IN_A_PAIR(credit_stops_the_writer_and_starts_it_again),
        IN_A_PAIR(small_consumption_is_told_late),
        IN_A_PAIR(starved_streams_are_fed),
        IN_A_PAIR(what_an_owner_holds_counts),
        IN_A_PAIR(small_messages_do_not_bring_a_window_each),
        IN_A_PAIR(messages_beside_bulk_are_seen),
        IN_A_PAIR(messages_bound_what_bulk_has_ahead),
        IN_A_PAIR(idle_windows_are_taken_back),
        IN_A_PAIR(messages_come_once_and_in_order),
        IN_A_PAIR(a_lost_link_loses_nothing),
        IN_A_PAIR(a_done_that_was_lost_comes_again),
        IN_A_PAIR(an_older_link_cannot_take_over),
        IN_A_PAIR(round_trips_are_measured),
        IN_A_PAIR(an_idle_link_is_probed_then_dead),
        IN_A_PAIR(a_link_that_takes_no_bytes_is_dead),
        IN_A_PAIR(progress_is_what_the_peer_has_acknowledged),
        IN_A_PAIR(answers_are_counted_by_ping),
        IN_A_PAIR(a_link_outlives_bytes_that_nobody_consumes),
        IN_A_PAIR(a_ping_of_an_idle_link_counts_from_now),
        IN_A_PAIR(an_end_that_was_asleep_asks_first),
        IN_A_PAIR(a_reset_after_data_of_an_idle_session_delivers_it),
        IN_A_PAIR(stalls_are_told_once),
        IN_A_PAIR(idle_comes_with_the_last_stream),
        IN_A_PAIR(callbacks_may_be_left_out),
        IN_A_PAIR(who_takes_no_streams_refuses_them),
        IN_A_PAIR(a_lost_session_resets_its_streams),
        IN_A_PAIR(too_many_streams_are_refused),
        IN_A_PAIR(another_version_is_rejected),
        IN_A_PAIR(the_control_stream_out_of_order_is_charged),
        IN_A_PAIR(offsets_and_credit_are_enforced),
        IN_A_PAIR(nothing_comes_after_a_finish),
        IN_A_PAIR(impossible_messages_end_the_link),
        IN_A_PAIR(impossible_frames_end_the_link),
        IN_A_PAIR(positions_come_first_after_a_resume),
        IN_A_PAIR(a_greeting_has_a_deadline_that_nothing_moves),
        IN_A_PAIR(a_session_that_broke_the_protocol_is_not_resumed),
        IN_A_PAIR(ids_grow_and_end),
        IN_A_PAIR(no_open_is_right_after_the_last_id),
        IN_A_PAIR(a_client_leaves_a_session_without_ids),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
