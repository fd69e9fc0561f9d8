#include "net_tunnel.h"

#include <openssl/rand.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "io/clock.h"

/* ---- sessions */

static void on_established(void *context, struct mux_link *link, const struct mux_welcome *welcome)
{
    struct net_tunnel *tunnel = context;

    (void)link;
    assert_non_null(welcome);
    tunnel->established++;
}

static void on_goaway_client(void *context, enum mux_code code, struct mux_text reason)
{
    struct net_tunnel *tunnel = context;

    (void)code;
    (void)reason;
    tunnel->goaways[0]++;
}

static void on_goaway_server(void *context, enum mux_code code, struct mux_text reason)
{
    struct net_tunnel *tunnel = context;

    (void)code;
    (void)reason;
    tunnel->goaways[1]++;
}

/* ---- relays */

static void note_end(struct net_flow_end *end, enum relay_end how, enum mux_code code,
                     struct mux_text reason)
{
    assert_false(end->ended);
    end->relay = NULL;
    end->ended = true;
    end->how = how;
    end->code = code;
    snprintf(end->reason, sizeof end->reason, "%.*s", (int)reason.size,
             reason.bytes ? reason.bytes : "");
}

static void on_near_ended(void *context, struct relay *relay, enum relay_end how,
                          enum mux_code code, struct mux_text reason)
{
    struct net_flow *flow = context;

    assert_ptr_equal(relay, flow->near.relay);
    note_end(&flow->near, how, code, reason);
}

static void on_far_ended(void *context, struct relay *relay, enum relay_end how, enum mux_code code,
                         struct mux_text reason)
{
    struct net_flow *flow = context;

    assert_ptr_equal(relay, flow->far.relay);
    note_end(&flow->far, how, code, reason);
}

static void on_wanted(void *context, const struct kafka_wanted *nodes, size_t count)
{
    struct net_flow *flow = context;

    (void)nodes;
    assert_true(count > 0);
    flow->wanted = true;
}

static void on_unanswered(void *context)
{
    struct net_flow *flow = context;

    flow->unanswered++;
}

static void on_noticed(void *context)
{
    struct net_flow *flow = context;
    const char *api;
    int16_t version;

    while (kafka_filter_event(flow->filter, &api, &version) != KAFKA_FILTER_EVENT_NONE)
        ;
}

static void on_logged_in(void *context)
{
    struct net_flow *flow = context;

    flow->logged_in = true;
}

static const char *on_refused_login(void *context)
{
    struct net_flow *flow = context;

    flow->refused_login++;
    return "none: not yours";
}

static void on_paused(void *context)
{
    struct net_flow *flow = context;

    flow->paused++;
}

static void on_own_answer(void *context, const uint8_t *bytes, size_t size)
{
    struct net_flow *flow = context;

    assert_in_range(size, 1, sizeof flow->answer);
    memcpy(flow->answer, bytes, size);
    flow->answer_size = size;
}

static void on_half_closed(void *context, struct relay *relay, enum relay_side side,
                           unsigned seconds)
{
    struct net_flow *flow = context;

    (void)relay;
    flow->half_closed_side = side;
    flow->half_closed_s = seconds;
}

static const struct relay_owner near_owner = {.ended = on_near_ended};
static const struct relay_owner far_owner = {.half_closed = on_half_closed, .ended = on_far_ended};
static const struct relay_kafka_owner kafka_owner = {
    .wanted = on_wanted,
    .unanswered = on_unanswered,
    .noticed = on_noticed,
    .refused_login = on_refused_login,
    .paused = on_paused,
    .answered = on_own_answer,
    .logged_in = on_logged_in,
};

void net_flow_connect(struct net_flow *flow)
{
    int fd = flow->far_fd;

    flow->far_fd = -1;
    relay_connect(flow->far.relay, transport_new(fd));
}

/* The target's name is the number of the flow. */
static void on_open(void *context, struct mux_stream *stream, const struct mux_target *target,
                    struct mux_text peer)
{
    struct net_tunnel *tunnel = context;

    assert_int_equal(target->kind, MUX_TARGET_TCP);
    assert_int_equal(target->name.size, 1);
    assert_memory_equal(peer.bytes, "peer", 4);
    struct net_flow *flow = &tunnel->flows[target->name.bytes[0] - '0'];
    flow->far.relay = flow->filter
                          ? relay_kafka_new(&net.far, &far_owner, &kafka_owner, flow, flow->filter)
                          : relay_new(&net.far, &far_owner, flow);
    relay_set_stream(flow->far.relay, stream);
    mux_stream_accept(stream);
    if (!flow->waits)
        net_flow_connect(flow);
}

static void bound_buffer(int fd, int which)
{
    const int size = NET_FLOW_BUFFER;

    setsockopt(fd, SOL_SOCKET, which, &size, sizeof size);
}

/* So that who does not read is felt soon. */
static void bound_buffers(const struct net_tunnel *tunnel, int peer, int relay)
{
    bound_buffer(peer, SO_SNDBUF);
    bound_buffer(peer, SO_RCVBUF);
    bound_buffer(relay, SO_SNDBUF);
    if (tunnel->bounds_relays)
        bound_buffer(relay, SO_RCVBUF);
}

struct net_flow *net_flow_open(struct net_tunnel *tunnel, uint64_t up, uint64_t down)
{
    size_t number = tunnel->count++;
    char name = (char)('0' + number);
    const struct mux_target target = {MUX_TARGET_TCP, {&name, 1}, -1};
    struct net_flow *flow = &tunnel->flows[number];
    uint32_t out = (uint32_t)(2 * number);
    int ends[2];

    assert_true(number < NET_FLOWS);
    memset(flow, 0, sizeof *flow);
    net_tcp_pair(ends);
    bound_buffers(tunnel, ends[0], ends[1]);
    net_peer_open(&flow->target, ends[0], out + 1, out, down);
    flow->far_fd = ends[1];
    net_tcp_pair(ends);
    bound_buffers(tunnel, ends[0], ends[1]);
    net_peer_open(&flow->client, ends[0], out, out + 1, up);
    flow->near.relay = relay_new(&net.near, &near_owner, flow);
    assert_true(
        relay_open(flow->near.relay, tunnel->client, &target, (struct mux_text){"peer", 4}));
    relay_connect(flow->near.relay, transport_new(ends[1]));
    return flow;
}

bool net_flow_is_complete(const struct net_flow *flow)
{
    bool over = flow->near.ended && flow->far.ended && flow->client.ended && flow->target.ended;

    if (!over)
        return false;
    assert_int_equal(flow->near.how, RELAY_END_COMPLETE);
    assert_int_equal(flow->far.how, RELAY_END_COMPLETE);
    assert_int_equal(flow->client.sent, flow->client.to_send);
    assert_int_equal(flow->target.sent, flow->target.to_send);
    assert_int_equal(flow->target.received, flow->client.sent);
    assert_int_equal(flow->client.received, flow->target.sent);
    return true;
}

/* ---- links */

static void note_link_end(struct net_link_end *end, struct link *link, enum link_end how,
                          const char *reason)
{
    end->ended++;
    end->how = how;
    end->record = link_record(link);
    snprintf(end->reason, sizeof end->reason, "%s", reason);
    if (end->link == link)
        end->link = NULL;
}

static void on_near_link_ended(void *context, struct link *link, enum link_end how,
                               const char *reason)
{
    struct net_tunnel *tunnel = context;
    bool joined = link == tunnel->near_joined.link;

    note_link_end(joined ? &tunnel->near_joined : &tunnel->near, link, how, reason);
}

static void on_far_link_ended(void *context, struct link *link, enum link_end how,
                              const char *reason)
{
    struct net_tunnel *tunnel = context;
    bool joined = link == tunnel->far_joined.link;

    note_link_end(joined ? &tunnel->far_joined : &tunnel->far, link, how, reason);
}

static struct mux_link *on_hello(void *context, struct link *link, const struct mux_hello *hello,
                                 struct mux_reject *reject)
{
    static const char no[] = "not you";
    struct net_tunnel *tunnel = context;

    if (tunnel->refuses != MUX_CODE_NONE) {
        *reject = (struct mux_reject){.code = (uint16_t)tunnel->refuses,
                                      .retry_after_ms = 1234,
                                      .reason = {no, sizeof no - 1}};
        return NULL;
    }
    if (tunnel->hands_on) {
        tunnel->hands_on = false;
        tunnel->handed_on = link;
        return NULL;
    }
    assert_int_equal(hello->resume || hello->join, tunnel->established > 0);
    /* The link that the client has given up may still be there. */
    if (!hello->join && tunnel->far.link && tunnel->far.link != link)
        link_close(tunnel->far.link, 1001, "the session continues over a newer link");
    if (hello->join)
        tunnel->far_joined.link = link;
    else
        tunnel->far.link = link;
    struct mux_link *accepted = mux_link_accept(tunnel->server, hello, 0, (struct mux_text){"", 0},
                                                link_output(link), clock_now_us());
    assert_non_null(accepted);
    return accepted;
}

static const struct link_owner near_link_owner = {.ended = on_near_link_ended};
static const struct link_owner far_link_owner = {.hello = on_hello, .ended = on_far_link_ended};

static void shake_hands(struct net_tunnel *tunnel, struct transport *client,
                        struct transport *server)
{
    int done[2] = {0, 0};

    for (uint64_t limit = net_patience(); !done[0] || !done[1];) {
        if (!done[0])
            done[0] = transport_handshake(client);
        if (!done[1])
            done[1] = transport_handshake(server);
        assert_true(done[0] >= 0 && done[1] >= 0);
        net_wire_step(&tunnel->wire);
        net_check_patience(limit, "the handshake ends", __FILE__, __LINE__);
    }
}

void net_tunnel_link(struct net_tunnel *tunnel)
{
    struct transport *client, *server;
    int ends[2];

    assert_null(tunnel->near.link);
    net_wire_cut(&tunnel->wire, false);
    net_wire_open(&tunnel->wire, ends, tunnel->tcp);
    if (tunnel->tls) {
        client = transport_secure(transport_new(ends[0]), net_tls_client(), "localhost");
        server = transport_secure_server(transport_new(ends[1]), net_tls_server());
        shake_hands(tunnel, client, server);
    } else {
        client = transport_new(ends[0]);
        server = transport_new(ends[1]);
    }
    link_new_server(&net.far, server, &far_link_owner, tunnel);
    tunnel->near.link =
        link_new_client(&net.near, client, tunnel->client, &near_link_owner, tunnel);
    link_start(tunnel->near.link);
}

void net_tunnel_join(struct net_tunnel *tunnel)
{
    int ends[2];

    net_wire_cut(&tunnel->wire_joined, false);
    net_wire_open(&tunnel->wire_joined, ends, tunnel->tcp);
    link_new_server(&net.far, transport_new(ends[1]), &far_link_owner, tunnel);
    tunnel->near_joined.link = link_new_client(&net.near, transport_new(ends[0]), tunnel->client,
                                               &near_link_owner, tunnel);
    link_start(tunnel->near_joined.link);
    NET_UNTIL(mux_session_links_up(tunnel->client) == 2 &&
              mux_session_links_up(tunnel->server) == 2);
}

void net_tunnel_relink(struct net_tunnel *tunnel)
{
    net_tunnel_link(tunnel);
    NET_UNTIL(!tunnel->near.link ||
              (mux_session_established(tunnel->client) && mux_session_established(tunnel->server)));
}

void net_tunnel_forward(struct net_tunnel *tunnel)
{
    int ends[2];

    net_pair(ends);
    link_new_handed_on(&net.far, transport_new(ends[1]), &far_link_owner, tunnel);
    link_forward(tunnel->handed_on, transport_new(ends[0]));
}

static bool is_answered(const struct mux_session *session)
{
    const struct mux_link *lead = mux_session_lead(session);

    if (!lead)
        return true;
    struct mux_pings pings = mux_link_pings(lead);
    return pings.asked == pings.answered;
}

bool net_tunnel_is_calm(const struct net_tunnel *tunnel)
{
    return is_answered(tunnel->client) && is_answered(tunnel->server);
}

/* ---- all of it */

void net_tunnel_step(void *context)
{
    struct net_tunnel *tunnel = context;

    for (size_t i = 0; i < tunnel->count; i++) {
        net_peer_step(&tunnel->flows[i].client);
        net_peer_step(&tunnel->flows[i].target);
    }
    for (uint32_t steps = net_random(4); steps > 0; steps--)
        net_wire_step(&tunnel->wire);
    for (uint32_t steps = net_random(4); steps > 0; steps--)
        net_wire_step(&tunnel->wire_joined);
}

void net_tunnel_prepare(struct net_tunnel *tunnel, bool tls, bool tcp)
{
    static const struct mux_session_callbacks client_callbacks = {
        .established = on_established,
        .goaway = on_goaway_client,
    };
    static const struct mux_session_callbacks server_callbacks = {
        .open = on_open,
        .goaway = on_goaway_server,
    };
    struct mux_settings settings;
    struct mux_session_key key = {{0}, {0}};

    memset(tunnel, 0, sizeof *tunnel);
    tunnel->tls = tls;
    tunnel->tcp = tcp;
    tunnel->wire.is_cut = tunnel->wire_joined.is_cut = true;
    mux_settings_default(&settings);
    settings.software = (struct mux_text){"test", 4};
    settings.identity = (struct mux_text){"alice", 5};
    settings.role = MUX_CLIENT;
    settings.hash_key = net.near.hash_key;
    tunnel->client = mux_session_new(&settings, &client_callbacks, tunnel, &key, &net.near.pool,
                                     &net.near.share);
    settings.role = MUX_SERVER;
    settings.hash_key = net.far.hash_key;
    RAND_bytes(key.id, sizeof key.id);
    RAND_bytes(key.secret, sizeof key.secret);
    tunnel->server =
        mux_session_new(&settings, &server_callbacks, tunnel, &key, &net.far.pool, &net.far.share);
    net.step = net_tunnel_step;
    net.context = tunnel;
    net.turn_us = 50;
}

void net_tunnel_open(struct net_tunnel *tunnel, bool tls, bool tcp)
{
    net_tunnel_prepare(tunnel, tls, tcp);
    net_tunnel_relink(tunnel);
    assert_int_equal(tunnel->established, 1);
}

static void close_flow(struct net_flow *flow)
{
    if (flow->near.relay)
        relay_cut(flow->near.relay, MUX_CODE_SESSION_LOST, "the test is over");
    if (flow->far.relay)
        relay_cut(flow->far.relay, MUX_CODE_SESSION_LOST, "the test is over");
    net_peer_close(&flow->client);
    net_peer_close(&flow->target);
    if (flow->far_fd >= 0)
        close(flow->far_fd);
}

void net_tunnel_close(struct net_tunnel *tunnel)
{
    if (tunnel->near.link)
        link_abort(tunnel->near.link);
    if (tunnel->near_joined.link)
        link_abort(tunnel->near_joined.link);
    tunnel->near.link = tunnel->near_joined.link = NULL;
    net_wire_cut(&tunnel->wire, false);
    net_wire_cut(&tunnel->wire_joined, false);
    /* The server's links are told that they are gone. */
    for (uint64_t limit = net_patience(); tunnel->far.link || tunnel->far_joined.link; net_turn())
        net_check_patience(limit, "the server's link ends", __FILE__, __LINE__);
    for (size_t i = 0; i < tunnel->count; i++)
        close_flow(&tunnel->flows[i]);
    mux_session_free(tunnel->client);
    mux_session_free(tunnel->server);
    net.step = NULL;
    net_turns(2);
}
