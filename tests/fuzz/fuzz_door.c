/*
 * Whatever a stranger sends to the server's port: accept, TLS, the request, its answer or the
 * upgrade, with the real event loop over a socket pair. The same bytes, whole and in parts, must
 * come to the same answer; what an upgraded connection yields is exactly what was sent behind the
 * request; and when the stranger has gone, nothing is left.
 *
 * Input: a byte of flags (enum flag), one as the seed of the parts, then the stranger's bytes.
 */
#include <event2/event.h>
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "../lib/certificate.h"
#include "../lib/pair.h"
#include "check.h"
#include "http/server.h"
#include "monitoring/telemetry.h"

enum flag {
    FLAG_TLS = 1,    /* the port speaks TLS */
    FLAG_CLIENT = 2, /* with FLAG_TLS: so does the stranger, and the bytes go through it */
    FLAG_REFUSE = 4, /* nobody may open a tunnel */
    FLAG_HOLD = 8,   /* the stranger waits for an answer, instead of ending its side */
};

enum { ROUNDS_MAX = 1000, OUT_MAX = 64 * 1024, HEAD_MAX = 2048 };

static struct {
    struct log log;
    struct worker worker;
    struct http_server *servers[2]; /* plain, TLS */
    SSL_CTX *client;
    bool refuse;
    struct transport *upgraded;
} door;

/* One stranger, as the fuzzer sees it. */
struct stranger {
    int fd;
    SSL *ssl; /* NULL: the bytes go out as they are */
    uint8_t answer[OUT_MAX];
    size_t answer_size;
    uint8_t yielded[OUT_MAX]; /* by the upgraded connection */
    size_t yielded_size;
    bool upgraded;
};

/* ---- the owner of the door */

static int on_authorize(void *context, const struct http_upgrade *upgrade,
                        struct http_admission *admission)
{
    char value[HTTP_IDENTITY_MAX];

    (void)context;
    CHECK(http_request_has(upgrade->request, "upgrade", "websocket"));
    CHECK(http_request_header_count(upgrade->request, "origin") == 0);
    CHECK(http_request_header_count(upgrade->request, "sec-websocket-key") == 1);
    CHECK(strcmp(upgrade->peer, "192.0.2.1:1234") == 0);
    http_request_header(upgrade->request, "authorization", value, sizeof value);
    snprintf(admission->identity, HTTP_IDENTITY_MAX, "%s", value);
    if (!door.refuse)
        return 101;
    admission->body = "no\n";
    return 401;
}

static void on_upgraded(void *context, struct transport *transport,
                        const struct http_admission *admission, const char *peer)
{
    (void)context;
    CHECK(!door.upgraded && !door.refuse);
    CHECK(strlen(admission->identity) < HTTP_IDENTITY_MAX && strlen(peer) < SOCKET_TEXT_MAX);
    door.upgraded = transport;
}

static void on_page(void *context, const struct http_request *request, const char *path,
                    struct http_page *page)
{
    const char *method = http_request_method(request);

    (void)context;
    CHECK(strncmp(path, "/tunnel", 8) != 0);
    page->body = "no\n";
    if (strcmp(method, "GET") != 0 && strcmp(method, "HEAD") != 0) {
        page->status = 405;
    } else if (strcmp(path, "/healthz") == 0) {
        page->status = 200;
        page->body = "ok\n";
    }
    page->size = strlen(page->body);
}

static void drop_line(void *context, const char *line, size_t size)
{
    (void)context;
    CHECK(size > 0 && memchr(line, '\n', size) == line + size - 1);
}

static void start(void)
{
    static const struct http_server_owner owner = {
        .authorize = on_authorize, .upgraded = on_upgraded, .page = on_page};
    static const struct http_server_settings settings = {.path = "/tunnel",
                                                         .handshakes_max = 4,
                                                         .handshake_timeout_ms = 300 * 1000,
                                                         .head_max = HEAD_MAX};
    const struct log_settings quiet = {.level = LOG_LEVEL_DEBUG, .sink = drop_line};
    const struct telemetry_names names = {0};
    struct tls_material *material = certificate_make(0);
    struct tls_error error;

    signal(SIGPIPE, SIG_IGN);
    log_init(&door.log, &quiet);
    worker_init(&door.worker, &door.log, 16 << 20);
    telemetry_start(&door.worker, METRIC_SERVER, &names);
    for (size_t i = 0; i < 2; i++)
        door.servers[i] = http_server_new(&door.worker, &settings, &owner, NULL);
    SSL_CTX *tls = tls_server_context(material, &error);
    door.client = SSL_CTX_new(TLS_client_method());
    CHECK(tls && door.client);
    http_server_use_tls(door.servers[1], tls);
    SSL_CTX_free(tls);
    tls_material_free(material);
}

/* ---- the stranger */

static void turn(struct stranger *stranger)
{
    event_base_loop(door.worker.base, EVLOOP_NONBLOCK);
    if (!door.upgraded)
        return;
    stranger->upgraded = true;
    long got = transport_read(door.upgraded, stranger->yielded + stranger->yielded_size,
                              sizeof stranger->yielded - stranger->yielded_size);
    if (got > 0)
        stranger->yielded_size += (size_t)got;
}

static void take_answer(struct stranger *stranger)
{
    uint8_t *at = stranger->answer + stranger->answer_size;
    size_t room = sizeof stranger->answer - stranger->answer_size;
    long got;

    if (stranger->ssl) {
        got = SSL_read(stranger->ssl, at, (int)room);
        ERR_clear_error();
    } else {
        got = recv(stranger->fd, at, room, 0);
    }
    if (got > 0)
        stranger->answer_size += (size_t)got;
}

static void say(struct stranger *stranger, const uint8_t *bytes, size_t size)
{
    for (int round = 0; size > 0 && round < ROUNDS_MAX; round++) {
        long put = stranger->ssl ? SSL_write(stranger->ssl, bytes, (int)size)
                                 : send(stranger->fd, bytes, size, 0);
        bool over = put <= 0 && !(stranger->ssl && SSL_want(stranger->ssl) == SSL_READING);
        ERR_clear_error();
        if (put > 0) {
            bytes += put;
            size -= (size_t)put;
        }
        turn(stranger);
        if (over)
            return;
    }
}

static void shake_hands(struct stranger *stranger)
{
    for (int round = 0; round < 20 && SSL_do_handshake(stranger->ssl) != 1; round++)
        turn(stranger);
    CHECK(SSL_is_init_finished(stranger->ssl));
}

static void meet(struct stranger *stranger, struct http_server *server, bool secure)
{
    struct socket_address address;
    int ends[2];

    pair_make(ends);
    CHECK(socket_parse("192.0.2.1", 1234, &address));
    stranger->fd = ends[1];
    stranger->answer_size = stranger->yielded_size = 0;
    stranger->upgraded = false;
    stranger->ssl = NULL;
    http_server_adopt(server, ends[0], &address);
    if (!secure)
        return;
    stranger->ssl = SSL_new(door.client);
    CHECK(stranger->ssl && SSL_set_fd(stranger->ssl, stranger->fd) == 1);
    SSL_set_connect_state(stranger->ssl);
    SSL_set_mode(stranger->ssl,
                 SSL_MODE_ENABLE_PARTIAL_WRITE | SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER);
    shake_hands(stranger);
}

static void leave(struct stranger *stranger, struct http_server *server)
{
    shutdown(stranger->fd, SHUT_WR);
    for (int round = 0; round < 10; round++)
        turn(stranger);
    take_answer(stranger);
    CHECK(http_server_count(server) == 0);
    transport_free(door.upgraded);
    door.upgraded = NULL;
    SSL_free(stranger->ssl);
    close(stranger->fd);
}

/* ---- what must hold */

static int status_of(const struct stranger *stranger)
{
    const char *text = (const char *)stranger->answer;

    if (stranger->answer_size < 12 || memcmp(text, "HTTP/1.1 ", 9) != 0)
        return 0;
    return (text[9] - '0') * 100 + (text[10] - '0') * 10 + (text[11] - '0');
}

static void check(const struct stranger *stranger, const uint8_t *bytes, size_t size)
{
    int status = status_of(stranger);

    CHECK((status == 101) == stranger->upgraded);
    CHECK(stranger->yielded_size <= size);
    const uint8_t *behind = bytes + size - stranger->yielded_size;
    CHECK(memcmp(behind, stranger->yielded, stranger->yielded_size) == 0);
    if (stranger->upgraded)
        CHECK(behind - bytes > 4 && behind - bytes <= HEAD_MAX &&
              memcmp(behind - 4, "\r\n\r\n", 4) == 0);
}

static void run(struct stranger *stranger, uint8_t flags, uint32_t seed, const uint8_t *bytes,
                size_t size)
{
    struct http_server *server = door.servers[flags & FLAG_TLS ? 1 : 0];
    bool secure = (flags & FLAG_TLS) != 0 && (flags & FLAG_CLIENT) != 0;

    door.refuse = (flags & FLAG_REFUSE) != 0;
    meet(stranger, server, secure);
    for (size_t at = 0; at < size;) {
        size_t part = size - at;
        if (seed != 0) {
            seed = seed * 1664525 + 1013904223;
            size_t most = 1 + (seed >> 16) % 200;
            part = part < most ? part : most;
        }
        say(stranger, bytes + at, part);
        at += part;
    }
    if (flags & FLAG_HOLD)
        take_answer(stranger);
    leave(stranger, server);
    /* Without TLS of its own the stranger cannot read what a TLS port says. */
    if (secure || !(flags & FLAG_TLS))
        check(stranger, bytes, size);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static struct stranger whole;
    static struct stranger parts;

    if (!door.worker.base)
        start();
    if (size < 2 || size > OUT_MAX)
        return 0;
    run(&whole, data[0], 0, data + 2, size - 2);
    run(&parts, data[0], data[1] + 1u, data + 2, size - 2);
    CHECK(status_of(&whole) == status_of(&parts));
    CHECK(whole.yielded_size == parts.yielded_size);
    return 0;
}
