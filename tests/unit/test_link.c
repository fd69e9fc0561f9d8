/* Links: WebSocket frames in any split, those that may not be, ends of every kind and what each is
 * called, deadlines, and links that are handed on to another instance. What links carry is the
 * matter of test_relay.c. */
#include "net_tunnel.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#ifdef __linux__
#include <linux/sockios.h>
#endif
#include <sys/ioctl.h>
#include <unistd.h>

#include <openssl/opensslv.h>

#include "base/bytes.h"
#include "io/clock.h"
#include "io/path.h"
#include "mux/frame.h"
#include "mux/session_core.h"
#include "ws/decoder.h"
#include "ws/frame.h"
#include "ws/mask.h"

enum { PAYLOAD_MAX = 1 << 20, INITIAL_WINDOW = 65536 };

/* ---- one link, and what the test plays at its other end */

static struct {
    bool client; /* the link's role; the test has the other one */
    struct link *link;
    struct mux_session *session;
    unsigned hellos;
    enum mux_code refuses; /* HELLO */
    bool hands_on;
    unsigned departs; /* how often HELLO sends the link to another worker */
    unsigned departed;
    uint32_t window; /* that WELCOME gives a stream at first */
    unsigned ended;
    enum link_end how;
    char reason[200];
    struct link_record record;
    int link_fd;
    uint16_t rejection; /* the code of the server's REJECT */

    int fd; /* the test's */
    struct ws_decoder decoder;
    uint8_t payload[PAYLOAD_MAX];
    size_t size;
    size_t seen;     /* of payload: frames of the tunnel that were looked at */
    size_t largest;  /* WebSocket frame, header included */
    bool answers;    /* pings of the tunnel */
    unsigned saying; /* what is said is not whole yet: nothing goes in between */
    unsigned pongs;
    uint8_t pong[WS_CONTROL_PAYLOAD_MAX];
    size_t pong_size;
    unsigned closes;
    uint16_t close_code;
    char close_reason[WS_CONTROL_PAYLOAD_MAX + 1];
    bool closed; /* end of file, or a reset */
} one;

static void say(const void *bytes, size_t size);

static struct mux_link *on_hello(void *context, struct link *link, const struct mux_hello *hello,
                                 struct mux_reject *reject)
{
    assert_ptr_equal(context, &one);
    assert_ptr_equal(link, one.link);
    one.hellos++;
    if (one.hellos <= one.departs) {
        link_depart(link);
        return NULL;
    }
    if (one.hands_on)
        return NULL;
    if (one.refuses != MUX_CODE_NONE) {
        *reject = (struct mux_reject){
            .code = (uint16_t)one.refuses, .retry_after_ms = 77, .reason = {"no room", 7}};
        return NULL;
    }
    return mux_link_accept(one.session, hello, 0, (struct mux_text){"", 0}, link_output(link),
                           clock_now_us());
}

static void on_ended(void *context, struct link *link, enum link_end how, const char *reason)
{
    assert_ptr_equal(context, &one);
    one.ended++;
    one.how = how;
    one.record = link_record(link);
    one.rejection = link_rejection(link)->code;
    snprintf(one.reason, sizeof one.reason, "%s", reason);
    one.link = NULL;
}

static void on_departed(void *context, struct link *link)
{
    assert_ptr_equal(context, &one);
    assert_ptr_equal(link, one.link);
    one.departed++;
}

static const struct link_owner owner = {
    .hello = on_hello, .ended = on_ended, .departed = on_departed};

/* ---- the other end: what it hears */

static size_t header_size(uint64_t payload)
{
    return (size_t)(payload < 126 ? 2 : payload <= UINT16_MAX ? 4 : 10) + (one.client ? 4 : 0);
}

/* Answers pings of the tunnel. */
static void look_at_frames(void)
{
    while (one.size - one.seen >= MUX_FRAME_HEADER) {
        uint8_t *frame = one.payload + one.seen;
        size_t size = MUX_FRAME_HEADER + byte_load_u16(frame + 2);
        if (one.size - one.seen < size)
            return;
        one.seen += size;
        if (frame[0] == MUX_PING && one.answers) {
            uint8_t pong[MUX_FRAME_HEADER + 8];
            memcpy(pong, frame, sizeof pong);
            pong[0] = MUX_PONG;
            say(pong, sizeof pong);
        }
    }
}

static void note_event(int kind, const struct ws_event *event)
{
    switch (kind) {
    case WS_DATA: {
        uint64_t size = event->size + header_size(event->size);
        assert_true(one.size + event->size <= sizeof one.payload);
        memcpy(one.payload + one.size, event->bytes, event->size);
        one.size += event->size;
        /* Of a frame that came in pieces the decoder knows the whole. */
        if (one.decoder.in_payload)
            size = one.decoder.payload_size + header_size(one.decoder.payload_size);
        one.largest = size > one.largest ? (size_t)size : one.largest;
        break;
    }
    case WS_PONG:
        one.pongs++;
        one.pong_size = event->size;
        memcpy(one.pong, event->bytes, event->size);
        break;
    case WS_CLOSE:
        one.closes++;
        one.close_code = event->code;
        snprintf(one.close_reason, sizeof one.close_reason, "%.*s", (int)event->size,
                 (const char *)event->bytes);
        break;
    default:
        assert_int_equal(kind, WS_NEED_MORE);
    }
}

static void listen_to_link(void *context)
{
    uint8_t bytes[8192];

    (void)context;
    if (one.closed)
        return;
    ssize_t got = recv(one.fd, bytes, net_piece(sizeof bytes), 0);
    if (got == 0 || (got < 0 && errno != EAGAIN))
        one.closed = true;
    for (ssize_t at = 0; at < got;) {
        struct ws_event event;
        size_t consumed;
        int kind = ws_decoder_next(&one.decoder, bytes + at, (size_t)(got - at), &consumed, &event);
        if (kind < 0)
            fail_msg("the link sent what is no WebSocket: %s", event.error);
        /* Nothing follows a close frame. */
        assert_true(one.closes == 0 || kind == WS_NEED_MORE);
        at += (ssize_t)consumed;
        note_event(kind, &event);
        if (kind == WS_NEED_MORE)
            break;
    }
    if (one.saying == 0)
        look_at_frames();
}

/* ---- the other end: what it says */

/* Bytes as they are, in pieces. */
static void put(const void *bytes, size_t size)
{
    one.saying++;
    for (size_t at = 0; at < size && !one.closed;) {
        ssize_t sent =
            send(one.fd, (const uint8_t *)bytes + at, net_piece(size - at), MSG_NOSIGNAL);
        if (sent < 0 && errno != EAGAIN)
            break;
        at += sent > 0 ? (size_t)sent : 0;
        if (net_random(3) > 0)
            net_turn();
    }
    one.saying--;
}

/* A frame, masked as it must be; first: FIN and opcode. */
static void put_frame(uint8_t first, const void *payload, size_t size)
{
    static uint8_t frame[WS_HEADER_MAX + 65536];
    static const uint8_t key[4] = {1, 2, 3, 4};
    const uint8_t *mask = one.client ? NULL : key;
    size_t header = ws_frame_header(frame, WS_OPCODE_BINARY, size, mask);

    frame[0] = first;
    if (size > 0)
        memcpy(frame + header, payload, size);
    if (mask)
        ws_mask(frame + header, size, mask, 0);
    put(frame, header + size);
}

/* Payload in one message or a fragmented one, with a ping in between at times. */
static void say(const void *bytes, size_t size)
{
    const uint8_t *at = bytes;
    bool first = true;

    one.saying++;
    while (size > 0) {
        size_t part = net_piece(size);
        uint8_t head = (uint8_t)((first ? WS_OPCODE_BINARY : WS_OPCODE_CONTINUATION) |
                                 (part == size ? 0x80 : 0));
        put_frame(head, at, part);
        at += part;
        size -= part;
        first = false;
        if (net_random(8) == 0)
            put_frame(0x80 | WS_OPCODE_PONG, "unasked", 7);
    }
    one.saying--;
}

static void say_hello(uint32_t message_max)
{
    uint8_t bytes[256];
    struct byte_writer w;
    const struct mux_hello hello = {.version_min = MUX_VERSION_MIN,
                                    .version_max = MUX_VERSION_MAX,
                                    .attempt = 1,
                                    .initial_window = INITIAL_WINDOW,
                                    .software = {"test", 4},
                                    .message_max = message_max};

    byte_writer_init(&w, bytes, sizeof bytes);
    mux_hello_encode(&w, &hello);
    say(bytes, byte_writer_size(&w));
}

static void say_welcome(void)
{
    uint8_t bytes[256];
    struct byte_writer w;
    const struct mux_welcome welcome = {.version = MUX_VERSION_MAX,
                                        .initial_window = one.window,
                                        .software = {"test", 4},
                                        .offers = {"", 0},
                                        .identity = {"alice", 5}};

    byte_writer_init(&w, bytes, sizeof bytes);
    mux_welcome_encode(&w, &welcome);
    say(bytes, byte_writer_size(&w));
}

static void say_close(uint16_t code, const char *reason)
{
    uint8_t payload[125];
    size_t size = strlen(reason);

    byte_store_u16(payload, code);
    memcpy(payload + 2, reason, size);
    put_frame(0x80 | WS_OPCODE_CLOSE, payload, code == WS_CLOSE_NO_STATUS ? 0 : 2 + size);
}

/* ---- life */

static void begin(bool client, bool tcp)
{
    struct mux_settings settings;
    struct mux_session_key key = {{0}, {0}};
    int ends[2];

    memset(&one, 0, sizeof one);
    one.client = client;
    one.answers = true;
    one.window = INITIAL_WINDOW;
    if (tcp)
        net_tcp_pair(ends);
    else
        net_pair(ends);
    one.link_fd = ends[0];
    one.fd = ends[1];
    ws_decoder_init(&one.decoder, client ? WS_ROLE_SERVER : WS_ROLE_CLIENT);
    mux_settings_default(&settings);
    settings.role = client ? MUX_CLIENT : MUX_SERVER;
    settings.software = (struct mux_text){"test", 4};
    settings.identity = (struct mux_text){"alice", 5};
    one.session = mux_session_new(&settings, NULL, NULL, &key, &net.near.pool, &net.near.share);
    net.step = listen_to_link;
    if (client) {
        one.link = link_new_client(&net.near, transport_new(ends[0]), one.session, &owner, &one);
        link_start(one.link);
    } else {
        one.link = link_new_server(&net.near, transport_new(ends[0]), &owner, &one);
    }
}

static struct mux_pings pings(void)
{
    return one.link && link_mux(one.link) ? mux_link_pings(link_mux(one.link))
                                          : (struct mux_pings){0};
}

/* The link is up, and no ping is under way. */
static void greet(void)
{
    if (one.client)
        say_welcome();
    else
        say_hello(0);
    NET_UNTIL(mux_session_established(one.session) && pings().answered == pings().asked);
}

static void open_link(bool client)
{
    begin(client, false);
    greet();
}

static void end_all(void)
{
    if (one.link)
        link_abort(one.link);
    close(one.fd);
    mux_session_free(one.session);
    net.step = NULL;
    net_turns(2);
}

static void expect_end(enum link_end how, const char *reason)
{
    NET_UNTIL(one.ended > 0 && one.closed);
    net_turns(5);
    assert_int_equal(one.ended, 1);
    if (!strstr(one.reason, reason))
        fail_msg("no \"%s\" in: %s", reason, one.reason);
    if (one.how != how)
        fail_msg("%s instead of %s: %s", link_end_name(one.how), link_end_name(how), one.reason);
    assert_false(mux_session_established(one.session));
}

/* ---- frames that may not be */

struct violation {
    const char *bytes;
    size_t size;
    uint16_t code;
};

#define BAD(text, code)                                                                            \
    {                                                                                              \
        text, sizeof text - 1, code                                                                \
    }

/* From a client; the mask is 0. */
static const struct violation of_clients[] = {
    BAD("\x82\x01x", 1002),                                /* no mask */
    BAD("\xc2\x80\0\0\0\0", 1002),                         /* a reserved bit */
    BAD("\xa2\x80\0\0\0\0", 1002),                         /* another */
    BAD("\x83\x80\0\0\0\0", 1002),                         /* a reserved opcode */
    BAD("\x8b\x80\0\0\0\0", 1002),                         /* one for control frames */
    BAD("\x81\x80\0\0\0\0", 1003),                         /* text */
    BAD("\x89\xfe\0\x7e\0\0\0\0", 1002),                   /* a ping of 126 bytes */
    BAD("\x88\xff\0\0\0\0\0\1\0\0\0\0\0\0", 1002),         /* a close of 65536 */
    BAD("\x09\x80\0\0\0\0", 1002),                         /* a ping in fragments */
    BAD("\x80\x80\0\0\0\0", 1002),                         /* a continuation of nothing */
    BAD("\x02\x80\0\0\0\0\x82\x80\0\0\0\0", 1002),         /* a message within a message */
    BAD("\x82\xfe\0\x7d\0\0\0\0", 1002),                   /* a length too long */
    BAD("\x82\xff\0\0\0\0\0\0\xff\xff\0\0\0\0", 1002),     /* another */
    BAD("\x82\xff\x80\0\0\0\0\0\0\0\0\0\0\0", 1002),       /* 2^63 bytes */
    BAD("\x88\x81\0\0\0\0\3", 1002),                       /* half a close code */
    BAD("\x88\x82\0\0\0\0\x03\xed", 1002),                 /* 1005 */
    BAD("\x88\x82\0\0\0\0\x03\xee", 1002),                 /* 1006 */
    BAD("\x88\x82\0\0\0\0\0\0", 1002),                     /* 0 */
    BAD("\x88\x83\0\0\0\0\x03\xe8\xff", 1007),             /* a reason that is no UTF-8 */
    BAD("GET / HTTP/1.1\r\n\r\n", 1002),                   /* a request */
    BAD("\x16\x03\x01\x02\0\x01\0\x01\xfc\x03\x03", 1002), /* TLS */
};

static const struct violation of_servers[] = {
    BAD("\x82\x81\1\2\3\4x", 1002),
    BAD("\x89\x80\1\2\3\4", 1002),
    BAD("\xc2\0", 1002),
    BAD("\x81\0", 1003),
    BAD("\x89\x7e\0\x7e", 1002),
    BAD("\x08\0", 1002),
    BAD("\x80\0", 1002),
    BAD("\x88\1\3", 1002),
    BAD("\x88\2\x03\xed", 1002),
    BAD("\x88\3\x03\xe8\xff", 1007),
    BAD("HTTP/1.1 502 Bad Gateway\r\n\r\n<html>", 1002),
};

static void violate(bool client, const struct violation *violations, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        for (int greeted = 0; greeted < 2; greeted++) {
            if (greeted)
                open_link(client);
            else
                begin(client, false);
            put(violations[i].bytes, violations[i].size);
            expect_end(LINK_END_GARBLED, "");
            assert_string_not_equal(one.reason, "");
            assert_int_equal(one.closes, 1);
            assert_int_equal(one.close_code, violations[i].code);
            end_all();
        }
    }
}

static void frames_that_clients_may_not_send(void **state)
{
    (void)state;
    violate(false, of_clients, sizeof of_clients / sizeof of_clients[0]);
}

static void frames_that_servers_may_not_send(void **state)
{
    (void)state;
    violate(true, of_servers, sizeof of_servers / sizeof of_servers[0]);
}

static void noise(void **state)
{
    (void)state;
    for (uint32_t i = 0; i < 60; i++) {
        uint8_t bytes[500];
        size_t size = net_piece(sizeof bytes);
        open_link(i % 2);
        net_fill(i + net_random(100000), 0, bytes, size);
        put(bytes, size);
        net_turns(5);
        shutdown(one.fd, SHUT_WR);
        NET_UNTIL(one.ended > 0);
        end_all();
    }
}

/* ---- counting */

static void what_is_sent_counts_by_role(void **state)
{
    uint64_t sent[LINK_ROLES] = {0};
    uint64_t sent_again = 0;
    uint64_t retransmitted = 0;
    const struct link_counters counters = {
        {&sent[LINK_ROLE_LEAD], &sent[LINK_ROLE_OTHER], &sent[LINK_ROLE_SUSPECT]},
        &sent_again,
        &retransmitted};

    (void)state;
    for (int client = 0; client < 2; client++) {
        begin(client, true);
        link_count(one.link, &counters);
        greet();
        /* A ping, at least. */
        assert_true(sent[LINK_ROLE_LEAD] >= MUX_FRAME_HEADER + 8);
        assert_int_equal(sent[LINK_ROLE_OTHER] + sent[LINK_ROLE_SUSPECT] + sent_again, 0);
        link_mux(one.link)->sent_again = 500;
        link_mux(one.link)->suspect = true;
        mux_link_ping(link_mux(one.link), clock_now_us());
        NET_UNTIL(sent[LINK_ROLE_SUSPECT] == MUX_FRAME_HEADER + 8);
        NET_UNTIL(pings().answered == pings().asked);
        mux_link_ping(link_mux(one.link), clock_now_us());
        NET_UNTIL(pings().answered == pings().asked);
        assert_int_equal(sent_again, 500);
        end_all();
        memset(sent, 0, sizeof sent);
        sent_again = 0;
    }
    assert_string_equal(link_role_name(LINK_ROLE_SUSPECT), "suspect");
}

/* ---- control frames */

static void pings_are_answered(void **state)
{
    static const size_t sizes[] = {0, 1, 5, 124, 125};
    uint8_t payload[125];

    (void)state;
    for (int client = 0; client < 2; client++) {
        for (size_t i = 0; i < sizeof sizes / sizeof sizes[0]; i++) {
            /* Before the greeting is over too. */
            begin(client, false);
            if (i % 2)
                greet();
            net_fill((uint32_t)i, 0, payload, sizes[i]);
            put_frame(0x80 | WS_OPCODE_PING, payload, sizes[i]);
            NET_UNTIL(one.pongs == 1);
            assert_int_equal(one.pong_size, sizes[i]);
            assert_memory_equal(one.pong, payload, sizes[i]);
            /* A pong that nobody asked for is nothing. */
            put_frame(0x80 | WS_OPCODE_PONG, payload, sizes[i]);
            net_turns(5);
            assert_int_equal(one.ended, 0);
            end_all();
        }
    }
}

/* Of several at once the last one is answered (RFC 6455, 5.5.3). */
static void many_pings_at_once(void **state)
{
    (void)state;
    open_link(true);
    assert_int_equal(send(one.fd, "\x89\1a\x89\1b\x89\1c", 9, 0), 9);
    NET_UNTIL(one.pongs > 0);
    net_turns(5);
    assert_int_equal(one.pong[0], 'c');
    end_all();
}

static void the_peer_closes(void **state)
{
    static const struct {
        uint16_t code;
        const char *reason;
        uint16_t answer;
        const char *said;
    } cases[] = {
        {1000, "bye", 1000, "the peer closed the WebSocket, code 1000: bye"},
        {1001, "", 1001, "the peer closed the WebSocket, code 1001"},
        {1009, "too big", 1009, "code 1009: too big"},
        {1005, "", 1000, "code 1005"},
        {4999, "ours", 4999, "code 4999: ours"},
    };

    (void)state;
    for (int client = 0; client < 2; client++) {
        for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
            begin(client, false);
            if (i % 2)
                greet();
            say_close(cases[i].code, cases[i].reason);
            expect_end(LINK_END_CLOSED, cases[i].said);
            assert_int_equal(one.closes, 1);
            assert_int_equal(one.close_code, cases[i].answer);
            assert_int_equal(one.record.going_away, cases[i].code == 1001);
            assert_int_equal(one.record.frames.refused, cases[i].code == 1009);
            end_all();
        }
    }
}

static bool was_heard(enum mux_frame_type type)
{
    for (size_t at = 0; at + MUX_FRAME_HEADER <= one.size;
         at += MUX_FRAME_HEADER + byte_load_u16(one.payload + at + 2))
        if (one.payload[at] == type)
            return true;
    return false;
}

/* What the session has to say goes before the close frame; then only the peer's is of interest. */
static void the_link_is_closed(void **state)
{
    (void)state;
    NET_NEEDS_JUMPS();
    for (int answered = 0; answered < 2; answered++) {
        for (int client = 0; client < 2; client++) {
            open_link(client);
            mux_session_goaway(one.session, MUX_CODE_GOING_AWAY, "it stops");
            link_close(one.link, 1001, "enough");
            /* Nothing that is said of it any more changes that. */
            link_close(one.link, 1002, "again");
            link_probe(one.link);
            NET_UNTIL(one.closes == 1);
            assert_true(was_heard(MUX_GOAWAY));
            assert_int_equal(one.close_code, 1001);
            assert_string_equal(one.close_reason, "enough");
            say("\x7f\0\0\0\0\0\0\0", 8);
            net_turns(5);
            net_jump_ms(1900);
            net_turns(5);
            assert_int_equal(one.ended, 0);
            if (answered)
                say_close(1001, "");
            else
                net_jump_ms(100);
            expect_end(LINK_END_CLOSED, "enough");
            assert_false(one.record.going_away && !answered);
            end_all();
        }
    }
}

/* Freed at once, without a word to the owner. */
static void the_link_is_aborted(void **state)
{
    (void)state;
    for (int client = 0; client < 2; client++) {
        for (int greeted = 0; greeted < 2; greeted++) {
            begin(client, false);
            if (greeted)
                greet();
            link_abort(one.link);
            one.link = NULL;
            assert_false(mux_session_established(one.session));
            NET_UNTIL(one.closed);
            assert_int_equal(one.ended, 0);
            end_all();
        }
    }
}

/* ---- connections that break */

static void the_connection_ends(void **state)
{
    (void)state;
    for (int client = 0; client < 2; client++) {
        for (int greeted = 0; greeted < 2; greeted++) {
            begin(client, true);
            if (greeted)
                greet();
            /* In the middle of a frame too. */
            if (net_random(2) == 0)
                assert_int_equal(send(one.fd, "\x82", 1, 0), 1);
            shutdown(one.fd, SHUT_WR);
            expect_end(LINK_END_LOST, "closed without a WebSocket close frame");
            assert_int_equal(one.closes, 0);
            end_all();
        }
    }
}

static void the_connection_is_reset(void **state)
{
    (void)state;
    for (int client = 0; client < 2; client++) {
        begin(client, true);
        greet();
        one.closed = true;
        socket_reset(one.fd);
        one.fd = -1;
        expect_end(LINK_END_LOST, "Connection reset by peer");
        mux_session_free(one.session);
        net.step = NULL;
    }
}

/* ---- the tunnel's own protocol */

static void what_breaks_the_tunnel_protocol(void **state)
{
    static const struct {
        const char *bytes;
        size_t size;
    } hellos[] = {
        {"\x07\0\0\x08\0\0\0\0tokentok", 16}, /* no HELLO */
        {"\x01\0\0\x04\0\0\0\0HTTP", 12},     /* no magic */
        {"\x01\0\xff\xff\0\0\0\0", 8},        /* too large */
    };

    (void)state;
    for (size_t i = 0; i < sizeof hellos / sizeof hellos[0]; i++) {
        begin(false, false);
        say(hellos[i].bytes, hellos[i].size);
        NET_UNTIL(one.closes == 1);
        say_close(1002, "");
        expect_end(LINK_END_PROTOCOL, "");
        assert_string_not_equal(one.reason, "");
        assert_int_equal(one.hellos, 0);
        assert_int_equal(one.close_code, 1002);
        assert_string_equal(one.close_reason, "tunnel protocol");
        end_all();
    }
    for (int client = 0; client < 2; client++) {
        open_link(client);
        say("\x7f\0\0\0\0\0\0\0", 8);
        NET_UNTIL(one.closes == 1);
        say_close(1002, "");
        expect_end(LINK_END_PROTOCOL, "");
        assert_true(mux_session_is_broken(one.session));
        assert_int_equal(one.close_code, 1002);
        end_all();
    }
}

/* Ten seconds for HELLO, whatever comes of it meanwhile, and whatever else. */
static void a_hello_has_a_deadline(void **state)
{
    static const char hello[] = "\x01\0\0\x4e\0\0\0\0KTUN";

    (void)state;
    NET_NEEDS_JUMPS();
    for (int trickles = 0; trickles < 2; trickles++) {
        begin(false, false);
        for (int second = 0; second < 9; second++) {
            if (trickles) {
                put_frame(0x80 | WS_OPCODE_BINARY, hello + second, 1);
                put_frame(0x80 | WS_OPCODE_PING, "x", 1);
            }
            net_jump_ms(1000);
            net_turns(5);
            assert_int_equal(one.ended, 0);
        }
        net_jump_ms(1000);
        expect_end(LINK_END_PROTOCOL, "no HELLO within the time allowed");
        assert_int_equal(one.hellos, 0);
        end_all();
    }
}

static void hello_is_refused(void **state)
{
    struct mux_reject reject;

    (void)state;
    for (int later = 0; later < 2; later++) {
        begin(false, false);
        one.refuses = MUX_CODE_LIMIT;
        one.hands_on = later;
        say_hello(0);
        NET_UNTIL(one.hellos == 1);
        if (later) {
            net_turns(10);
            assert_int_equal(one.size, 0);
            link_reject(one.link, &(struct mux_reject){.code = MUX_CODE_LIMIT,
                                                       .retry_after_ms = 77,
                                                       .reason = {"no room", 7}});
        }
        NET_UNTIL(one.closes == 1);
        assert_int_equal(one.payload[0], MUX_REJECT);
        assert_true(mux_reject_decode(one.payload + MUX_FRAME_HEADER, one.size - MUX_FRAME_HEADER,
                                      &reject));
        assert_int_equal(reject.code, MUX_CODE_LIMIT);
        assert_int_equal(reject.retry_after_ms, 77);
        assert_memory_equal(reject.reason.bytes, "no room", 7);
        assert_int_equal(one.close_code, 1000);
        say_close(1000, "");
        expect_end(LINK_END_REJECTED, "refused");
        end_all();
    }
}

static void the_server_refuses(void **state)
{
    uint8_t bytes[256];
    struct byte_writer w;

    (void)state;
    begin(true, false);
    byte_writer_init(&w, bytes, sizeof bytes);
    mux_reject_encode(
        &w, &(struct mux_reject){.code = MUX_CODE_UNKNOWN_SESSION, .reason = {"who?", 4}});
    say(bytes, byte_writer_size(&w));
    NET_UNTIL(one.closes == 1);
    say_close(1000, "");
    expect_end(LINK_END_REJECTED, "rejected");
    assert_int_equal(one.rejection, MUX_CODE_UNKNOWN_SESSION);
    end_all();
}

/* ---- silence */

static void a_dead_link(void **state)
{
    (void)state;
    NET_NEEDS_JUMPS();
    for (int client = 0; client < 2; client++) {
        open_link(client);
        for (int i = 0; i < 5; i++) {
            uint64_t asked = pings().asked;
            net_jump_ms(20 * 1000);
            NET_UNTIL(pings().answered > asked);
        }
        one.answers = false;
        net_jump_ms(20 * 1000);
        net_turns(5);
        net_jump_ms(9 * 1000);
        net_turns(5);
        assert_int_equal(one.ended, 0);
        net_jump_ms(1000);
        expect_end(LINK_END_DEAD, "");
        assert_true(one.record.answered);
        end_all();
    }
}

/* When there is reason to doubt it is asked at once, and given three seconds. */
static void a_link_in_doubt(void **state)
{
    (void)state;
    NET_NEEDS_JUMPS();
    for (int client = 0; client < 2; client++) {
        open_link(client);
        link_probe(one.link);
        NET_UNTIL(pings().answered >= 2);
        net_jump_ms(5000);
        net_turns(5);
        assert_int_equal(one.ended, 0);
        one.answers = false;
        link_probe(one.link);
        net_turns(5);
        net_jump_ms(2900);
        net_turns(5);
        assert_int_equal(one.ended, 0);
        net_jump_ms(100);
        expect_end(LINK_END_DEAD, "");
        end_all();
    }
}

/* ---- the size of frames */

static size_t bytes_of_data(void)
{
    size_t sum = 0;

    for (size_t at = 0; at + MUX_FRAME_HEADER <= one.size;) {
        size_t size = byte_load_u16(one.payload + at + 2);
        if (one.payload[at] == MUX_DATA && byte_load_u32(one.payload + at + 4) != 0)
            sum += size - 8;
        at += MUX_FRAME_HEADER + size;
    }
    return sum;
}

/* No larger frame than is allowed, by the least of the limits, and all that is to be said in them.
 */
static void frames_are_no_larger_than_allowed(void **state)
{
    static const size_t limits[] = {0, 1024, 1025, 4096, 20000, 65536};
    static uint8_t bytes[60000];

    (void)state;
    for (size_t i = 0; i < sizeof limits / sizeof limits[0]; i++) {
        const struct mux_target target = {MUX_TARGET_TCP, {"t", 1}, -1};
        size_t limit = limits[i] > 0 ? limits[i] : FRAME_LIMIT_MOST;
        begin(true, false);
        link_limit_frames(one.link, limits[i]);
        link_limit_frames(one.link, 65536);
        greet();
        struct mux_stream *stream =
            mux_stream_open(one.session, &target, (struct mux_text){"p", 1}, NULL, NULL);
        net_fill(7, 0, bytes, sizeof bytes);
        mux_stream_write(stream, bytes, sizeof bytes);
        NET_UNTIL(bytes_of_data() == sizeof bytes);
        assert_in_range(one.largest, limit / 2, limit);
        assert_int_equal(link_record(one.link).frames.largest_sent, one.largest);
        /* Above a certain size it is asked whether such frames arrive. */
        if (one.largest > FRAME_LIMIT_LEARNT_LEAST)
            NET_UNTIL(link_record(one.link).frames.largest_answered == one.largest);
        else
            assert_int_equal(link_record(one.link).frames.largest_answered, 0);
        end_all();
    }
}

/* A server holds itself to what HELLO wishes. */
static void hello_limits_frames(void **state)
{
    static uint8_t bytes[MUX_MESSAGE_PAYLOAD_MAX];

    (void)state;
    begin(false, false);
    say_hello(1500);
    NET_UNTIL(mux_session_established(one.session));
    assert_int_equal(mux_session_send_message(one.session, MUX_ADDRESSES, bytes, sizeof bytes), 0);
    NET_UNTIL(one.size > sizeof bytes);
    assert_in_range(one.largest, 1400, 1500);
    end_all();
}

/* ---- what waits for a slow link */

static uint64_t link_rate;

/* In place of io/path.c: on loopback every path is a fast one. */
bool path_measure(int fd, struct path_sample *sample)
{
    (void)fd;
    *sample = (struct path_sample){.rate = link_rate};
    return true;
}

#if defined __linux__ && defined SO_MAX_PACING_RATE

/* The kernel sends so much a second and no more, as if the path were slow. Returns the most that
 * waited in it unsent while the second half of the bytes left. messages: another stream says
 * something now and then. */
static int most_unsent(uint32_t rate, bool messages)
{
    static uint8_t bytes[800 * 1000];
    const struct mux_target target = {MUX_TARGET_TCP, {"t", 1}, -1};
    int most = 0;

    begin(true, true);
    one.window = PAYLOAD_MAX;
    greet();
    assert_int_equal(setsockopt(one.link_fd, SOL_SOCKET, SO_MAX_PACING_RATE, &rate, sizeof rate),
                     0);
    struct mux_stream *stream =
        mux_stream_open(one.session, &target, (struct mux_text){"p", 1}, NULL, NULL);
    struct mux_stream *other =
        mux_stream_open(one.session, &target, (struct mux_text){"p", 1}, NULL, NULL);
    size_t begun = messages ? MUX_FRAME_PAYLOAD_MAX : 0, said_at = 0;
    if (messages) {
        mux_stream_write(other, "message", 7);
        mux_stream_write(stream, bytes, begun);
        NET_UNTIL(bytes_of_data() > begun);
    }
    mux_stream_write(stream, bytes, sizeof bytes - begun);
    for (uint64_t limit = net_patience(); bytes_of_data() < sizeof bytes; net_turn()) {
        int unsent = 0;
        if (messages && bytes_of_data() >= said_at) {
            mux_stream_write(other, "message", 7);
            said_at = bytes_of_data() + 10000;
        }
        net_check_patience(limit, "all is sent", __FILE__, __LINE__);
        assert_int_equal(ioctl(one.link_fd, SIOCOUTQNSD, &unsent), 0);
        if (bytes_of_data() >= sizeof bytes / 2 && unsent > most)
            most = unsent;
    }
    end_all();
    return most;
}

/* Most of what a session has to say stays with it, where what is urgent can overtake it. */
static void little_waits_for_a_slow_link(void **state)
{
    (void)state;
    net.turn_us = 5; /* a busy machine takes many */
    link_rate = 1000 * 1000;
    /* A pull, on top of what was left when the kernel asked for it. */
    assert_in_range(most_unsent((uint32_t)link_rate, false), 1, 26 * 1024);
    /* Where nothing tells the rate, as much waits as keeps any link busy. */
    link_rate = 0;
    assert_in_range(most_unsent(1000 * 1000, false), 100 * 1024, 256 * 1024);
}

/* Messages beside bulk: whatever the rate, they wait for little of it. */
static void little_waits_beside_messages(void **state)
{
    (void)state;
    net.turn_us = 0; /* what passed a moment ago never becomes long ago */
    link_rate = 0;
    /* A portion, on top of what was left when the kernel asked for it. */
    assert_in_range(most_unsent(1000 * 1000, true), 1, (int)(2 * MUX_PORTION));
}

#endif

/* ---- links for another worker */

/* By way of one that sends it on. What comes behind HELLO, and what comes while it belongs to
 * nobody, is neither lost nor heard twice. */
static void a_link_goes_to_another_worker(void **state)
{
    (void)state;
    for (int i = 0; i < 50; i++) {
        begin(false, i % 2);
        one.departs = 2;
        say_hello(0);
        put_frame(0x80 | WS_OPCODE_PING, "x", 1);
        NET_UNTIL(one.departed == 1);
        net_turns(5);
        assert_int_equal(one.hellos, 1);
        put_frame(0x80 | WS_OPCODE_PONG, "unasked", 7);
        link_arrive(one.link, &net.far, &one);
        assert_true(one.hellos == 2 && one.departed == 2);
        net_turns(2);
        link_arrive(one.link, &net.near, &one);
        assert_true(one.hellos == 3 && one.departed == 2);
        NET_UNTIL(mux_session_established(one.session) && pings().answered == pings().asked);
        NET_UNTIL(one.pongs == 1);
        say_close(1000, "");
        expect_end(LINK_END_CLOSED, "code 1000");
        end_all();
    }
}

/* Whether the close frame is read with HELLO or after the link has arrived. */
static void a_link_that_is_closed_behind_hello(void **state)
{
    (void)state;
    for (int i = 0; i < 50; i++) {
        begin(false, i % 2);
        one.departs = 1;
        say_hello(0);
        say_close(1000, "");
        NET_UNTIL(one.departed == 1 || one.ended == 1);
        if (one.departed == 1)
            link_arrive(one.link, &net.far, &one);
        expect_end(LINK_END_CLOSED, "code 1000");
        end_all();
    }
}

/* ---- links for another instance */

static struct net_tunnel tunnel;

static void open_handed_on(bool tls)
{
    static struct net_tunnel empty;

    tunnel = empty;
    net_tunnel_prepare(&tunnel, tls, false);
    tunnel.hands_on = true;
    net_tunnel_link(&tunnel);
    NET_UNTIL(tunnel.handed_on);
    net_turns(20);
    assert_int_equal(tunnel.established, 0);
    net_tunnel_forward(&tunnel);
    NET_UNTIL(mux_session_established(tunnel.client) && mux_session_established(tunnel.server));
}

static void a_link_is_handed_on(void **state)
{
    (void)state;
    for (int tls = 0; tls < 2; tls++) {
        open_handed_on(tls);
        for (int i = 0; i < 4; i++)
            net_flow_open(&tunnel, net_random(300000), net_random(300000));
        for (size_t i = 0; i < tunnel.count; i++)
            NET_UNTIL(net_flow_is_complete(&tunnel.flows[i]));
        /* The client goes: both links of the server end. */
        link_abort(tunnel.near.link);
        tunnel.near.link = NULL;
        NET_UNTIL(tunnel.far.ended == 2);
        net_tunnel_close(&tunnel);
    }
}

/* The instance with the session closes it, or is gone: the client is to come back. */
static void the_other_instance_ends(void **state)
{
    (void)state;
    for (int how = 0; how < 2; how++) {
        open_handed_on(how);
        if (how)
            link_close(tunnel.far.link, 1001, "it stops");
        else
            link_abort(tunnel.far.link);
        tunnel.far.link = NULL;
        NET_UNTIL(!tunnel.near.link);
        assert_int_equal(tunnel.near.how, LINK_END_CLOSED);
        assert_true(tunnel.near.record.going_away);
        NET_UNTIL(tunnel.far.ended == (how ? 2 : 1));
        net_tunnel_close(&tunnel);
    }
}

/* Says HELLO and one endless frame, as much of it as is taken; how much that was. */
static size_t fill_what_is_held(void)
{
    static uint8_t bytes[32768];
    size_t sent = 0;
    unsigned stuck = 0;

    one.hands_on = true;
    say_hello(0);
    NET_UNTIL(one.hellos == 1);
    put("\x82\xff\0\0\0\0\x10\0\0\0\0\0\0\0", 14);
    while (stuck < 50) {
        ssize_t some = send(one.fd, bytes, sizeof bytes, MSG_NOSIGNAL);
        net_turn();
        sent += some > 0 ? (size_t)some : 0;
        stuck = some > 0 ? 0 : stuck + 1;
    }
    return sent;
}

/* What is held for another instance that is not there yet is bounded; who sends more waits. */
static void what_is_held_is_bounded(void **state)
{
    (void)state;
    begin(false, false);
    size_t sent = fill_what_is_held();
    assert_in_range(sent, 1 << 20, (1 << 20) + 4 * WORKER_LINK_READ_SIZE + 65536);
    assert_true(net.near.pool.allocated <= (1 << 20) + 5 * WORKER_LINK_READ_SIZE);
    link_reject(one.link,
                &(struct mux_reject){.code = MUX_CODE_UNKNOWN_SESSION, .reason = {"nowhere", 7}});
    NET_UNTIL(one.closes == 1);
    assert_int_equal(one.payload[0], MUX_REJECT);
    assert_int_equal(net.near.pool.allocated, 0);
    shutdown(one.fd, SHUT_WR);
    expect_end(LINK_END_REJECTED, "refused");
    end_all();
}

/* Who waits so is not read, and could be gone: the wait has an end. */
static void what_is_not_taken_ends_the_link(void **state)
{
    (void)state;
    begin(false, false);
    fill_what_is_held();
    shutdown(one.fd, SHUT_WR);
    net_jump_ms(29 * 1000);
    net_turns(20);
    assert_int_equal(one.ended, 0);
    assert_int_equal(one.closes, 0);
    net_jump_ms(1500);
    NET_UNTIL(one.closes == 1);
    net_jump_ms(3000);
    NET_UNTIL(one.ended == 1);
    assert_int_equal(net.near.pool.allocated, 0);
    end_all();
}

/* ---- two links at once */

/* The client has given one up and comes back over another: the old one ends, the session goes on.
 */
static void a_newer_link_takes_over(void **state)
{
    (void)state;
    for (int tls = 0; tls < 2; tls++) {
        net_tunnel_open(&tunnel, tls, false);
        struct net_flow *flow = net_flow_open(&tunnel, 200000, 200000);
        NET_UNTIL(flow->target.received > 1000);
        /* The wire says nothing any more, and the server does not know. */
        struct net_wire old = tunnel.wire;
        tunnel.wire.is_cut = true;
        link_abort(tunnel.near.link);
        tunnel.near.link = NULL;
        net_tunnel_relink(&tunnel);
        NET_UNTIL(net_flow_is_complete(flow));
        net_wire_cut(&old, false);
        NET_UNTIL(tunnel.far.ended == 1);
        assert_non_null(tunnel.far.link);
        net_tunnel_close(&tunnel);
    }
}

/* Every byte at its place, whichever link it takes. */
static void two_links_carry_a_stream(void **state)
{
    (void)state;
    for (int i = 0; i < 4; i++) {
        net_tunnel_open(&tunnel, false, false);
        net_tunnel_join(&tunnel);
        struct net_flow *flow = net_flow_open(&tunnel, 1000000, 1000000);
        struct net_flow *other = net_flow_open(&tunnel, 300000, 3000);
        NET_UNTIL(net_flow_is_complete(flow) && net_flow_is_complete(other));
        /* Bulk takes either; how much the lead has of it depends on what small came before. */
        for (int way = 0; way < 2; way++)
            assert_true(tunnel.wire.carried[way] + tunnel.wire_joined.carried[way] > 1000000);
        assert_true(tunnel.wire.carried[0] + tunnel.wire.carried[1] > 1000);
        assert_true(tunnel.wire_joined.carried[0] + tunnel.wire_joined.carried[1] > 1000);
        net_tunnel_close(&tunnel);
    }
}

/* A stream goes on when either is lost, without another one. */
static void one_of_two_links_is_lost(void **state)
{
    (void)state;
    for (int first = 0; first < 2; first++) {
        net_tunnel_open(&tunnel, false, true);
        net_tunnel_join(&tunnel);
        struct net_flow *flow = net_flow_open(&tunnel, 600000, 600000);
        NET_UNTIL(flow->target.received > 100000 && flow->client.received > 100000);
        net_wire_cut(first ? &tunnel.wire : &tunnel.wire_joined, true);
        NET_UNTIL(net_flow_is_complete(flow));
        assert_int_equal(tunnel.established, 1);
        assert_int_equal(mux_session_links_up(tunnel.client), 1);
        assert_int_equal(mux_session_links_up(tunnel.server), 1);
        net_tunnel_close(&tunnel);
    }
}

static bool is_quiet(const struct link *link)
{
    struct mux_pings asked = mux_link_pings(link_mux(link));

    return asked.asked == asked.answered;
}

/* Then none of its links carries the session on, at either end. */
static void one_of_two_links_breaks_the_protocol(void **state)
{
    (void)state;
    for (int first = 0; first < 2; first++) {
        net_tunnel_open(&tunnel, false, false);
        net_tunnel_join(&tunnel);
        struct net_wire *wire = first ? &tunnel.wire : &tunnel.wire_joined;
        NET_UNTIL(is_quiet(tunnel.near.link) && is_quiet(tunnel.far.link) &&
                  is_quiet(tunnel.near_joined.link) && is_quiet(tunnel.far_joined.link));
        /* To the server: a WebSocket frame with a mask of 0, in it an unknown frame. */
        assert_true(send(wire->ends[1], "\x82\x88\0\0\0\0\x7f\0\0\0\0\0\0\0", 14, 0) == 14);
        NET_UNTIL(mux_session_is_broken(tunnel.server));
        NET_UNTIL(!tunnel.far.link && !tunnel.far_joined.link);
        assert_int_equal(tunnel.far.how, LINK_END_PROTOCOL);
        assert_int_equal(tunnel.far_joined.how, LINK_END_PROTOCOL);
        assert_string_equal(tunnel.far.reason, tunnel.far_joined.reason);
        NET_UNTIL(!tunnel.near.link && !tunnel.near_joined.link);
        net_tunnel_close(&tunnel);
    }
}

static bool are_quiet(void)
{
    return is_quiet(tunnel.near.link) && is_quiet(tunnel.far.link);
}

/* ---- turns */

/* A stream's owner that takes everything at once, and looks whether its link has said something
 * meanwhile. */
static struct {
    int wire; /* where that would arrive */
    uint64_t got;
    uint64_t told_at; /* what had been got when it was there first; 0: it was not */
} taker;

static void on_taker_data(void *owner_of, struct mux_stream *stream, const uint8_t *bytes,
                          size_t size)
{
    int there = 0;

    (void)owner_of;
    (void)bytes;
    ioctl(taker.wire, FIONREAD, &there);
    if (there > 0 && taker.told_at == 0)
        taker.told_at = taker.got;
    taker.got += size;
    mux_stream_consume(stream, size, clock_now_us());
}

/* What the server's link sends, kept back from the client's. */
static struct {
    uint8_t bytes[400 * 1000];
    size_t fill;
    size_t at;
} kept;

static bool keep_back(void)
{
    ssize_t got =
        recv(tunnel.wire.ends[1], kept.bytes + kept.fill, sizeof kept.bytes - kept.fill, 0);

    kept.fill += got > 0 ? (size_t)got : 0;
    return kept.fill == sizeof kept.bytes;
}

/* As much of it as there is room for. */
static void let_go(void)
{
    ssize_t put = 1;

    while (put > 0 && kept.at < kept.fill) {
        put = send(tunnel.wire.ends[0], kept.bytes + kept.at, kept.fill - kept.at, MSG_NOSIGNAL);
        kept.at += put > 0 ? (size_t)put : 0;
    }
}

/* Much has come, and takes several reads: the peer hears what it may send before the last one. */
static void credit_goes_out_between_reads(void **state)
{
    static const struct mux_stream_callbacks callbacks = {.data = on_taker_data};
    const struct mux_target target = {MUX_TARGET_TCP, {"0", 1}, -1};
    enum { FIRST = 300 * 1000, ALL = FIRST + 2 * sizeof kept.bytes };
    const int much = 2 * 1024 * 1024;
    int ends[2], unused[2];

    (void)state;
    NET_NEEDS_JUMPS();
    net_tunnel_open(&tunnel, true, false);
    struct net_flow *flow = &tunnel.flows[tunnel.count++];
    net_tcp_pair(ends);
    net_tcp_pair(unused);
    net_peer_open(&flow->target, ends[0], 1, 0, FIRST);
    flow->target.finishes = false;
    net_peer_open(&flow->client, unused[0], 0, 1, 0);
    flow->far_fd = ends[1];
    setsockopt(tunnel.wire.ends[0], SOL_SOCKET, SO_SNDBUF, &much, sizeof much);
    memset(&taker, 0, sizeof taker);
    taker.wire = tunnel.wire.ends[0];
    assert_non_null(
        mux_stream_open(tunnel.client, &target, (struct mux_text){"peer", 4}, &callbacks, NULL));
    NET_UNTIL(taker.got == FIRST); /* its window has its full size */
    net_jump_ms(2000);             /* the last message was long ago */
    NET_UNTIL(are_quiet() && tunnel.wire.ways[1].fill == 0);
    tunnel.wire.stalled[1] = true;
    flow->target.to_send = ALL;
    kept.fill = kept.at = 0;
    NET_UNTIL(keep_back());
    let_go();
    bool enough = kept.at > WORKER_LINK_READ_SIZE + 32768; /* not every system has such buffers */
    taker.told_at = 0;
    worker_run_once_us(&net.near, 0);
    uint64_t got = taker.got - FIRST;
    if (enough) {
        assert_true(got > WORKER_LINK_READ_SIZE);
        assert_in_range(taker.told_at, FIRST + 1, taker.got - 1);
    }
    NET_UNTIL((let_go(), kept.at == kept.fill));
    tunnel.wire.stalled[1] = false;
    NET_UNTIL(taker.got == ALL);
    close(unused[1]);
    net_tunnel_close(&tunnel);
    if (!enough)
        skip();
}

/* What OpenSSL keeps of a connection besides. Newer versions keep the ML-KEM key of the handshake,
 * and more of each direction. */
#if OPENSSL_VERSION_PREREQ(3, 2)
#define TLS_CONNECTION (34 * 1024)
#else
#define TLS_CONNECTION (20 * 1024)
#endif

/* A record each way is most of what an idle link would take. A busy one keeps its buffers, until it
 * has been idle for a moment. */
static void only_a_busy_link_has_buffers(void **state)
{
    enum { CONNECTION = TLS_CONNECTION, RECORD = 16 * 1024, BULK = 400 * 1000 };
    size_t before = 0, quiet = 0, most = 0;

    (void)state;
    NET_NEEDS_JUMPS();
    /* The first one has OpenSSL allocate what it keeps. */
    for (int round = 0; round < 2; round++) {
        before = net_tls_memory();
        net_tunnel_open(&tunnel, true, false);
        NET_UNTIL(are_quiet());
        quiet = net_tls_memory();
        if (round == 0)
            net_tunnel_close(&tunnel);
    }
    assert_true(quiet - before <= 2 * CONNECTION);
    struct net_flow *flow = net_flow_open(&tunnel, BULK, BULK);
    NET_UNTIL(
        (most = net_tls_memory() > most ? net_tls_memory() : most, net_flow_is_complete(flow)));
    assert_true(most - quiet >= 3 * RECORD);
    net_jump_ms(300);
    NET_UNTIL(are_quiet() && net_tls_memory() <= quiet);
    net_tunnel_close(&tunnel);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        NET_TEST(frames_that_clients_may_not_send),
        NET_TEST(frames_that_servers_may_not_send),
        NET_TEST(noise),
        NET_TEST(what_is_sent_counts_by_role),
        NET_TEST(pings_are_answered),
        NET_TEST(many_pings_at_once),
        NET_TEST(the_peer_closes),
        NET_TEST(the_link_is_closed),
        NET_TEST(the_link_is_aborted),
        NET_TEST(the_connection_ends),
        NET_TEST(the_connection_is_reset),
        NET_TEST(what_breaks_the_tunnel_protocol),
        NET_TEST(a_hello_has_a_deadline),
        NET_TEST(hello_is_refused),
        NET_TEST(the_server_refuses),
        NET_TEST(a_dead_link),
        NET_TEST(a_link_in_doubt),
        NET_TEST(frames_are_no_larger_than_allowed),
        NET_TEST(hello_limits_frames),
#if defined __linux__ && defined SO_MAX_PACING_RATE
        NET_TEST(little_waits_for_a_slow_link),
        NET_TEST(little_waits_beside_messages),
#endif
        NET_TEST(a_link_goes_to_another_worker),
        NET_TEST(a_link_that_is_closed_behind_hello),
        NET_TEST(a_link_is_handed_on),
        NET_TEST(the_other_instance_ends),
        NET_TEST(what_is_held_is_bounded),
        NET_TEST(what_is_not_taken_ends_the_link),
        NET_TEST(a_newer_link_takes_over),
        NET_TEST(two_links_carry_a_stream),
        NET_TEST(one_of_two_links_is_lost),
        NET_TEST(one_of_two_links_breaks_the_protocol),
        NET_TEST(credit_goes_out_between_reads),
        NET_TEST(only_a_busy_link_has_buffers),
    };

    return NET_RUN(tests);
}
