/* Relays with a Kafka filter, to a broker that the test plays: answers are rewritten, held until
 * listeners are there, and what ends in between ends as it should; plain and with TLS. */
#include "net_tunnel.h"

#include "test_kafka_support.h"

#include <errno.h>
#include <poll.h>
#include <unistd.h>

enum { REQUESTS = 60, BIG = 60000 };

static struct net_tunnel tunnel;

/* One end of the connection: a Kafka client, or its broker. */
struct kafka_end {
    int fd;
    struct transport *tls; /* of a broker; NULL: plain */
    struct bytes out;
    size_t sent;
    struct bytes in;
    bool finishes; /* when all is sent */
    bool finished;
    bool stalls; /* does not read */
    bool ended;
    int error;
};

static struct {
    struct net_flow *flow;
    struct book book;
    struct kafka_end client;
    struct kafka_end broker;
    struct bytes expected; /* what the client is to get */
    struct bytes answers;  /* the broker has, to be sent when it is asked */
    int32_t next_id;
} kafka;

/* ---- moving bytes */

static void send_some(struct kafka_end *end)
{
    size_t left = end->out.size - end->sent;
    struct pollfd look = {.fd = end->fd};

    if (end->tls && transport_busy(end->tls)) {
        transport_flush(end->tls);
        return;
    }
    if (left == 0 && end->finishes && !end->finished) {
        end->finished = true;
        if (end->tls)
            transport_shutdown(end->tls);
        else
            shutdown(end->fd, SHUT_WR);
    }
    if (left == 0 || end->finished || poll(&look, 1, 0) != 0)
        return;
    size_t some = net_piece(left < WORKER_WRITE_SIZE ? left : WORKER_WRITE_SIZE);
    if (end->tls) {
        assert_int_equal(transport_commit(end->tls, end->out.at + end->sent, some), 0);
        transport_flush(end->tls);
        end->sent += some;
        return;
    }
    ssize_t put = send(end->fd, end->out.at + end->sent, some, MSG_NOSIGNAL);
    end->sent += put > 0 ? (size_t)put : 0;
}

static void receive_some(struct kafka_end *end)
{
    uint8_t bytes[65536];
    size_t size = net_piece(sizeof bytes);

    if (end->stalls || end->ended || end->error != 0)
        return;
    if (end->tls) {
        long got = transport_read(end->tls, bytes, size);
        bytes_add(&end->in, bytes, got > 0 ? (size_t)got : 0);
        end->ended = got == TRANSPORT_EOF;
        end->error = got == TRANSPORT_ERROR ? ECONNRESET : 0;
        return;
    }
    ssize_t got = recv(end->fd, bytes, size, 0);
    bytes_add(&end->in, bytes, got > 0 ? (size_t)got : 0);
    end->ended = got == 0;
    end->error = got < 0 && errno != EAGAIN ? errno : 0;
}

static void step_kafka(void *context)
{
    struct kafka_end *const ends[] = {&kafka.client, &kafka.broker};

    net_tunnel_step(context);
    for (int i = 0; i < 2; i++) {
        if (ends[i]->fd < 0)
            continue;
        receive_some(ends[i]);
        send_some(ends[i]);
    }
}

/* ---- life */

static void take_fd(struct kafka_end *end, struct net_peer *peer)
{
    end->fd = peer->fd;
    peer->fd = -1;
}

static void connect_with_tls(SSL_CTX *server)
{
    struct transport *transport =
        transport_secure(transport_new(kafka.flow->far_fd), net_tls_client(), "localhost");
    int done[2] = {0, 0};

    kafka.flow->far_fd = -1;
    kafka.broker.tls = transport_secure_server(transport_new(kafka.broker.fd), server);
    /* With TLS 1.3 a client is done before it is judged. */
    while (!done[0] || (!done[1] && server == net_tls_server())) {
        if (!done[0])
            done[0] = transport_handshake(transport);
        if (!done[1])
            done[1] = transport_handshake(kafka.broker.tls);
    }
    assert_int_equal(done[0], 1);
    relay_connect(kafka.flow->far.relay, transport);
}

static void open_kafka_guarded(SSL_CTX *server, const struct kafka_filter_limits *limits,
                               const struct kafka_guard *guard)
{
    memset(&kafka, 0, sizeof kafka);
    net_tunnel_open(&tunnel, net_random(2) == 0, false);
    kafka.flow = net_flow_open(&tunnel, 0, 0);
    kafka.flow->filter = new_filter(&kafka.book, limits);
    if (guard)
        assert_true(kafka_filter_use_guard(kafka.flow->filter, guard, NULL));
    kafka.flow->waits = true;
    take_fd(&kafka.client, &kafka.flow->client);
    take_fd(&kafka.broker, &kafka.flow->target);
    NET_UNTIL(kafka.flow->far.relay);
    if (server)
        connect_with_tls(server);
    else
        net_flow_connect(kafka.flow);
    net.step = step_kafka;
}

static void open_kafka_to(SSL_CTX *server, const struct kafka_filter_limits *limits)
{
    open_kafka_guarded(server, limits, NULL);
}

static void open_kafka(bool tls, const struct kafka_filter_limits *limits)
{
    open_kafka_to(tls ? net_tls_server() : NULL, limits);
}

static void close_broker(bool reset)
{
    struct kafka_end *broker = &kafka.broker;

    if (broker->fd < 0)
        return;
    if (broker->tls && reset)
        transport_reset(broker->tls);
    else if (broker->tls)
        transport_free(broker->tls);
    else if (reset)
        socket_reset(broker->fd);
    else
        close(broker->fd);
    broker->tls = NULL;
    broker->fd = -1;
}

static void close_kafka(void)
{
    struct bytes *all[] = {&kafka.client.out, &kafka.client.in, &kafka.broker.out,
                           &kafka.broker.in,  &kafka.expected,  &kafka.answers};

    if (kafka.client.fd >= 0)
        close(kafka.client.fd);
    kafka.client.fd = -1;
    close_broker(false);
    net_tunnel_close(&tunnel);
    for (size_t i = 0; i < sizeof all / sizeof all[0]; i++)
        bytes_free(all[i]);
}

/* ---- requests and answers */

/* A response of Kafka's and what the client is to see of it, from the file of vectors. */
static void add_vector(const char *what, int32_t id, struct bytes *input, struct bytes *expected)
{
    FILE *file = fopen(VECTORS "/kafka-responses.txt", "re");
    char line[4096];
    bool found = false;

    assert_non_null(file);
    while (!found && fgets(line, sizeof line, file))
        found = strncmp(line, what, strlen(what)) == 0;
    fclose(file);
    assert_true(found);
    char *hex = line + strlen(what);
    size_t in_at = input->size;
    size_t out_at = expected->size;
    char *second = strchr(hex, ' ');
    *second = '\0';
    bytes_hex(input, hex);
    bytes_hex(expected, second + 1);
    byte_store_u32(input->at + in_at + 4, (uint32_t)id);
    byte_store_u32(expected->at + out_at + 4, (uint32_t)id);
}

/* An API that is passed: a request, or its answer, with so many bytes of body. */
static void add_opaque(struct bytes *b, bool answer, int32_t id, size_t body)
{
    size_t start = frame_begin(b);

    if (answer)
        bytes_u32(b, (uint32_t)id);
    else
        add_header(b, 12, 0, id); /* Heartbeat */
    for (size_t i = 0; i < body; i++)
        bytes_u8(b, (uint8_t)(i * 7 + (size_t)id));
    frame_end(b, start);
}

/* The client asks, and the broker has an answer. */
static void ask_metadata(void)
{
    int32_t id = kafka.next_id++;

    add_request(&kafka.client.out, KAFKA_KEY_METADATA, 8, id);
    add_vector("MetadataResponse 8 REWRITE ", id, &kafka.answers, &kafka.expected);
}

static void ask_opaque(size_t there, size_t back)
{
    int32_t id = kafka.next_id++;

    add_opaque(&kafka.client.out, false, id, there);
    add_opaque(&kafka.answers, true, id, back);
    add_opaque(&kafka.expected, true, id, back);
}

/* As much as there is room for: how much the system's buffers on the way take is its own matter. */
static void ask_until_nothing_moves(void)
{
    enum { EACH = 30, MOST = 64 << 20 };

    for (uint64_t before = UINT64_MAX;
         before != kafka.client.sent || before == kafka.client.out.size;) {
        before = kafka.client.sent;
        if (before == kafka.client.out.size) {
            assert_true(before < MOST);
            for (int i = 0; i < EACH; i++)
                ask_opaque(BIG, 10);
        }
        net_turns(1000);
    }
}

static void ask_anything(void)
{
    int32_t id = kafka.next_id;

    switch (net_random(5)) {
    case 0:
        ask_metadata();
        return;
    case 1:
        add_request(&kafka.client.out, KAFKA_KEY_FIND_COORDINATOR, 4, id);
        add_vector("FindCoordinatorResponse 4 REWRITE ", id, &kafka.answers, &kafka.expected);
        break;
    case 2:
        add_request(&kafka.client.out, KAFKA_KEY_PRODUCE, 10, id);
        add_vector("ProduceResponse 10 REWRITE ", id, &kafka.answers, &kafka.expected);
        break;
    case 3:
        add_request(&kafka.client.out, KAFKA_KEY_FETCH, 16, id);
        add_vector("FetchResponse 16 NEUTRAL ", id, &kafka.answers, &kafka.expected);
        break;
    default:
        ask_opaque(net_piece(BIG), net_piece(BIG));
        return;
    }
    kafka.next_id++;
}

/* All that has been asked is with the broker, which says what it has for it. */
static void answer_all(void)
{
    NET_UNTIL(kafka.broker.in.size == kafka.client.out.size);
    assert_memory_equal(kafka.broker.in.at, kafka.client.out.at, kafka.broker.in.size);
    bytes_add(&kafka.broker.out, kafka.answers.at + kafka.broker.out.size,
              kafka.answers.size - kafka.broker.out.size);
}

static void expect_answers(void)
{
    NET_UNTIL(kafka.client.in.size >= kafka.expected.size);
    assert_int_equal(kafka.client.in.size, kafka.expected.size);
    assert_memory_equal(kafka.client.in.at, kafka.expected.at, kafka.expected.size);
}

/* Each side has ended in good order. */
static void expect_complete(void)
{
    NET_UNTIL(kafka.flow->near.ended && kafka.flow->far.ended && kafka.client.ended &&
              kafka.broker.ended);
    assert_int_equal(kafka.flow->near.how, RELAY_END_COMPLETE);
    assert_int_equal(kafka.flow->far.how, RELAY_END_COMPLETE);
}

static void expect_cut(enum mux_code code, const char *reason)
{
    NET_UNTIL(kafka.flow->near.ended && kafka.flow->far.ended && kafka.client.error != 0);
    assert_false(kafka.client.ended);
    assert_int_equal(kafka.flow->far.how, RELAY_END_RESET);
    assert_int_equal(kafka.flow->far.code, code);
    assert_int_equal(kafka.flow->near.code, code);
    if (!strstr(kafka.flow->far.reason, reason))
        fail_msg("no \"%s\" in: %s", reason, kafka.flow->far.reason);
}

static void finish_all(void)
{
    kafka.client.finishes = kafka.broker.finishes = true;
    expect_complete();
}

/* ---- answers */

static void answers_are_rewritten(void **state)
{
    (void)state;
    for (int tls = 0; tls < 2; tls++) {
        open_kafka(tls, NULL);
        for (int i = 0; i < REQUESTS; i++)
            ask_anything();
        answer_all();
        expect_answers();
        finish_all();
        assert_int_equal(kafka.flow->unanswered, 0);
        close_kafka();
    }
}

/* Links are cut meanwhile, and the client does not read at times. */
static void over_links_that_are_cut(void **state)
{
    (void)state;
    for (int tls = 0; tls < 2; tls++) {
        unsigned cuts = 0;
        open_kafka(tls, NULL);
        for (int i = 0; i < REQUESTS; i++)
            ask_anything();
        bytes_add(&kafka.broker.out, kafka.answers.at, kafka.answers.size);
        /* A response must not come before its request. */
        kafka.broker.sent = kafka.broker.out.size;
        NET_UNTIL(kafka.broker.in.size == kafka.client.out.size);
        kafka.broker.sent = 0;
        for (uint64_t limit = net_patience(); kafka.client.in.size < kafka.expected.size;
             net_turn()) {
            kafka.client.stalls = net_random(64) == 0 ? !kafka.client.stalls : kafka.client.stalls;
            net_check_patience(limit, "all answers come", __FILE__, __LINE__);
            if (tunnel.near.link)
                continue;
            net_tunnel_link(&tunnel);
            net.step = step_kafka;
            if (cuts++ < 10)
                tunnel.wire.cut_after = tunnel.wire.carried[0] + tunnel.wire.carried[1] +
                                        net_piece(kafka.answers.size / 4 + 200);
        }
        kafka.client.stalls = false;
        expect_answers();
        finish_all();
        close_kafka();
    }
}

/* Many small answers: the filter gets tired, others have their turn, and it goes on. */
static void a_tired_filter_goes_on(void **state)
{
    const struct kafka_filter_limits limits = {.turn = 3};

    (void)state;
    for (int tls = 0; tls < 2; tls++) {
        open_kafka(tls, &limits);
        for (int i = 0; i < 100; i++) {
            if (i % 3 == 0)
                ask_metadata();
            else
                ask_opaque(1, net_random(20));
        }
        answer_all();
        kafka.broker.finishes = true;
        expect_answers();
        finish_all();
        close_kafka();
    }
}

/* Only what the kernel has taken is credited: with TLS no more waits for a broker than without. */
static void a_stalled_broker(void **state)
{
    (void)state;
    for (int tls = 0; tls < 2; tls++) {
        open_kafka(tls, NULL);
        kafka.broker.stalls = true;
        ask_until_nothing_moves();
        assert_in_range(relay_bytes_to_socket(kafka.flow->far.relay), 1, 6 * NET_FLOW_BUFFER);
        kafka.broker.stalls = false;
        answer_all();
        expect_answers();
        finish_all();
        close_kafka();
    }
}

/* ---- requests that are held until they are judged */

static bool denies_something(void *context)
{
    (void)context;
    return false;
}

static uint64_t stays_the_same(void *context)
{
    (void)context;
    return 1;
}

static bool allows_any_api(void *context, int16_t api_key)
{
    (void)context;
    (void)api_key;
    return true;
}

static bool limits_topics(void *context, int16_t api_key, enum kafka_resource resource)
{
    (void)context;
    (void)api_key;
    return resource == KAFKA_TOPIC;
}

static bool allows_mine(void *context, int16_t api_key, enum kafka_resource resource,
                        const char *name, size_t size)
{
    (void)context;
    (void)api_key;
    return resource != KAFKA_TOPIC || (size >= 4 && memcmp(name, "mine", 4) == 0);
}

static const char *knows_no_id(void *context, const uint8_t id[KAFKA_TOPIC_ID_SIZE], size_t *size)
{
    (void)context;
    (void)id;
    (void)size;
    return NULL;
}

static void learns_nothing(void *context, const uint8_t id[KAFKA_TOPIC_ID_SIZE], const char *name,
                           size_t size)
{
    (void)context;
    (void)id;
    (void)name;
    (void)size;
}

static void tells_nobody(void *context, const struct kafka_denied *denied)
{
    (void)context;
    (void)denied;
}

static const struct kafka_guard only_mine = {.open = denies_something,
                                             .generation = stays_the_same,
                                             .api = allows_any_api,
                                             .limits = limits_topics,
                                             .resource = allows_mine,
                                             .topic = knows_no_id,
                                             .learnt = learns_nothing,
                                             .denied = tells_nobody};

static void add_topic(struct bytes *b, const char *name, size_t records)
{
    bytes_u16(b, (uint16_t)strlen(name));
    bytes_add(b, (const uint8_t *)name, strlen(name));
    bytes_u32(b, 1);
    bytes_u32(b, 0);
    bytes_u32(b, (uint32_t)records);
    for (size_t i = 0; i < records; i++)
        bytes_u8(b, (uint8_t)(i * 7));
}

/* Produce, version 2: the second topic stands behind the records of the first, so these are held.
 */
static void ask_held(size_t records)
{
    int32_t id = kafka.next_id++;
    size_t start = frame_begin(&kafka.client.out);

    add_header(&kafka.client.out, KAFKA_KEY_PRODUCE, 2, id);
    bytes_u16(&kafka.client.out, 1);
    bytes_u32(&kafka.client.out, 1000);
    bytes_u32(&kafka.client.out, 2);
    add_topic(&kafka.client.out, "mine-1", records);
    add_topic(&kafka.client.out, "mine-2", 10);
    frame_end(&kafka.client.out, start);
    add_opaque(&kafka.answers, true, id, 10);
    add_opaque(&kafka.expected, true, id, 10);
}

/* A client sends one request after another, each of which is held for a while, to a broker that
 * does not read: what is let go of is bounded, and charged like what is held; others go on
 * meanwhile. */
static void a_stalled_broker_beside_what_is_held(void **state)
{
    enum { RECORDS = 1 << 20, MUCH = 24, SLACK = 128 * 1024 };
    const struct kafka_filter *filter;
    size_t most = 0;

    (void)state;
    open_kafka_guarded(NULL, NULL, &only_mine);
    filter = kafka.flow->filter;
    kafka.broker.stalls = true;
    for (int i = 0; i < MUCH; i++)
        ask_held(RECORDS);
    struct net_flow *other = net_flow_open(&tunnel, 3 << 20, 3 << 20);
    for (uint64_t before = UINT64_MAX;
         before != kafka.client.sent || !net_flow_is_complete(other);) {
        before = kafka.client.sent;
        for (int i = 0; i < 200; i++) {
            size_t here = relay_unwritten(kafka.flow->far.relay) + kafka_filter_memory(filter);
            most = here > most ? here : most;
            assert_true(net.far.budget.send.used + SLACK + MUX_STREAM_FLOOR >= here);
            net_turns(5);
        }
    }
    assert_true(kafka.client.sent < kafka.client.out.size / 2);
    assert_in_range(most, RECORDS, 4 * RECORDS);
    kafka.broker.stalls = false;
    answer_all();
    expect_answers();
    assert_true(net.far.budget.send.used < SLACK);
    finish_all();
    close_kafka();
}

/* Many connections that each have begun a request and go no further must not hold more than memory
 * allows, however little each of them has. */
static void a_little_that_is_held_is_charged(void **state)
{
    enum { RECORDS = 60000, COME = 50000, UNCHARGED = 16 * 1024 };

    (void)state;
    open_kafka_guarded(NULL, NULL, &only_mine);
    size_t before = net.far.budget.send.used;
    ask_held(RECORDS);
    size_t whole = kafka.client.out.size;
    kafka.client.out.size = COME;
    NET_UNTIL(kafka.client.sent == COME && kafka_filter_memory(kafka.flow->filter) >= COME);
    net_turns(10);
    assert_true(net.far.budget.send.used >= before + COME - MUX_STREAM_FLOOR);
    kafka.client.out.size = whole;
    answer_all();
    expect_answers();
    net_turns(10);
    assert_true(net.far.budget.send.used < before + UNCHARGED);
    finish_all();
    close_kafka();
}

/* ---- answers that wait for listeners */

static void block(bool tls)
{
    open_kafka(tls, NULL);
    kafka.book.unknown = 2;
    ask_metadata();
    ask_opaque(10, 30000);
    answer_all();
    NET_UNTIL(kafka.flow->wanted);
    net_turns(100);
    /* Nothing that is behind it overtakes it. */
    assert_int_equal(kafka.client.in.size, 0);
}

static void unblock(void)
{
    kafka.book.unknown = -1;
    relay_kafka_listeners_ready(kafka.flow->far.relay);
}

static void held_until_there_are_listeners(void **state)
{
    (void)state;
    for (int tls = 0; tls < 2; tls++) {
        block(tls);
        /* The map still does not know: asked again, and held. */
        relay_kafka_listeners_ready(kafka.flow->far.relay);
        net_turns(20);
        assert_int_equal(kafka.client.in.size, 0);
        /* Requests go on meanwhile. */
        ask_opaque(BIG, 10);
        NET_UNTIL(kafka.broker.in.size == kafka.client.out.size);
        unblock();
        answer_all();
        expect_answers();
        /* When nothing waits it does nothing. */
        relay_kafka_listeners_ready(kafka.flow->far.relay);
        finish_all();
        close_kafka();
    }
}

static void the_client_ends_meanwhile(void **state)
{
    (void)state;
    for (int tls = 0; tls < 2; tls++) {
        block(tls);
        kafka.client.finishes = true;
        NET_UNTIL(kafka.broker.ended);
        assert_int_equal(kafka.client.in.size, 0);
        unblock();
        expect_answers();
        finish_all();
        close_kafka();
    }
}

static void the_client_goes_meanwhile(void **state)
{
    (void)state;
    for (int tls = 0; tls < 2; tls++) {
        block(tls);
        socket_reset(kafka.client.fd);
        kafka.client.fd = -1;
        NET_UNTIL(kafka.flow->far.ended && kafka.broker.error != 0);
        assert_int_equal(kafka.flow->far.how, RELAY_END_RESET);
        assert_false(kafka.broker.ended);
        close_kafka();
    }
}

static void the_broker_ends_meanwhile(void **state)
{
    (void)state;
    for (int tls = 0; tls < 2; tls++) {
        block(tls);
        kafka.broker.finishes = true;
        net_turns(50);
        assert_false(kafka.client.ended);
        unblock();
        expect_answers();
        NET_UNTIL(kafka.client.ended);
        assert_int_equal(kafka.flow->unanswered, 0);
        finish_all();
        close_kafka();
    }
}

/* What it has said before is delivered, then the connection is cut. */
static void the_broker_goes_meanwhile(void **state)
{
    (void)state;
    for (int tls = 0; tls < 2; tls++) {
        block(tls);
        NET_UNTIL(kafka.broker.sent == kafka.broker.out.size);
        net_turns(100);
        close_broker(true);
        net_turns(50);
        assert_false(kafka.client.ended || kafka.client.error != 0);
        unblock();
        expect_cut(MUX_CODE_PEER_RESET, "");
        assert_true(kafka.client.in.size <= kafka.expected.size);
        assert_memory_equal(kafka.client.in.at, kafka.expected.at, kafka.client.in.size);
        close_kafka();
    }
}

/* ---- ends */

static void the_broker_ends_within_an_answer(void **state)
{
    (void)state;
    for (int tls = 0; tls < 2; tls++) {
        open_kafka(tls, NULL);
        ask_opaque(10, 5000);
        answer_all();
        kafka.broker.out.size -= 1 + net_random(5000);
        kafka.broker.finishes = true;
        expect_cut(MUX_CODE_PEER_RESET, "within a response");
        assert_memory_equal(kafka.client.in.at, kafka.expected.at, kafka.client.in.size);
        close_kafka();
    }
}

/* A broker's way to say no. */
static void the_broker_ends_without_an_answer(void **state)
{
    (void)state;
    for (int tls = 0; tls < 2; tls++) {
        open_kafka(tls, NULL);
        ask_opaque(10, 10);
        NET_UNTIL(kafka.broker.in.size == kafka.client.out.size);
        kafka.broker.finishes = true;
        NET_UNTIL(kafka.client.ended);
        assert_int_equal(kafka.flow->unanswered, 1);
        finish_all();
        close_kafka();
    }
}

static void the_client_ends_first(void **state)
{
    (void)state;
    for (int tls = 0; tls < 2; tls++) {
        open_kafka(tls, NULL);
        ask_opaque(10, 30000);
        kafka.client.finishes = true;
        NET_UNTIL(kafka.broker.ended);
        answer_all();
        kafka.broker.finishes = true;
        expect_answers();
        expect_complete();
        assert_int_equal(kafka.flow->unanswered, 0);
        close_kafka();
    }
}

static void what_is_not_kafka(void **state)
{
    static const char http[] = "GET / HTTP/1.1\r\nHost: localhost\r\n\r\n";

    (void)state;
    for (int from_broker = 0; from_broker < 2; from_broker++) {
        open_kafka(from_broker, NULL);
        if (from_broker) {
            ask_metadata();
            NET_UNTIL(kafka.broker.in.size == kafka.client.out.size);
        }
        bytes_add(from_broker ? &kafka.broker.out : &kafka.client.out, http, sizeof http - 1);
        expect_cut(MUX_CODE_KAFKA_PROTOCOL, "");
        assert_string_not_equal(kafka.flow->far.reason, "");
        /* Nothing of it gets through, but for a size, when that comes in pieces. */
        assert_int_equal(kafka.client.in.size, 0);
        if (!from_broker)
            assert_in_range(kafka.broker.in.size, 0, 3);
        close_kafka();
    }
}

/* ---- a program that is about to stop */

static void drained_when_idle(void **state)
{
    (void)state;
    for (int tls = 0; tls < 2; tls++) {
        open_kafka(tls, NULL);
        ask_metadata();
        answer_all();
        expect_answers();
        relay_drain(kafka.flow->far.relay);
        NET_UNTIL(kafka.client.ended && kafka.broker.ended);
        assert_int_equal(kafka.flow->unanswered, 0);
        finish_all();
        close_kafka();
    }
}

/* What has been asked is answered; what is asked afterwards does not reach the broker. */
static void drained_between_two_requests(void **state)
{
    (void)state;
    for (int tls = 0; tls < 2; tls++) {
        open_kafka(tls, NULL);
        ask_metadata();
        ask_opaque(100, 30000);
        size_t partial = kafka.client.out.size;
        NET_UNTIL(kafka.broker.in.size == partial);
        /* Of the third one a part has come: the rest of it still goes through. */
        ask_opaque(3000, 200);
        size_t whole = kafka.client.out.size;
        kafka.client.out.size = partial + 5 + net_random(3000);
        NET_UNTIL(kafka.broker.in.size == kafka.client.out.size);
        relay_drain(kafka.flow->far.relay);
        kafka.client.out.size = whole;
        struct bytes after = {0};
        add_opaque(&after, false, 99, 500);
        bytes_add(&kafka.client.out, after.at, after.size);
        NET_UNTIL(kafka.client.sent == kafka.client.out.size);
        NET_UNTIL(kafka.broker.in.size == whole);
        net_turns(100);
        assert_false(kafka.client.ended || kafka.broker.ended);
        assert_int_equal(kafka.broker.in.size, whole);
        assert_memory_equal(kafka.broker.in.at, kafka.client.out.at, whole);
        bytes_add(&kafka.broker.out, kafka.answers.at, kafka.answers.size);
        expect_answers();
        NET_UNTIL(kafka.client.ended && kafka.broker.ended);
        assert_int_equal(kafka.broker.in.size, whole);
        finish_all();
        bytes_free(&after);
        close_kafka();
    }
}

static void drained_while_an_answer_waits(void **state)
{
    (void)state;
    block(false);
    relay_drain(kafka.flow->far.relay);
    net_turns(50);
    assert_false(kafka.client.ended || kafka.broker.ended);
    unblock();
    expect_answers();
    NET_UNTIL(kafka.client.ended && kafka.broker.ended);
    finish_all();
    close_kafka();
}

/* ---- logins */

/* A client that may only log in wants more: the socket is the owner's, with the login on it. */
static void the_socket_is_taken_after_a_login(void **state)
{
    uint8_t byte = 'x';

    (void)state;
    for (int tls = 0; tls < 2; tls++) {
        open_kafka(tls, NULL);
        assert_true(kafka_filter_only_login(kafka.flow->filter));
        add_request(&kafka.client.out, KAFKA_KEY_SASL_HANDSHAKE, 1, 7);
        NET_UNTIL(kafka.broker.in.size == kafka.client.out.size);
        size_t login = kafka.broker.in.size;
        /* Whole: the beginning of one that comes in pieces is with the broker already. */
        struct bytes more = {0};
        add_request(&more, KAFKA_KEY_METADATA, 8, 8);
        tunnel.wire.stalled[0] = true;
        assert_int_equal(send(kafka.client.fd, more.at, more.size, 0), more.size);
        NET_UNTIL(relay_bytes_from_socket(kafka.flow->near.relay) == login + more.size);
        net_turns(5);
        bytes_free(&more);
        tunnel.wire.stalled[0] = false;
        while (net_wire_step(&tunnel.wire))
            ;
        NET_UNTIL(kafka.flow->logged_in);
        struct transport *socket = relay_take_transport(kafka.flow->far.relay);
        net_turns(30);
        assert_int_equal(kafka.broker.in.size, login);
        assert_false(kafka.broker.ended || kafka.broker.error != 0);
        assert_int_equal(transport_commit(socket, &byte, 1), 0);
        assert_int_equal(transport_flush(socket), 1);
        NET_UNTIL(kafka.broker.in.size == login + 1);
        relay_cut(kafka.flow->far.relay, MUX_CODE_UNKNOWN_NODE, "connect again");
        kafka.flow->far.relay = NULL;
        NET_UNTIL(kafka.flow->near.ended && kafka.client.error != 0);
        assert_int_equal(kafka.flow->near.code, MUX_CODE_UNKNOWN_NODE);
        assert_false(kafka.client.ended || kafka.broker.ended);
        transport_free(socket);
        NET_UNTIL(kafka.broker.ended);
        close_kafka();
    }
}

/* Where somebody else has logged in, a client's own login is answered last, and reaches nobody. */
static void a_login_that_is_refused(void **state)
{
    static const char words[] = "none: not yours";

    (void)state;
    for (int tls = 0; tls < 2; tls++) {
        open_kafka(tls, NULL);
        kafka_filter_refuse_login(kafka.flow->filter);
        for (int i = 0; i < 5; i++)
            ask_anything();
        size_t before = kafka.client.out.size;
        add_request(&kafka.client.out, KAFKA_KEY_SASL_HANDSHAKE, 1, 77);
        size_t login = kafka.client.out.size - before;
        add_opaque(&kafka.client.out, false, 99, 5000);
        NET_UNTIL(kafka.client.sent == kafka.client.out.size && kafka.broker.in.size >= before);
        NET_UNTIL(kafka.flow->refused_login == 1);
        net_turns(50);
        /* Not more than the beginning of it. */
        assert_in_range(kafka.broker.in.size, before, before + login - 1);
        assert_false(kafka.client.ended || kafka.broker.ended);
        bytes_add(&kafka.broker.out, kafka.answers.at, kafka.answers.size);
        size_t start = frame_begin(&kafka.expected);
        bytes_u32(&kafka.expected, 77);
        bytes_u16(&kafka.expected, 33);
        bytes_u32(&kafka.expected, 1);
        bytes_u16(&kafka.expected, sizeof words - 1);
        bytes_add(&kafka.expected, words, sizeof words - 1);
        frame_end(&kafka.expected, start);
        expect_answers();
        NET_UNTIL(kafka.client.ended && kafka.broker.ended);
        assert_int_equal(kafka.flow->unanswered, 0);
        assert_int_equal(kafka.flow->refused_login, 1);
        finish_all();
        close_kafka();
    }
}

/* ---- requests of the owner's */

enum { OWN_ID = 0x7eadbee0, OWN_SIZE = 300 };

static struct {
    struct bytes client; /* what of the broker's input is the client's */
    size_t seen;         /* of the broker's input */
    size_t answered;     /* of kafka.answers */
    int own;
} mixed;

/* As a broker: one request after another. The owner's are all alike, but for their number. */
static void answer_in_order(void)
{
    const struct bytes *in = &kafka.broker.in;

    while (in->size - mixed.seen >= 4) {
        const uint8_t *at = in->at + mixed.seen;
        size_t size = 4 + byte_load_u32(at);
        if (in->size - mixed.seen < size)
            return;
        mixed.seen += size;
        if (byte_load_u32(at + 8) == (uint32_t)(OWN_ID + mixed.own)) {
            add_opaque(&kafka.broker.out, true, OWN_ID + mixed.own, OWN_SIZE + (size_t)mixed.own);
            mixed.own++;
            continue;
        }
        bytes_add(&mixed.client, at, size);
        size_t length = 4 + byte_load_u32(kafka.answers.at + mixed.answered);
        bytes_add(&kafka.broker.out, kafka.answers.at + mixed.answered, length);
        mixed.answered += length;
    }
}

static void step_mixed(void *context)
{
    step_kafka(context);
    answer_in_order();
}

static void ask_as_owner(int number)
{
    struct bytes request = {0};
    struct bytes answer = {0};

    add_opaque(&request, false, OWN_ID + number, 50);
    add_opaque(&answer, true, OWN_ID + number, OWN_SIZE + (size_t)number);
    kafka.flow->answer_size = 0;
    assert_true(relay_kafka_ask(kafka.flow->far.relay, request.at, request.size, OWN_ID + number));
    NET_UNTIL(kafka.flow->answer_size > 0);
    assert_int_equal(kafka.flow->answer_size, answer.size);
    assert_memory_equal(kafka.flow->answer, answer.at, answer.size);
    bytes_free(&request);
    bytes_free(&answer);
}

/* In whatever pieces and places, the client's requests come whole and in order, and so do answers.
 */
static void requests_between_two_of_the_clients(void **state)
{
    (void)state;
    for (int tls = 0; tls < 2; tls++) {
        open_kafka(tls, NULL);
        memset(&mixed, 0, sizeof mixed);
        net.step = step_mixed;
        for (int round = 0; round < 8; round++) {
            for (uint32_t i = net_random(20); i > 0; i--)
                ask_anything();
            net_turns(net_random(30));
            relay_kafka_pause(kafka.flow->far.relay);
            for (uint32_t i = net_random(5); i > 0; i--)
                ask_anything();
            NET_UNTIL(kafka.flow->paused == round + 1);
            ask_as_owner(2 * round);
            net_turns(net_random(30));
            ask_as_owner(2 * round + 1);
            relay_kafka_resume(kafka.flow->far.relay);
        }
        expect_answers();
        assert_int_equal(mixed.client.size, kafka.client.out.size);
        assert_memory_equal(mixed.client.at, kafka.client.out.at, mixed.client.size);
        finish_all();
        bytes_free(&mixed.client);
        close_kafka();
    }
}

/* What a client has sent before its end goes to the broker, and its end behind that. */
static void a_client_that_ends_while_it_is_paused(void **state)
{
    (void)state;
    open_kafka(false, NULL);
    memset(&mixed, 0, sizeof mixed);
    net.step = step_mixed;
    relay_kafka_pause(kafka.flow->far.relay);
    ask_opaque(20000, 100);
    kafka.client.finishes = true;
    NET_UNTIL(kafka.client.finished && kafka.flow->paused == 1);
    net_turns(100);
    assert_int_equal(kafka.broker.in.size, 0);
    assert_false(kafka.broker.ended);
    ask_as_owner(0);
    relay_kafka_resume(kafka.flow->far.relay);
    NET_UNTIL(kafka.broker.ended);
    expect_answers();
    assert_int_equal(mixed.client.size, kafka.client.out.size);
    kafka.broker.finishes = true;
    expect_complete();
    bytes_free(&mixed.client);
    close_kafka();
}

/* It gets no credit beyond its window. */
static void a_client_that_sends_much_while_it_is_paused(void **state)
{
    (void)state;
    open_kafka(false, NULL);
    memset(&mixed, 0, sizeof mixed);
    net.step = step_mixed;
    relay_kafka_pause(kafka.flow->far.relay);
    ask_until_nothing_moves();
    assert_int_equal(kafka.flow->paused, 1);
    assert_int_equal(kafka.broker.in.size, 0);
    relay_kafka_resume(kafka.flow->far.relay);
    expect_answers();
    assert_int_equal(mixed.client.size, kafka.client.out.size);
    assert_memory_equal(mixed.client.at, kafka.client.out.at, mixed.client.size);
    finish_all();
    bytes_free(&mixed.client);
    close_kafka();
}

/* With TLS 1.3 the server hears after its handshake that its certificate is not taken. */
static void a_broker_that_refuses_afterwards(void **state)
{
    const struct tls_material *material = net_tls_material();
    SSL_CTX *demanding = SSL_CTX_new(TLS_server_method());

    (void)state;
    SSL_CTX_use_certificate(demanding, material->certificate);
    SSL_CTX_use_PrivateKey(demanding, material->key);
    SSL_CTX_set_verify(demanding, SSL_VERIFY_PEER | SSL_VERIFY_FAIL_IF_NO_PEER_CERT, NULL);
    open_kafka_to(demanding, NULL);
    expect_cut(MUX_CODE_UPSTREAM_UNREACHABLE, "certificate required");
    close_kafka();
    SSL_CTX_free(demanding);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        NET_TEST(answers_are_rewritten),
        NET_TEST(over_links_that_are_cut),
        NET_TEST(a_tired_filter_goes_on),
        NET_TEST(a_stalled_broker),
        NET_TEST(a_stalled_broker_beside_what_is_held),
        NET_TEST(a_little_that_is_held_is_charged),
        NET_TEST(held_until_there_are_listeners),
        NET_TEST(the_client_ends_meanwhile),
        NET_TEST(the_client_goes_meanwhile),
        NET_TEST(the_broker_ends_meanwhile),
        NET_TEST(the_broker_goes_meanwhile),
        NET_TEST(the_broker_ends_within_an_answer),
        NET_TEST(the_broker_ends_without_an_answer),
        NET_TEST(the_client_ends_first),
        NET_TEST(what_is_not_kafka),
        NET_TEST(drained_when_idle),
        NET_TEST(drained_between_two_requests),
        NET_TEST(drained_while_an_answer_waits),
        NET_TEST(the_socket_is_taken_after_a_login),
        NET_TEST(a_login_that_is_refused),
        NET_TEST(requests_between_two_of_the_clients),
        NET_TEST(a_client_that_ends_while_it_is_paused),
        NET_TEST(a_client_that_sends_much_while_it_is_paused),
        NET_TEST(a_broker_that_refuses_afterwards),
    };

    return NET_RUN(tests);
}
