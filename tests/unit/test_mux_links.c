/* A session over several links, between two ends without a network: which link carries what, what
 * becomes of what a link had, and what a peer may not do. */
#include "../lib/cmocka.h"

#include <stdio.h>
#include <string.h>

#include "mux/link.h"
#include "mux/scheduler.h"
#include "mux/session.h"
#include "mux/session_core.h"

enum { MS = 1000, SECOND = 1000 * 1000, LINKS = 4, RTT = 50 * MS };

struct side {
    struct mux_session *session;
    struct mux_link *links[LINKS];
    struct mux_settings settings;
    struct chunk_pool pool;
    struct memory_budget budget;
    struct memory_share share;
    struct mux_stream *stream; /* the latest that was opened */
    uint64_t received;         /* of streams, together */
    uint64_t sum;              /* of content, by offset */
    unsigned streams;
    unsigned over;
    unsigned finished;
    unsigned joined;
    unsigned goaways;
    unsigned attended;
    unsigned wanted;
    bool lazy;
};

static struct side client, server;
static uint64_t now;
static uint8_t wire[256 * 1024];
static uint8_t content[4 * 1024 * 1024];

static void on_data(void *owner, struct mux_stream *stream, const uint8_t *bytes, size_t size)
{
    struct side *side = owner;

    if (side->streams == 1)
        assert_memory_equal(bytes, content + side->received, size);
    side->received += size;
    if (!side->lazy)
        mux_stream_consume(stream, size, now);
}

static void on_finished(void *owner, struct mux_stream *stream)
{
    (void)stream;
    ((struct side *)owner)->finished++;
}

static void on_over(void *owner, struct mux_stream *stream)
{
    (void)stream;
    ((struct side *)owner)->over++;
}

static const struct mux_stream_callbacks stream_callbacks = {
    .data = on_data, .finished = on_finished, .over = on_over};

static void on_open(void *context, struct mux_stream *stream, const struct mux_target *target,
                    struct mux_text peer)
{
    struct side *side = context;

    (void)target;
    (void)peer;
    side->stream = stream;
    side->streams++;
    mux_stream_set_callbacks(stream, &stream_callbacks, side);
    mux_stream_accept(stream);
}

static void on_joined(void *context, struct mux_link *link, const struct mux_welcome *welcome)
{
    assert_true(mux_link_is_up(link) && welcome->joined);
    ((struct side *)context)->joined++;
}

static void on_wanted(void *context, unsigned links)
{
    ((struct side *)context)->wanted = links;
}

static void on_goaway(void *context, enum mux_code code, struct mux_text reason)
{
    (void)code;
    (void)reason;
    ((struct side *)context)->goaways++;
}

static const struct mux_session_callbacks session_callbacks = {
    .open = on_open, .joined = on_joined, .links_wanted = on_wanted, .goaway = on_goaway};

static void on_attend(void *link)
{
    ((struct side *)link)->attended++;
}

static void set_up(struct side *side, enum mux_role role)
{
    struct mux_session_key key = {{(uint8_t)role}, {7}};

    memset(side, 0, sizeof *side);
    mux_settings_default(&side->settings);
    side->settings.role = role;
    side->settings.links_max = LINKS;
    side->settings.window.initial = side->settings.window.base = 1024 * 1024;
    side->settings.software = (struct mux_text){"test", 4};
    memory_budget_init(&side->budget, 64 * 1024 * 1024);
    memory_share_init(&side->share, &side->budget);
    chunk_pool_init(&side->pool);
    side->session =
        mux_session_new(&side->settings, &session_callbacks, side, &key, &side->pool, &side->share);
}

/* Bytes of a link that are on their way. */
struct flying {
    size_t size;
    uint8_t bytes[64 * 1024];
};

static size_t pull(struct side *side, unsigned at, struct flying *flying)
{
    flying->size = mux_link_pull(side->links[at], flying->bytes, sizeof flying->bytes, now);
    return flying->size;
}

static int land(struct side *side, unsigned at, const struct flying *flying)
{
    return mux_link_receive(side->links[at], flying->bytes, flying->size, now);
}

/* Carries all there is on a link, one way. */
static void carry(struct side *from, struct side *to, unsigned at)
{
    size_t size;

    while ((size = mux_link_pull(from->links[at], wire, MUX_PULL_MIN * 2, now)) > 0)
        if (mux_link_receive(to->links[at], wire, size, now) != 0)
            fail_msg("link %u: %s", at, mux_link_reason(to->links[at]));
}

static void exchange(void)
{
    for (int round = 0; round < 6; round++)
        for (unsigned at = 0; at < LINKS; at++)
            if (client.links[at] && server.links[at]) {
                carry(&client, &server, at);
                carry(&server, &client, at);
            }
}

static struct mux_link *accept_link(const struct mux_hello *hello)
{
    const struct mux_output output = {.attend = on_attend, .link = &server};

    return mux_link_accept(server.session, hello, 0, (struct mux_text){"", 0}, output, now);
}

/* What came with the latest HELLO. */
static struct flying first;
static size_t hello_size;

/* HELLO of a link is on its way. */
static struct mux_hello dial(unsigned at)
{
    const struct mux_output output = {.attend = on_attend, .link = &client};
    struct mux_hello hello;
    const char *reason = NULL;
    size_t consumed = 0;

    client.links[at] = mux_link_attach(client.session, output, now);
    pull(&client, at, &first);
    assert_int_equal(mux_hello_receive(first.bytes, first.size, &hello, &consumed, &reason), 0);
    hello_size = consumed;
    return hello;
}

static void add_link(unsigned at)
{
    struct mux_hello hello = dial(at);

    server.links[at] = accept_link(&hello);
    assert_non_null(server.links[at]);
    assert_int_equal(
        mux_link_receive(server.links[at], first.bytes + hello_size, first.size - hello_size, now),
        0);
    exchange();
    assert_true(mux_link_is_up(client.links[at]) && mux_link_is_up(server.links[at]));
}

static void drop(unsigned at)
{
    mux_link_detach(client.links[at]);
    mux_link_detach(server.links[at]);
    client.links[at] = server.links[at] = NULL;
}

static int connect_three(void **state)
{
    (void)state;
    now = SECOND;
    for (size_t i = 0; i < sizeof content; i++)
        content[i] = (uint8_t)(i * 31 + i / 251);
    set_up(&client, MUX_CLIENT);
    set_up(&server, MUX_SERVER);
    for (unsigned at = 0; at < 3; at++)
        add_link(at);
    assert_int_equal(client.joined, 2);
    assert_int_equal(mux_session_links_up(client.session), 3);
    return 0;
}

static int part(void **state)
{
    struct side *sides[] = {&client, &server};

    (void)state;
    for (int i = 0; i < 2; i++) {
        for (unsigned at = 0; at < LINKS; at++)
            mux_link_detach(sides[i]->links[at]);
        for (unsigned at = 0; at < MUX_LINKS_MAX; at++)
            assert_true(sides[i]->session->links[at] == NULL);
        mux_session_free(sides[i]->session);
        assert_true(sides[i]->budget.send.used == 0 && sides[i]->budget.receive.used == 0);
        chunk_pool_clear(&sides[i]->pool);
    }
    return 0;
}

static void open_stream(void)
{
    const struct mux_target target = {MUX_TARGET_TCP, {"x", 1}, -1};

    client.stream = mux_stream_open(client.session, &target, (struct mux_text){"me", 2},
                                    &stream_callbacks, &client);
    client.streams++;
    assert_non_null(client.stream);
    exchange();
    now += 20 * MS;
    assert_int_equal(mux_session_tick(server.session, now), 0);
    exchange();
    assert_true(mux_core_is_known(client.stream));
}

static unsigned lead_of(const struct side *side)
{
    for (unsigned at = 0; at < LINKS; at++)
        if (side->links[at] && mux_link_facts(side->links[at]).lead)
            return at;
    fail_msg("there is no lead");
    return LINKS;
}

/* A link that is not the lead. */
static unsigned other_than(unsigned a)
{
    return (a + 1) % 3;
}

static void bulk_goes_over_all_links_and_arrives_in_order(void **state)
{
    (void)state;
    static struct flying flying[3];

    open_stream();
    mux_stream_write(client.stream, content, 600 * 1024);
    mux_stream_finish(client.stream);
    for (unsigned at = 0; at < 3; at++)
        assert_true(pull(&client, at, &flying[at]) > 60 * 1024);
    /* They come in another order than they left in. */
    for (unsigned at = 3; at-- > 0;)
        assert_int_equal(land(&server, at, &flying[at]), 0);
    exchange();
    assert_int_equal(server.received, 600 * 1024);
    assert_int_equal(server.finished, 1);
    assert_int_equal(mux_session_held_out_of_order(server.session), 0);
}

/* All that a link has to say, at once: what is in between takes it. */
static size_t pull_all(struct side *side, unsigned at, struct flying flying[4])
{
    size_t size = 0;

    for (int i = 0; i < 4; i++)
        size += pull(side, at, &flying[i]);
    return size;
}

static void little_waits_where_tcp_ends_in_between(void **state)
{
    (void)state;
    static struct flying flying[3][4];
    const struct mux_path path = {.round_trip_us = MS};

    open_stream();
    for (unsigned at = 0; at < 3; at++) {
        client.links[at]->rtt_min_us = RTT;
        client.links[at]->pings = (struct mux_pings){MUX_GROWTH_PINGS, MUX_GROWTH_PINGS};
        mux_link_observe(client.links[at], &path, now);
    }
    mux_stream_write(client.stream, content, 600 * 1024);
    for (unsigned at = 0; at < 3; at++) {
        assert_in_range(pull_all(&client, at, flying[at]), 32 * 1024, 64 * 1024);
        assert_false(mux_link_wants_output(client.links[at]));
    }
    /* Bytes wait, and no link has room. */
    assert_true(client.session->growth.pressed_us != 0);
    /* The first link's come late, and all others after them: still each goes on when it is heard
     * that its own have arrived. */
    now += RTT;
    for (unsigned at = 3; at-- > 0;) {
        for (int i = 0; i < 4; i++)
            assert_int_equal(land(&server, at, &flying[at][i]), 0);
        carry(&server, &client, at);
        assert_true(mux_link_wants_output(client.links[at]));
    }
    for (int i = 0; i < 20; i++) {
        now += RTT;
        exchange();
    }
    assert_int_equal(server.received, 600 * 1024);
}

/* A stream's window covers the time that it takes to send something again on one of them. */
static void several_links_are_twice_as_far(void **state)
{
    (void)state;
    for (unsigned at = 0; at < 3; at++)
        client.links[at]->rtt_min_us = RTT + at * MS;
    assert_int_equal(mux_core_distance_us(client.session), 2 * (RTT + 2 * MS));
    client.links[2]->suspect = true;
    assert_int_equal(mux_core_distance_us(client.session), 2 * (RTT + MS));
    drop(1);
    drop(2);
    assert_int_equal(mux_core_distance_us(client.session), RTT);
}

/* Bulk waits although the lead, which messages use, has nothing to do. */
static void a_lead_that_is_kept_free_has_no_room(void **state)
{
    (void)state;
    static struct flying flying;
    struct mux_stream *bulk;
    unsigned lead;

    open_stream();
    bulk = client.stream;
    open_stream();
    lead = lead_of(&client);
    mux_stream_write(client.stream, content, 100);
    mux_stream_write(bulk, content, 600 * 1024);
    while (pull(&client, lead, &flying) > 0)
        ;
    for (unsigned at = 0; at < 3; at++)
        if (at != lead)
            assert_true(pull(&client, at, &flying) > 0);
    assert_true(client.session->growth.pressed_us != 0);
}

static void what_a_lost_link_had_goes_over_the_others(void **state)
{
    (void)state;
    static struct flying gone;
    unsigned victim;

    open_stream();
    victim = other_than(lead_of(&client));
    mux_stream_write(client.stream, content, 600 * 1024);
    assert_true(pull(&client, victim, &gone) > 60 * 1024);
    drop(victim);
    exchange();
    assert_int_equal(server.received, 600 * 1024);
    assert_int_equal(mux_session_links_up(client.session), 2);
}

static void a_lost_lead_takes_no_message_along(void **state)
{
    (void)state;
    static struct flying gone;
    unsigned lead;

    open_stream();
    lead = lead_of(&client);
    mux_stream_write(client.stream, content, 100);
    mux_stream_finish(client.stream);
    assert_true(pull(&client, lead, &gone) > 100);
    drop(lead);
    assert_int_not_equal(lead_of(&client), lead);
    exchange();
    assert_int_equal(server.received, 100);
    assert_int_equal(server.finished, 1);
}

static void a_stream_stays_on_the_lead_until_it_is_known(void **state)
{
    (void)state;
    const struct mux_target target = {MUX_TARGET_TCP, {"x", 1}, -1};
    static struct flying flying[3];
    unsigned lead = lead_of(&client);

    client.stream = mux_stream_open(client.session, &target, (struct mux_text){"me", 2},
                                    &stream_callbacks, &client);
    mux_stream_write(client.stream, content, 500 * 1024);
    for (unsigned at = 0; at < 3; at++) {
        pull(&client, at, &flying[at]);
        assert_true(at == lead ? flying[at].size > 60 * 1024 : flying[at].size < 100);
    }
    /* Not even when the lead changes: the new one says OPEN again first. */
    drop(lead);
    unsigned next = lead_of(&client);
    pull(&client, next, &flying[next]);
    assert_int_equal(land(&server, next, &flying[next]), 0);
    assert_int_equal(server.streams, 1);
    exchange();
    assert_int_equal(server.received, 500 * 1024);
}

/* The lead is kept free of bulk after something small: a stream that begins small and goes on large
 * must not wait for it. */
static void a_stream_that_grows_leaves_the_lead_to_others(void **state)
{
    (void)state;
    unsigned lead;

    open_stream();
    lead = lead_of(&client);
    mux_stream_write(client.stream, content, 2000);
    carry(&client, &server, lead);
    assert_int_equal(server.received, 2000);
    mux_stream_write(client.stream, content + 2000, 10 * 1024); /* still small: for the lead */
    mux_stream_write(client.stream, content + 12240, 50 * 1024);
    for (unsigned at = 0; at < 3; at++)
        carry(&client, &server, at);
    for (unsigned at = 0; at < 3; at++)
        if (at != lead)
            carry(&client, &server, at);
    assert_int_equal(server.received, 12240 + 50 * 1024);
}

/* What a message waits for beside bulk, when there are only two links. */
static void of_two_links_one_is_for_messages(void **state)
{
    (void)state;
    static struct flying flying;
    const struct mux_target target = {MUX_TARGET_TCP, {"x", 1}, -1};
    unsigned lead;

    drop(2);
    open_stream();
    struct mux_stream *bulk = client.stream;
    struct mux_stream *small = mux_stream_open(client.session, &target, (struct mux_text){"me", 2},
                                               &stream_callbacks, &client);
    lead = lead_of(&client);
    mux_stream_write(small, content, 100);
    exchange();
    mux_stream_write(bulk, content, 500 * 1024);
    assert_true(pull(&client, lead, &flying) < 300);
    assert_true(pull(&client, lead == 0 ? 1 : 0, &flying) > 60 * 1024);
    /* When no message has come for a while, bulk has both. */
    now += 2 * SECOND;
    client.links[lead]->output_pending = true;
    assert_true(pull(&client, lead, &flying) > 60 * 1024);
}

/* A stream with much to send is none for the lead because its last bytes have just been
 * acknowledged: the lead is not kept free for it. */
static void bulk_that_pauses_is_no_message(void **state)
{
    (void)state;
    static struct flying flying;

    open_stream();
    client.session->quick_us = 0;
    mux_stream_write(client.stream, content, 500 * 1024);
    exchange();
    mux_stream_write(client.stream, content + 500 * 1024, 1000);
    exchange();
    assert_true(client.session->quick_us == 0);
    mux_stream_write(client.stream, content + 501000 + 11000, 400 * 1024);
    assert_true(pull(&client, lead_of(&client), &flying) > 60 * 1024);
}

/* Not even one that the peer may not know yet, which no other link can carry. */
static void a_new_stream_that_grows_stays_on_the_lead(void **state)
{
    (void)state;
    const struct mux_target target = {MUX_TARGET_TCP, {"x", 1}, -1};
    unsigned lead = lead_of(&client);

    client.stream = mux_stream_open(client.session, &target, (struct mux_text){"me", 2},
                                    &stream_callbacks, &client);
    mux_stream_write(client.stream, content, 2000);
    carry(&client, &server, lead);
    mux_stream_write(client.stream, content + 2000, 60 * 1024);
    carry(&client, &server, lead);
    assert_int_equal(server.received, 2000 + 60 * 1024);
}

/* Two links of three stop answering; what they have is sent a second time. */
static void a_silent_link_is_suspect_and_what_it_has_goes_again(void **state)
{
    (void)state;
    static struct flying lost;
    unsigned lead;

    open_stream();
    for (unsigned at = 0; at < 3; at++) {
        client.links[at]->rtt_smooth_us = RTT;
        client.links[at]->next_ping_us = now;
    }
    lead = lead_of(&client);
    mux_stream_write(client.stream, content, 100);
    pull(&client, lead, &lost); /* with a ping, for the link is used */
    assert_true(client.links[lead]->ping_us == now);
    uint64_t due = mux_link_deadline(client.links[lead]);
    assert_true(due <= now + RTT + 40 * MS);
    while (now < due) {
        now = mux_link_deadline(client.links[lead]);
        assert_int_equal(mux_link_tick(client.links[lead], now), 0);
    }
    assert_true(mux_link_facts(client.links[lead]).suspect);
    unsigned next = lead_of(&client);
    assert_int_not_equal(next, lead);
    for (unsigned at = 0; at < 3; at++)
        if (at != lead)
            carry(&client, &server, at);
    assert_int_equal(server.received, 100);
    /* The server was told, and does not use the link either. */
    assert_true(mux_link_facts(server.links[lead]).suspect);
    assert_int_not_equal(lead_of(&server), lead);
    /* When it comes after all it does no harm, and the link is trusted again. */
    assert_int_equal(land(&server, lead, &lost), 0);
    assert_int_equal(server.received, 100);
    exchange();
    assert_false(mux_link_facts(client.links[lead]).suspect);
    assert_false(mux_link_facts(server.links[lead]).suspect);
}

/* All links have been pinged just now, and have answered within a round trip of RTT. */
static void ping_all(void)
{
    for (unsigned at = 0; at < 3; at++) {
        client.links[at]->rtt_smooth_us = RTT;
        client.links[at]->next_ping_us = now + RTT;
        client.links[at]->used = false;
    }
}

/* Until the client's link is suspect; returns for how long. takes: bytes that the link is given
 * leave, and are lost. */
static uint64_t wait_for_suspicion(unsigned at, bool takes)
{
    static struct flying lost;
    const uint64_t began = now;

    while (!mux_link_facts(client.links[at]).suspect && now < began + 20 * SECOND) {
        now = mux_link_deadline(client.links[at]);
        assert_int_equal(mux_link_tick(client.links[at], now), 0);
        while (takes && pull(&client, at, &lost) > 0)
            ;
    }
    return now - began;
}

/* The last bytes for a while are lost with their link, right after it has answered a ping. */
static void a_link_is_pinged_after_the_last_bytes(void **state)
{
    (void)state;
    static struct flying lost;
    unsigned lead;

    open_stream();
    ping_all();
    lead = lead_of(&client);
    mux_stream_write(client.stream, content, 100);
    assert_true(pull(&client, lead, &lost) > 100);
    assert_int_equal(pull(&client, lead, &lost), 0);
    assert_int_equal(client.links[lead]->ping_us, 0);
    assert_in_range(wait_for_suspicion(lead, true), RTT, 2 * RTT + 40 * MS);
    for (unsigned at = 0; at < 3; at++)
        if (at != lead)
            carry(&client, &server, at);
    assert_int_equal(server.received, 100);
}

/* No PING can say so: it waits behind what the link does not take. */
static void a_link_that_takes_nothing_is_suspect(void **state)
{
    (void)state;
    static struct flying lost;
    unsigned victim;

    open_stream();
    ping_all();
    victim = other_than(lead_of(&client));
    mux_stream_write(client.stream, content, 600 * 1024);
    assert_true(pull(&client, victim, &lost) > 60 * 1024);
    assert_int_equal(client.links[victim]->ping_us, 0);
    assert_in_range(wait_for_suspicion(victim, false), RTT, 2 * RTT + 40 * MS);
    now += SECOND;
    assert_int_equal(mux_session_tick(client.session, now), 0);
    for (int round = 0; round < 4; round++)
        for (unsigned at = 0; at < 3; at++)
            if (at != victim)
                carry(&client, &server, at);
    assert_int_equal(server.received, 600 * 1024);
}

/* Lets the time pass for all links; none may end. What a link that does not
 * answer has to send stays with it. */
static void pass(uint64_t until_us, const bool answers[3])
{
    while (now < until_us) {
        uint64_t next = now + 100 * MS < until_us ? now + 100 * MS : until_us;
        for (unsigned at = 0; at < 3; at++) {
            uint64_t due = mux_link_deadline(client.links[at]);
            if (due < next)
                next = due;
        }
        now = next > now ? next : now + 1;
        for (unsigned at = 0; at < 3; at++)
            assert_int_equal(mux_link_tick(client.links[at], now), 0);
        for (unsigned at = 0; at < 3; at++) {
            if (!answers[at])
                continue;
            mux_link_ping(client.links[at], now);
            carry(&client, &server, at);
            carry(&server, &client, at);
        }
    }
}

static void exchange_but(unsigned silent)
{
    for (unsigned at = 0; at < 3; at++)
        if (at != silent) {
            carry(&client, &server, at);
            carry(&server, &client, at);
        }
}

/* Another one can take its place, before it is dead. */
static void a_link_that_others_stand_in_for_is_given_up(void **state)
{
    (void)state;
    bool answers[3] = {true, true, true};
    unsigned silent;

    open_stream();
    ping_all();
    silent = other_than(lead_of(&client));
    answers[silent] = false;
    mux_link_ping(client.links[silent], now);
    const uint64_t began = now;
    while (!mux_link_facts(client.links[silent]).suspect && now < began + SECOND)
        pass(now + 10 * MS, answers);
    assert_true(mux_link_facts(client.links[silent]).suspect);
    pass(now + 3 * SECOND - 20 * MS, answers);
    now += 20 * MS;
    mux_link_ping(client.links[lead_of(&client)], now);
    exchange_but(silent);
    assert_true(mux_link_deadline(client.links[silent]) <= now);
    assert_int_equal(mux_link_tick(client.links[silent], now), MUX_ERROR_DEAD);
    assert_string_equal(mux_link_reason(client.links[silent]),
                        "this link does not answer, and others do");
}

/* The whole path was gone for long: the link that comes back first gives the others time. */
static void links_of_a_path_that_was_gone_are_given_time(void **state)
{
    (void)state;
    bool answers[3] = {false, false, false};
    unsigned lead, first_suspect, last;

    open_stream();
    ping_all();
    lead = lead_of(&client);
    first_suspect = other_than(lead);
    last = 3 - lead - first_suspect;
    mux_link_ping(client.links[first_suspect], now);
    mux_link_ping(client.links[last], now);
    mux_link_ping(client.links[lead], now);
    pass(now + 5 * SECOND, answers);
    assert_true(mux_link_facts(client.links[first_suspect]).suspect);
    answers[lead] = true;
    mux_link_ping(client.links[lead], now);
    pass(now + 2 * SECOND, answers);
    assert_false(mux_link_facts(client.links[lead]).suspect);
    answers[first_suspect] = answers[last] = true;
    pass(now + 4 * SECOND, answers);
    for (unsigned at = 0; at < 3; at++)
        assert_false(mux_link_facts(client.links[at]).suspect);
}

/* So does the one that was to make up for it. */
static void a_second_link_may_be_silent_too(void **state)
{
    (void)state;
    static struct flying lost;
    unsigned lead;
    unsigned second;

    open_stream();
    lead = lead_of(&client);
    mux_stream_write(client.stream, content, 100);
    assert_true(pull(&client, lead, &lost) > 100);
    mux_schedule_suspect(client.links[lead], false);
    second = lead_of(&client);
    assert_true(pull(&client, second, &lost) > 100);
    mux_schedule_suspect(client.links[second], false);
    for (const uint64_t end = now + 600 * MS; now < end; now += 50 * MS) {
        assert_int_equal(mux_session_tick(client.session, now), 0);
        for (unsigned at = 0; at < 3; at++)
            if (at != lead && at != second)
                carry(&client, &server, at);
    }
    assert_int_equal(server.received, 100);
}

/* All streams are looked at for it: not as often as a peer likes. */
static void suspicions_in_a_row_cost_one_look(void **state)
{
    (void)state;
    static struct flying lost;

    open_stream();
    mux_stream_write(client.stream, content, 100);
    assert_true(pull(&client, lead_of(&client), &lost) > 100);
    mux_schedule_suspect(client.links[lead_of(&client)], true);
    const uint64_t looked = client.session->rescued_us;
    assert_int_equal(looked, now);
    now += MS;
    client.session->now_us = now;
    mux_schedule_suspect(client.links[lead_of(&client)], true);
    assert_int_equal(client.session->rescued_us, looked);
    assert_int_equal(mux_session_deadline(client.session), looked + 2 * MS);
    now += MS;
    assert_int_equal(mux_session_tick(client.session, now), 0);
    assert_int_equal(client.session->rescued_us, now);
    exchange();
    assert_int_equal(server.received, 100);
}

static void small_messages_go_twice_where_segments_get_lost(void **state)
{
    (void)state;
    static struct flying flying[3];
    const struct mux_path path = {.retransmitted = 1};
    unsigned twice = 0;

    open_stream();
    mux_link_observe(client.links[0], &path, now);
    mux_stream_write(client.stream, content, 1000);
    pull(&client, lead_of(&client), &flying[0]);
    for (unsigned at = 0; at < 3; at++)
        if (at != lead_of(&client))
            twice += pull(&client, at, &flying[at]) > 1000 ? at + 1 : 0;
    assert_true(twice > 0 && twice <= 3);
    drop(lead_of(&client));
    assert_int_equal(land(&server, twice - 1, &flying[twice - 1]), 0);
    assert_int_equal(server.received, 1000);
}

/* A WINDOW that was lost is said again; without it the client would wait for ever. */
static void a_window_that_was_lost_is_said_again(void **state)
{
    (void)state;
    static struct flying gone;
    unsigned lead;

    open_stream();
    lead = lead_of(&server);
    mux_stream_write(client.stream, content, 1024 * 1024);
    for (int round = 0; round < 40; round++)
        for (unsigned at = 0; at < 3; at++)
            carry(&client, &server, at);
    assert_int_equal(mux_stream_want_write(client.stream), 0);
    assert_true(pull(&server, lead, &gone) > 0);
    drop(lead);
    exchange();
    assert_true(mux_stream_want_write(client.stream) > 512 * 1024);
}

static void a_window_from_before_a_shrink_gives_nothing_back(void **state)
{
    (void)state;
    static struct flying old;
    unsigned lead = lead_of(&server);

    open_stream();
    mux_stream_write(client.stream, content, 300 * 1024);
    for (unsigned at = 0; at < 3; at++)
        carry(&client, &server, at);
    assert_true(pull(&server, lead, &old) > 0); /* on its way for long */
    /* So long that the stream is idle, and the link suspect. */
    now += 20 * SECOND;
    server.session->settings.window.initial = 64 * 1024;
    server.session->sweep_us = now;
    assert_int_equal(mux_session_tick(server.session, now), 0);
    mux_schedule_suspect(server.links[lead], false);
    carry(&server, &client, lead_of(&server));
    assert_int_equal(client.stream->answers, 1);
    uint64_t limit = client.stream->send_limit;
    assert_true(limit < 1024 * 1024);
    assert_int_equal(land(&client, lead, &old), 0);
    assert_int_equal(client.stream->send_limit, limit);
    /* Credit that is given after the answer counts. */
    exchange();
    mux_stream_write(client.stream, content + 300 * 1024, mux_stream_want_write(client.stream));
    exchange();
    assert_true(client.stream->send_limit > limit);
}

static void a_link_that_the_peer_has_given_up_ends(void **state)
{
    (void)state;
    unsigned victim = other_than(lead_of(&server));

    mux_link_detach(server.links[victim]);
    server.links[victim] = NULL;
    carry(&server, &client, lead_of(&server));
    assert_int_equal(client.attended, 1);
    assert_true(mux_link_deadline(client.links[victim]) <= now);
    assert_int_equal(mux_link_tick(client.links[victim], now), MUX_ERROR_DEAD);
    assert_string_equal(mux_link_reason(client.links[victim]), "the peer has given this link up");
}

static void goaway_comes_over_each_link(void **state)
{
    (void)state;
    mux_session_goaway(server.session, MUX_CODE_GOING_AWAY, "bye");
    exchange();
    assert_int_equal(client.goaways, 3);
    add_link(3);
    assert_int_equal(client.goaways, 4);
}

static void joins_are_looked_at(void **state)
{
    (void)state;
    struct mux_hello hello = dial(3);
    struct mux_hello wrong = hello;

    assert_true(hello.join && !hello.resume && hello.version_min == 2);
    wrong.version_min = wrong.version_max = 1;
    assert_null(accept_link(&wrong));
    wrong = hello;
    wrong.attempt = 3; /* it is the third link's */
    assert_null(accept_link(&wrong));
    assert_string_equal(mux_session_reason(server.session),
                        "the link is older than the one that carries the session");
    server.links[3] = accept_link(&hello);
    assert_non_null(server.links[3]);
    wrong.attempt = 99;
    assert_null(accept_link(&wrong));
    assert_string_equal(mux_session_reason(server.session),
                        "the session has as many links as are allowed (--max-links)");
    /* Nobody was hurt. */
    exchange();
    assert_int_equal(mux_session_links_up(server.session), 4);
    assert_false(mux_session_may_join(client.session));
}

static void a_rejected_join_hurts_nobody(void **state)
{
    (void)state;
    struct byte_writer w;
    struct mux_reject reject = {.code = MUX_CODE_LIMIT, .reason = {"full", 4}};

    open_stream();
    dial(3);
    byte_writer_init(&w, wire, sizeof wire);
    mux_reject_encode(&w, &reject);
    assert_int_equal(mux_link_receive(client.links[3], wire, byte_writer_size(&w), now),
                     MUX_ERROR_REJECTED);
    assert_int_equal(mux_link_rejection(client.links[3])->code, MUX_CODE_LIMIT);
    mux_link_detach(client.links[3]);
    client.links[3] = NULL;
    mux_stream_write(client.stream, content, 100);
    exchange();
    assert_int_equal(server.received, 100);
}

static void all_links_lost_is_a_resume(void **state)
{
    (void)state;
    static struct flying gone;

    open_stream();
    mux_stream_write(client.stream, content, 500 * 1024);
    for (unsigned at = 0; at < 3; at++)
        pull(&client, at, &gone);
    assert_int_equal(land(&server, 2, &gone), 0); /* the last one's, behind a gap */
    assert_true(mux_session_held_out_of_order(server.session) > 0);
    for (unsigned at = 0; at < 3; at++)
        drop(at);
    assert_false(mux_session_may_join(client.session));
    add_link(0);
    assert_int_equal(mux_link_entry(client.links[0]), MUX_ENTRY_RESUME);
    add_link(1);
    exchange();
    assert_int_equal(server.received, 500 * 1024);
}

/* It wants more on a long path that is full, and the client is told; on a short one it does not. */
static void a_full_link_of_a_long_path_wants_more(void **state)
{
    (void)state;
    static struct flying flying;

    drop(2);
    drop(1);
    open_stream();
    client.links[0]->rtt_min_us = RTT;
    client.links[0]->pings.asked = client.links[0]->pings.answered = MUX_GROWTH_PINGS;
    for (int round = 0; round < 40; round++) {
        size_t room = mux_stream_want_write(client.stream);
        client.received = 0;
        if (room > 100 * 1024) {
            mux_stream_write(client.stream, content, 100 * 1024);
            server.received = 0;
        }
        if (pull(&client, 0, &flying) > 0) /* the rest waits for the kernel */
            assert_int_equal(land(&server, 0, &flying), 0);
        now += 20 * MS;
        assert_int_equal(mux_link_tick(client.links[0], now), 0);
        assert_int_equal(mux_link_tick(server.links[0], now), 0);
        carry(&server, &client, 0);
        server.streams = 2; /* the content is looked at elsewhere */
    }
    assert_int_equal(client.wanted, 2);
    assert_int_equal(mux_session_links_wanted(client.session), 2);
    assert_int_equal(mux_session_want(client.session), MUX_WANT_SPARE);
    client.session->growth.wanted = 3;
    assert_int_equal(mux_session_want(client.session), MUX_WANT_ROOM);
    client.session->links_asked = 4;
    assert_int_equal(mux_session_want(client.session), MUX_WANT_PEER);
}

/* So many runs are in flight that only the link of the last one can carry more, and that stops. */
static void a_stream_in_many_runs_goes_on_when_some_have_come(void **state)
{
    (void)state;
    static struct flying flying;
    const unsigned lead = lead_of(&client);
    const unsigned a = other_than(lead);
    const unsigned b = other_than(a);
    uint8_t byte;

    open_stream();
    mux_stream_write(client.stream, content, 600 * 1024);
    for (unsigned i = 0; i < MUX_FLIGHT_RUNS; i++) {
        struct mux_stream *stream = client.stream;
        const struct mux_turn turn = {MUX_TURN_NEW, stream, NULL, stream->send.read, 1};
        byte_queue_read(&stream->send, &byte, 1);
        mux_schedule_sent(client.links[i % 2 == 0 ? a : b], &turn, 1);
    }
    client.links[b]->suspect = true;
    while (pull(&client, a, &flying) > 0)
        ;
    assert_false(mux_link_wants_output(client.links[a]));
    mux_schedule_acknowledged(client.stream, 10);
    assert_true(mux_link_wants_output(client.links[a]));
    assert_true(pull(&client, a, &flying) > 60 * 1024);
}

/* Also that fewer are enough. */
static void what_was_said_of_links_is_said_again(void **state)
{
    (void)state;
    static struct flying gone;
    unsigned lead = lead_of(&server);

    server.session->growth.wanted = 3;
    mux_schedule_tell_wanted(server.session);
    exchange();
    assert_int_equal(client.wanted, 3);
    server.session->growth.wanted = 1;
    mux_schedule_tell_wanted(server.session);
    assert_true(pull(&server, lead, &gone) > 0);
    drop(lead);
    exchange();
    assert_int_equal(client.wanted, 1);
}

/* It comes behind what there is to say, is skipped by the peer, and a ping behind it tells when. */
static void padding_means_nothing(void **state)
{
    const uint64_t bytes = 3 * MUX_FRAME_PAYLOAD_MAX + 7;
    static struct flying flying;
    uint64_t size = 0;

    (void)state;
    open_stream();
    exchange();
    mux_link_pad(client.links[0], bytes);
    mux_stream_write(client.stream, content, 1000);
    assert_true(mux_link_wants_output(client.links[0]));
    for (unsigned frames = 0; pull(&client, 0, &flying) > 0; frames++) {
        if (frames == 0)
            assert_int_equal(flying.bytes[0], MUX_DATA);
        size += flying.size;
        assert_int_equal(land(&server, 0, &flying), 0);
    }
    assert_in_range(size, bytes + 1000, bytes + 1000 + 200);
    assert_int_equal(mux_link_facts(client.links[0]).padding, 0);
    assert_int_equal(server.received, 1000);
    struct mux_pings before = mux_link_pings(client.links[0]);
    mux_link_pad(client.links[0], bytes);
    mux_link_ping(client.links[0], now);
    exchange();
    assert_int_equal(mux_link_pings(client.links[0]).answered, before.asked + 1);
    /* What has not left can be taken back. */
    mux_link_pad(client.links[0], bytes);
    mux_link_pad(client.links[0], 0);
    assert_int_equal(pull(&client, 0, &flying), 0);
    assert_int_equal(server.received, 1000);
}

static void only_links_that_are_up_are_listed(void **state)
{
    const struct mux_link *link;
    unsigned count = 0;

    (void)state;
    client.links[3] = mux_link_attach(client.session, (struct mux_output){0}, now);
    for (unsigned at = 0; (link = mux_session_next_link(client.session, &at)); count++)
        assert_ptr_equal(link, client.links[count]);
    assert_int_equal(count, 3);
    mux_link_detach(client.links[3]);
    client.links[3] = NULL;
    assert_int_equal(mux_session_want(client.session), MUX_WANT_NONE);
    assert_int_equal(mux_session_links_wanted(client.session), 1);
}

static void on_a_short_path_one_link_is_enough(void **state)
{
    (void)state;
    drop(2);
    drop(1);
    open_stream();
    client.links[0]->rtt_min_us = MS;
    server.streams = 2;
    for (int round = 0; round < 40; round++) {
        if (mux_stream_want_write(client.stream) > 100 * 1024)
            mux_stream_write(client.stream, content, 100 * 1024);
        exchange();
        now += 20 * MS;
        assert_int_equal(mux_link_tick(client.links[0], now), 0);
        assert_int_equal(mux_link_tick(server.links[0], now), 0);
    }
    assert_int_equal(client.wanted, 0);
}

#define WITH_LINKS(test) cmocka_unit_test_setup_teardown(test, connect_three, part)

int main(void)
{
    const struct CMUnitTest tests[] = {
        WITH_LINKS(bulk_goes_over_all_links_and_arrives_in_order),
        WITH_LINKS(little_waits_where_tcp_ends_in_between),
        WITH_LINKS(several_links_are_twice_as_far),
        WITH_LINKS(a_lead_that_is_kept_free_has_no_room),
        WITH_LINKS(what_a_lost_link_had_goes_over_the_others),
        WITH_LINKS(a_lost_lead_takes_no_message_along),
        WITH_LINKS(a_stream_stays_on_the_lead_until_it_is_known),
        WITH_LINKS(a_stream_that_grows_leaves_the_lead_to_others),
        WITH_LINKS(of_two_links_one_is_for_messages),
        WITH_LINKS(bulk_that_pauses_is_no_message),
        WITH_LINKS(a_new_stream_that_grows_stays_on_the_lead),
        WITH_LINKS(a_silent_link_is_suspect_and_what_it_has_goes_again),
        WITH_LINKS(a_link_is_pinged_after_the_last_bytes),
        WITH_LINKS(a_link_that_takes_nothing_is_suspect),
        WITH_LINKS(a_link_that_others_stand_in_for_is_given_up),
        WITH_LINKS(links_of_a_path_that_was_gone_are_given_time),
        WITH_LINKS(a_second_link_may_be_silent_too),
        WITH_LINKS(suspicions_in_a_row_cost_one_look),
        WITH_LINKS(small_messages_go_twice_where_segments_get_lost),
        WITH_LINKS(a_window_that_was_lost_is_said_again),
        WITH_LINKS(a_window_from_before_a_shrink_gives_nothing_back),
        WITH_LINKS(a_link_that_the_peer_has_given_up_ends),
        WITH_LINKS(goaway_comes_over_each_link),
        WITH_LINKS(joins_are_looked_at),
        WITH_LINKS(a_rejected_join_hurts_nobody),
        WITH_LINKS(all_links_lost_is_a_resume),
        WITH_LINKS(a_full_link_of_a_long_path_wants_more),
        WITH_LINKS(a_stream_in_many_runs_goes_on_when_some_have_come),
        WITH_LINKS(what_was_said_of_links_is_said_again),
        WITH_LINKS(on_a_short_path_one_link_is_enough),
        WITH_LINKS(padding_means_nothing),
        WITH_LINKS(only_links_that_are_up_are_listed),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
