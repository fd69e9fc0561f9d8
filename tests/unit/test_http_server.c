/* The door in one process: deadlines, slots, answers and what is handed over, with the real event
 * loop over socket pairs. */
#include "../lib/cmocka.h"

#include <errno.h>
#include <event2/event.h>
#include <openssl/err.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include "../lib/certificate.h"
#include "../lib/pair.h"
#include "http/server.h"
#include "io/clock.h"
#include "monitoring/telemetry.h"

#define UPGRADE                                                                                    \
    "GET /tunnel HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"             \
    "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
#define PAGE "GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n"

/* PATIENT_MS is for what computes: a machine that is busy, or that checks every access, takes long.
 */
enum { SLOTS = 4, TIMEOUT_MS = 150, PATIENT_MS = 10 * 60 * 1000 };

static struct {
    struct log log;
    char lines[16384];
    struct worker worker;
    struct http_server *server;
    struct tls_material *material;
    int verdict; /* of authorize() */
    int passes;  /* that the door holds */
    struct transport *upgraded;
    char identity[HTTP_IDENTITY_MAX];
    char authorization[64]; /* as authorize() saw it */
    bool certified;
    char *large; /* a page of large_size bytes; NULL: there is none */
    size_t large_size;
} door;

static int on_authorize(void *context, const struct http_upgrade *upgrade,
                        struct http_admission *admission)
{
    (void)context;
    http_request_header(upgrade->request, "authorization", door.authorization,
                        sizeof door.authorization);
    door.certified = upgrade->certificate != NULL;
    snprintf(admission->identity, HTTP_IDENTITY_MAX, "who at %s", upgrade->peer);
    admission->body = "not you\n";
    if (door.verdict == 101)
        admission->pass = &door;
    door.passes += door.verdict == 101;
    return door.verdict;
}

static void on_upgraded(void *context, struct transport *transport,
                        const struct http_admission *admission, const char *peer)
{
    (void)context;
    (void)peer;
    assert_ptr_equal(admission->pass, &door);
    door.passes--;
    assert_null(door.upgraded);
    door.upgraded = transport;
    snprintf(door.identity, sizeof door.identity, "%s", admission->identity);
}

static void on_dropped(void *context, void *pass)
{
    (void)context;
    assert_ptr_equal(pass, &door);
    door.passes--;
}

static void on_page(void *context, const struct http_request *request, const char *path,
                    struct http_page *page)
{
    const char *method = http_request_method(request);

    (void)context;
    page->body = "no\n";
    if (strcmp(method, "GET") != 0 && strcmp(method, "HEAD") != 0) {
        page->status = 405;
    } else if (strcmp(path, "/healthz") == 0) {
        page->status = 200;
        page->body = "ok\n";
    }
    page->size = strlen(page->body);
    if (door.large && strcmp(path, "/large") == 0)
        *page = (struct http_page){.status = 200, .body = door.large, .size = door.large_size};
}

static const struct http_server_owner owner = {
    .authorize = on_authorize, .upgraded = on_upgraded, .dropped = on_dropped, .page = on_page};

static void keep_line(void *context, const char *line, size_t size)
{
    size_t fill = strlen(door.lines);

    (void)context;
    if (fill + size < sizeof door.lines)
        memcpy(door.lines + fill, line, size);
}

static void open_door(uint64_t timeout_ms)
{
    const struct http_server_settings settings = {.path = "/tunnel/",
                                                  .handshakes_max = SLOTS,
                                                  .handshake_timeout_ms = timeout_ms,
                                                  .head_max = 2048};

    http_server_free(door.server);
    door.server = http_server_new(&door.worker, &settings, &owner, NULL);
}

static int set_up(void **state)
{
    const struct log_settings settings = {.level = LOG_LEVEL_DEBUG, .sink = keep_line};
    const struct telemetry_names names = {0};

    (void)state;
    memset(&door, 0, sizeof door);
    door.verdict = 101;
    log_init(&door.log, &settings);
    worker_init(&door.worker, &door.log, 16 << 20);
    telemetry_start(&door.worker, METRIC_SERVER, &names);
    open_door(TIMEOUT_MS);
    door.material = certificate_make(0);
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    transport_free(door.upgraded);
    http_server_free(door.server);
    assert_int_equal(door.passes, 0);
    tls_material_free(door.material);
    worker_clear(&door.worker);
    return 0;
}

static void use_tls(void)
{
    struct tls_error error;
    SSL_CTX *tls = tls_server_context(door.material, &error);

    assert_non_null(tls);
    http_server_use_tls(door.server, tls);
    SSL_CTX_free(tls);
}

static int arrive(const char *host)
{
    struct socket_address address;
    int ends[2];

    pair_make(ends);
    assert_true(socket_parse(host, 1234, &address));
    http_server_adopt(door.server, ends[0], &address);
    return ends[1];
}

static void say(int fd, const char *text)
{
    assert_int_equal(send(fd, text, strlen(text), 0), strlen(text));
}

static void turn(void)
{
    event_base_loop(door.worker.base, EVLOOP_NONBLOCK);
}

/* What has been answered; NULL: the connection was closed without a word, or is open. */
static const char *hear(int fd)
{
    static char text[4096];

    for (int i = 0; i < 3; i++)
        turn();
    ssize_t got = recv(fd, text, sizeof text - 1, 0);
    text[got > 0 ? got : 0] = '\0';
    return got > 0 ? text : NULL;
}

static bool is_closed(int fd)
{
    char byte;

    turn();
    ssize_t got = recv(fd, &byte, 1, 0);
    return got == 0 || (got < 0 && errno == ECONNRESET);
}

static void assert_status(const char *answer, const char *status)
{
    assert_non_null(answer);
    if (strncmp(answer, "HTTP/1.1 ", 9) != 0 || strncmp(answer + 9, status, 3) != 0)
        fail_msg("%s instead of %s", answer, status);
}

static uint64_t ended(enum http_server_end end)
{
    return *metrics_at(door.worker.metrics, METRIC_HANDSHAKES_ENDED, end, 0);
}

static void whatever_is_known_at_once_is_answered_at_once(void **state)
{
    static const struct {
        const char *text;
        const char *status;
        enum http_server_end end;
    } cases[] = {
        {PAGE, "200", HTTP_SERVER_PAGE},
        {"HEAD /healthz/ HTTP/1.0\r\n\r\n", "200", HTTP_SERVER_PAGE},
        {"GET / HTTP/1.1\r\nHost: x\r\n\r\n", "404", HTTP_SERVER_REFUSED},
        {"PUT /healthz HTTP/1.1\r\nHost: x\r\n\r\n", "405", HTTP_SERVER_REFUSED},
        {"GET /tunnel HTTP/1.1\r\nHost: x\r\n\r\n", "426", HTTP_SERVER_REFUSED},
        {UPGRADE "Origin: x://y\r\n\r\n", "403", HTTP_SERVER_REFUSED},
        {"\x16\x03\x01", "400", HTTP_SERVER_MALFORMED},
        {"x\n", "400", HTTP_SERVER_MALFORMED},
        {"PRI * HTTP/2.0\r\n", "505", HTTP_SERVER_MALFORMED},
    };

    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        uint64_t before = ended(cases[i].end);
        int fd = arrive("192.0.2.1");
        say(fd, cases[i].text);
        assert_status(hear(fd), cases[i].status);
        assert_true(is_closed(fd));
        close(fd);
        turn();
        assert_int_equal(http_server_count(door.server), 0);
        assert_int_equal(ended(cases[i].end), before + 1);
    }
}

/* However little of the request is understood. */
static void answers_to_head_have_no_body(void **state)
{
    static const struct {
        const char *text;
        const char *status;
    } cases[] = {
        {"HEAD /healthz HTTP/1.1\r\nHost: x\r\n\r\n", "200"},
        {"HEAD /tunnel HTTP/1.1\r\nHost: x\r\n\r\n", "426"},
        {"HEAD * HTTP/1.1\r\nHost: x\r\n\r\n", "400"},
        {"HEAD / HTTP/2.0\r\n", "505"},
        {"HEAD / HTTP/1.1\r\n\r\n", "400"},
    };

    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        int fd = arrive("192.0.2.1");
        say(fd, cases[i].text);
        const char *answer = hear(fd);
        assert_status(answer, cases[i].status);
        assert_string_equal(answer + strlen(answer) - 4, "\r\n\r\n");
        close(fd);
        turn();
    }
}

static void who_hangs_up_is_gone_without_a_turn_of_the_loop(void **state)
{
    struct socket_address address;
    int ends[2];

    (void)state;
    assert_true(socket_parse("192.0.2.1", 1, &address));
    pair_make(ends);
    close(ends[1]);
    http_server_adopt(door.server, ends[0], &address);
    assert_int_equal(http_server_count(door.server), 0);
    assert_int_equal(ended(HTTP_SERVER_HUNG_UP), 1);
    assert_string_equal(door.lines, "");
}

/* Nothing is computed for a client that has given up while it waited to be accepted. */
static void who_hangs_up_behind_a_hello_is_gone_without_a_turn_of_the_loop(void **state)
{
    struct socket_address address;
    int ends[2];
    char byte;

    (void)state;
    use_tls();
    SSL_CTX *context = SSL_CTX_new(TLS_client_method());
    assert_true(socket_parse("192.0.2.1", 1, &address));
    pair_make(ends);
    struct transport *client = transport_secure(transport_new(ends[1]), context, "localhost");
    assert_int_equal(transport_handshake(client), TRANSPORT_BLOCKED);
    assert_int_equal(shutdown(ends[1], SHUT_WR), 0);
    http_server_adopt(door.server, ends[0], &address);
    assert_int_equal(http_server_count(door.server), 0);
    assert_int_equal(ended(HTTP_SERVER_HUNG_UP), 1);
    assert_true(recv(ends[1], &byte, 1, 0) <= 0);
    transport_free(client);
    SSL_CTX_free(context);
}

static void a_connection_is_handed_over_with_what_follows_the_request(void **state)
{
    uint8_t bytes[16];

    (void)state;
    int fd = arrive("192.0.2.1");
    say(fd, UPGRADE "Authorization: Bearer x\r\n");
    turn();
    assert_null(door.upgraded);
    say(fd, "\r\nfirst");
    const char *answer = hear(fd);
    assert_status(answer, "101");
    assert_non_null(strstr(answer, "Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n"));
    assert_non_null(door.upgraded);
    assert_string_equal(door.identity, "who at 192.0.2.1:1234");
    assert_string_equal(door.authorization, "Bearer x");
    assert_int_equal(http_server_count(door.server), 0);
    say(fd, " second");
    assert_int_equal(transport_read(door.upgraded, bytes, sizeof bytes), 12);
    assert_memory_equal(bytes, "first second", 12);
    close(fd);
}

static void a_verdict_is_passed_on(void **state)
{
    (void)state;
    door.verdict = 401;
    int fd = arrive("192.0.2.1");
    say(fd, UPGRADE "\r\n");
    const char *answer = hear(fd);
    assert_status(answer, "401");
    assert_non_null(strstr(answer, "WWW-Authenticate: Bearer\r\n"));
    assert_non_null(strstr(answer, "\r\n\r\nnot you\n"));
    assert_null(door.upgraded);
    close(fd);
}

/* Runs the loop until the connection ends; how many milliseconds that took. */
static uint64_t wait_for_end(int fd, const char *drip)
{
    const struct timeval tick = {0, 5000};
    uint64_t start = clock_now_us();
    char bytes[1024];

    for (;;) {
        ssize_t got = recv(fd, bytes, sizeof bytes, 0);
        if (got == 0 || (got < 0 && errno == ECONNRESET))
            return (clock_now_us() - start) / 1000;
        if (drip && send(fd, drip, 1, 0) < 0)
            drip = NULL;
        event_base_loopexit(door.worker.base, &tick);
        event_base_loop(door.worker.base, 0);
        assert_true(clock_now_us() - start < 5 * 1000 * 1000);
    }
}

static void one_deadline(void **state)
{
    static const char *const beginnings[] = {"", "G", "GET / HTTP/1.1\r\nX: "};

    (void)state;
    for (size_t i = 0; i < 2 * sizeof beginnings / sizeof *beginnings; i++) {
        int fd = arrive("192.0.2.1");
        say(fd, beginnings[i / 2]);
        uint64_t took = wait_for_end(fd, i % 2 && i > 1 ? "A" : NULL);
        assert_in_range(took, TIMEOUT_MS - 10, TIMEOUT_MS + 200);
        close(fd);
        turn();
        assert_int_equal(http_server_count(door.server), 0);
    }
    assert_int_equal(ended(HTTP_SERVER_TIMEOUT), 6);
    assert_non_null(strstr(door.lines, "during=silence"));
    assert_non_null(strstr(door.lines, "during=\"the request\""));
}

/* Who does not go after its answer has a second. */
static void lingering_ends(void **state)
{
    (void)state;
    int fd = arrive("192.0.2.1");
    say(fd, PAGE);
    assert_status(hear(fd), "200");
    uint64_t start = clock_now_us();
    const struct timeval tick = {0, 10000};
    while (http_server_count(door.server) > 0 && clock_now_us() - start < 5 * 1000 * 1000) {
        send(fd, "x", 1, 0);
        event_base_loopexit(door.worker.base, &tick);
        event_base_loop(door.worker.base, 0);
    }
    assert_in_range((clock_now_us() - start) / 1000, 900, 1500);
    close(fd);
}

static void too_many(void **state)
{
    int fds[SLOTS + 2];

    (void)state;
    fds[0] = arrive("192.0.2.9");
    say(fds[0], "GET ");
    turn();
    for (size_t i = 1; i < SLOTS + 2; i++)
        fds[i] = arrive("192.0.2.1");
    /* The two oldest of the address that has most. */
    assert_true(is_closed(fds[1]) && is_closed(fds[2]));
    for (size_t i = 3; i < SLOTS + 2; i++)
        assert_false(is_closed(fds[i]));
    assert_int_equal(http_server_count(door.server), SLOTS);
    assert_int_equal(ended(HTTP_SERVER_EVICTED), 2);
    assert_non_null(strstr(door.lines, "of_its_address=3"));
    say(fds[0], "/healthz HTTP/1.1\r\nHost: x\r\n\r\n");
    assert_status(hear(fds[0]), "200");
    /* Who has its answer goes first, and without a line. */
    memset(door.lines, 0, sizeof door.lines);
    int late = arrive("192.0.2.2");
    assert_int_equal(http_server_count(door.server), SLOTS);
    assert_true(is_closed(fds[0]));
    assert_string_equal(door.lines, "");
    close(late);
    for (size_t i = 0; i < SLOTS + 2; i++)
        close(fds[i]);
    turn();
    assert_int_equal(http_server_count(door.server), 0);
}

/* In one turn of the loop many are accepted: a request that has come is answered, not dropped. */
static void a_request_that_is_here_is_not_dropped(void **state)
{
    int fds[SLOTS];

    (void)state;
    for (size_t i = 0; i < SLOTS; i++)
        fds[i] = arrive("192.0.2.1");
    say(fds[0], PAGE);
    int half = fds[1];
    say(half, "GET / HT");
    close(arrive("192.0.2.1"));
    close(arrive("192.0.2.1"));
    close(arrive("192.0.2.1"));
    assert_status(hear(fds[0]), "200");
    /* In the middle of its request: it hears why. */
    const char *answer = hear(half);
    assert_status(answer, "503");
    assert_non_null(strstr(answer, "Retry-After: "));
    for (size_t i = 0; i < SLOTS; i++)
        close(fds[i]);
    turn();
}

static void stopping(void **state)
{
    (void)state;
    int silent = arrive("192.0.2.1");
    int half = arrive("192.0.2.1");
    say(half, "GET / HT");
    turn();
    http_server_stop(door.server);
    door.verdict = 503;
    int late = arrive("192.0.2.1");
    say(late, UPGRADE "\r\n");
    assert_status(hear(late), "503");
    close(late);
    usleep(600 * 1000);
    const char *answer = hear(half);
    assert_status(answer, "503");
    assert_non_null(strstr(answer, "restarting"));
    assert_true(is_closed(silent));
    close(silent);
    close(half);
    turn();
    assert_int_equal(http_server_count(door.server), 0);
    assert_null(strstr(door.lines, "handshake_timeout"));
}

/* ---- TLS */

static SSL *secure(int fd, SSL_CTX *context)
{
    SSL *ssl = SSL_new(context);

    assert_true(ssl && SSL_set_fd(ssl, fd) == 1);
    SSL_set_connect_state(ssl);
    for (int i = 0; i < 20 && SSL_do_handshake(ssl) != 1; i++)
        turn();
    return ssl;
}

static void over_tls(void **state)
{
    static const int versions[] = {TLS1_2_VERSION, TLS1_3_VERSION};
    uint8_t bytes[16];
    char answer[1024];

    (void)state;
    open_door(PATIENT_MS);
    use_tls();
    for (size_t i = 0; i < 2; i++) {
        SSL_CTX *context = SSL_CTX_new(TLS_client_method());
        SSL_CTX_set_max_proto_version(context, versions[i]);
        int fd = arrive("192.0.2.1");
        SSL *ssl = secure(fd, context);
        assert_true(SSL_is_init_finished(ssl));
        static const char text[] = UPGRADE "\r\nfirst";
        assert_int_equal(SSL_write(ssl, text, sizeof text - 1), sizeof text - 1);
        turn();
        assert_true(SSL_read(ssl, answer, sizeof answer) > 0);
        assert_status(answer, "101");
        assert_int_equal(SSL_write(ssl, " second", 7), 7);
        assert_non_null(door.upgraded);
        assert_true(transport_pending(door.upgraded));
        assert_int_equal(transport_read(door.upgraded, bytes, sizeof bytes), 12);
        assert_memory_equal(bytes, "first second", 12);
        assert_false(door.certified);
        transport_free(door.upgraded);
        door.upgraded = NULL;
        SSL_free(ssl);
        SSL_CTX_free(context);
        close(fd);
    }
}

static void client_certificates(void **state)
{
    char answer[1024];
    SSL_CTX *context = SSL_CTX_new(TLS_client_method());

    (void)state;
    open_door(PATIENT_MS);
    tls_material_free(door.material);
    door.material = certificate_make(1);
    use_tls();
    int fd = arrive("192.0.2.1");
    SSL *ssl = secure(fd, context);
    turn();
    assert_true(SSL_read(ssl, answer, sizeof answer) <= 0);
    assert_int_equal(ended(HTTP_SERVER_TLS), 0); /* it takes its alert along */
    SSL_free(ssl);
    close(fd);
    turn();
    assert_int_equal(ended(HTTP_SERVER_TLS), 1);
    assert_non_null(strstr(door.lines, "A TLS handshake with a client failed"));

    assert_int_equal(SSL_CTX_use_certificate(context, door.material->certificate), 1);
    assert_int_equal(SSL_CTX_use_PrivateKey(context, door.material->key), 1);
    fd = arrive("192.0.2.1");
    ssl = secure(fd, context);
    assert_true(SSL_write(ssl, UPGRADE "\r\n", sizeof UPGRADE + 1) > 0);
    turn();
    assert_true(door.certified);
    SSL_free(ssl);
    close(fd);
    SSL_CTX_free(context);
    ERR_clear_error();
}

/* A connection over TCP, whose buffers hold more than one call reads; both descriptors. */
static void arrive_over_tcp(int ends[2])
{
    struct socket_address address;
    int listener = socket_new(AF_INET);

    assert_true(socket_parse("127.0.0.1", 0, &address));
    assert_int_equal(bind(listener, (struct sockaddr *)&address.storage, address.size), 0);
    assert_int_equal(listen(listener, 1), 0);
    assert_int_equal(getsockname(listener, (struct sockaddr *)&address.storage, &address.size), 0);
    ends[1] = socket_new(AF_INET);
    connect(ends[1], (struct sockaddr *)&address.storage, address.size);
    do
        ends[0] = socket_accept(listener, &address);
    while (ends[0] < 0);
    close(listener);
    /* Where the system allows it. */
#ifdef SO_RCVBUFFORCE
    setsockopt(ends[0], SOL_SOCKET, SO_RCVBUFFORCE, &(int){8 << 20}, sizeof(int));
#endif
    http_server_adopt(door.server, ends[0], &address);
}

/* Until so much has come, which may take a moment on a busy machine; the loop runs meanwhile. */
static void await_bytes(int fd, int least)
{
    int unread = 0;

    for (int i = 0; i < 5000 && unread < least; i++) {
        turn();
        assert_int_equal(ioctl(fd, FIONREAD, &unread), 0);
        if (unread < least)
            usleep(1000);
    }
    assert_true(unread >= least);
}

/* Messages that yield nothing, faster than they are understood: others get their turn. */
static void key_updates_without_end(void **state)
{
    SSL_CTX *context = SSL_CTX_new(TLS_client_method());
    char *updates;
    int unread = 0;
    int ends[2];

    (void)state;
    open_door(PATIENT_MS);
    use_tls();
    arrive_over_tcp(ends);
    SSL *ssl = secure(ends[1], context);
    assert_true(SSL_is_init_finished(ssl));
    BIO *out = BIO_new(BIO_s_mem());
    SSL_set0_wbio(ssl, out);
    /* Padded, for fewer of them to be as many bytes: each takes valgrind a millisecond. */
    assert_int_equal(SSL_set_block_padding(ssl, 512), 1);
    for (int i = 0; i < 3000; i++)
        assert_true(SSL_key_update(ssl, SSL_KEY_UPDATE_NOT_REQUESTED) == 1 &&
                    SSL_do_handshake(ssl) == 1);
    long size = BIO_get_mem_data(out, &updates);
    ssize_t sent = send(ends[1], updates, (size_t)size, 0);
    assert_true(sent > 1 << 20); /* twice what one call reads */
    for (int i = 0; i < 5000 && unread <= 1 << 20; i++) {
        assert_int_equal(ioctl(ends[0], FIONREAD, &unread), 0);
        usleep(1000);
    }
    event_base_loop(door.worker.base, EVLOOP_NONBLOCK | EVLOOP_ONCE);
    assert_int_equal(ioctl(ends[0], FIONREAD, &unread), 0);
    assert_true(unread > 0);
    assert_int_equal(http_server_count(door.server), 1);
    SSL_free(ssl);
    SSL_CTX_free(context);
    close(ends[1]);
}

/* Each of so many key updates wants an answer, which OpenSSL writes with the next; the request
 * behind them gets one as well. */
static void assert_key_updates_are_answered(int count)
{
    SSL_CTX *context = SSL_CTX_new(TLS_client_method());
    char answer[1024];
    char *bytes;
    int ends[2];

    arrive_over_tcp(ends);
    SSL *ssl = secure(ends[1], context);
    assert_true(SSL_is_init_finished(ssl));
    turn();
    BIO *in = SSL_get_rbio(ssl);
    BIO_up_ref(in);
    BIO *out = BIO_new(BIO_s_mem());
    SSL_set0_wbio(ssl, out);
    for (int i = 0; i < count; i++)
        assert_true(SSL_key_update(ssl, SSL_KEY_UPDATE_REQUESTED) == 1 &&
                    SSL_do_handshake(ssl) == 1);
    long size = BIO_get_mem_data(out, &bytes);
    for (long sent = 0; sent < size; turn()) {
        ssize_t some = send(ends[1], bytes + sent, (size_t)(size - sent), 0);
        sent += some > 0 ? some : 0;
    }
    await_bytes(ends[1], 1);
    SSL_set0_wbio(ssl, in);
    assert_int_equal(SSL_write(ssl, PAGE, sizeof PAGE - 1), sizeof PAGE - 1);
    int got = -1;
    for (int i = 0; i < 5000 && got <= 0; i++) {
        await_bytes(ends[1], 1);
        got = SSL_read(ssl, answer, sizeof answer - 1);
    }
    assert_true(got > 0);
    answer[got] = '\0';
    assert_status(answer, "200");
    ERR_clear_error();
    SSL_free(ssl);
    SSL_CTX_free(context);
    close(ends[1]);
}

/* Answers that stay where they are would keep the loop running, and leave no room for ours. */
static void key_updates_are_answered(void **state)
{
    (void)state;
    open_door(PATIENT_MS);
    use_tls();
    assert_key_updates_are_answered(10);
    assert_key_updates_are_answered(9000);
}

/* Reads to TLS's end. Returns what ended it: SSL_ERROR_ZERO_RETURN for a close_notify. */
static int read_to_the_end(SSL *ssl, size_t *size)
{
    char bytes[4096];

    *size = 0;
    for (int turns = 0; turns < 200; turns++) {
        int got = SSL_read(ssl, bytes, sizeof bytes);
        *size += got > 0 ? (size_t)got : 0;
        int error = SSL_get_error(ssl, got);
        if (error != SSL_ERROR_NONE && error != SSL_ERROR_WANT_READ)
            return error;
        turn();
    }
    return SSL_ERROR_WANT_READ;
}

/* Whatever its size: it may just have filled the socket, which then takes no close_notify. */
static void a_large_answer_ends_in_good_order(void **state)
{
    SSL_CTX *context = SSL_CTX_new(TLS_client_method());
    static const char request[] = "GET /large HTTP/1.1\r\nHost: x\r\n\r\n";
    struct socket_address address;
    char page[6 * 1024];
    size_t size;

    (void)state;
    open_door(PATIENT_MS);
    use_tls();
    memset(page, 'x', sizeof page);
    door.large = page;
    assert_true(socket_parse("192.0.2.1", 1, &address));
    for (door.large_size = 512; door.large_size <= sizeof page; door.large_size += 512) {
        int ends[2];
        pair_make(ends);
        http_server_adopt(door.server, ends[0], &address);
        SSL *ssl = secure(ends[1], context);
        assert_true(SSL_is_init_finished(ssl));
        setsockopt(ends[0], SOL_SOCKET, SO_SNDBUF, &(int){1}, sizeof(int)); /* the smallest */
        assert_int_equal(SSL_write(ssl, request, sizeof request - 1), sizeof request - 1);
        for (int i = 0; i < 3; i++)
            turn();
        if (read_to_the_end(ssl, &size) != SSL_ERROR_ZERO_RETURN)
            fail_msg("a page of %zu bytes: %zu came, and no close_notify", door.large_size, size);
        assert_true(size > door.large_size);
        SSL_free(ssl);
        close(ends[1]);
        turn();
    }
    ERR_clear_error();
    SSL_CTX_free(context);
}

static void a_new_certificate_is_for_new_connections(void **state)
{
    SSL_CTX *context = SSL_CTX_new(TLS_client_method());

    (void)state;
    open_door(PATIENT_MS);
    use_tls();
    int fd = arrive("192.0.2.1");
    SSL *old = secure(fd, context);
    X509 *first = X509_dup(door.material->certificate);
    tls_material_free(door.material);
    door.material = certificate_make(0);
    use_tls();
    assert_true(SSL_write(old, PAGE, sizeof PAGE - 1) > 0);
    turn();
    char answer[1024];
    assert_true(SSL_read(old, answer, sizeof answer) > 0);
    assert_status(answer, "200");
    int later = arrive("192.0.2.1");
    SSL *new = secure(later, context);
    X509 *seen[] = {SSL_get_peer_certificate(old), SSL_get_peer_certificate(new)};
    assert_int_equal(X509_cmp(seen[0], first), 0);
    assert_int_equal(X509_cmp(seen[1], door.material->certificate), 0);
    X509_free(seen[0]);
    X509_free(seen[1]);
    X509_free(first);
    SSL_free(old);
    SSL_free(new);
    SSL_CTX_free(context);
    close(fd);
    close(later);
    turn();
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(whatever_is_known_at_once_is_answered_at_once, set_up,
                                        tear_down),
        cmocka_unit_test_setup_teardown(answers_to_head_have_no_body, set_up, tear_down),
        cmocka_unit_test_setup_teardown(
            who_hangs_up_behind_a_hello_is_gone_without_a_turn_of_the_loop, set_up, tear_down),
        cmocka_unit_test_setup_teardown(who_hangs_up_is_gone_without_a_turn_of_the_loop, set_up,
                                        tear_down),
        cmocka_unit_test_setup_teardown(a_connection_is_handed_over_with_what_follows_the_request,
                                        set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_verdict_is_passed_on, set_up, tear_down),
        cmocka_unit_test_setup_teardown(one_deadline, set_up, tear_down),
        cmocka_unit_test_setup_teardown(lingering_ends, set_up, tear_down),
        cmocka_unit_test_setup_teardown(too_many, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_request_that_is_here_is_not_dropped, set_up, tear_down),
        cmocka_unit_test_setup_teardown(stopping, set_up, tear_down),
        cmocka_unit_test_setup_teardown(over_tls, set_up, tear_down),
        cmocka_unit_test_setup_teardown(client_certificates, set_up, tear_down),
        cmocka_unit_test_setup_teardown(key_updates_without_end, set_up, tear_down),
        cmocka_unit_test_setup_teardown(key_updates_are_answered, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_large_answer_ends_in_good_order, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_new_certificate_is_for_new_connections, set_up,
                                        tear_down),
    };
    signal(SIGPIPE, SIG_IGN);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
