#include "http/server.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <time.h>

#include "base/bytes.h"
#include "base/memory.h"
#include "config/url.h"
#include "http/answer.h"
#include "http/handshake_slots.h"
#include "http/websocket_key.h"
#include "io/clock.h"
#include "io/timer.h"
#include "io/watch.h"
#include "metrics/metrics.h"

enum {
    HEAD_FIRST = 1024, /* most requests fit; else four times as much, and so on */
    READ_SIZE = 4096,
    SENTENCE_MAX = 512, /* the body of a refusal */
    LINGER_US = 1000 * 1000,
    LINGER_BYTES = 1 << 20,
    STOP_US = 500 * 1000,
    DATE_SIZE = 40,
    ORIGIN_MAX = 300,
    TLS_HANDSHAKE = 0x16, /* the first byte of a TLS client (RFC 8446, 5.1) */
};

static const char WEBSOCKET_PROTOCOL[] = "kafka-tunnel";

enum phase {
    PHASE_SILENT,    /* accepted; not a byte has come */
    PHASE_SECURING,  /* in the TLS handshake */
    PHASE_READING,   /* its request */
    PHASE_ANSWERING, /* the answer is on its way to the kernel */
    PHASE_LINGERING, /* the peer has time to read it: what it still sends is dropped, since closing
                        with unread bytes would reset the connection under its answer */
};

struct http_server {
    struct worker *worker;
    const struct http_server_owner *owner;
    void *context;
    struct http_server_settings settings;
    SSL_CTX *tls; /* NULL: plain HTTP */
    struct slots slots;
    struct list open;      /* connections, by their deadline; all have the same time */
    struct list lingering; /* the same */
    struct timer *timer;
    uint64_t timer_us; /* when it fires; UINT64_MAX: not at all */
    bool stopping;
};

struct http_connection {
    struct list node; /* in open or lingering */
    struct slot slot;
    struct http_server *server;
    struct socket_address address;
    uint64_t deadline_us;
    enum phase phase;
    enum http_server_end end;
    struct transport *transport;
    struct watch *readable;
    struct watch *writable; /* NULL until it is needed */
    char *head;             /* NULL before the first byte of a request, and after its answer */
    struct http_request request;
    struct http_page page;            /* what of it is not committed yet */
    size_t dropped;                   /* bytes while lingering */
    struct http_admission *admission; /* the upgrade is granted */
};

/* What a step has come to. */
enum step {
    STEP_ON,   /* the next phase can begin */
    STEP_WAIT, /* for the socket */
    STEP_GONE, /* the connection is freed */
};

const char *http_server_end_name(enum http_server_end end)
{
    static const char *const names[HTTP_SERVER_ENDS] = {
        [HTTP_SERVER_UPGRADED] = "upgraded",   [HTTP_SERVER_PAGE] = "page",
        [HTTP_SERVER_REFUSED] = "refused",     [HTTP_SERVER_MALFORMED] = "malformed",
        [HTTP_SERVER_TOO_LARGE] = "too_large", [HTTP_SERVER_TIMEOUT] = "timeout",
        [HTTP_SERVER_EVICTED] = "evicted",     [HTTP_SERVER_TLS] = "tls",
        [HTTP_SERVER_HUNG_UP] = "hung_up",
    };

    return names[end];
}

/* ---- time */

static void watch_clock(struct http_server *server)
{
    const struct list *lists[] = {&server->open, &server->lingering};
    uint64_t next = UINT64_MAX;

    for (size_t i = 0; i < 2; i++) {
        if (list_empty(lists[i]))
            continue;
        uint64_t deadline = list_entry(lists[i]->next, struct http_connection, node)->deadline_us;
        next = deadline < next ? deadline : next;
    }
    if (next >= server->timer_us)
        return;
    uint64_t now = clock_now_us();
    uint64_t wait = next > now ? next - now : 0;
    timer_start_us(server->timer, wait);
    server->timer_us = next;
}

static void write_date(char date[DATE_SIZE])
{
    static const char days[] = "SunMonTueWedThuFriSat";
    static const char months[] = "JanFebMarAprMayJunJulAugSepOctNovDec";
    time_t now = time(NULL);
    struct tm utc;

    gmtime_r(&now, &utc);
    snprintf(date, DATE_SIZE, "%.3s, %02d %.3s %d %02d:%02d:%02d GMT", days + 3 * utc.tm_wday,
             utc.tm_mday, months + 3 * utc.tm_mon, utc.tm_year + 1900, utc.tm_hour, utc.tm_min,
             utc.tm_sec);
}

/* ---- figures */

static void count_end(const struct http_server *server, enum http_server_end end)
{
    if (!server->settings.quiet)
        metrics_add(server->worker->metrics, METRIC_HANDSHAKES_ENDED, end, 0, 1);
}

/* ---- the end of a connection */

/* The head may hold a token. */
static void forget_head(struct http_connection *connection)
{
    if (!connection->head)
        return;
    byte_wipe(connection->head, connection->request.head_max);
    byte_wipe_stack();
    free(connection->head);
    connection->head = NULL;
}

static void drop_admission(struct http_connection *connection)
{
    const struct http_server *server = connection->server;

    if (connection->admission && connection->admission->pass)
        server->owner->dropped(server->context, connection->admission->pass);
    free(connection->admission);
}

/* All but the socket. */
static void release_connection(struct http_connection *connection)
{
    struct http_server *server = connection->server;

    count_end(server, connection->end);
    slots_give_back(&server->slots, &connection->slot);
    list_remove(&connection->node);
    watch_free(connection->readable);
    watch_free(connection->writable);
    forget_head(connection);
    drop_admission(connection);
    free(connection->page.owned);
    free(connection);
}

/* Watches first, descriptors second: the loop must not look at one that is closed. */
static enum step shut_connection(struct http_connection *connection)
{
    struct transport *transport = connection->transport;

    release_connection(connection);
    transport_free(transport);
    return STEP_GONE;
}

static enum step reset_connection(struct http_connection *connection)
{
    struct transport *transport = connection->transport;

    release_connection(connection);
    transport_reset(transport);
    return STEP_GONE;
}

static enum step hand_over(struct http_connection *connection)
{
    struct http_server *server = connection->server;
    struct transport *transport = connection->transport;
    struct http_admission *admission = connection->admission;
    char peer[SOCKET_TEXT_MAX];

    socket_format(&connection->address, peer);
    connection->admission = NULL;
    release_connection(connection);
    transport_stop_wiping(transport);
    server->owner->upgraded(server->context, transport, admission, peer);
    free(admission);
    return STEP_GONE;
}

static enum step begin_lingering(struct http_connection *connection)
{
    struct http_server *server = connection->server;
    uint64_t limit = server->stopping ? STOP_US : LINGER_US;

    transport_shutdown(connection->transport);
    forget_head(connection);
    connection->phase = PHASE_LINGERING;
    connection->deadline_us = clock_now_us() + limit;
    slots_set(&server->slots, &connection->slot, SLOT_SPENT);
    list_remove(&connection->node);
    list_append(&server->lingering, &connection->node);
    return STEP_ON;
}

static enum step linger_on(struct http_connection *connection)
{
    long got;

    /* TLS's close_notify may wait behind the answer, and the end of file behind that. */
    if (transport_flush(connection->transport) == TRANSPORT_ERROR)
        return shut_connection(connection);
    do {
        got = transport_discard(connection->transport);
        connection->dropped += got > 0 ? (size_t)got : 0;
    } while (got > 0 && connection->dropped < LINGER_BYTES);
    if (got == TRANSPORT_BLOCKED)
        return STEP_WAIT;
    return shut_connection(connection);
}

/* ---- answers */

/* As much of the page as there is room for. */
static void commit_page(struct http_connection *connection)
{
    struct http_page *page = &connection->page;

    while (page->size > 0 && transport_has_room(connection->transport)) {
        size_t part = page->size < WORKER_WRITE_SIZE ? page->size : WORKER_WRITE_SIZE;
        transport_commit(connection->transport, (const uint8_t *)page->body, part);
        page->body += part;
        page->size -= part;
    }
}

static enum step send_http_answer(struct http_connection *connection)
{
    for (;;) {
        switch (transport_flush(connection->transport)) {
        case 1:
            break;
        case TRANSPORT_BLOCKED:
            return STEP_WAIT;
        default:
            return shut_connection(connection);
        }
        if (connection->page.size == 0)
            return connection->admission ? hand_over(connection) : begin_lingering(connection);
        commit_page(connection);
    }
}

static void put_answer(struct http_connection *connection, const char *bytes, size_t size)
{
    connection->phase = PHASE_ANSWERING;
    /* Should TLS fail here, it fails in the next flush as well. */
    transport_commit(connection->transport, (const uint8_t *)bytes, size);
}

/* The beginning of the page, for the packet that has the head. */
static size_t take_page(struct http_page *page, char *bytes, size_t room)
{
    size_t size = page->size < room ? page->size : room;

    if (size == 0)
        return 0;
    memcpy(bytes, page->body, size);
    page->body += size;
    page->size -= size;
    return size;
}

/* Takes page->owned. */
static void answer_page(struct http_connection *connection, enum http_server_end end,
                        const struct http_page *page)
{
    char bytes[HTTP_ANSWER_HEAD_MAX + SENTENCE_MAX];
    char date[DATE_SIZE];
    const struct http_answer what = {.status = page->status,
                                     .date = date,
                                     .type = page->type,
                                     .headers = page->headers,
                                     .allow = page->allow,
                                     .size = page->size};

    write_date(date);
    connection->end = end;
    connection->page = *page;
    if (connection->head && http_request_is_head(&connection->request))
        connection->page.size = 0;
    size_t fill = http_answer_head(&what, bytes);
    fill += take_page(&connection->page, bytes + fill, sizeof bytes - fill);
    put_answer(connection, bytes, fill);
    commit_page(connection);
}

static enum step answer_request(struct http_connection *connection, enum http_server_end end,
                                int status, const char *body)
{
    const struct http_page page = {.status = status, .body = body, .size = strlen(body)};

    answer_page(connection, end, &page);
    return STEP_ON;
}

static void log_refusal(const struct http_connection *connection, int status, const char *body,
                        size_t size)
{
    const struct http_server *server = connection->server;
    const char *end = size > 0 ? memchr(body, '\n', size) : NULL;
    char peer[SOCKET_TEXT_MAX];

    if (server->settings.quiet || !log_enabled(server->worker->log, LOG_LEVEL_INFO))
        return;
    socket_format(&connection->address, peer);
    log_info(server->worker->log, "request_refused", "A request was refused", log_str("peer", peer),
             log_i64("status", status),
             log_bytes("reason", body, end ? (size_t)(end - body) : size));
}

/* body: a sentence, which is also the reason in the log. */
static enum step refuse_request(struct http_connection *connection, enum http_server_end end,
                                int status, const char *body)
{
    log_refusal(connection, status, body, strlen(body));
    return answer_request(connection, end, status, body);
}

static enum step refuse_malformed(struct http_connection *connection, const char *problem)
{
    char body[SENTENCE_MAX];

    snprintf(body, sizeof body, "malformed: %s\n", problem);
    return refuse_request(connection, HTTP_SERVER_MALFORMED, 400, body);
}

static enum step refuse_too_large(struct http_connection *connection)
{
    struct http_server *server = connection->server;
    char body[SENTENCE_MAX];
    char peer[SOCKET_TEXT_MAX];

    socket_format(&connection->address, peer);
    if (!server->settings.quiet)
        log_warning(server->worker->log, "request_too_large",
                    "A request was refused: its line and headers are larger than "
                    "--max-header-size",
                    log_str("peer", peer), log_u64("limit", server->settings.head_max));
    snprintf(body, sizeof body, "the request line and headers are larger than %zu bytes\n",
             server->settings.head_max);
    return answer_request(connection, HTTP_SERVER_TOO_LARGE, 431, body);
}

/* ---- the upgrade (RFC 6455, 4.2) */

static bool origin_is_allowed(const struct http_server *server, const char *origin)
{
    for (size_t i = 0; i < server->settings.origin_count; i++)
        if (strcasecmp(origin, server->settings.origins[i]) == 0)
            return true;
    return false;
}

/* Only pages in browsers send Origin, and browsers ask nobody before they connect: what a user's
 * browser can reach would be open to every page that the user visits. */
static bool refuse_origin(struct http_connection *connection)
{
    const struct http_request *request = &connection->request;
    struct http_server *server = connection->server;
    char origin[ORIGIN_MAX];
    char peer[SOCKET_TEXT_MAX];

    if (http_request_header_count(request, "origin") == 0)
        return false;
    bool readable = http_request_header(request, "origin", origin, sizeof origin);
    if (readable && origin_is_allowed(server, origin))
        return false;
    socket_format(&connection->address, peer);
    log_warning(server->worker->log, "origin_refused",
                "A page in a browser tried to open a tunnel and was refused; --allow-origin allows "
                "pages of an origin",
                log_str("peer", peer), log_str("origin", readable ? origin : "(unreadable)"));
    answer_request(connection, HTTP_SERVER_REFUSED, 403,
                   "pages of that origin may not open a tunnel\n");
    return true;
}

static enum step grant(struct http_connection *connection, const char *key,
                       const struct http_admission *admission)
{
    char accept[WEBSOCKET_ACCEPT_SIZE];
    char bytes[HTTP_ANSWER_HEAD_MAX];
    bool named =
        http_request_has(&connection->request, "sec-websocket-protocol", WEBSOCKET_PROTOCOL);

    websocket_key_accept(key, accept);
    connection->admission = memory_raw(sizeof *admission);
    *connection->admission = *admission;
    connection->end = HTTP_SERVER_UPGRADED;
    slots_set(&connection->server->slots, &connection->slot, SLOT_PROVEN);
    put_answer(connection, bytes,
               http_answer_upgrade(accept, named ? WEBSOCKET_PROTOCOL : NULL, bytes));
    return STEP_ON;
}

static enum step authorize(struct http_connection *connection, const char *key)
{
    struct http_server *server = connection->server;
    struct http_admission admission = {.body = "refused\n"};
    char peer[SOCKET_TEXT_MAX];
    struct http_upgrade upgrade = {.request = &connection->request,
                                   .certificate =
                                       transport_client_certificate(connection->transport),
                                   .peer = peer};

    socket_format(&connection->address, peer);
    int status = server->owner->authorize(server->context, &upgrade, &admission);
    X509_free(upgrade.certificate);
    enum step step = status == 101
                         ? grant(connection, key, &admission)
                         : answer_request(connection, HTTP_SERVER_REFUSED, status, admission.body);
    forget_head(connection);
    return step;
}

static enum step upgrade(struct http_connection *connection)
{
    const struct http_request *request = &connection->request;
    bool head = http_request_is_head(request);
    char version[8];
    char key[WEBSOCKET_KEY_SIZE];

    if (!head && strcmp(http_request_method(request), "GET") != 0)
        return refuse_request(connection, HTTP_SERVER_REFUSED, 405, "use GET to open a tunnel\n");
    if (head || !http_request_has(request, "upgrade", "websocket"))
        return refuse_request(
            connection, HTTP_SERVER_REFUSED, 426,
            "this is a tunnel for Kafka: connect with tunnel-client (WebSocket)\n");
    if (http_request_minor(request) == 0)
        return refuse_request(connection, HTTP_SERVER_REFUSED, 400,
                              "an upgrade requires HTTP/1.1\n");
    if (!http_request_has(request, "connection", "upgrade"))
        return refuse_request(
            connection, HTTP_SERVER_REFUSED, 400,
            "Upgrade without Connection: Upgrade: something in between has removed the latter\n");
    if (!http_request_header(request, "sec-websocket-version", version, sizeof version) ||
        strcmp(version, "13") != 0)
        return refuse_request(connection, HTTP_SERVER_REFUSED, 426,
                              "the WebSocket version must be 13\n");
    if (!http_request_header(request, "sec-websocket-key", key, sizeof key) ||
        !websocket_key_valid(key))
        return refuse_request(connection, HTTP_SERVER_REFUSED, 400,
                              "Sec-WebSocket-Key is missing or malformed\n");
    if (refuse_origin(connection))
        return STEP_ON;
    return authorize(connection, key);
}

/* ---- the request */

static enum step serve_page(struct http_connection *connection, const char *path)
{
    struct http_server *server = connection->server;
    struct http_page page = {.status = 404};

    server->owner->page(server->context, &connection->request, path, &page);
    /* 503 is what a probe asks for. */
    bool refused = page.status >= 400 && page.status != 503;
    if (refused)
        log_refusal(connection, page.status, page.body, page.size);
    answer_page(connection, refused ? HTTP_SERVER_REFUSED : HTTP_SERVER_PAGE, &page);
    return STEP_ON;
}

/* A slash at the end makes no difference. "" if the path is longer than any that there is. */
static void copy_path(const struct http_request *request, char path[URL_PATH_MAX + 1])
{
    const char *asked = http_request_path(request);
    size_t size = strlen(asked);

    if (size > 1 && asked[size - 1] == '/')
        size--;
    if (size > URL_PATH_MAX)
        size = 0;
    memcpy(path, asked, size);
    path[size] = '\0';
}

static bool is_tunnel(const struct http_server *server, const char *path)
{
    const char *own = server->settings.path;
    size_t size = own ? strlen(own) : 0;

    if (!own)
        return false;
    if (size > 1 && own[size - 1] == '/')
        size--;
    return strlen(path) == size && strncmp(own, path, size) == 0;
}

static enum step respond(struct http_connection *connection)
{
    const struct http_request *request = &connection->request;
    char path[URL_PATH_MAX + 1];
    char expect[16];

    if (http_request_body_size(request) > connection->server->settings.body_max)
        return refuse_request(connection, HTTP_SERVER_REFUSED, 413,
                              connection->server->settings.body_max > 0
                                  ? "the body is too large\n"
                                  : "requests with a body are not supported\n");
    if (http_request_header_count(request, "expect") > 0 &&
        (!http_request_header(request, "expect", expect, sizeof expect) ||
         strcasecmp(expect, "100-continue") != 0))
        return refuse_request(connection, HTTP_SERVER_REFUSED, 417,
                              "expectations are not supported\n");
    copy_path(request, path);
    return is_tunnel(connection->server, path) ? upgrade(connection) : serve_page(connection, path);
}

/* A larger buffer; false: that would be too large. */
static bool grow_head(struct http_connection *connection)
{
    size_t max = connection->server->settings.head_max;
    size_t size = connection->request.head_max * 4;

    if (connection->request.head_max >= max)
        return false;
    if (size > max)
        size = max;
    char *head = memory_raw(size);
    free(http_request_move(&connection->request, head, size));
    connection->head = head;
    return true;
}

static void begin_head(struct http_connection *connection)
{
    size_t max = connection->server->settings.head_max;
    size_t size = max < HEAD_FIRST ? max : HEAD_FIRST;

    if (connection->head)
        return;
    connection->head = memory_raw(size);
    http_request_init(&connection->request, connection->head, size);
}

/* Feeds what has come. Exactly the head is taken from the transport: what follows it is for whoever
 * gets the connection. */
static enum step take_head(struct http_connection *connection, uint8_t *bytes, size_t size)
{
    enum http_request_result result;
    size_t taken = 0;
    size_t consumed;

    begin_head(connection);
    do {
        result = http_request_receive(&connection->request, bytes + taken, size - taken, &consumed);
        taken += consumed;
    } while (result == HTTP_REQUEST_FULL && grow_head(connection));
    if (taken > 0)
        transport_read(connection->transport, bytes, taken);
    switch (result) {
    case HTTP_REQUEST_MORE:
        return STEP_ON;
    case HTTP_REQUEST_DONE:
        return respond(connection);
    case HTTP_REQUEST_FULL:
        return refuse_too_large(connection);
    case HTTP_REQUEST_VERSION:
        return refuse_request(connection, HTTP_SERVER_MALFORMED, 505,
                              "only HTTP/1.1 is supported\n");
    default:
        return refuse_malformed(connection, http_request_problem(&connection->request));
    }
}

/*
 * TLS answers by itself, to each key update that asks for it. Such answers go out at once, and who
 * does not take them is not read any further: so no more gather than one call makes, and there is
 * room for our own answer.
 */
static enum step read_request(struct http_connection *connection)
{
    uint8_t bytes[READ_SIZE];
    long got = transport_flush(connection->transport);

    if (got == 1) {
        got = transport_peek(connection->transport, bytes, sizeof bytes);
        int sent = transport_flush(connection->transport);
        if (sent != 1) {
            byte_wipe(bytes, sizeof bytes);
            got = sent;
        }
    }
    if (got == TRANSPORT_BLOCKED)
        return STEP_WAIT;
    if (got < 0)
        return shut_connection(connection);
    enum step step = take_head(connection, bytes, (size_t)got);
    byte_wipe(bytes, (size_t)got);
    return step;
}

/* ---- before the request */

static void say_tls_failed(struct http_connection *connection, const char *reason)
{
    char peer[SOCKET_TEXT_MAX];

    connection->end = HTTP_SERVER_TLS;
    socket_format(&connection->address, peer);
    log_info(connection->server->worker->log, "tls_failed", "A TLS handshake with a client failed",
             log_str("peer", peer), log_str("reason", reason));
}

static enum step secure(struct http_connection *connection)
{
    switch (transport_handshake(connection->transport)) {
    case 1:
        connection->phase = PHASE_READING;
        return STEP_ON;
    case TRANSPORT_BLOCKED:
        if (transport_has_answered(connection->transport))
            slots_spare(&connection->slot, clock_now_us());
        return STEP_WAIT;
    case TRANSPORT_EOF:
        return shut_connection(connection);
    default:
        say_tls_failed(connection, transport_error(connection->transport));
        /* An alert that says why is on its way. */
        return transport_busy(connection->transport) ? shut_connection(connection)
                                                     : begin_lingering(connection);
    }
}

static enum step refuse_scheme(struct http_connection *connection, const char *what,
                               const char *body)
{
    char peer[SOCKET_TEXT_MAX];

    socket_format(&connection->address, peer);
    if (!connection->server->settings.quiet)
        log_info(connection->server->worker->log, "wrong_scheme", what, log_str("peer", peer));
    return answer_request(connection, HTTP_SERVER_MALFORMED, 400, body);
}

/* The first byte says what is spoken. */
static enum step recognise_scheme(struct http_connection *connection)
{
    struct http_server *server = connection->server;
    uint8_t first;
    long got = transport_peek(connection->transport, &first, 1);

    if (got == TRANSPORT_BLOCKED)
        return STEP_WAIT;
    if (got < 0)
        return shut_connection(connection);
    if (server->tls && first >= 'A' && first <= 'Z')
        return refuse_scheme(connection,
                             "A client speaks plain HTTP, but this port speaks HTTPS: its URL must "
                             "begin with https://",
                             "this port speaks HTTPS: the URL must begin with https://\n");
    if (!server->tls && first == TLS_HANDSHAKE)
        return refuse_scheme(connection,
                             "A client speaks TLS, but this port speaks plain HTTP: give "
                             "--tls-cert and --tls-key, or http:// to the client",
                             "this port speaks plain HTTP: the URL must begin with http://\n");
    if (server->tls && first != TLS_HANDSHAKE) {
        say_tls_failed(connection, "the client did not send TLS");
        return reset_connection(connection);
    }
    if (!server->tls) {
        connection->phase = PHASE_READING;
        return STEP_ON;
    }
    /* The computation would be for nobody. After an outage many have waited for longer than they
     * have patience; those behind them must not wait for it. */
    if (socket_peer_end(transport_fd(connection->transport)) != SOCKET_OPEN)
        return shut_connection(connection);
    connection->transport = transport_secure_server(connection->transport, server->tls);
    connection->phase = PHASE_SECURING;
    return STEP_ON;
}

/* ---- the way of a connection */

static enum step step_of(struct http_connection *connection)
{
    switch (connection->phase) {
    case PHASE_SILENT:
        return recognise_scheme(connection);
    case PHASE_SECURING:
        return secure(connection);
    case PHASE_READING:
        return read_request(connection);
    case PHASE_ANSWERING:
        return send_http_answer(connection);
    default:
        return linger_on(connection);
    }
}

static void on_door_ready(void *argument);

static void go_on_with(struct http_connection *connection)
{
    struct http_server *server = connection->server;
    enum step step;

    do
        step = step_of(connection);
    while (step == STEP_ON);
    if (step == STEP_WAIT) {
        bool blocked = transport_busy(connection->transport);
        if (blocked && !connection->writable) {
            connection->writable = watch_new(server->worker, transport_fd(connection->transport),
                                             WATCH_WRITE, on_door_ready, connection);
        }
        if (connection->writable)
            watch_want(connection->writable, blocked);
        watch_want(connection->readable, connection->phase != PHASE_ANSWERING &&
                                             !(connection->phase == PHASE_READING && blocked));
    }
    watch_clock(server);
}

static void on_door_ready(void *argument)
{
    go_on_with(argument);
}

/* ---- deadlines and slots */

/* A last word to somebody who is in the middle of a request. false: there is nobody to hear it. */
static bool say_last_word(struct http_connection *connection, int status, const char *body)
{
    if (connection->phase != PHASE_READING || !connection->head ||
        transport_busy(connection->transport))
        return false;
    answer_request(connection, connection->end, status, body);
    return true;
}

static void dismiss(struct http_connection *connection, int status, const char *body)
{
    if (say_last_word(connection, status, body))
        go_on_with(connection);
    else if (connection->phase == PHASE_ANSWERING)
        reset_connection(connection);
    else
        shut_connection(connection);
}

static void expire(struct http_connection *connection)
{
    static const char *const phases[] = {
        [PHASE_SILENT] = "silence",
        [PHASE_SECURING] = "the TLS handshake",
        [PHASE_READING] = "the request",
        [PHASE_ANSWERING] = "the answer",
    };
    struct http_server *server = connection->server;
    char peer[SOCKET_TEXT_MAX];

    connection->end = HTTP_SERVER_TIMEOUT;
    if (server->stopping) {
        dismiss(connection, 503, "the server is restarting: try again\n");
        return;
    }
    socket_format(&connection->address, peer);
    if (!server->settings.quiet)
        log_info(server->worker->log, "handshake_timeout",
                 "A connection was closed: it was not upgraded within --handshake-timeout",
                 log_str("peer", peer), log_str("during", phases[connection->phase]));
    dismiss(connection, 408, "the request did not arrive in time\n");
}

static void on_door_time(void *argument)
{
    struct http_server *server = argument;
    struct list *node;
    uint64_t now = clock_now_us();

    server->timer_us = UINT64_MAX;
    while ((node = server->lingering.next) != &server->lingering) {
        struct http_connection *connection = list_entry(node, struct http_connection, node);
        if (connection->deadline_us > now)
            break;
        shut_connection(connection);
    }
    while ((node = server->open.next) != &server->open) {
        struct http_connection *connection = list_entry(node, struct http_connection, node);
        if (connection->deadline_us > now)
            break;
        expire(connection);
    }
    watch_clock(server);
}

static struct http_connection *find_victim(const struct http_server *server,
                                           const struct socket_address *newcomer)
{
    struct slot *slot = slots_victim(&server->slots, newcomer, clock_now_us());

    return slot ? list_entry(slot, struct http_connection, slot) : NULL;
}

/* Frees a slot for a newcomer; false: none can be had. */
static bool free_a_slot(struct http_server *server, const struct socket_address *newcomer)
{
    struct http_connection *connection = find_victim(server, newcomer);
    char peer[SOCKET_TEXT_MAX];

    /* Many may have been accepted since the loop last looked at sockets: its request may be here.
     */
    if (connection && connection->slot.state == SLOT_OPEN) {
        go_on_with(connection);
        if (!slots_full(&server->slots))
            return true;
        connection = find_victim(server, newcomer);
    }
    if (!connection)
        return false;
    if (connection->slot.state == SLOT_SPENT) {
        shut_connection(connection);
        return true;
    }
    socket_format(&connection->address, peer);
    if (!server->settings.quiet)
        log_warning(server->worker->log, "handshake_refused",
                    "A connection gives way to a new one: too many handshakes are in progress",
                    log_str("peer", peer),
                    log_u64("of_its_address", slots_of_address(&connection->slot)),
                    log_u64("limit", server->settings.handshakes_max));
    connection->end = HTTP_SERVER_EVICTED;
    if (say_last_word(connection, 503, "too many connections: try again\n") &&
        transport_flush(connection->transport) == 1)
        shut_connection(connection);
    else
        reset_connection(connection);
    return true;
}

void http_server_adopt(struct http_server *server, int fd, const struct socket_address *peer)
{
    uint64_t time_us = server->stopping ? STOP_US : server->settings.handshake_timeout_ms * 1000;
    struct http_connection *connection;

    if (slots_full(&server->slots) && !free_a_slot(server, peer)) {
        if (!server->settings.quiet)
            log_warning(server->worker->log, "handshake_refused",
                        "A connection is refused: too many handshakes are in progress",
                        log_u64("limit", server->settings.handshakes_max));
        count_end(server, HTTP_SERVER_EVICTED);
        socket_reset(fd);
        return;
    }
    connection = memory_new(sizeof *connection);
    *connection = (struct http_connection){
        .server = server,
        .address = *peer,
        .deadline_us = clock_now_us() + time_us,
        .phase = PHASE_SILENT,
        .end = HTTP_SERVER_HUNG_UP,
        .transport = transport_new(fd),
    };
    connection->readable = watch_new(server->worker, fd, WATCH_READ, on_door_ready, connection);
    slots_take(&server->slots, &connection->slot, peer, clock_now_us());
    list_append(&server->open, &connection->node);
    /* Who has hung up already is gone without another turn of the loop. */
    go_on_with(connection);
}

/* ---- life */

struct http_server *http_server_new(struct worker *worker,
                                    const struct http_server_settings *settings,
                                    const struct http_server_owner *owner, void *context)
{
    struct http_server *server = memory_new(sizeof *server);

    *server = (struct http_server){.worker = worker,
                                   .owner = owner,
                                   .context = context,
                                   .settings = *settings,
                                   .timer_us = UINT64_MAX};
    slots_init(&server->slots, settings->handshakes_max, &worker->hash_key);
    list_init(&server->open);
    list_init(&server->lingering);
    server->timer = timer_new(worker, on_door_time, server);
    return server;
}

void http_server_use_tls(struct http_server *server, SSL_CTX *context)
{
    SSL_CTX_up_ref(context);
    SSL_CTX_free(server->tls);
    server->tls = context;
}

size_t http_server_count(const struct http_server *server)
{
    return server->slots.count;
}

void http_server_stop(struct http_server *server)
{
    struct list *const lists[] = {&server->open, &server->lingering};
    uint64_t limit = clock_now_us() + STOP_US;

    server->stopping = true;
    for (size_t i = 0; i < 2; i++) {
        list_each(at, lists[i]) {
            struct http_connection *connection = list_entry(at, struct http_connection, node);
            if (connection->deadline_us > limit)
                connection->deadline_us = limit;
        }
    }
    watch_clock(server);
}

void http_server_free(struct http_server *server)
{
    if (!server)
        return;
    while (!list_empty(&server->lingering))
        shut_connection(list_entry(server->lingering.next, struct http_connection, node));
    while (!list_empty(&server->open))
        shut_connection(list_entry(server->open.next, struct http_connection, node));
    timer_free(server->timer);
    slots_clear(&server->slots);
    SSL_CTX_free(server->tls);
    free(server);
}
