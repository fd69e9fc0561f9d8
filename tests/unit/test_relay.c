/* Relays between TCP connections and streams of a session, over links that are cut anywhere: bytes
 * both ways, ends of every kind, and readers that stall. test_relay_kafka.c has the Kafka filter.
 */
#include "net_tunnel.h"

#include <errno.h>
#include <unistd.h>

#include "io/clock.h"

enum { TOTAL = 300 * 1000 };

static struct net_tunnel tunnel;

static void flows_are_complete(void)
{
    for (size_t i = 0; i < tunnel.count; i++)
        NET_UNTIL(net_flow_is_complete(&tunnel.flows[i]));
    assert_int_equal(mux_session_stream_count(tunnel.client), 0);
    assert_int_equal(mux_session_stream_count(tunnel.server), 0);
}

/* ---- bytes */

static void bytes_go_both_ways(void **state)
{
    (void)state;
    for (int tls = 0; tls < 2; tls++) {
        net_tunnel_open(&tunnel, tls, net_random(2) == 0);
        for (int i = 0; i < 4; i++)
            net_flow_open(&tunnel, net_random(TOTAL), net_random(TOTAL));
        net_flow_open(&tunnel, 0, net_random(TOTAL));
        net_flow_open(&tunnel, net_random(TOTAL), 0);
        net_flow_open(&tunnel, 0, 0);
        net_flow_open(&tunnel, 1, 1);
        flows_are_complete();
        assert_int_equal(tunnel.near.ended + tunnel.far.ended, 0);
        net_tunnel_close(&tunnel);
    }
}

/* What a relay counts, and what its owner counts for all relays to a target. */
static void bytes_are_counted(void **state)
{
    uint64_t down = 0, up = 0, stalls[MUX_STALLS] = {0};
    const struct relay_counters counters = {&down, &up, {&stalls[0], &stalls[1]}};
    (void)state;
    net_tunnel_open(&tunnel, false, false);
    struct net_flow *flow = net_flow_open(&tunnel, 50000, 70000);
    struct relay *relay = flow->near.relay;
    relay_count(relay, &counters);
    flow->client.finishes = flow->target.finishes = false;
    NET_UNTIL(flow->client.received == 70000 && flow->target.received == 50000);
    assert_int_equal(relay_bytes_from_socket(relay), 50000);
    assert_int_equal(relay_bytes_to_socket(relay), 70000);
    assert_int_equal(up, 50000);
    assert_int_equal(down, 70000);
    flow->client.finishes = flow->target.finishes = true;
    flows_are_complete();
    net_tunnel_close(&tunnel);
}

/* Whoever hears of a stream by its number finds who owns the relay; of another session's he does
 * not. */
static void a_streams_relay_is_found(void **state)
{
    (void)state;
    net_tunnel_open(&tunnel, false, false);
    struct net_flow *flow = net_flow_open(&tunnel, 1, 1);
    flow->client.finishes = false;
    NET_UNTIL(flow->far.relay);
    uint32_t id = mux_stream_id(relay_stream(flow->near.relay));
    assert_ptr_equal(relay_context(tunnel.client, id), flow);
    assert_ptr_equal(relay_context(tunnel.server, id), flow);
    assert_null(relay_context(tunnel.client, id + 1));
    assert_null(relay_context(tunnel.client, MUX_CONTROL_STREAM));
    /* A stream that no relay has is nobody's. */
    mux_stream_set_callbacks(relay_stream(flow->near.relay), NULL, &tunnel);
    assert_null(relay_context(tunnel.client, id));
    net_tunnel_close(&tunnel);
}

/* A stream whose credit is used up waits. */
static void stalls_are_counted(void **state)
{
    uint64_t bytes = 0, stalls[MUX_STALLS] = {0};
    const struct relay_counters counters = {&bytes, &bytes, {&stalls[0], &stalls[1]}};
    (void)state;
    net_tunnel_open(&tunnel, false, false);
    struct net_flow *flow = net_flow_open(&tunnel, 200000, 0);
    flow->waits = true;
    relay_count(flow->near.relay, &counters);
    NET_UNTIL(stalls[MUX_STALL_CREDIT] > 0);
    net_turns(20);
    assert_int_equal(stalls[MUX_STALL_CREDIT], 1);
    assert_int_equal(stalls[MUX_STALL_MEMORY], 0);
    net_flow_connect(flow);
    flows_are_complete();
    net_tunnel_close(&tunnel);
}

/* Links that are lost anywhere, in the middle of a greeting too: nothing is lost, nothing comes
 * twice. */
static void links_are_cut_anywhere(void **state)
{
    (void)state;
    for (int round = 0; round < 6; round++) {
        unsigned cuts = 0;
        net_tunnel_open(&tunnel, round % 2, net_random(2) == 0);
        for (int i = 0; i < 4; i++)
            net_flow_open(&tunnel, net_random(TOTAL), net_random(TOTAL));
        tunnel.wire.cut_after = net_piece(60000);
        for (uint64_t limit = net_patience(); mux_session_stream_count(tunnel.client) > 0;
             net_turn()) {
            net_check_patience(limit, "all flows are over", __FILE__, __LINE__);
            if (tunnel.near.link)
                continue;
            net_tunnel_link(&tunnel);
            if (cuts++ < 12)
                tunnel.wire.cut_after =
                    tunnel.wire.carried[0] + tunnel.wire.carried[1] + net_piece(60000);
        }
        flows_are_complete();
        assert_int_equal(tunnel.near.ended, cuts);
        net_tunnel_close(&tunnel);
    }
}

/* The server's socket is not there yet: what has come waits for it, as much as the window allows.
 */
static void the_target_comes_later(void **state)
{
    (void)state;
    net_tunnel_open(&tunnel, false, false);
    struct net_flow *flow = net_flow_open(&tunnel, TOTAL, 1000);
    struct net_flow *empty = net_flow_open(&tunnel, 0, 1000);
    flow->waits = empty->waits = true;
    NET_UNTIL(flow->far.relay && empty->far.relay && relay_unwritten(flow->far.relay) == 64 * 1024);
    net_turns(50);
    assert_int_equal(relay_unwritten(flow->far.relay), 64 * 1024);
    assert_int_equal(relay_unwritten(empty->far.relay), 0);
    net_flow_connect(flow);
    net_flow_connect(empty);
    flows_are_complete();
    net_tunnel_close(&tunnel);
}

/* Until the links wait for nothing but the next ping, which is due after a second. */
static void settle(void)
{
    net_turns(8000);
}

/* What the session has to do by a certain time on another occasion than its link's own, it does in
 * time: it does not wait until a ping comes. */
static void consumed_at_another_time(void **state)
{
    (void)state;
    NET_NEEDS_JUMPS();
    net_tunnel_open(&tunnel, false, false);
    struct net_flow *flow = net_flow_open(&tunnel, 1000, 0);
    flow->client.finishes = flow->target.finishes = false;
    flow->waits = true;
    NET_UNTIL(flow->far.relay && relay_unwritten(flow->far.relay) == 1000);
    settle();
    const struct mux_stream *stream = relay_stream(flow->near.relay);
    assert_int_equal(mux_stream_acknowledged(stream), 0);
    uint64_t began_us = clock_now_us();
    net_flow_connect(flow);
    NET_UNTIL(mux_stream_acknowledged(stream) == 1000);
    assert_true(clock_now_us() - began_us < 200 * 1000);
    net_tunnel_close(&tunnel);
}

static void starved_at_another_time(void **state)
{
    struct memory_share *share = &net.near.share;

    (void)state;
    NET_NEEDS_JUMPS();
    net_tunnel_open(&tunnel, false, false);
    struct net_flow *flow = net_flow_open(&tunnel, 3000, 0);
    flow->client.finishes = flow->target.finishes = false;
    flow->waits = true;
    NET_UNTIL(flow->far.relay && relay_unwritten(flow->far.relay) == 3000);
    settle();
    uint64_t others = memory_share_send_room(share);
    assert_true(memory_share_take(share, MEMORY_SEND, others));
    flow->client.to_send = 4000;
    NET_UNTIL(flow->client.sent == 4000);
    net_turns(10);
    assert_int_equal(relay_bytes_from_socket(flow->near.relay), 3000);
    uint64_t began_us = clock_now_us();
    memory_share_give(share, MEMORY_SEND, others);
    NET_UNTIL(relay_bytes_from_socket(flow->near.relay) == 4000);
    assert_true(clock_now_us() - began_us < 100 * 1000);
    net_tunnel_close(&tunnel);
}

/* ---- rates */

/* Three that share one: they get that much a second together, whichever way, and all is complete.
 * Bytes wait where they come from: what a relay holds is bounded by the window. */
static void a_rate_is_kept_to_by_all(void **state)
{
    (void)state;
    enum { RATE = 100 * 1000, FLOWS = 3 };
    NET_NEEDS_JUMPS();

    for (int down = 0; down < 2; down++) {
        struct rate rate = {0};
        struct net_flow *flows[FLOWS];
        uint64_t began_us = clock_now_us();
        uint64_t elapsed_us = 0;
        rate_set(&rate, RATE);
        net_tunnel_open(&tunnel, down, false);
        for (int i = 0; i < FLOWS; i++) {
            flows[i] = net_flow_open(&tunnel, down ? 0 : TOTAL, down ? TOTAL : 0);
            flows[i]->waits = true;
            NET_UNTIL(flows[i]->far.relay);
            /* What the client sends is written to the target, what the target sends is read. */
            relay_limit(flows[i]->far.relay, down ? NULL : &rate, down ? &rate : NULL);
            net_flow_connect(flows[i]);
        }
        for (uint64_t limit = net_patience(); mux_session_stream_count(tunnel.client) > 0;) {
            net_check_patience(limit, "all flows are over", __FILE__, __LINE__);
            uint64_t moved = 0;
            for (int i = 0; i < FLOWS; i++) {
                moved += down ? flows[i]->client.received : flows[i]->target.received;
                if (flows[i]->far.relay)
                    assert_true(relay_unwritten(flows[i]->far.relay) <= 600 * 1024);
            }
            /* Nobody has more than is due, but for a burst and a portion. */
            elapsed_us = clock_now_us() - began_us;
            assert_true(moved <= RATE * (elapsed_us + RATE_BURST_US) / 1000000 + RATE / 8);
            net_turns(10);
            net_jump_ms(10);
        }
        uint64_t due_us = (uint64_t)FLOWS * TOTAL * 1000000 / RATE;
        /* The wire may be slow, too. */
        assert_in_range(elapsed_us, due_us - 500 * 1000, 2 * due_us);
        flows_are_complete();
        net_tunnel_close(&tunnel);
    }
}

/* A connection whose one side has ended waits for its rate as long as that takes, and one that is
 * cut meanwhile is cut. */
static void a_rate_is_no_silence(void **state)
{
    (void)state;
    struct rate rate = {0};
    NET_NEEDS_JUMPS();

    rate_set(&rate, 100);
    net_tunnel_open(&tunnel, false, false);
    struct net_flow *flow = net_flow_open(&tunnel, 20000, 0);
    struct net_flow *cut = net_flow_open(&tunnel, 20000, 0);
    flow->waits = cut->waits = true;
    NET_UNTIL(flow->far.relay && cut->far.relay);
    relay_limit(flow->far.relay, &rate, NULL);
    relay_limit(cut->far.relay, &rate, NULL);
    NET_UNTIL(relay_unwritten(flow->far.relay) == 20000 &&
              relay_unwritten(cut->far.relay) == 20000);
    net_flow_connect(flow);
    net_flow_connect(cut);
    for (int i = 0; i < 100; i++) {
        net_turns(4);
        net_jump_ms(500);
        assert_int_equal(flow->half_closed_s, 0);
    }
    assert_true(flow->target.received < 20000);
    relay_fail(cut->far.relay, MUX_CODE_LIMIT, "enough");
    rate_set(&rate, 0);
    net_jump_ms(500);
    NET_UNTIL(flow->target.received == 20000);
    NET_UNTIL(mux_session_stream_count(tunnel.client) == 0);
    net_tunnel_close(&tunnel);
}

/* ---- readers that stall */

/* Only their own stream waits; what is held for them is bounded at both ends. */
static void a_stalled_reader(void **state)
{
    (void)state;
    for (int down = 0; down < 2; down++) {
        net_tunnel_open(&tunnel, down, false);
        tunnel.bounds_relays = true;
        struct net_flow *stalled =
            net_flow_open(&tunnel, down ? 0 : 4 * TOTAL, down ? 4 * TOTAL : 0);
        struct net_peer *reader = down ? &stalled->client : &stalled->target;
        const struct net_peer *writer = down ? &stalled->target : &stalled->client;
        reader->reads = false;
        uint64_t sent = 0;
        /* Until nothing moves, for longer than a WINDOW waits. */
        for (uint64_t before = UINT64_MAX; before != sent; sent = writer->sent) {
            before = sent;
            net_turns(1000);
        }
        /* The window, and what the kernel takes, which has twice what it is told. */
        const uint64_t bound = 512 * 1024 + 12 * NET_FLOW_BUFFER;
        assert_true(sent < bound);
        tunnel.bounds_relays = false;
        struct net_flow *other = net_flow_open(&tunnel, TOTAL, TOTAL);
        NET_UNTIL(net_flow_is_complete(other));
        assert_true(writer->sent < bound);
        assert_false(stalled->near.ended || stalled->far.ended);
        reader->reads = true;
        flows_are_complete();
        net_tunnel_close(&tunnel);
    }
}

/* A reset that finds the window of who has not read for long closed is dropped there: nobody tells
 * a program then that has sent all it had. */
static bool is_over(const struct net_flow *flow)
{
    if (!flow->near.ended || !flow->far.ended)
        return false;
    return flow->near.how == RELAY_END_RESET || flow->far.how == RELAY_END_RESET ||
           (flow->client.ended && flow->target.ended);
}

/* A crowd of them: memory stays within what the worker may have. */
static void a_crowd_of_stalled_readers(void **state)
{
    const uint64_t memory = 512 * 1024;
    /* Of either queue of a flow, the first chunk may be used up in part, and the last one may not
     * be full. */
    const uint64_t chunks = memory + NET_FLOWS * 4 * CHUNK_LARGE_SIZE;

    (void)state;
    memory_budget_init(&net.near.budget, memory);
    memory_budget_init(&net.far.budget, memory);
    net_tunnel_open(&tunnel, false, false);
    for (int i = 0; i < NET_FLOWS; i++) {
        struct net_flow *flow = net_flow_open(&tunnel, TOTAL / 2, TOTAL / 2);
        flow->client.reads = flow->target.reads = false;
    }
    /* Streams that found no memory were reset. */
    for (int i = 0; i < 3000; i++) {
        net_turns(1);
        assert_true(net.near.pool.allocated <= chunks);
        assert_true(net.far.pool.allocated <= chunks);
    }
    assert_true(net.near.budget.receive.used <= memory / 2);
    assert_true(net.far.budget.receive.used <= memory / 2);
    /* Control messages count, and go whatever is left. */
    assert_true(net.near.budget.send.used <= memory / 2 + 4096);
    assert_true(net.far.budget.send.used <= memory / 2 + 4096);
    unsigned complete = 0;
    for (int i = 0; i < NET_FLOWS; i++)
        tunnel.flows[i].client.reads = tunnel.flows[i].target.reads = true;
    for (int i = 0; i < NET_FLOWS; i++) {
        struct net_flow *flow = &tunnel.flows[i];
        /* far_fd is still there: refused. */
        NET_UNTIL(is_over(flow) || (flow->near.ended && flow->far_fd >= 0));
        if (flow->near.how != RELAY_END_COMPLETE || flow->far.how != RELAY_END_COMPLETE)
            continue;
        assert_true(net_flow_is_complete(flow));
        complete++;
    }
    assert_true(complete > 0);
    net_tunnel_close(&tunnel);
}

/* ---- clean ends */

/* One side ends, and the other goes on for as long as it likes. */
static void half_closed(void **state)
{
    (void)state;
    for (int up = 0; up < 2; up++) {
        net_tunnel_open(&tunnel, up, false);
        struct net_flow *flow = net_flow_open(&tunnel, up ? 1000 : 0, up ? 0 : 1000);
        struct net_peer *first = up ? &flow->client : &flow->target;
        struct net_peer *other = up ? &flow->target : &flow->client;
        other->finishes = false;
        NET_UNTIL(other->ended);
        assert_int_equal(other->received, 1000);
        NET_UNTIL(net_tunnel_is_calm(&tunnel));
        net_jump_ms(3600 * 1000);
        other->to_send = TOTAL;
        NET_UNTIL(first->received == TOTAL);
        assert_false(first->ended || flow->near.ended || flow->far.ended);
        other->finishes = true;
        flows_are_complete();
        net_tunnel_close(&tunnel);
    }
}

/* The owner hears how long nothing has moved since one side has ended, while there is a link. */
static void how_long_it_is_half_closed(void **state)
{
    (void)state;
    NET_NEEDS_JUMPS();
    net_tunnel_open(&tunnel, false, false);
    struct net_flow *flow = net_flow_open(&tunnel, 1000, 0);
    flow->target.finishes = false;
    NET_UNTIL(flow->target.ended);
    for (unsigned second = 1; second <= 3; second++) {
        net_jump_ms(1000);
        net_turns(10);
        assert_int_equal(flow->half_closed_s, second - 1);
        assert_int_equal(flow->half_closed_side, second > 1 ? RELAY_STREAM : 0);
    }
    /* A byte: it begins again. */
    flow->target.to_send = 1;
    NET_UNTIL(flow->client.received == 1);
    flow->half_closed_s = 0;
    for (int i = 0; i < 10 && flow->half_closed_s == 0; i++) {
        net_jump_ms(1000);
        net_turns(10);
    }
    assert_int_equal(flow->half_closed_s, 1);
    /* Without a link nothing could move. */
    net_wire_cut(&tunnel.wire, false);
    NET_UNTIL(!tunnel.near.link && !tunnel.far.link);
    flow->half_closed_s = 0;
    for (int i = 0; i < 5; i++) {
        net_jump_ms(1000);
        net_turns(10);
    }
    assert_int_equal(flow->half_closed_s, 0);
    net_tunnel_relink(&tunnel);
    relay_hang_up(flow->far.relay);
    NET_UNTIL(flow->near.ended && flow->far.ended);
    assert_int_equal(flow->near.how, RELAY_END_COMPLETE);
    assert_int_equal(flow->far.how, RELAY_END_COMPLETE);
    net_tunnel_close(&tunnel);
}

/* ---- cut short */

/* The other end sees a reset behind what came, never an end of file. */
static void expect_reset(struct net_flow *flow, const struct net_peer *other, uint64_t sent)
{
    NET_UNTIL(flow->near.ended && flow->far.ended && (other->error != 0 || other->ended));
    assert_int_equal(flow->near.how, RELAY_END_RESET);
    assert_int_equal(flow->far.how, RELAY_END_RESET);
    assert_int_equal(flow->near.code, MUX_CODE_PEER_RESET);
    assert_int_equal(flow->far.code, MUX_CODE_PEER_RESET);
    assert_false(other->ended);
    assert_int_equal(other->error, ECONNRESET);
    assert_true(other->received <= sent);
}

static void resets_each_way(void **state)
{
    (void)state;
    for (int round = 0; round < 24; round++) {
        bool up = round % 2;
        net_tunnel_open(&tunnel, net_random(2) == 0, net_random(2) == 0);
        struct net_flow *flow = net_flow_open(&tunnel, TOTAL, TOTAL);
        struct net_peer *first = up ? &flow->client : &flow->target;
        struct net_peer *other = up ? &flow->target : &flow->client;
        first->finishes = other->finishes = false;
        /* At any time, that of the OPEN too for a client; with or without a link. */
        for (uint32_t turns = net_random(120); turns > 0 || (!up && !flow->far.relay); turns--) {
            net_turn();
            if (turns == 0)
                turns = 1;
        }
        bool cut = net_random(4) == 0;
        if (cut)
            net_wire_cut(&tunnel.wire, false);
        uint64_t sent = first->sent;
        net_peer_reset(first);
        if (cut) {
            NET_UNTIL(!tunnel.near.link);
            net_tunnel_relink(&tunnel);
        }
        expect_reset(flow, other, sent);
        net_tunnel_close(&tunnel);
    }
}

/* Everything that was written before a reset is delivered before it, if it is read. */
static void bytes_before_a_reset(void **state)
{
    (void)state;
    for (int up = 0; up < 2; up++) {
        net_tunnel_open(&tunnel, false, false);
        struct net_flow *flow = net_flow_open(&tunnel, up ? 5000 : 0, up ? 0 : 5000);
        struct net_peer *first = up ? &flow->client : &flow->target;
        struct net_peer *other = up ? &flow->target : &flow->client;
        flow->client.finishes = flow->target.finishes = false;
        tunnel.wire.stalled[up ? 0 : 1] = true;
        /* The relay has them all, the other end has none. */
        NET_UNTIL(up ? relay_bytes_from_socket(flow->near.relay) == 5000
                     : flow->far.relay && relay_bytes_from_socket(flow->far.relay) == 5000);
        net_peer_reset(first);
        NET_UNTIL(up ? flow->near.ended : flow->far.ended);
        tunnel.wire.stalled[up ? 0 : 1] = false;
        expect_reset(flow, other, 5000);
        assert_int_equal(other->received, 5000);
        net_tunnel_close(&tunnel);
    }
}

/* Its end of file has been read already, so nothing but a look every second tells of a reset. */
static void a_reset_after_the_end_of_file(void **state)
{
    (void)state;
    NET_NEEDS_JUMPS();
    for (int up = 0; up < 2; up++) {
        net_tunnel_open(&tunnel, false, false);
        struct net_flow *flow = net_flow_open(&tunnel, 1000, 1000);
        struct net_peer *first = up ? &flow->client : &flow->target;
        struct net_peer *other = up ? &flow->target : &flow->client;
        other->finishes = false;
        NET_UNTIL(other->ended && first->received == 1000);
        net_peer_reset(first);
        net_turns(20);
        assert_false(flow->near.ended || flow->far.ended);
        net_jump_ms(1000);
        NET_UNTIL(flow->near.ended && flow->far.ended);
        assert_int_equal(flow->near.how, RELAY_END_RESET);
        assert_int_equal(flow->far.how, RELAY_END_RESET);
        /* Who has had its end of file finds the reset when it writes. */
        other->to_send = 2000;
        NET_UNTIL(send(other->fd, "x", 1, MSG_NOSIGNAL) < 0 && errno != EAGAIN);
        net_tunnel_close(&tunnel);
    }
}

/* It has ended its side in good order, and then goes: found out when something is written. */
static void the_target_goes_after_its_end(void **state)
{
    (void)state;
    net_tunnel_open(&tunnel, false, false);
    struct net_flow *flow = net_flow_open(&tunnel, 1000, 1000);
    flow->client.finishes = false;
    NET_UNTIL(flow->client.ended && flow->target.received == 1000);
    net_peer_close(&flow->target);
    flow->client.to_send = TOTAL;
    NET_UNTIL(flow->near.ended && flow->far.ended);
    assert_int_equal(flow->far.how, RELAY_END_RESET);
    assert_int_equal(flow->near.how, RELAY_END_RESET);
    assert_int_equal(flow->near.code, MUX_CODE_PEER_RESET);
    net_tunnel_close(&tunnel);
}

/* Who takes nothing more may still have said something, which is delivered before the reset. */
static void an_answer_before_the_reset(void **state)
{
    (void)state;
    net_tunnel_open(&tunnel, false, false);
    struct net_flow *flow = net_flow_open(&tunnel, TOTAL, 0);
    struct net_peer *target = &flow->target;
    uint8_t answer[3000];
    uint64_t down = 0, up = 0, stalls[MUX_STALLS] = {0};
    const struct relay_counters counters = {&down, &up, {&stalls[0], &stalls[1]}};
    relay_count(flow->near.relay, &counters);
    /* The target says its word, reads nothing, and goes: a reset, as bytes are unread. */
    target->finishes = target->reads = false;
    flow->client.reads = false;
    NET_UNTIL(net_is_readable(target->fd));
    net_fill(target->out, 0, answer, sizeof answer);
    assert_int_equal(send(target->fd, answer, sizeof answer, 0), sizeof answer);
    net_peer_close(target);
    net_turns(200);
    flow->client.reads = true;
    expect_reset(flow, &flow->client, 3000);
    /* What the system still holds for a reader is lost with a reset. Of many small pieces it may
     * hold some for a while, so what the relay has given it is all that can be asked for. */
    assert_int_equal(down, 3000);
    net_tunnel_close(&tunnel);
}

/* ---- what owners do */

static void an_owner_fails_or_cuts(void **state)
{
    (void)state;
    for (int how = 0; how < 4; how++) {
        bool far = how % 2;
        bool cuts = how / 2;
        net_tunnel_open(&tunnel, false, false);
        struct net_flow *flow = net_flow_open(&tunnel, TOTAL, TOTAL);
        flow->client.finishes = flow->target.finishes = false;
        NET_UNTIL(flow->target.received > 1000 && flow->client.received > 1000);
        struct net_flow_end *mine = far ? &flow->far : &flow->near;
        struct net_flow_end *other = far ? &flow->near : &flow->far;
        struct relay *relay = mine->relay;
        if (cuts) {
            relay_cut(relay, MUX_CODE_LIMIT, "enough");
            assert_false(mine->ended);
            mine->relay = NULL;
        } else {
            relay_fail(relay, MUX_CODE_LIMIT, "enough");
            assert_true(mine->ended);
            assert_int_equal(mine->how, RELAY_END_RESET);
            assert_int_equal(mine->code, MUX_CODE_LIMIT);
            assert_string_equal(mine->reason, "enough");
        }
        NET_UNTIL(other->ended && flow->client.error != 0 && flow->target.error != 0);
        assert_int_equal(other->how, RELAY_END_RESET);
        assert_int_equal(other->code, MUX_CODE_LIMIT);
        assert_string_equal(other->reason, "enough");
        assert_int_equal(flow->client.error, ECONNRESET);
        assert_int_equal(flow->target.error, ECONNRESET);
        net_tunnel_close(&tunnel);
    }
}

/* A session that is lost takes its streams with it: reset at both ends. */
static void the_session_is_lost(void **state)
{
    (void)state;
    net_tunnel_open(&tunnel, false, false);
    for (int i = 0; i < 3; i++) {
        struct net_flow *flow = net_flow_open(&tunnel, TOTAL, TOTAL);
        flow->client.finishes = flow->target.finishes = false;
    }
    NET_UNTIL(tunnel.flows[2].client.received > 1000);
    net_wire_cut(&tunnel.wire, true);
    NET_UNTIL(!tunnel.near.link && !tunnel.far.link);
    mux_session_reset_streams(tunnel.client, MUX_CODE_SESSION_LOST, "gone");
    mux_session_reset_streams(tunnel.server, MUX_CODE_SESSION_LOST, "gone");
    for (size_t i = 0; i < tunnel.count; i++) {
        struct net_flow *flow = &tunnel.flows[i];
        assert_true(flow->near.ended && flow->far.ended);
        assert_int_equal(flow->near.code, MUX_CODE_SESSION_LOST);
        NET_UNTIL(flow->client.error != 0 && flow->target.error != 0);
        assert_false(flow->client.ended || flow->target.ended);
    }
    net_tunnel_close(&tunnel);
}

/* Refused, or over before there is a socket. */
static void it_ends_before_there_is_a_target(void **state)
{
    (void)state;
    net_tunnel_open(&tunnel, false, false);
    struct net_flow *flow = net_flow_open(&tunnel, TOTAL, 0);
    flow->waits = true;
    NET_UNTIL(flow->far.relay);
    relay_cut(flow->far.relay, MUX_CODE_UPSTREAM_UNREACHABLE, "nobody is there");
    flow->far.relay = NULL;
    NET_UNTIL(flow->near.ended && flow->client.error != 0);
    assert_int_equal(flow->near.code, MUX_CODE_UPSTREAM_UNREACHABLE);
    assert_false(flow->client.ended);
    struct net_flow *reset = net_flow_open(&tunnel, TOTAL, 0);
    reset->waits = true;
    NET_UNTIL(reset->far.relay && relay_unwritten(reset->far.relay) > 0);
    /* What was written before goes to the target first, once that is there. */
    net_peer_reset(&reset->client);
    net_flow_connect(reset);
    expect_reset(reset, &reset->target, TOTAL);
    net_tunnel_close(&tunnel);
}

static struct {
    char bytes[100];
    size_t size;
    unsigned calls;
} seen;

static bool look_at_ten(void *context, const uint8_t *bytes, size_t size)
{
    (void)context;
    assert_true(size > 0 && seen.size + size < sizeof seen.bytes);
    memcpy(seen.bytes + seen.size, bytes, size);
    seen.size += size;
    seen.calls++;
    return seen.size < 10;
}

/* The owner may look at what comes from the socket, until it has seen enough. */
static void what_a_client_says_is_looked_at(void **state)
{
    static const char text[] = "what is said before the rest";

    (void)state;
    memset(&seen, 0, sizeof seen);
    net_tunnel_open(&tunnel, false, false);
    struct net_flow *flow = net_flow_open(&tunnel, 0, 0);
    relay_watch(flow->near.relay, look_at_ten);
    flow->client.finishes = false;
    flow->target.reads = false;
    for (size_t at = 0; at < sizeof text - 1;) {
        size_t some = net_piece(sizeof text - 1 - at);
        assert_int_equal(send(flow->client.fd, text + at, some, 0), some);
        at += some;
        NET_UNTIL(relay_bytes_from_socket(flow->near.relay) == at);
        if (seen.size < 10)
            assert_int_equal(seen.size, at);
    }
    assert_true(seen.size >= 10);
    assert_memory_equal(seen.bytes, text, seen.size);
    unsigned calls = seen.calls;
    assert_int_equal(send(flow->client.fd, "more", 4, 0), 4);
    NET_UNTIL(relay_bytes_from_socket(flow->near.relay) == sizeof text - 1 + 4);
    assert_int_equal(seen.calls, calls);
    net_tunnel_close(&tunnel);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        NET_TEST(bytes_go_both_ways),
        NET_TEST(bytes_are_counted),
        NET_TEST(a_streams_relay_is_found),
        NET_TEST(stalls_are_counted),
        NET_TEST(links_are_cut_anywhere),
        NET_TEST(the_target_comes_later),
        NET_TEST(consumed_at_another_time),
        NET_TEST(starved_at_another_time),
        NET_TEST(a_rate_is_kept_to_by_all),
        NET_TEST(a_rate_is_no_silence),
        NET_TEST(a_stalled_reader),
        NET_TEST(a_crowd_of_stalled_readers),
        NET_TEST(half_closed),
        NET_TEST(how_long_it_is_half_closed),
        NET_TEST(resets_each_way),
        NET_TEST(bytes_before_a_reset),
        NET_TEST(a_reset_after_the_end_of_file),
        NET_TEST(the_target_goes_after_its_end),
        NET_TEST(an_answer_before_the_reset),
        NET_TEST(an_owner_fails_or_cuts),
        NET_TEST(the_session_is_lost),
        NET_TEST(it_ends_before_there_is_a_target),
        NET_TEST(what_a_client_says_is_looked_at),
    };

    return NET_RUN(tests);
}
