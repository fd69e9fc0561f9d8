/* One HTTP request as a client, against servers and proxies that the test plays: every way there,
 * answers in pieces, answers that never end, deadlines, ends and taking it back at every step. */
#include "net_support.h"

#include <errno.h>
#include <event2/event.h>
#include <openssl/err.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#ifdef __linux__
#include <linux/sockios.h>
#endif
#include <unistd.h>

#include "../lib/certificate.h"
#include "http/fetch.h"
#include "io/clock.h"

/* What a whole answer is, unless a test says otherwise. */
#define HELLO "HTTP/1.1 200 OK\r\nContent-Length: 5\r\nX-Kind: b\r\n\r\nhello"
#define UPGRADED "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n\r\n"
#define ESTABLISHED "HTTP/1.1 200 Connection established\r\n\r\n"

enum {
    ACTS_MAX = 12,
    HEARD_MAX = 300 * 1024,
    BODY_MAX = 1000,
    TIMEOUT_MS = 20 * 1000,
    QUIET = 30, /* turns in which all that can happen has happened */
};

/* ---- servers and proxies: one connection each, by a script */

enum act_kind {
    HEAR,    /* a request, and text somewhere in it */
    HEAR_IT, /* these bytes and no others */
    AWAIT,   /* something, which is not looked at */
    SAY,     /* text */
    SAY_IT,  /* these bytes */
    REPEAT,  /* text, without end */
    SECURE,  /* TLS from here on, within the TLS that there is; to the handshake's end */
    UPDATE,  /* many key updates, each of which wants an answer */
    UPDATES, /* the same, and none does */
    NOTIFY,  /* TLS's end */
    END,     /* the socket's */
    RESET,
};

struct act {
    enum act_kind kind;
    const char *text;
    size_t size; /* of bytes that are no text */
};

struct layer {
    SSL *ssl;
    BIO *in;
    BIO *out;
};

enum { LAYERS_MAX = 2 };

struct player {
    int listener;
    struct socket_address address;
    int fd;
    unsigned connections;
    struct act acts[ACTS_MAX];
    enum http_hop hops[ACTS_MAX]; /* where a call fails that this act is not for */
    size_t count;
    size_t at;
    SSL_CTX *context;
    struct layer layers[LAYERS_MAX];
    size_t layer_count;
    bool securing;
    char *heard;
    size_t heard_size;
    size_t heard_from; /* what is before it, was heard */
    size_t requests[4];
    size_t request_count;
    uint8_t *wire; /* what is to be sent */
    size_t wire_size;
    size_t wire_room;
    size_t wire_at;
    size_t piece; /* bytes a turn; 0: as they come */
    size_t sent;  /* all in all */
    size_t limit; /* so many are sent, then it is silent */
    bool mute;    /* it reads nothing */
    int update_count;
    size_t update_padding; /* each is a multiple of it; 0: as it comes */
};

static struct player players[3];

static void player_open(struct player *player)
{
    memset(player, 0, sizeof *player);
    player->listener = net_listener(&player->address, 5);
    player->fd = -1;
    player->context = net_tls_server();
    player->limit = SIZE_MAX;
    player->heard = calloc(1, HEARD_MAX + 1);
    player->update_count = 10000;
}

static void player_hang_up(struct player *player)
{
    if (player->fd >= 0)
        close(player->fd);
    player->fd = -1;
    while (player->layer_count > 0)
        SSL_free(player->layers[--player->layer_count].ssl);
    player->heard_size = player->heard_from = player->request_count = 0;
    player->wire_size = player->wire_at = player->at = player->sent = 0;
    player->securing = false;
    memset(player->heard, 0, HEARD_MAX + 1);
}

static void player_close(struct player *player)
{
    if (!player->heard)
        return;
    player_hang_up(player);
    close(player->listener);
    free(player->heard);
    free(player->wire);
    memset(player, 0, sizeof *player);
}

static void play(struct player *player, enum act_kind kind, const char *text, enum http_hop hop)
{
    assert_true(player->count < ACTS_MAX);
    player->hops[player->count] = hop;
    player->acts[player->count++] = (struct act){kind, text, 0};
}

static void play_bytes(struct player *player, enum act_kind kind, const void *bytes, size_t size)
{
    play(player, kind, bytes, HTTP_HOP_PROXY);
    player->acts[player->count - 1].size = size;
}

static void put_wire(struct player *player, const void *bytes, size_t size)
{
    if (player->wire_at == player->wire_size)
        player->wire_at = player->wire_size = 0;
    if (player->wire_size + size > player->wire_room) {
        player->wire_room = 2 * (player->wire_size + size);
        player->wire = realloc(player->wire, player->wire_room);
        assert_non_null(player->wire);
    }
    memcpy(player->wire + player->wire_size, bytes, size);
    player->wire_size += size;
}

static void drain(struct player *player, size_t level);

/* Down to the layer below that one, or to the wire. */
static void put_below(struct player *player, size_t level, const void *bytes, size_t size)
{
    if (level == 0) {
        put_wire(player, bytes, size);
        return;
    }
    assert_int_equal(SSL_write(player->layers[level - 1].ssl, bytes, (int)size), (int)size);
    drain(player, level - 1);
}

static void drain(struct player *player, size_t level)
{
    uint8_t bytes[16384];
    int got;

    while ((got = BIO_read(player->layers[level].out, bytes, sizeof bytes)) > 0)
        put_below(player, level, bytes, (size_t)got);
    ERR_clear_error();
}

static void put_above(struct player *player, size_t level, const void *bytes, size_t size)
{
    uint8_t plain[16384];
    int got;

    if (level == player->layer_count || level >= LAYERS_MAX) {
        assert_true(player->heard_size + size <= HEARD_MAX);
        memcpy(player->heard + player->heard_size, bytes, size);
        player->heard_size += size;
        return;
    }
    assert_int_equal(BIO_write(player->layers[level].in, bytes, (int)size), (int)size);
    while ((got = SSL_read(player->layers[level].ssl, plain, sizeof plain)) > 0)
        put_above(player, level + 1, plain, (size_t)got);
    ERR_clear_error();
    drain(player, level);
}

/* What has come for it already is its beginning. */
static void add_layer(struct player *player)
{
    struct layer *layer = &player->layers[player->layer_count];
    size_t from = player->heard_from;
    size_t size = player->heard_size - from;

    layer->ssl = SSL_new(player->context);
    layer->in = BIO_new(BIO_s_mem());
    layer->out = BIO_new(BIO_s_mem());
    assert_true(layer->ssl && layer->in && layer->out);
    SSL_set_bio(layer->ssl, layer->in, layer->out);
    SSL_set_accept_state(layer->ssl);
    player->layer_count++;
    uint8_t *early = malloc(size + 1);
    memcpy(early, player->heard + from, size);
    memset(player->heard + from, 0, size);
    player->heard_size = from;
    put_above(player, player->layer_count - 1, early, size);
    free(early);
}

static void update_keys(struct player *player, int kind)
{
    size_t top = player->layer_count - 1;

    if (player->update_padding > 0)
        assert_int_equal(SSL_set_block_padding(player->layers[top].ssl, player->update_padding), 1);
    for (int i = 0; i < player->update_count; i++)
        assert_true(SSL_key_update(player->layers[top].ssl, kind) == 1 &&
                    SSL_do_handshake(player->layers[top].ssl) == 1);
    drain(player, top);
}

static int unread(int fd)
{
    int count = 0;

    assert_int_equal(ioctl(fd, FIONREAD, &count), 0);
    return count;
}

/* Our end of the player's connection; -1: it is closed. */
static int find_client(const struct player *player)
{
    struct socket_address peer = {.size = sizeof peer.storage};

    if (getpeername(player->fd, (struct sockaddr *)&peer.storage, &peer.size) != 0)
        return -1;
    for (int fd = 3; fd < 1024; fd++) {
        struct socket_address own = {.size = sizeof own.storage};
        if (getsockname(fd, (struct sockaddr *)&own.storage, &own.size) == 0 &&
            own.storage.ss_family == AF_INET && socket_port(&own) == socket_port(&peer))
            return fd;
    }
    return -1;
}

/* The player has sent all that it is going to, and the call has read it. */
static bool is_settled(const struct player *player)
{
    int way_out = 0;

    if (player->fd < 0 || (player->limit > player->sent && player->wire_at < player->wire_size))
        return false;
#ifdef SIOCOUTQ
    assert_int_equal(ioctl(player->fd, SIOCOUTQ, &way_out), 0);
#endif
    int fd = find_client(player);
    return way_out == 0 && (fd < 0 || unread(fd) == 0);
}

static bool has_heard(struct player *player, const char *text)
{
    const char *heard = player->heard + player->heard_from;

    if (!strstr(heard, "\r\n\r\n") || !strstr(heard, text))
        return false;
    player->requests[player->request_count++] = player->heard_from;
    player->heard_from = player->heard_size;
    return true;
}

static bool has_heard_bytes(struct player *player, const struct act *what)
{
    if (player->heard_size - player->heard_from < what->size)
        return false;
    assert_memory_equal(player->heard + player->heard_from, what->text, what->size);
    player->heard_from += what->size;
    return true;
}

/* false: it has to wait. */
static bool act(struct player *player, const struct act *what)
{
    switch (what->kind) {
    case HEAR:
        return has_heard(player, what->text);
    case HEAR_IT:
        return has_heard_bytes(player, what);
    case SAY_IT:
        put_below(player, player->layer_count, what->text, what->size);
        return true;
    case AWAIT:
        return player->heard_size > player->heard_from;
    case SAY:
    case REPEAT:
        put_below(player, player->layer_count, what->text, strlen(what->text));
        return what->kind == SAY;
    case SECURE:
        if (!player->securing)
            add_layer(player);
        player->securing = !SSL_is_init_finished(player->layers[player->layer_count - 1].ssl);
        return !player->securing;
    case UPDATE:
    case UPDATES:
        update_keys(player,
                    what->kind == UPDATE ? SSL_KEY_UPDATE_REQUESTED : SSL_KEY_UPDATE_NOT_REQUESTED);
        return true;
    case NOTIFY:
        SSL_shutdown(player->layers[player->layer_count - 1].ssl);
        drain(player, player->layer_count - 1);
        return true;
    case END:
        shutdown(player->fd, SHUT_WR);
        return true;
    default:
        /* It would take away what is not read yet. */
        if (!is_settled(player))
            return false;
        socket_reset(player->fd);
        player->fd = -1;
        return true;
    }
}

static void player_send(struct player *player)
{
    size_t size = player->wire_size - player->wire_at;

    if (player->piece > 0 && size > player->piece)
        size = player->piece;
    if (size > player->limit - player->sent)
        size = player->limit - player->sent;
    if (size == 0)
        return;
    ssize_t put = send(player->fd, player->wire + player->wire_at, size, MSG_NOSIGNAL);
    player->sent += put > 0 ? (size_t)put : 0;
    player->wire_at += put > 0 ? (size_t)put : 0;
}

static void player_receive(struct player *player)
{
    uint8_t bytes[16384];
    ssize_t got;

    while (!player->mute && (got = recv(player->fd, bytes, sizeof bytes, 0)) > 0)
        put_above(player, 0, bytes, (size_t)got);
}

static void player_step(struct player *player)
{
    if (player->fd < 0) {
        int fd = net_accept(player->listener);
        if (fd < 0)
            return;
        player_hang_up(player);
        player->fd = fd;
        player->connections++;
    }
    player_receive(player);
    player_send(player);
    while (player->fd >= 0 && player->wire_at == player->wire_size && player->at < player->count &&
           act(player, &player->acts[player->at]))
        player->at++;
}

static void step_players(void *context)
{
    (void)context;
    for (size_t i = 0; i < 3; i++)
        if (players[i].heard)
            player_step(&players[i]);
}

/* ---- ways to a server */

enum way_kind {
    DIRECT,
    DIRECT_TLS,
    PROXY,
    PROXY_TLS,     /* the server has it */
    TLS_PROXY,     /* the proxy has it */
    TLS_PROXY_TLS, /* both */
    SOCKS,         /* is told the name */
    SOCKS_TLS,     /* is told the address */
    WAYS,
};

static bool has_socks(enum way_kind kind)
{
    return kind == SOCKS || kind == SOCKS_TLS;
}

static bool has_tls_proxy(enum way_kind kind)
{
    return kind == TLS_PROXY || kind == TLS_PROXY_TLS;
}

static bool has_proxy(enum way_kind kind)
{
    return kind >= PROXY;
}

static bool has_tls(enum way_kind kind)
{
    return kind == DIRECT_TLS || kind == PROXY_TLS || kind == TLS_PROXY_TLS || kind == SOCKS_TLS;
}

static struct address_override overrides[4];
static char credentials[5000];
static struct http_way way;
static struct http_call_request request;

static const uint8_t CONNECTED[] = {5, 0, 0, 1, 0, 0, 0, 0, 0, 0};
static uint8_t login_asked[1 + 2 * 256];
static uint8_t target_asked[300];

static void be_asked_for_login(struct player *player)
{
    const char *password = strchr(credentials, ':') + 1;
    size_t user_size = (size_t)(password - credentials) - 1;
    size_t password_size = strlen(password);

    login_asked[0] = 1;
    login_asked[1] = (uint8_t)user_size;
    memcpy(login_asked + 2, credentials, user_size);
    login_asked[2 + user_size] = (uint8_t)password_size;
    memcpy(login_asked + 3 + user_size, password, password_size);
    play_bytes(player, HEAR_IT, "\5\2\0\2", 4);
    play_bytes(player, SAY_IT, "\5\2", 2);
    play_bytes(player, HEAR_IT, login_asked, 3 + user_size + password_size);
    play_bytes(player, SAY_IT, "\1", 2);
}

/* A SOCKS proxy, up to what it says of the target. */
static void be_socks(struct player *player, enum way_kind kind)
{
    static const char name[] = "\5\1\0\3\x9localhost";
    static const char address[] = "\5\1\0\1\x7f\0\0\1";
    size_t size = kind == SOCKS ? sizeof name - 1 : sizeof address - 1;

    if (credentials[0]) {
        be_asked_for_login(player);
    } else {
        play_bytes(player, HEAR_IT, "\5\1\0", 3);
        play_bytes(player, SAY_IT, "\5\0", 2);
    }
    memcpy(target_asked, kind == SOCKS ? name : address, size);
    target_asked[size] = (uint8_t)(socket_port(&player->address) >> 8);
    target_asked[size + 1] = (uint8_t)socket_port(&player->address);
    play_bytes(player, HEAR_IT, target_asked, size + 2);
}

static void be_proxy(struct player *player, enum way_kind kind)
{
    if (has_socks(kind)) {
        be_socks(player, kind);
        play_bytes(player, SAY_IT, CONNECTED, sizeof CONNECTED);
        return;
    }
    if (has_tls_proxy(kind))
        play(player, SECURE, NULL, HTTP_HOP_PROXY);
    play(player, HEAR, "CONNECT ", HTTP_HOP_PROXY);
    play(player, SAY, ESTABLISHED, HTTP_HOP_PROXY);
}

/* One player is at the beginning of the way; up to the request that the server hears. */
static void lead(enum way_kind kind)
{
    struct player *player = &players[0];

    memset(&way, 0, sizeof way);
    way.worker = &net.near;
    way.tls = way.anonymous_tls = net_tls_client();
    way.overrides = overrides;
    way.override_count = 1;
    overrides[0] = (struct address_override){.at = {"localhost", socket_port(&player->address)},
                                             .address = "127.0.0.1"};
    request = (struct http_call_request){.host = "localhost",
                                         .port = socket_port(&player->address),
                                         .tls = has_tls(kind),
                                         .named_by = "--server",
                                         .method = "GET",
                                         .path = "/x",
                                         .answer_max = BODY_MAX};
    player->count = 0;
    if (has_proxy(kind)) {
        way.has_proxy = true;
        way.proxy = (struct proxy){.kind = kind == SOCKS         ? PROXY_SOCKS5H
                                           : kind == SOCKS_TLS   ? PROXY_SOCKS5
                                           : has_tls_proxy(kind) ? PROXY_HTTPS
                                                                 : PROXY_HTTP,
                                   .host = "localhost",
                                   .port = socket_port(&player->address),
                                   .credentials = credentials[0] ? credentials : NULL,
                                   .user_size = strcspn(credentials, ":")};
        be_proxy(player, kind);
    }
    if (has_tls(kind))
        play(player, SECURE, NULL, HTTP_HOP_TLS);
    play(player, HEAR, "GET /x ", HTTP_HOP_HTTP);
}

/* ---- a call */

static struct outcome {
    unsigned answers;
    enum http_hop hop;
    bool timed_out;
    bool login_refused;
    char reason[HTTP_REASON_MAX];
    bool head_done;
    int status;
    char kind[20]; /* the header X-Kind */
    char body[BODY_MAX + 1];
    size_t body_size;
    bool body_cut;
    struct transport *transport;
    struct http_trace trace;
} outcome;

static struct http_call *call;

static void on_outcome(void *context, const struct http_call_result *result)
{
    assert_ptr_equal(context, &outcome);
    outcome.answers++;
    outcome.hop = result->hop;
    outcome.timed_out = result->timed_out;
    outcome.login_refused = result->login_refused;
    snprintf(outcome.reason, sizeof outcome.reason, "%s", result->reason);
    outcome.head_done = result->response->head_done;
    outcome.transport = result->transport;
    outcome.trace = *result->trace;
    call = NULL;
    if (!result->response->head_done)
        return;
    outcome.status = result->response->status;
    http_response_header(result->response, "x-kind", outcome.kind, sizeof outcome.kind);
    outcome.body_size = result->response->body_size;
    outcome.body_cut = result->response->body_cut;
    assert_true(outcome.body_size <= request.answer_max);
    memcpy(outcome.body, result->response->body, outcome.body_size + 1);
}

static void start(void)
{
    memset(&outcome, 0, sizeof outcome);
    call = http_call_start(&way, &request, TIMEOUT_MS, on_outcome, &outcome);
    assert_int_equal(outcome.answers, 0);
}

/* Once, and nothing later. */
static void finish(void)
{
    NET_UNTIL(outcome.answers > 0);
    net_turns(5);
    assert_int_equal(outcome.answers, 1);
    for (size_t i = 0; i < 3; i++)
        if (players[i].heard)
            player_hang_up(&players[i]);
}

static void expect_hello(void)
{
    assert_int_equal(outcome.hop, HTTP_HOP_NONE);
    assert_string_equal(outcome.reason, "");
    assert_false(outcome.timed_out);
    assert_int_equal(outcome.status, 200);
    assert_string_equal(outcome.kind, "b");
    assert_string_equal(outcome.body, "hello");
    assert_int_equal(outcome.body_size, 5);
    assert_false(outcome.body_cut);
    assert_null(outcome.transport);
}

static void expect_reason(enum http_hop hop, const char *words)
{
    char prefix[HTTP_REASON_MAX];

    if (outcome.hop != hop || !strstr(outcome.reason, words))
        fail_msg("%s: %s; instead of %s: %s", http_hop_name(outcome.hop), outcome.reason,
                 http_hop_name(hop), words);
    prefix[0] = '\0';
    if (hop != HTTP_HOP_NONE)
        http_call_prefix(&request, &outcome.trace, prefix, sizeof prefix);
    assert_int_equal(strncmp(outcome.reason, prefix, strlen(prefix)), 0);
    assert_true(!outcome.transport || hop == HTTP_HOP_NONE);
}

static void run(void)
{
    start();
    finish();
}

/* The call goes no further than that act leads it. */
static void settle_at(size_t at)
{
    NET_UNTIL(
        outcome.answers > 0 ||
        ((players[0].at == at || players[0].sent == players[0].limit) && is_settled(&players[0])));
    net_turns(5);
}

static void settle(void)
{
    settle_at(players[0].count);
}

/* ---- whole answers */

static const char *request_at(size_t number)
{
    return players[0].heard + players[0].requests[number];
}

static void every_way(void **state)
{
    (void)state;
    net.turn_us = 100;
    for (enum way_kind kind = DIRECT; kind < WAYS; kind++) {
        lead(kind);
        play(&players[0], SAY, HELLO, HTTP_HOP_HTTP);
        run();
        expect_hello();
        const struct http_trace *trace = &outcome.trace;
        assert_int_equal(trace->address_count, 1);
        assert_string_equal(trace->addresses, "127.0.0.1");
        assert_int_equal(socket_port(&trace->tried), socket_port(&players[0].address));
        assert_int_equal(trace->proxy[0] != '\0', has_proxy(kind));
        assert_true(trace->named_us > 0 && trace->named_us <= trace->connected_us);
        assert_int_equal(trace->proxied_us > 0, has_proxy(kind));
        assert_int_equal(
            strncmp(trace->target, kind == SOCKS_TLS ? "127.0.0.1:" : "localhost:", 10) == 0,
            has_proxy(kind));
        assert_int_equal(trace->secured_us > 0, has_tls(kind));
        assert_true(!has_proxy(kind) || trace->connected_us < trace->proxied_us);
        assert_true(!has_tls(kind) || trace->proxied_us < trace->secured_us);
        assert_true(trace->connected_us < trace->answered_us &&
                    trace->secured_us < trace->answered_us);
        assert_int_equal(strncmp(trace->protection, "TLSv1.3 ", 8) == 0, has_tls(kind));
        assert_int_equal(strstr(trace->certificate, "CN=localhost") != NULL, has_tls(kind));
        assert_int_equal(players[0].connections, 1);
        players[0].connections = 0;
    }
}

/* The bytes of the request, and that none is sent before its turn. */
static void what_is_sent(void **state)
{
    static const char *const headers[] = {"X-One: 1", "Accept: */*", NULL};
    char wanted[400];

    (void)state;
    lead(DIRECT);
    players[0].acts[0].text = "\r\n\r\nthe body";
    play(&players[0], SAY, HELLO, HTTP_HOP_HTTP);
    request.method = "POST";
    request.headers = headers;
    request.body = "the body and more";
    request.body_size = 8;
    start();
    NET_UNTIL(outcome.answers > 0);
    snprintf(wanted, sizeof wanted,
             "POST /x HTTP/1.1\r\nHost: localhost:%u\r\nUser-Agent: kafka-tunnel/%s\r\n"
             "X-One: 1\r\nAccept: */*\r\nContent-Length: 8\r\n\r\nthe body",
             (unsigned)request.port, KAFKA_TUNNEL_VERSION);
    assert_string_equal(request_at(0), wanted);
    finish();
    expect_hello();
}

/* Host has no port that goes without saying, and no dot at the end; CONNECT has both as given. */
static void names_of_the_server(void **state)
{
    static const struct {
        const char *host;
        uint16_t port;
        const char *target;
        const char *header;
    } cases[] = {
        {"example.com", 80, "example.com:80", "example.com"},
        {"example.com", 443, "example.com:443", "example.com:443"},
        {"example.com.", 8080, "example.com.:8080", "example.com:8080"},
        {"2001:db8::1", 80, "[2001:db8::1]:80", "[2001:db8::1]"},
        {"2001:db8::1", 81, "[2001:db8::1]:81", "[2001:db8::1]:81"},
    };
    char wanted[400];

    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        lead(PROXY);
        play(&players[0], SAY, HELLO, HTTP_HOP_HTTP);
        request.host = cases[i].host;
        request.port = cases[i].port;
        start();
        NET_UNTIL(outcome.answers > 0);
        snprintf(wanted, sizeof wanted, "CONNECT %s HTTP/1.1\r\nHost: %s\r\n", cases[i].target,
                 cases[i].target);
        assert_int_equal(strncmp(request_at(0), wanted, strlen(wanted)), 0);
        snprintf(wanted, sizeof wanted, "GET /x HTTP/1.1\r\nHost: %s\r\n", cases[i].header);
        assert_int_equal(strncmp(request_at(1), wanted, strlen(wanted)), 0);
        finish();
        expect_hello();
    }
}

/* A login for the proxy, of any length; the server hears nothing of it. */
static void logins(void **state)
{
    char wanted[7000] = "Proxy-Authorization: Basic ";
    size_t begins = strlen(wanted);

    (void)state;
    for (size_t size = 1; size < 4000; size = size * 3 + 1) {
        memset(credentials, 'p', size);
        memcpy(credentials, "u:", size < 2 ? size : 2);
        credentials[size] = '\0';
        EVP_EncodeBlock((unsigned char *)wanted + begins, (const unsigned char *)credentials,
                        (int)size);
        for (enum way_kind kind = PROXY; kind < SOCKS; kind++) {
            lead(kind);
            play(&players[0], SAY, HELLO, HTTP_HOP_HTTP);
            start();
            NET_UNTIL(outcome.answers > 0);
            const char *login = strstr(request_at(0), wanted);
            assert_true(login && login < request_at(1));
            assert_int_equal(strncmp(login + strlen(wanted), "\r\n", 2), 0);
            assert_null(strstr(request_at(1), "Authorization"));
            finish();
            expect_hello();
        }
    }
    credentials[0] = '\0';
    lead(PROXY);
    play(&players[0], SAY, HELLO, HTTP_HOP_HTTP);
    start();
    NET_UNTIL(outcome.answers > 0);
    assert_null(strstr(players[0].heard, "Authorization"));
    finish();
}

/* Wherever the answer is cut in two, and byte by byte, through everything that there may be. */
static void answers_in_pieces(void **state)
{
    static const char *const answers[] = {
        HELLO,
        ("HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n"
         "X-Kind: b\r\n\r\n2;x=y\r\nhe\r\n3\r\nllo\r\n0\r\nX: y\r\n\r\n"),
        "HTTP/1.0 200 OK\nX-Kind: b\n\nhello",
    };

    (void)state;
    for (size_t i = 0; i < sizeof answers / sizeof *answers; i++) {
        size_t size = strlen(answers[i]);
        for (size_t cut = 1; cut < size; cut++) {
            lead(DIRECT);
            play(&players[0], SAY, answers[i], HTTP_HOP_HTTP);
            play(&players[0], END, NULL, HTTP_HOP_HTTP);
            players[0].limit = cut;
            start();
            net_turns(QUIET);
            players[0].limit = SIZE_MAX;
            finish();
            expect_hello();
        }
        for (enum way_kind kind = DIRECT; kind < WAYS; kind++) {
            lead(kind);
            play(&players[0], SAY, answers[i], HTTP_HOP_HTTP);
            if (has_tls(kind))
                play(&players[0], NOTIFY, NULL, HTTP_HOP_HTTP);
            play(&players[0], END, NULL, HTTP_HOP_HTTP);
            players[0].piece = 1;
            run();
            expect_hello();
            players[0].piece = 0;
        }
    }
}

/* ---- what the proxy says */

static void proxies_that_refuse(void **state)
{
    static const struct {
        const char *answer;
        bool login;
        const char *words;
    } cases[] = {
        {"HTTP/1.1 407 Who\r\nProxy-Authenticate: Basic realm=\"a\"\r\nContent-Length: 0\r\n\r\n",
         false, "the proxy requires a login (407; it offers: Basic realm=\"a\")"},
        {"HTTP/1.1 407 Who\r\nContent-Length: 2\r\n\r\nno", false,
         "the proxy requires a login (407; it offers: );"},
        {"HTTP/1.1 407 Who\r\nProxy-Authenticate: Basic realm=\"a\"\r\nContent-Length: 0\r\n\r\n",
         true, "the proxy does not accept this user name and password (407; it offers: Basic"},
        {"HTTP/1.1 407 Who\r\nProxy-Authenticate: Negotiate\r\nProxy-Authenticate: NTLM\r\n"
         "Content-Length: 0\r\n\r\n",
         false, "a login other than Basic (407; it offers: Negotiate, NTLM)"},
        {"HTTP/1.1 403 No\r\nContent-Length: 0\r\n\r\n", true,
         "does not allow a connection there "
         "(403)"},
        {"HTTP/1.1 401 No\r\nContent-Length: 0\r\n\r\n", true,
         "does not allow a connection there "
         "(401)"},
        {"HTTP/1.1 502 No\r\nContent-Length: 0\r\n\r\n", false,
         "cannot reach the server (502); is the name right (--server)"},
        {"HTTP/1.1 404 No\r\nContent-Length: 0\r\n\r\n", false, "answered 404 to CONNECT"},
        {"HTTP/1.1 302 No\r\nLocation: http://x/\r\nContent-Length: 0\r\n\r\n", false,
         "answered 302 to CONNECT"},
        /* RFC 9110, 9.3.6: what is behind the head of a 2xx is the tunnel's. */
        {ESTABLISHED "x", false, "sent more than its answer to CONNECT"},
        {"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello", false,
         "sent more than its answer to CONNECT"},
        {"SSH-2.0-x\r\n", false, "the proxy's answer is not HTTP"},
        {"HTTP/1.1 407 Who\r\nthis is no header\r\n\r\n", false,
         "the proxy's answer is not valid HTTP"},
        {UPGRADED, false, "answered 101 to CONNECT"},
    };

    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        for (enum way_kind kind = PROXY; kind < SOCKS; kind++) {
            strcpy(credentials, cases[i].login ? "u:p" : "");
            lead(kind);
            players[0].acts[has_tls_proxy(kind) ? 2 : 1].text = cases[i].answer;
            run();
            expect_reason(HTTP_HOP_PROXY, cases[i].words);
            assert_int_equal(outcome.trace.proxied_us, 0);
            assert_null(strstr(outcome.reason, "u:p"));
        }
    }
    credentials[0] = '\0';
}

/* The player checks each byte that the proxy is told. */
static void socks_logins(void **state)
{
    static const char *const logins[] = {"u:p", "user:", "a b\xff:@:%/"};

    (void)state;
    for (size_t i = 0; i <= sizeof logins / sizeof *logins; i++) {
        if (i < sizeof logins / sizeof *logins) {
            strcpy(credentials, logins[i]);
        } else {
            memset(credentials, 'x', 511);
            credentials[255] = ':';
            credentials[511] = '\0';
        }
        for (enum way_kind kind = SOCKS; kind <= SOCKS_TLS; kind++) {
            for (size_t piece = 0; piece < 2; piece++) {
                lead(kind);
                play(&players[0], SAY, HELLO, HTTP_HOP_HTTP);
                players[0].piece = piece;
                run();
                expect_hello();
            }
        }
    }
    players[0].piece = 0;
}

/* How the proxy is told the server: a name as it is given, an address as one. */
static void socks_targets(void **state)
{
    static const struct {
        const char *host;
        const char *asked;
        size_t size;
    } cases[] = {
        {"example.com.", "\5\1\0\3\14example.com.\x1f\x90", 19},
        {"192.0.2.1", "\5\1\0\1\xc0\0\2\1\x1f\x90", 10},
        {"2001:db8::1", "\5\1\0\4\x20\1\xd\xb8\0\0\0\0\0\0\0\0\0\0\0\1\x1f\x90", 22},
    };

    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        lead(SOCKS);
        players[0].acts[2].text = cases[i].asked;
        players[0].acts[2].size = cases[i].size;
        play(&players[0], SAY, HELLO, HTTP_HOP_HTTP);
        request.host = cases[i].host;
        request.port = 8080;
        run();
        expect_hello();
    }
}

static void socks_proxies_that_refuse(void **state)
{
    static const struct {
        size_t at; /* the act in whose place it says that */
        const char *answer;
        size_t size;
        bool login;
        bool login_refused;
        const char *words;
    } cases[] = {
        {1, "\5\xff", 2, false, true, "the proxy requires a login; give it as --proxy socks5h://"},
        {1, "\5\2", 2, false, true, "the proxy requires a login; give it as --proxy socks5h://"},
        {1, "\5\xff", 2, true, true, "requires a login other than a user name and a password"},
        {1, "\5\1", 2, true, true, "requires a login other than a user name and a password"},
        {3, "\1\1", 2, true, true, "does not accept this user name and password; check them"},
        {3, "\5\xff", 2, true, true, "does not accept this user name and password; check them"},
        {3, "\5\1\0\1\0\0\0\0\0\0", 10, false, false,
         "cannot reach the server (SOCKS5 reply 1: general failure); is the name right (--server)"},
        {3, "\5\2", 2, false, false,
         "does not allow a connection there (SOCKS5 reply 2: not allow"},
        {3, "\5\3", 2, false, false, "(SOCKS5 reply 3: network unreachable)"},
        {3, "\5\4", 2, false, false, "(SOCKS5 reply 4: host unreachable)"},
        {3, "\5\5", 2, false, false, "(SOCKS5 reply 5: connection refused)"},
        {3, "\5\6", 2, false, false, "(SOCKS5 reply 6: TTL expired)"},
        {3, "\5\7", 2, false, false, "(SOCKS5 reply 7: command not supported)"},
        {3, "\5\x8", 2, false, false, "(SOCKS5 reply 8)"},
        {3, "\5\xf1", 2, false, false, "cannot reach the server (SOCKS5 reply 241);"},
        {1, "HTTP/1.0 400 Bad Request\r\n\r\n", 28, false, false, "the proxy answers in HTTP;"},
        {1, "\0\x5b", 2, false, false, "the proxy speaks SOCKS4"},
        {1, "SSH-2.0-x\r\n", 11, false, false, "the proxy's answer is not SOCKS5"},
        {3, "\5\0\0\2", 5, false, false, "the proxy's answer is not SOCKS5"},
        {1, "\5\0\5", 3, false, false, "the proxy sent more than its SOCKS5 answer"},
        {3, "\5\0\0\1\0\0\0\0\0\0x", 11, false, false, "the proxy sent more than its SOCKS5"},
    };

    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        for (enum way_kind kind = SOCKS; kind <= SOCKS_TLS; kind++) {
            strcpy(credentials, cases[i].login ? "u:pass" : "");
            lead(kind);
            players[0].acts[cases[i].at].text = cases[i].answer;
            players[0].acts[cases[i].at].size = cases[i].size;
            players[0].count = cases[i].at + 1;
            run();
            expect_reason(HTTP_HOP_PROXY, cases[i].words);
            assert_int_equal(outcome.login_refused, cases[i].login_refused);
            assert_int_equal(outcome.trace.proxied_us, 0);
            assert_null(strstr(outcome.reason, "u:pass"));
        }
    }
}

/* One of the server's addresses after the other, where the proxy does not get to one. */
static void the_next_target(void **state)
{
    static const struct {
        const char *answer; /* about the first */
        size_t size;
        bool makes_way;
        unsigned proxies; /* addresses of the proxy's name; it listens at the first */
    } cases[] = {
        {"\5\4", 2, true, 1}, {"\5\x8", 2, true, 1}, {"\5\2", 2, false, 1},
        {NULL, 0, true, 1},   {NULL, 0, true, 2},
    };
    static uint8_t asked[10];

    (void)state;
    NET_NEEDS_JUMPS();
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        lead(SOCKS_TLS);
        /* The name has two addresses, of which the proxy's own is the second. */
        request.host = "example.com";
        overrides[1] =
            (struct address_override){.at = {"example.com", request.port}, .address = "192.0.2.1"};
        overrides[2] =
            (struct address_override){.at = {"example.com", request.port}, .address = "127.0.0.1"};
        overrides[3] = (struct address_override){.at = overrides[0].at, .address = "127.0.0.2"};
        way.override_count = 2 + cases[i].proxies;
        request.tls = false;
        memcpy(asked, "\5\1\0\1\xc0\0\2\1", 8);
        memcpy(asked + 8, target_asked + 8, 2);
        players[0].acts[2].text = (const char *)asked;
        players[0].count = 3;
        if (cases[i].answer)
            play_bytes(&players[0], SAY_IT, cases[i].answer, cases[i].size);
        start();
        settle();
        assert_int_equal(outcome.answers, cases[i].makes_way ? 0 : 1);
        if (!cases[i].makes_way) {
            finish();
            expect_reason(HTTP_HOP_PROXY, "not allowed by ruleset");
            continue;
        }
        if (!cases[i].answer)
            net_jump_ms(5000);
        net_turns(5);
        assert_int_equal(find_client(&players[0]), -1); /* the call has gone from there */
        player_hang_up(&players[0]);
        players[0].count = 0;
        be_proxy(&players[0], SOCKS_TLS);
        play(&players[0], HEAR, "GET /x ", HTTP_HOP_HTTP);
        play(&players[0], SAY, HELLO, HTTP_HOP_HTTP);
        finish();
        expect_hello();
        assert_int_equal(strncmp(outcome.trace.target, "127.0.0.1:", 10), 0);
    }
}

/* A refusal that is cut short is one still, and so is one that has no end. */
static void refusals_without_an_end(void **state)
{
    static const char head[] = "HTTP/1.1 407 Who\r\nProxy-Authenticate: Basic\r\n"
                               "Content-Length: 100000\r\n\r\n";
    static const enum act_kind ends[] = {END, RESET, SAY, REPEAT};

    (void)state;
    NET_NEEDS_JUMPS();
    for (size_t i = 0; i < sizeof ends / sizeof *ends; i++) {
        lead(PROXY_TLS);
        players[0].count = 1;
        play(&players[0], SAY, head, HTTP_HOP_PROXY);
        play(&players[0], ends[i], "x", HTTP_HOP_PROXY);
        start();
        if (ends[i] == REPEAT)
            NET_UNTIL(players[0].sent > 1000);
        else
            settle();
        if (ends[i] == SAY || ends[i] == REPEAT) {
            assert_int_equal(outcome.answers, 0);
            net_jump_ms(TIMEOUT_MS);
        }
        finish();
        expect_reason(HTTP_HOP_PROXY, "the proxy requires a login (407; it offers: Basic)");
    }
}

/* ---- answers without an end */

static void bodies_without_an_end(void **state)
{
    static const struct {
        const char *head;
        const char *more;
        bool enough; /* a refusal: its beginning says what there is to know */
    } cases[] = {
        {"HTTP/1.1 200 OK\r\n\r\n", "xxxxxxxxxxxxxxxxxxxx", false},
        {"HTTP/1.1 200 OK\r\nContent-Length: 10000000000\r\n\r\n", "xxxxxxxxxxxxxxxxxxxx", false},
        {"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", "2\r\nxx\r\n", false},
        {"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1", ";;;;;;;;;;;;;;;;", false},
        {"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n", "x: y\r\n", false},
        {"HTTP/1.1 403 No\r\n\r\n", "xxxxxxxxxxxxxxxxxxxx", true},
        {"HTTP/1.1 503 No\r\nTransfer-Encoding: chunked\r\n\r\n", "2\r\nxx\r\n", true},
        {"HTTP/1.1 302 No\r\nContent-Length: 1\r\n\r\n", "", true},
        {"HTTP/1.1 ", "100 Continue\r\n\r\nHTTP/1.1 ", false},
    };

    (void)state;
    NET_NEEDS_JUMPS();
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        for (enum way_kind kind = DIRECT; kind < WAYS; kind += 1 + net_random(2)) {
            lead(kind);
            play(&players[0], SAY, cases[i].head, HTTP_HOP_HTTP);
            play(&players[0], REPEAT, cases[i].more, HTTP_HOP_HTTP);
            start();
            NET_UNTIL(players[0].at == players[0].count - 1);
            net_turns(200);
            players[0].limit = players[0].sent;
            settle();
            assert_int_equal(outcome.answers, 0);
            net_jump_ms(TIMEOUT_MS - 1);
            net_turns(2);
            assert_int_equal(outcome.answers, 0);
            net_jump_ms(1);
            finish();
            players[0].limit = SIZE_MAX;
            assert_true(outcome.timed_out);
            if (cases[i].enough) {
                assert_int_equal(outcome.hop, HTTP_HOP_NONE);
                assert_true(outcome.status >= 300 && outcome.body_size <= BODY_MAX);
            } else {
                expect_reason(HTTP_HOP_HTTP, "no answer came in time after the request was sent");
            }
        }
    }
}

/* The head is bounded, so it need not wait for the deadline. */
static void heads_without_an_end(void **state)
{
    static const char *const lines[] = {"x: y\r\n", "xxxxxxxxxxxxxxxx", "\r\r\r\r\r\r\r\r"};

    (void)state;
    for (size_t i = 0; i < sizeof lines / sizeof *lines; i++) {
        for (enum way_kind kind = DIRECT; kind < WAYS; kind++) {
            lead(kind);
            play(&players[0], SAY, "HTTP/1.1 200 OK\r\nX: y", HTTP_HOP_HTTP);
            play(&players[0], REPEAT, lines[i], HTTP_HOP_HTTP);
            run();
            expect_reason(HTTP_HOP_HTTP, "the header of the answer is larger than 16 KiB");
        }
    }
}

/* So much of the body is kept, and what there is more of is read all the same. */
static void limits_of_the_body(void **state)
{
    static char answer[3000];
    static const size_t limits[] = {0, 1, 99, 100, 101, BODY_MAX};

    (void)state;
    snprintf(answer, sizeof answer, "HTTP/1.1 200 OK\r\nX-Kind: b\r\nContent-Length: 100\r\n\r\n");
    for (size_t i = 0, fill = strlen(answer); i < 100; i++)
        answer[fill + i] = (char)('a' + i % 26);
    for (size_t i = 0; i < sizeof limits / sizeof *limits; i++) {
        lead(DIRECT_TLS);
        request.answer_max = limits[i];
        play(&players[0], SAY, answer, HTTP_HOP_HTTP);
        run();
        assert_int_equal(outcome.hop, HTTP_HOP_NONE);
        assert_int_equal(outcome.body_size, limits[i] < 100 ? limits[i] : 100);
        assert_int_equal(outcome.body_cut, limits[i] < 100);
        assert_int_equal(
            strncmp(outcome.body, "abcdefghijklmnopqrstuvwxyzabc", limits[i] < 29 ? limits[i] : 29),
            0);
    }
}

/* 256 KiB with all headers, whatever the socket takes at a time; larger ones are not begun. */
static void limits_of_the_request(void **state)
{
    enum { MOST = 256 * 1024 };
    static char header[MOST];
    const char *const headers[] = {header, NULL};

    (void)state;
    for (int more = 0; more < 2; more++) {
        for (enum way_kind kind = DIRECT; kind < WAYS; kind++) {
            lead(kind);
            int before = snprintf(header, sizeof header,
                                  "GET /x HTTP/1.1\r\nHost: localhost:%u\r\n"
                                  "User-Agent: kafka-tunnel/%s\r\n\r\n\r\n",
                                  (unsigned)request.port, KAFKA_TUNNEL_VERSION);
            size_t size = MOST - (size_t)before + (size_t)more;
            memset(header, 'x', size);
            header[1] = ':';
            header[size] = '\0';
            request.headers = headers;
            play(&players[0], SAY, HELLO, HTTP_HOP_HTTP);
            players[0].mute = more == 0 && kind < PROXY && !has_tls(kind);
            start();
            net_turns(QUIET);
            players[0].mute = false;
            NET_UNTIL(outcome.answers > 0);
            size_t heard =
                players[0].heard_size - players[0].requests[has_proxy(kind) && !has_socks(kind)];
            finish();
            if (more) {
                expect_reason(HTTP_HOP_AUTH, "the request would be larger than 256 KiB");
                assert_int_equal(players[0].connections, kind - DIRECT + WAYS);
            } else {
                expect_hello();
                assert_int_equal(heard, MOST);
            }
            players[0].connections += (unsigned)more;
        }
    }
}

/* ---- 101 */

static void expect_upgraded(void)
{
    uint8_t bytes[16];

    assert_int_equal(outcome.hop, HTTP_HOP_NONE);
    assert_int_equal(outcome.status, 101);
    assert_non_null(outcome.transport);
    NET_UNTIL(net_is_readable(transport_fd(outcome.transport)));
    long got;
    while ((got = transport_read(outcome.transport, bytes, sizeof bytes)) == TRANSPORT_BLOCKED)
        net_turn();
    assert_int_equal(got, 5);
    assert_memory_equal(bytes, "first", 5);
    assert_int_equal(transport_commit(outcome.transport, (const uint8_t *)"GET \r\n\r\n", 8), 0);
    assert_int_equal(transport_flush(outcome.transport), 1);
    NET_UNTIL(players[0].at == players[0].count);
    transport_free(outcome.transport);
}

/* The connection is the callback's then, with nothing read from it beyond the answer. */
static void upgrades(void **state)
{
    (void)state;
    for (enum way_kind kind = DIRECT; kind < WAYS; kind++) {
        lead(kind);
        request.upgrade = true;
        play(&players[0], SAY, UPGRADED, HTTP_HOP_UPGRADE);
        play(&players[0], HEAR, "not before the answer was taken", HTTP_HOP_UPGRADE);
        start();
        NET_UNTIL(outcome.answers > 0);
        net_turns(5);
        assert_int_equal(outcome.answers, 1);
        players[0].acts[players[0].at] = (struct act){SAY, "first", 0};
        play(&players[0], HEAR, "GET ", HTTP_HOP_UPGRADE);
        expect_upgraded();
        player_hang_up(&players[0]);
    }
}

static void answers_to_an_upgrade(void **state)
{
    static const struct {
        const char *answer;
        enum act_kind end;
        enum http_hop hop;
        int status;
        const char *words;
    } cases[] = {
        {UPGRADED "x", SAY, HTTP_HOP_UPGRADE, 101, "the server sent something before the request"},
        {HELLO, SAY, HTTP_HOP_NONE, 200, ""},
        /* What matters is there, though it is cut short. */
        {"HTTP/1.1 401 No\r\nContent-Length: 10\r\n\r\nno", END, HTTP_HOP_NONE, 401, ""},
        {"HTTP/1.1 401 No\r\nContent-Length: 10\r\n\r\nno", RESET, HTTP_HOP_NONE, 401, ""},
        {"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nno", END, HTTP_HOP_NONE, 200, ""},
        {"HTTP/1.1 101 Switch", END, HTTP_HOP_UPGRADE, 0,
         "the connection was closed after the WebSocket request was sent"},
        {"", RESET, HTTP_HOP_UPGRADE, 0,
         "Connection reset by peer after the WebSocket request was sent"},
        {"x", END, HTTP_HOP_HTTP, 0, "the answer is not HTTP"},
    };

    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        for (enum way_kind kind = DIRECT; kind < WAYS; kind++) {
            lead(kind);
            request.upgrade = true;
            play(&players[0], SAY, cases[i].answer, HTTP_HOP_UPGRADE);
            play(&players[0], cases[i].end, "", HTTP_HOP_UPGRADE);
            run();
            expect_reason(cases[i].hop, cases[i].hop == HTTP_HOP_NONE ? "" : cases[i].words);
            assert_int_equal(outcome.status, cases[i].status);
        }
    }
    /* Nobody has asked for it. */
    lead(DIRECT);
    play(&players[0], SAY, UPGRADED, HTTP_HOP_HTTP);
    run();
    assert_int_equal(outcome.status, 101);
    assert_null(outcome.transport);
}

/* ---- what is no answer */

static void expect_answer(enum way_kind kind, const char *text, const char *words)
{
    lead(kind);
    play(&players[0], SAY, text, HTTP_HOP_HTTP);
    run();
    expect_reason(HTTP_HOP_HTTP, words);
}

static const char *large_head(void)
{
    static char text[HTTP_RESPONSE_HEAD_MAX + 100] = "HTTP/1.1 200 OK\r\nX-Large: ";

    memset(text + strlen(text), 'x', sizeof text - 1 - strlen(text));
    return text;
}

static void garbage(void **state)
{
    static const char *const texts[] = {
        "SSH-2.0-OpenSSH_9.2\r\n",
        "\x15\x03\x03\x02\x02\x28",
        "HTTP/2 200 OK\r\n\r\n",
    };
    static const char *const nearly[] = {
        "HTTP/1.1 2OO OK\r\n\r\n",
        "HTTP/1.1 099 OK\r\n\r\n",
        "HTTP/1.1 600 OK\r\n\r\n",
        "HTTP/1.1 200 OK\r\nContent-Length: x\r\n\r\n",
        "HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nx",
        "HTTP/1.1 200 OK\r\n folded: x\r\n\r\n",
    };

    (void)state;
    for (enum way_kind kind = DIRECT; kind < WAYS; kind++) {
        for (size_t i = 0; i < sizeof texts / sizeof *texts; i++)
            expect_answer(kind, texts[i], "the answer is not HTTP; does the port speak something");
        for (size_t i = 0; i < sizeof nearly / sizeof *nearly; i++)
            expect_answer(kind, nearly[i], "the answer is not valid HTTP: its first line, a");
        expect_answer(kind, large_head(), "the header of the answer is larger than 16 KiB");
    }
    /* In place of TLS. */
    for (size_t i = 0; i < 4; i += 2) {
        for (enum way_kind kind = DIRECT; kind < WAYS; kind++) {
            for (size_t at = 0; at < players[0].count; at++) {
                lead(kind);
                enum http_hop hop = players[0].hops[at];
                if (players[0].acts[at].kind != SECURE)
                    continue;
                players[0].count = at;
                play(&players[0], AWAIT, NULL, hop);
                play(&players[0], SAY, texts[i], hop);
                run();
                expect_reason(hop, hop == HTTP_HOP_TLS ? "the TLS handshake failed: "
                                                       : "TLS with the proxy failed: ");
                assert_non_null(strstr(outcome.reason, "wrong version number"));
                lead(kind);
            }
        }
    }
}

/* ---- ends, deadlines and taking it back, at every step */

static const char *words_of_an_end(enum http_hop hop)
{
    return hop == HTTP_HOP_HTTP ? "after the request was sent" : "";
}

static void an_end_at_every_step(void **state)
{
    static const enum act_kind ends[] = {END, RESET};

    (void)state;
    for (size_t end = 0; end < 2; end++) {
        for (enum way_kind kind = DIRECT; kind < WAYS; kind++) {
            size_t count = 1;
            for (size_t at = 0; at < count; at++) {
                lead(kind);
                play(&players[0], SAY, HELLO, HTTP_HOP_HTTP);
                count = players[0].count;
                enum http_hop hop = players[0].hops[at];
                players[0].count = at;
                play(&players[0], ends[end], NULL, hop);
                run();
                expect_reason(hop, words_of_an_end(hop));
                assert_false(outcome.timed_out);
                assert_false(outcome.head_done);
            }
        }
    }
}

/* Within any message. */
static void an_end_at_every_byte(void **state)
{
    (void)state;
    for (enum way_kind kind = DIRECT; kind < WAYS; kind++) {
        lead(kind);
        play(&players[0], SAY, HELLO, HTTP_HOP_HTTP);
        start();
        NET_UNTIL(outcome.answers > 0);
        size_t all = players[0].sent;
        size_t stride = all / 40 + 1;
        finish();
        expect_hello();
        for (size_t cut = net_random((uint32_t)stride); cut < all - 40; cut += stride) {
            lead(kind);
            play(&players[0], SAY, HELLO, HTTP_HOP_HTTP);
            players[0].limit = cut;
            start();
            settle();
            assert_int_equal(outcome.answers, 0);
            if (net_random(2) == 0) {
                shutdown(players[0].fd, SHUT_WR);
            } else {
                socket_reset(players[0].fd);
                players[0].fd = -1;
                players[0].at = players[0].count;
            }
            finish();
            assert_int_not_equal(outcome.hop, HTTP_HOP_NONE);
            assert_string_not_equal(outcome.reason, "");
            players[0].limit = SIZE_MAX;
        }
    }
}

static void a_deadline_at_every_step(void **state)
{
    (void)state;
    NET_NEEDS_JUMPS();
    for (enum way_kind kind = DIRECT; kind < WAYS; kind++) {
        size_t count = 1;
        for (size_t at = 0; at < count; at++) {
            lead(kind);
            play(&players[0], SAY, HELLO, HTTP_HOP_HTTP);
            count = players[0].count;
            enum http_hop hop = players[0].hops[at];
            players[0].count = at;
            start();
            settle();
            net_jump_ms(TIMEOUT_MS - 1);
            net_turns(QUIET);
            assert_int_equal(outcome.answers, 0);
            net_jump_ms(1);
            finish();
            expect_reason(hop, "no answer came in time");
            assert_true(outcome.timed_out);
        }
    }
}

/* Bytes that come one by one do not move it. */
static void the_deadline_is_absolute(void **state)
{
    (void)state;
    NET_NEEDS_JUMPS();
    for (enum way_kind kind = DIRECT; kind < WAYS; kind++) {
        lead(kind);
        play(&players[0], SAY, "HTTP/1.1 200 OK\r\n\r\n", HTTP_HOP_HTTP);
        play(&players[0], REPEAT, "x", HTTP_HOP_HTTP);
        uint64_t begun = clock_now_us();
        start();
        NET_UNTIL(players[0].at == players[0].count - 1);
        while (outcome.answers == 0) {
            net_jump_ms(100);
            net_turn();
        }
        assert_in_range(clock_now_us() - begun, TIMEOUT_MS * 1000, TIMEOUT_MS * 1000 + 200000);
        finish();
        expect_reason(HTTP_HOP_HTTP, "no answer came in time");
    }
}

static void taken_back(void **state)
{
    (void)state;
    http_call_cancel(NULL);
    for (enum way_kind kind = DIRECT; kind < WAYS; kind++) {
        lead(kind);
        play(&players[0], SAY, HELLO, HTTP_HOP_HTTP);
        start();
        NET_UNTIL(outcome.answers > 0);
        size_t all = players[0].sent;
        finish();
        for (size_t point = 0; point < all; point += point < 8 ? 1 : 1 + all / 40) {
            lead(kind);
            play(&players[0], SAY, HELLO, HTTP_HOP_HTTP);
            start();
            if (point < 8) {
                net_turns((unsigned)point);
            } else {
                players[0].piece = 1 + net_random(100);
                NET_UNTIL(outcome.answers > 0 || players[0].sent >= point);
                net_turns(net_random(3));
            }
            unsigned answers = outcome.answers;
            http_call_cancel(call);
            call = NULL;
            net_turns(5);
            assert_int_equal(outcome.answers, answers);
            player_hang_up(&players[0]);
            players[0].piece = 0;
        }
    }
}

/* ---- names, several addresses */

static void names_that_nobody_knows(void **state)
{
    (void)state;
    resolver_replace(&net.near, net_no_such_name);
    lead(DIRECT);
    request.host = "nowhere.example";
    run();
    expect_reason(HTTP_HOP_DNS, "the name did not resolve: ");
    assert_non_null(strstr(outcome.reason, "check --server and the network"));
    lead(PROXY);
    strcpy(way.proxy.host, "nowhere.example");
    run();
    expect_reason(HTTP_HOP_PROXY, "the proxy's name did not resolve: ");
}

static int gate[2]; /* a look-up waits for it */
static atomic_uint look_ups_begun;
static atomic_uint look_ups_ended;

static int slow_name(const char *host, const char *service, const struct addrinfo *hints,
                     struct addrinfo **found)
{
    char byte;

    atomic_fetch_add(&look_ups_begun, 1);
    while (read(gate[0], &byte, 1) < 0 && errno == EINTR)
        continue;
    atomic_fetch_add(&look_ups_ended, 1);
    return net_no_such_name(host, service, hints, found);
}

static void names_that_take_too_long(void **state)
{
    static const enum http_hop hops[] = {HTTP_HOP_DNS, HTTP_HOP_PROXY};

    (void)state;
    NET_NEEDS_JUMPS();
    resolver_replace(&net.near, slow_name);
    assert_int_equal(pipe(gate), 0);
    for (size_t i = 0; i < 2; i++) {
        lead(i == 0 ? DIRECT : PROXY);
        request.host = "slow.example";
        strcpy(way.proxy.host, "slow.example");
        start();
        net_turns(QUIET);
        net_jump_ms(TIMEOUT_MS - 1);
        net_turns(5);
        assert_int_equal(outcome.answers, 0);
        net_jump_ms(1);
        finish();
        assert_true(outcome.timed_out);
        expect_reason(hops[i], "the name did not resolve in time");
        /* And one that is taken back meanwhile. */
        start();
        net_turns(5);
        http_call_cancel(call);
        net_turns(5);
        assert_int_equal(outcome.answers, 0);
    }
    close(gate[1]);
    NET_UNTIL(atomic_load(&look_ups_begun) > 0 &&
              atomic_load(&look_ups_begun) == atomic_load(&look_ups_ended));
    close(gate[0]);
}

static void connections_that_are_not_made(void **state)
{
    int hanging[NET_HANGING_FDS];
    struct socket_address address;

    (void)state;
    NET_NEEDS_JUMPS();
    net_closed_port(&address);
    for (int i = 0; i < 2; i++) {
        lead(i == 0 ? DIRECT_TLS : PROXY_TLS);
        overrides[0].at.port = way.proxy.port = socket_port(&address);
        request.port = i == 0 ? way.proxy.port : 443;
        run();
        expect_reason(i == 0 ? HTTP_HOP_TCP : HTTP_HOP_PROXY,
                      i == 0
                          ? "no connection: Connection refused; is the server running"
                          : "no connection to the proxy: Connection refused; is its address right");
        assert_false(outcome.timed_out);
    }
    net_hanging_port(&address, hanging);
    for (int i = 0; i < 2; i++) {
        lead(i == 0 ? DIRECT_TLS : PROXY_TLS);
        overrides[0].at.port = way.proxy.port = socket_port(&address);
        request.port = i == 0 ? way.proxy.port : 443;
        start();
        net_turns(QUIET);
        net_jump_ms(TIMEOUT_MS - 1);
        net_turns(5);
        assert_int_equal(outcome.answers, 0);
        net_jump_ms(1);
        finish();
        assert_true(outcome.timed_out);
        expect_reason(i == 0 ? HTTP_HOP_TCP : HTTP_HOP_PROXY, "no answer in time");
    }
    /* And one that is taken back meanwhile. */
    start();
    net_turns(QUIET);
    http_call_cancel(call);
    net_jump_ms(2 * TIMEOUT_MS);
    net_turns(5);
    assert_int_equal(outcome.answers, 0);
    net_close_all(hanging, NET_HANGING_FDS);
}

/* The other players get the first one's port, at addresses of loopback of their own. */
static bool spread(unsigned count)
{
    static const char *const addresses[] = {"127.0.0.1", "127.0.0.2", "127.0.0.3"};

    for (unsigned i = 1; i < count; i++) {
        player_open(&players[i]);
        close(players[i].listener);
        struct socket_address *address = &players[i].address;
        players[i].listener = socket_new(AF_INET);
        assert_true(socket_parse(addresses[i], socket_port(&players[0].address), address));
        setsockopt(players[i].listener, SOL_SOCKET, SO_REUSEADDR, &(int){1}, sizeof(int));
        if (bind(players[i].listener, (struct sockaddr *)&address->storage, address->size) != 0) {
            assert_int_equal(errno, EADDRNOTAVAIL); /* the system has but one address of its own */
            return false;
        }
        assert_int_equal(listen(players[i].listener, 5), 0);
    }
    for (unsigned i = 0; i < count; i++) {
        overrides[i] =
            (struct address_override){.at = {"localhost", socket_port(&players[0].address)}};
        strcpy(overrides[i].address, addresses[i]);
    }
    way.override_count = count;
    return true;
}

/* Whoever is reached, and does not lead to an answer, makes way for the next; in time. */
static void the_next_address(void **state)
{
    static const struct {
        enum act_kind kind;
        const char *text;
        bool waits;
    } firsts[] = {{END, NULL, false},
                  {RESET, NULL, false},
                  {SAY, "this is no TLS", false},
                  {HEAR, "there is no such request", true}};

    (void)state;
    NET_NEEDS_JUMPS();
    for (size_t i = 0; i < sizeof firsts / sizeof *firsts; i++) {
        lead(DIRECT_TLS);
        if (!spread(2))
            skip();
        memcpy(players[1].acts, players[0].acts, sizeof players[0].acts);
        players[1].count = players[0].count;
        play(&players[1], SAY, HELLO, HTTP_HOP_HTTP);
        players[0].count = 0;
        play(&players[0], firsts[i].kind, firsts[i].text, HTTP_HOP_TLS);
        start();
        if (firsts[i].waits) {
            NET_UNTIL(players[0].heard_size > 0);
            net_turns(QUIET);
            net_jump_ms(4999);
            net_turns(QUIET);
            assert_int_equal(players[1].connections, 0);
            net_jump_ms(1);
        }
        finish();
        expect_hello();
        assert_int_equal(players[0].connections + players[1].connections, 2);
        assert_int_equal(outcome.trace.address_count, 2);
        assert_string_equal(outcome.trace.addresses, "127.0.0.1, 127.0.0.2");
        assert_int_equal(strncmp(outcome.trace.address, "127.0.0.2:", 10), 0);
        players[0].connections = 0;
        player_close(&players[1]);
    }
}

/* What is told is how the one failed that came furthest. */
static void the_furthest_address(void **state)
{
    (void)state;
    for (unsigned furthest = 0; furthest < 3; furthest++) {
        lead(DIRECT_TLS);
        if (!spread(3))
            skip();
        for (unsigned i = 0; i < 3; i++) {
            players[i].count = 0;
            if (i == furthest) {
                play(&players[i], SECURE, NULL, HTTP_HOP_TLS);
                play(&players[i], HEAR, "GET ", HTTP_HOP_HTTP);
            }
            play(&players[i], END, NULL, HTTP_HOP_TLS);
        }
        run();
        expect_reason(HTTP_HOP_HTTP, "the connection was closed after the request was sent");
        assert_int_equal(outcome.trace.address[8], '1' + (int)furthest);
        for (unsigned i = 0; i < 3; i++)
            assert_int_equal(players[i].connections, 1);
        players[0].connections = 0;
        player_close(&players[1]);
        player_close(&players[2]);
    }
}

/* An answer is one, whatever it says: nobody else is asked. */
static void an_answer_is_for_all_addresses(void **state)
{
    static const char *const answers[] = {"HTTP/1.1 503 No\r\nContent-Length: 0\r\n\r\n",
                                          "HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhello"};

    (void)state;
    for (size_t i = 0; i < 2; i++) {
        lead(DIRECT_TLS);
        if (!spread(2))
            skip();
        play(&players[0], SAY, answers[i], HTTP_HOP_HTTP);
        play(&players[0], END, NULL, HTTP_HOP_HTTP);
        run();
        if (i == 0)
            assert_int_equal(outcome.status, 503);
        else
            expect_reason(HTTP_HOP_HTTP, "the connection was closed after the request was sent");
        assert_int_equal(players[1].connections, 0);
        player_close(&players[1]);
    }
}

/* ---- certificates */

static void certificates(void **state)
{
    (void)state;
    for (enum way_kind kind = DIRECT; kind < WAYS; kind++) {
        if (!has_tls(kind))
            continue;
        lead(kind);
        request.host = "127.0.0.1";
        overrides[1] = overrides[0];
        strcpy(overrides[1].at.host, request.host);
        way.override_count = 2;
        run();
        expect_reason(HTTP_HOP_TLS, "the server's certificate is for another host name: "
                                    "CN=localhost");
        assert_non_null(strstr(outcome.reason, "check the name in --server"));
        assert_int_equal(outcome.trace.tls_failure, TLS_FAILURE_NAME);
    }
    lead(DIRECT_TLS);
    way.anonymous_tls = net_tls_stranger();
    run();
    expect_reason(HTTP_HOP_TLS, "--ca");
    assert_int_equal(outcome.trace.tls_failure, TLS_FAILURE_TRUST);
    /* The proxy's, and what a proxy shows in the server's place. */
    lead(TLS_PROXY);
    way.anonymous_tls = net_tls_stranger();
    run();
    expect_reason(HTTP_HOP_PROXY, "--ca");
    lead(TLS_PROXY);
    strcpy(way.proxy.host, "127.0.0.1");
    strcpy(overrides[0].at.host, way.proxy.host);
    run();
    expect_reason(HTTP_HOP_PROXY, "the proxy's certificate is for another host name");
    lead(TLS_PROXY_TLS);
    request.show_certificate = true;
    way.tls = net_tls_stranger();
    run();
    expect_reason(HTTP_HOP_TLS, "--ca");
    assert_true(outcome.trace.proxied_us > 0);
}

/* Ours is for the server that wants it, when it is to be shown, and for nobody else. */
static void own_certificates(void **state)
{
    struct tls_error error;
    struct tls_material *material = certificate_make(1);
    SSL_CTX *demanding = tls_server_context(material, &error);
    SSL_CTX *showing = tls_client_context(material, true, &error);
    SSL_CTX *anonymous = tls_client_context(material, false, &error);

    (void)state;
    assert_true(demanding && showing && anonymous);
    for (int shown = 0; shown < 2; shown++) {
        lead(DIRECT_TLS);
        play(&players[0], SAY, HELLO, HTTP_HOP_HTTP);
        players[0].context = demanding;
        way.tls = showing;
        way.anonymous_tls = anonymous;
        request.show_certificate = shown == 1;
        run();
        if (shown) {
            expect_hello();
            continue;
        }
        expect_reason(
            HTTP_HOP_TLS,
            "does the server require a client certificate? Give one with --cert and --key");
        assert_int_equal(outcome.trace.tls_failure, TLS_FAILURE_ALERT);
    }
    SSL_CTX_free(demanding);
    SSL_CTX_free(showing);
    SSL_CTX_free(anonymous);
    tls_material_free(material);
}

/* ---- who never stops */

/* Fills our end with more than one turn should take. */
static int flood(struct player *player, int least)
{
    int fd = find_client(player);

#ifdef SO_RCVBUFFORCE
    setsockopt(fd, SOL_SOCKET, SO_RCVBUFFORCE, &(int){16 << 20}, sizeof(int));
#endif
    for (uint64_t limit = net_patience(); unread(fd) < least;) {
        net_check_patience(limit, "a flood", __FILE__, __LINE__);
        player_step(player);
    }
    return fd;
}

/* Whatever comes without end, others get their turn. */
static void turns_are_bounded(void **state)
{
    enum { MUCH = 3 << 19 };
    static char text[1 << 16];
    static const struct {
        const char *head;
        enum act_kind kind;
    } cases[] = {
        {"HTTP/1.1 200 OK\r\n\r\n", REPEAT},
        {"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1;", REPEAT},
        {"HTTP/1.1 200 OK\r\n\r\n", UPDATES},
    };

    (void)state;
    memset(text, 'x', sizeof text - 1);
    /* Padded, for fewer of them to be as many bytes: each takes valgrind a millisecond. */
    players[0].update_count = 3200;
    players[0].update_padding = 512;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        for (enum way_kind kind = DIRECT; kind < WAYS; kind++) {
            if (cases[i].kind == UPDATES && !has_tls(kind))
                continue;
            lead(kind);
            play(&players[0], SAY, cases[i].head, HTTP_HOP_HTTP);
            play(&players[0], HEAR, "not yet", HTTP_HOP_HTTP);
            play(&players[0], cases[i].kind, text, HTTP_HOP_HTTP);
            start();
            NET_UNTIL(players[0].at == players[0].count - 2);
            settle_at(players[0].at);
            players[0].at++;
            int fd = flood(&players[0], MUCH);
            int before = unread(fd);
            event_base_loop(net.near.base, EVLOOP_NONBLOCK | EVLOOP_ONCE);
            assert_true(unread(fd) < before);
            assert_true(before - unread(fd) < MUCH / 2);
            assert_int_equal(outcome.answers, 0);
            /* And it goes on by itself, to the end of what is there. */
            NET_UNTIL(unread(fd) == 0 || (players[0].at < players[0].count && before > 0 &&
                                          players[0].sent > 2 * (size_t)before));
            http_call_cancel(call);
            player_hang_up(&players[0]);
        }
    }
}

/* A turn was not enough, and the next one does not come. */
static void taken_back_between_turns(void **state)
{
    enum { MUCH = 3 << 19 };
    static char text[1 << 16];

    (void)state;
    memset(text, 'x', sizeof text - 1);
    lead(DIRECT);
    play(&players[0], SAY, "HTTP/1.1 200 OK\r\n\r\n", HTTP_HOP_HTTP);
    play(&players[0], HEAR, "not yet", HTTP_HOP_HTTP);
    play(&players[0], REPEAT, text, HTTP_HOP_HTTP);
    start();
    settle_at(2);
    players[0].at++;
    flood(&players[0], MUCH);
    event_base_loop(net.near.base, EVLOOP_NONBLOCK | EVLOOP_ONCE);
    assert_false(list_empty(&net.near.later));
    http_call_cancel(call);
    assert_true(list_empty(&net.near.later));
    net_turns(5);
    assert_int_equal(outcome.answers, 0);
}

/* Each of the key updates wants an answer, and gets it; then the request's answer comes. */
static void key_updates_are_answered(void **state)
{
    (void)state;
    for (enum way_kind kind = DIRECT; kind < WAYS; kind++) {
        if (!has_tls(kind))
            continue;
        for (int count = 1; count <= 9000; count = count * 90 - 80) {
            players[0].update_count = count;
            lead(kind);
            play(&players[0], UPDATE, NULL, HTTP_HOP_HTTP);
            play(&players[0], SAY, HELLO, HTTP_HOP_HTTP);
            run();
            expect_hello();
        }
    }
}

static int note_if_awaited(const struct event_base *base, const struct event *event, void *context)
{
    const short *what = context;

    (void)base;
    return event_get_fd(event) == what[0] && event_pending(event, what[1], NULL);
}

static bool is_awaited(int fd, short what)
{
    short both[] = {(short)fd, what};

    return event_base_foreach_event(net.near.base, note_if_awaited, both) != 0;
}

/* Who wants answers and does not read them is not read any further, and costs nothing. */
static void unread_answers_to_key_updates(void **state)
{
    const int small = 4096;

    (void)state;
    NET_NEEDS_JUMPS();
    setsockopt(players[0].listener, SOL_SOCKET, SO_RCVBUF, &small, sizeof small);
    players[0].update_count = 2000;
    lead(DIRECT_TLS);
    play(&players[0], HEAR, "not yet", HTTP_HOP_HTTP);
    for (int i = 0; i < 3; i++)
        play(&players[0], UPDATE, NULL, HTTP_HOP_HTTP);
    start();
    settle_at(2);
    int fd = find_client(&players[0]);
    setsockopt(fd, SOL_SOCKET, SO_SNDBUF, &small, sizeof small);
    assert_true(is_awaited(fd, EV_READ));
    players[0].mute = true;
    players[0].at++;
    NET_UNTIL(is_awaited(fd, EV_WRITE));
    assert_false(is_awaited(fd, EV_READ));
    NET_UNTIL(unread(fd) > 0);
    int before = unread(fd);
    net_turns(QUIET);
    assert_true(unread(fd) >= before);
    assert_int_equal(outcome.answers, 0);
    /* It goes on when they are read. */
    players[0].mute = false;
    NET_UNTIL(players[0].at == players[0].count && is_settled(&players[0]) &&
              is_awaited(fd, EV_READ));
    net_jump_ms(TIMEOUT_MS);
    finish();
    expect_reason(HTTP_HOP_HTTP, "no answer came in time");
}

/* A request that the socket takes bit by bit. */
static void a_request_in_pieces(void **state)
{
    static char header[200 * 1024];
    const char *const headers[] = {header, NULL};
    const int small = 4096;

    (void)state;
    setsockopt(players[0].listener, SOL_SOCKET, SO_RCVBUF, &small, sizeof small);
    memset(header, 'x', sizeof header - 1);
    header[1] = ':';
    lead(PROXY_TLS);
    request.headers = headers;
    players[0].acts[1] = (struct act){HEAR, "not yet", 0};
    players[0].count = 2;
    play(&players[0], SAY, ESTABLISHED, HTTP_HOP_PROXY);
    play(&players[0], SECURE, NULL, HTTP_HOP_TLS);
    play(&players[0], HEAR, "GET ", HTTP_HOP_HTTP);
    play(&players[0], SAY, HELLO, HTTP_HOP_HTTP);
    start();
    settle_at(1);
    int fd = find_client(&players[0]);
    setsockopt(fd, SOL_SOCKET, SO_SNDBUF, &small, sizeof small);
    players[0].at++;
    NET_UNTIL(players[0].at == 4);
    players[0].mute = true;
    NET_UNTIL(is_awaited(fd, EV_WRITE));
    net_turns(QUIET);
    assert_true(is_awaited(fd, EV_WRITE));
    players[0].mute = false;
    finish();
    expect_hello();
}

/* More of them in one piece than there is room for the answers. */
static void too_many_key_updates(void **state)
{
    (void)state;
    players[0].update_count = 40 * 1000;
    lead(DIRECT_TLS);
    play(&players[0], HEAR, "not yet", HTTP_HOP_HTTP);
    play(&players[0], UPDATE, NULL, HTTP_HOP_HTTP);
    start();
    settle_at(2);
    players[0].at++;
    flood(&players[0], 1 << 20);
    finish();
    expect_reason(HTTP_HOP_HTTP, "No buffer space available after the request was sent");
}

/* ---- a whole answer, by http_fetch.h */

static struct {
    unsigned answers;
    int status;
    char location[100];
    char body[100];
    int64_t date;
} fetched;

static void on_fetched(void *context, const struct http_fetch_result *result)
{
    assert_ptr_equal(context, &fetched);
    fetched.answers++;
    fetched.status = result->status;
    fetched.date = result->date;
    snprintf(fetched.location, sizeof fetched.location, "%s", result->location);
    snprintf(fetched.body, sizeof fetched.body, "%s", result->body);
}

/* Redirects are told, not followed: what was asked for may hold a secret. */
static void redirects(void **state)
{
    static const char *const answers[] = {
        "HTTP/1.1 301 Moved\r\nLocation: http://localhost:1/y\r\nContent-Length: 2\r\n\r\nno",
        "HTTP/1.1 302 Found\r\nlocation: /y\r\nContent-Length: 0\r\n\r\n",
        "HTTP/1.1 307 Temporary\r\nContent-Length: 0\r\n\r\n",
        "HTTP/1.1 200 OK\r\nDate: Sun, 06 Nov 1994 08:49:37 GMT\r\nContent-Length: 2\r\n\r\nok",
    };
    static const char *const locations[] = {"http://localhost:1/y", "/y", "", ""};
    static const int statuses[] = {301, 302, 307, 200};
    struct http_fetch_request asked = {.host = "localhost",
                                       .named_by = "--server",
                                       .method = "POST",
                                       .path = "/x",
                                       .content_type = "text/plain",
                                       .body = "secret",
                                       .body_size = 6};

    (void)state;
    for (size_t i = 0; i < 4; i++) {
        lead(DIRECT);
        players[0].acts[0].text = "\r\n\r\nsecret";
        play(&players[0], SAY, answers[i], HTTP_HOP_HTTP);
        memset(&fetched, 0, sizeof fetched);
        asked.port = request.port;
        players[0].connections = 0;
        http_fetch_start(&way, &asked, TIMEOUT_MS, on_fetched, &fetched);
        NET_UNTIL(fetched.answers > 0);
        assert_non_null(strstr(request_at(0), "\r\nConnection: close\r\n"));
        assert_non_null(strstr(request_at(0), "\r\nContent-Type: text/plain\r\n"));
        net_turns(QUIET);
        assert_int_equal(fetched.answers, 1);
        assert_int_equal(fetched.status, statuses[i]);
        assert_string_equal(fetched.location, locations[i]);
        assert_int_equal(players[0].connections, 1);
        player_hang_up(&players[0]);
    }
    assert_string_equal(fetched.body, "ok");
    assert_int_equal(fetched.date, 784111777);
    http_fetch_cancel(http_fetch_start(&way, &asked, TIMEOUT_MS, on_fetched, &fetched));
    http_fetch_cancel(NULL);
}

/* ---- */

static int set_up(void **state)
{
    int result = net_set_up(state);

    memset(players, 0, sizeof players);
    credentials[0] = '\0';
    player_open(&players[0]);
    net.step = step_players;
    return result;
}

static int tear_down(void **state)
{
    for (size_t i = 0; i < 3; i++)
        player_close(&players[i]);
    return net_tear_down(state);
}

#define CALL_TEST(function) cmocka_unit_test_setup_teardown(function, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        CALL_TEST(every_way),
        CALL_TEST(what_is_sent),
        CALL_TEST(names_of_the_server),
        CALL_TEST(logins),
        CALL_TEST(answers_in_pieces),
        CALL_TEST(proxies_that_refuse),
        CALL_TEST(socks_logins),
        CALL_TEST(socks_targets),
        CALL_TEST(socks_proxies_that_refuse),
        CALL_TEST(the_next_target),
        CALL_TEST(refusals_without_an_end),
        CALL_TEST(bodies_without_an_end),
        CALL_TEST(heads_without_an_end),
        CALL_TEST(limits_of_the_body),
        CALL_TEST(limits_of_the_request),
        CALL_TEST(upgrades),
        CALL_TEST(answers_to_an_upgrade),
        CALL_TEST(garbage),
        CALL_TEST(an_end_at_every_step),
        CALL_TEST(an_end_at_every_byte),
        CALL_TEST(a_deadline_at_every_step),
        CALL_TEST(the_deadline_is_absolute),
        CALL_TEST(taken_back),
        CALL_TEST(names_that_nobody_knows),
        CALL_TEST(names_that_take_too_long),
        CALL_TEST(connections_that_are_not_made),
        CALL_TEST(the_next_address),
        CALL_TEST(the_furthest_address),
        CALL_TEST(an_answer_is_for_all_addresses),
        CALL_TEST(certificates),
        CALL_TEST(own_certificates),
        CALL_TEST(turns_are_bounded),
        CALL_TEST(taken_back_between_turns),
        CALL_TEST(key_updates_are_answered),
        CALL_TEST(unread_answers_to_key_updates),
        CALL_TEST(a_request_in_pieces),
        CALL_TEST(too_many_key_updates),
        CALL_TEST(redirects),
    };

    return NET_RUN(tests);
}
