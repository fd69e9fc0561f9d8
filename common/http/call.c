#include "http/call.h"

#include <limits.h>
#include <openssl/evp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/bytes.h"
#include "base/memory.h"
#include "http/socks5.h"
#include "io/clock.h"
#include "io/connector.h"
#include "io/timer.h"
#include "io/watch.h"

enum {
    REQUEST_MAX = 256 * 1024, /* headers with tokens and a proxy's password, and a body */
    PROXY_ANSWER_MAX = 200,
    /* An address that connects and leads to no answer leaves time for the next one. */
    ATTEMPT_MAX_MS = 5000,
    /* Reads in one turn of the loop: who sends without end must not keep everybody else waiting. */
    READS_A_TURN = 4,
};

enum stage {
    STAGE_TARGET_NAME, /* the server's, for a proxy that is told its address */
    STAGE_NAME,        /* of what is connected to: the server, or the proxy */
    STAGE_CONNECT,
    STAGE_PROXY_TLS,
    STAGE_PROXY_ANSWER,
    STAGE_TLS,
    STAGE_ANSWER,
};

/* How an attempt failed. */
struct failure {
    enum stage stage;
    enum http_hop hop;
    struct http_trace trace;
    char reason[HTTP_REASON_MAX];
};

struct http_call {
    struct http_way *way;
    struct worker *worker;
    struct http_call_request request;
    http_call_callback callback;
    void *context;

    char *bytes; /* the request as it is sent; wiped at the end */
    size_t size;
    struct proxy proxy; /* host "": none */

    enum stage stage;
    uint64_t begun_us;
    struct resolver_query *query;
    struct connector *connector;
    struct transport *transport;
    struct watch *readable;
    struct watch *writable;
    struct timer *deadline;    /* of the whole call */
    struct timer *patience;    /* with this address, while there are others */
    struct timer *next;        /* begins an attempt, or answers, outside of what is going on */
    struct worker_later later; /* there is more to read, and others have their turn first */
    bool timed_out;
    bool proxy_refused;           /* SOCKS: no other address of the proxy's says anything else */
    bool login_refused;           /* by the proxy */
    bool reached;                 /* an address was connected to */
    struct resolver_result left;  /* addresses that have not been connected to yet */
    struct resolver_result known; /* all of them */
    /* Of the server, for a proxy that is told an address; the current one is at 'target'. */
    struct resolver_result targets;
    size_t target;
    struct socks5 socks;
    const char *to_send; /* of the request, or of CONNECT */
    size_t to_send_size;
    char *connect; /* the request to the proxy; wiped */
    struct http_trace trace;
    struct http_response response;
    char proxy_body[PROXY_ANSWER_MAX + 1];
    char reason[HTTP_REASON_MAX];
    /* Of the attempts so far, the one that came furthest: what is wrong with the server is worth
     * more than that another address of it refuses. NULL: none. */
    struct failure *furthest;
    char *body;
};

/* ---- the request's bytes */

/* Grows as needed; what was there before is wiped. */
struct text {
    char *bytes;
    size_t fill;
    size_t room;
};

static void text_add(struct text *text, const char *bytes, size_t size)
{
    if (text->fill + size + 1 > text->room) {
        size_t room = 2 * (text->fill + size + 256);
        char *more = memory_raw(room);
        if (text->fill > 0)
            memcpy(more, text->bytes, text->fill);
        if (text->bytes)
            byte_wipe(text->bytes, text->fill);
        free(text->bytes);
        text->bytes = more;
        text->room = room;
    }
    memcpy(text->bytes + text->fill, bytes, size);
    text->fill += size;
    text->bytes[text->fill] = '\0';
}

static void text_line(struct text *text, const char *a, const char *b)
{
    text_add(text, a, strlen(a));
    text_add(text, b, strlen(b));
    text_add(text, "\r\n", 2);
}

static void wipe(char *bytes, size_t size)
{
    if (bytes)
        byte_wipe(bytes, size);
    free(bytes);
}

/* The value of Host: without the port that goes without saying, and as SNI has the name, for what
 * routes by it. */
static void host_header(const struct http_call_request *request, char text[ADDRESS_TEXT_MAX])
{
    char host[ADDRESS_HOST_MAX + 1];
    char *colon;

    address_host_undotted(request->host, host);
    address_format(host, request->port, text);
    colon = strrchr(text, ':');
    if (request->port == (request->tls ? 443 : 80))
        *colon = '\0';
}

static void make_request(struct http_call *call)
{
    const struct http_call_request *request = &call->request;
    struct text text = {0};
    char host[ADDRESS_TEXT_MAX];
    char length[32];

    text_add(&text, request->method, strlen(request->method));
    text_add(&text, " ", 1);
    text_line(&text, request->path, " HTTP/1.1");
    host_header(request, host);
    text_line(&text, "Host: ", host);
    text_line(&text, "User-Agent: kafka-tunnel/", KAFKA_TUNNEL_VERSION);
    for (const char *const *header = request->headers; header && *header; header++)
        text_line(&text, *header, "");
    if (request->body) {
        snprintf(length, sizeof length, "%zu", request->body_size);
        text_line(&text, "Content-Length: ", length);
    }
    text_add(&text, "\r\n", 2);
    if (request->body)
        text_add(&text, request->body, request->body_size);
    call->bytes = text.bytes;
    call->size = text.fill;
}

/* What a proxy is asked; with a login of any length. */
static void make_connect(struct http_call *call)
{
    struct text text = {0};
    char target[ADDRESS_TEXT_MAX];

    address_format(call->request.host, call->request.port, target);
    text_add(&text, "CONNECT ", 8);
    text_line(&text, target, " HTTP/1.1");
    text_line(&text, "Host: ", target);
    text_line(&text, "User-Agent: kafka-tunnel/", KAFKA_TUNNEL_VERSION);
    if (call->proxy.credentials) {
        size_t size = strlen(call->proxy.credentials);
        char *encoded = memory_raw(4 * (size / 3 + 1) + 1);
        if (size > INT_MAX / 2)
            abort();
        EVP_EncodeBlock((unsigned char *)encoded, (const unsigned char *)call->proxy.credentials,
                        (int)size);
        text_line(&text, "Proxy-Authorization: Basic ", encoded);
        wipe(encoded, strlen(encoded));
    }
    text_add(&text, "\r\n", 2);
    wipe(call->connect, call->connect ? strlen(call->connect) : 0);
    call->connect = text.bytes;
    call->to_send = text.bytes;
    call->to_send_size = text.fill;
}

/* How the server is named to a SOCKS proxy: by the address that was looked up, or as it was given.
 */
static void set_socks_target(const struct http_call *call, struct socks5_target *target)
{
    const char *host = call->request.host;
    struct socket_address address;
    uint8_t ip[16];

    target->port = call->request.port;
    if (call->proxy.kind == PROXY_SOCKS5)
        address = call->targets.addresses[call->target];
    else if (!socket_parse(host, target->port, &address)) {
        target->kind = SOCKS5_NAME;
        target->size = (uint8_t)strlen(host);
        memcpy(target->bytes, host, target->size);
        return;
    }
    socket_ip(&address, ip);
    bool is_ipv6 = address.storage.ss_family == AF_INET6;
    target->kind = is_ipv6 ? SOCKS5_IPV6 : SOCKS5_IPV4;
    target->size = is_ipv6 ? 16 : 4;
    memcpy(target->bytes, ip + 16 - target->size, target->size);
}

static void make_socks_greeting(struct http_call *call)
{
    struct socks5 *socks = &call->socks;
    const struct proxy *proxy = &call->proxy;

    set_socks_target(call, &socks->target);
    if (proxy->credentials) {
        socks->user = proxy->credentials;
        socks->user_size = (uint8_t)proxy->user_size;
        socks->password = proxy->credentials + proxy->user_size + 1;
        socks->password_size = (uint8_t)strlen(socks->password);
    }
    socks5_begin(socks);
    call->to_send = (const char *)socks->message;
    call->to_send_size = socks->message_size;
}

/* ---- the end */

static void end_connection(struct http_call *call)
{
    watch_free(call->readable);
    watch_free(call->writable);
    call->readable = call->writable = NULL;
    list_remove(&call->later.node);
    transport_free(call->transport);
    call->transport = NULL;
}

void http_call_cancel(struct http_call *call)
{
    if (!call)
        return;
    resolver_cancel(call->query);
    connector_cancel(call->connector);
    end_connection(call);
    timer_free(call->deadline);
    timer_free(call->patience);
    timer_free(call->next);
    wipe(call->bytes, call->size);
    wipe(call->connect, call->connect ? strlen(call->connect) : 0);
    wipe(call->body, call->request.answer_max);
    socks5_wipe(&call->socks);
    proxy_clear(&call->proxy);
    free(call->furthest);
    free(call);
}

static void answer_call(struct http_call *call, enum http_hop hop)
{
    struct transport *transport = call->transport;
    bool keep = hop == HTTP_HOP_NONE && call->request.upgrade && call->response.status == 101;
    const struct http_call_result result = {
        .hop = hop,
        .timed_out = call->timed_out,
        .login_refused = call->login_refused,
        .reason = hop == HTTP_HOP_NONE ? "" : call->reason,
        .response = &call->response,
        .transport = keep ? transport : NULL,
        .trace = &call->trace,
    };

    if (keep)
        call->transport = NULL;
    end_connection(call);
    timer_stop(call->deadline);
    call->callback(call->context, &result);
    http_call_cancel(call);
}

void http_call_prefix(const struct http_call_request *request, const struct http_trace *trace,
                      char *text, size_t size)
{
    char host[ADDRESS_TEXT_MAX];

    address_format(request->host, request->port, host);
    if (trace->proxy[0])
        snprintf(text, size, "%s (through the proxy %s): ", host, trace->proxy);
    else if (trace->address[0])
        snprintf(text, size, "%s (%s): ", host, trace->address);
    else
        snprintf(text, size, "%s: ", host);
}

__attribute__((format(printf, 3, 4))) static enum http_hop
explain_call(struct http_call *call, enum http_hop hop, const char *format, ...)
{
    va_list arguments;

    http_call_prefix(&call->request, &call->trace, call->reason, sizeof call->reason);
    size_t fill = strlen(call->reason);
    va_start(arguments, format);
    vsnprintf(call->reason + fill, sizeof call->reason - fill, format, arguments);
    va_end(arguments);
    return hop;
}

/* ---- what went wrong */

static enum http_hop explain_connect(struct http_call *call, const char *error)
{
    if (call->trace.proxy[0])
        return explain_call(call, HTTP_HOP_PROXY,
                            "no connection to the proxy: %s; is its address right (--proxy, "
                            "HTTPS_PROXY), and is it running?",
                            error);
    return explain_call(
        call, HTTP_HOP_TCP,
        "no connection: %s; is the server running, and does a firewall allow it? If "
        "this network requires a proxy, set --proxy",
        error);
}

/* The proxy's answer was not 2xx. */
static enum http_hop explain_refusal(struct http_call *call)
{
    char wants[200];
    int status = call->response.status;

    if (status == 407) {
        call->login_refused = true;
        http_response_header(&call->response, "Proxy-Authenticate", wants, sizeof wants);
        if (call->proxy.credentials)
            return explain_call(
                call, HTTP_HOP_PROXY,
                "the proxy does not accept this user name and password (407; it offers: "
                "%s); check them in --proxy http://USER:PASSWORD@HOST:PORT",
                wants);
        bool basic = strstr(wants, "Basic") || strstr(wants, "basic") || !wants[0];
        return explain_call(
            call, HTTP_HOP_PROXY,
            basic ? "the proxy requires a login (407; it offers: %s); give it as --proxy "
                    "http://USER:PASSWORD@HOST:PORT, in TUNNEL_PROXY or in the configuration file"
                  : "the proxy requires a login other than Basic (407; it offers: %s); use a local "
                    "helper that logs in there, such as cntlm or px",
            wants);
    }
    if (status == 401 || status == 403)
        return explain_call(
            call, HTTP_HOP_PROXY,
            "the proxy does not allow a connection there (%d); ask its administrator to "
            "allow CONNECT to that host and port",
            status);
    if (status >= 500)
        return explain_call(
            call, HTTP_HOP_PROXY,
            "the proxy cannot reach the server (%d); is the name right (%s), and can "
            "the proxy reach it?",
            status, call->request.named_by);
    return explain_call(call, HTTP_HOP_PROXY,
                        "the proxy answered %d to CONNECT; is it an HTTP proxy?", status);
}

/* Of the TLS handshake under way: the certificate is not to be trusted. */
static enum http_hop explain_trust(struct http_call *call, enum http_hop hop, const char *whose)
{
    char text[HTTP_REASON_MAX];

    tls_verdict_explain(transport_verdict(call->transport), whose, "--ca", time(NULL), text,
                        sizeof text);
    return explain_call(call, hop, "%s", text);
}

/* TLS with an HTTPS proxy. */
static enum http_hop explain_proxy_tls(struct http_call *call, const char *error)
{
    switch (transport_failure(call->transport)) {
    case TLS_FAILURE_TRUST:
    case TLS_FAILURE_DATES:
        return explain_trust(call, HTTP_HOP_PROXY, "proxy");
    case TLS_FAILURE_NAME:
        return explain_call(call, HTTP_HOP_PROXY,
                            "the proxy's certificate is for another host name; check the name in "
                            "--proxy or HTTPS_PROXY");
    default:
        return explain_call(call, HTTP_HOP_PROXY,
                            "TLS with the proxy failed: %s; does it speak TLS, or is it "
                            "http://HOST:PORT?",
                            error);
    }
}

/* The server has refused; with TLS 1.2 what is wrong with a client's certificate, or that there is
 * none, may be a "handshake failure". */
static enum http_hop explain_alert(struct http_call *call, const char *error)
{
    SSL_CTX *context = call->request.show_certificate ? call->way->tls : call->way->anonymous_tls;
    bool shown = SSL_CTX_get0_certificate(context) != NULL;

    if (!strstr(error, "certificate") && !strstr(error, " CA") && !strstr(error, " ca") &&
        !strstr(error, "handshake failure"))
        return explain_call(call, HTTP_HOP_TLS,
                            "the TLS handshake failed: %s; does the port speak TLS (https)?",
                            error);
    if (shown)
        return explain_call(
            call, HTTP_HOP_TLS,
            "the TLS handshake failed: %s; does the server require a client certificate "
            "from a CA other than that of --cert, or has --cert expired?",
            error);
    return explain_call(
        call, HTTP_HOP_TLS,
        "the TLS handshake failed: %s; does the server require a client certificate? "
        "Give one with --cert and --key",
        error);
}

static enum http_hop explain_tls(struct http_call *call, const char *error)
{
    const char *certificate = call->trace.certificate;

    switch (call->trace.tls_failure) {
    case TLS_FAILURE_NAME:
        return explain_call(
            call, HTTP_HOP_TLS,
            "the server's certificate is for another host name: %s; check the name in "
            "%s",
            certificate, call->request.named_by);
    case TLS_FAILURE_TRUST:
    case TLS_FAILURE_DATES:
        return explain_trust(call, HTTP_HOP_TLS, "server");
    case TLS_FAILURE_ALERT:
        return explain_alert(call, error);
    default:
        return explain_call(call, HTTP_HOP_TLS,
                            "the TLS handshake failed: %s; does the port speak TLS (https)?",
                            error);
    }
}

static enum http_hop explain_socks_silence(struct http_call *call, const char *error)
{
    return explain_call(
        call, HTTP_HOP_PROXY, "%s, after %s was sent; %s", error, socks5_step_name(&call->socks),
        call->socks.step == SOCKS5_GREETING ? "is it a SOCKS5 proxy?"
        : call->socks.step == SOCKS5_LOGIN  ? "are user name and password right?"
                                            : "can the proxy reach the server, and may it?");
}

/* The connection ended, broke, or nothing came in time. */
static enum http_hop explain_silence(struct http_call *call, const char *error)
{
    switch (call->stage) {
    case STAGE_PROXY_TLS:
        return explain_proxy_tls(call, error);
    case STAGE_PROXY_ANSWER:
        if (proxy_is_socks(&call->proxy))
            return explain_socks_silence(call, error);
        return explain_call(call, HTTP_HOP_PROXY,
                            "%s, after CONNECT was sent; is it an HTTP proxy? A SOCKS5 proxy is "
                            "socks5h://HOST:PORT",
                            error);
    case STAGE_TLS:
        return explain_call(call, HTTP_HOP_TLS,
                            "%s during the TLS handshake; does the port speak TLS (https/wss)?",
                            error);
    case STAGE_ANSWER:
        if (!call->request.upgrade)
            return explain_call(call, HTTP_HOP_HTTP, "%s after the request was sent", error);
        return explain_call(
            call, HTTP_HOP_UPGRADE,
            "%s after the WebSocket request was sent; is it tunnel-server, and does "
            "everything in between pass WebSockets?",
            error);
    default:
        return explain_connect(call, error);
    }
}

/* ---- attempts */

static void begin_attempt(struct http_call *call);

static void keep_failure(struct http_call *call, enum http_hop hop)
{
    if (!call->furthest)
        call->furthest = memory_raw(sizeof *call->furthest);
    call->furthest->stage = call->stage;
    call->furthest->hop = hop;
    call->furthest->trace = call->trace;
    memcpy(call->furthest->reason, call->reason, sizeof call->reason);
}

static bool has_other_target(const struct http_call *call)
{
    return call->target + 1 < call->targets.count;
}

/* Another address is left to be tried: of what is connected to, or of the server, by way of the
 * proxy. */
static bool take_next_way(struct http_call *call)
{
    if (call->response.head_done || call->timed_out || call->proxy_refused)
        return false;
    if (call->left.count > 0)
        return true;
    if (!has_other_target(call))
        return false;
    call->target++;
    call->left = call->known;
    return true;
}

/* This address led nowhere. */
static void call_attempt_failed(struct http_call *call, enum http_hop hop)
{
    end_connection(call);
    timer_stop(call->patience);
    if (take_next_way(call)) {
        if (!call->furthest || call->stage >= call->furthest->stage)
            keep_failure(call, hop);
        begin_attempt(call);
        return;
    }
    if (call->furthest && call->furthest->stage > call->stage) {
        hop = call->furthest->hop;
        call->trace = call->furthest->trace;
        memcpy(call->reason, call->furthest->reason, sizeof call->reason);
    }
    answer_call(call, hop);
}

static void fail_silent(struct http_call *call, const char *error)
{
    call_attempt_failed(call, explain_silence(call, error));
}

static uint64_t elapsed_us(const struct http_call *call)
{
    uint64_t now = clock_now_us() - call->begun_us;

    return now > 0 ? now : 1;
}

/* TRANSPORT_EOF or TRANSPORT_ERROR of the transport, in whatever stage. */
static void connection_failed(struct http_call *call, long result)
{
    if (result == TRANSPORT_EOF) {
        fail_silent(call, "the connection was closed");
        return;
    }
    char error[TRANSPORT_ERROR_MAX];
    snprintf(error, sizeof error, "%s", transport_error(call->transport));
    call->trace.tls_failure = transport_failure(call->transport);
    bool tls = call->stage == STAGE_TLS ||
               (call->stage == STAGE_ANSWER && call->trace.tls_failure == TLS_FAILURE_ALERT);
    call_attempt_failed(call, tls ? explain_tls(call, error) : explain_silence(call, error));
}

/* The certificate is asked for once the handshake is over, either way. */
static void note_certificate(struct http_call *call)
{
    if (call->stage != STAGE_TLS)
        return;
    snprintf(call->trace.certificate, sizeof call->trace.certificate, "%s",
             transport_certificate(call->transport));
}

static void begin_request(struct http_call *call)
{
    call->stage = STAGE_ANSWER;
    http_response_init(&call->response, HTTP_RESPONSE_ORDINARY, call->body,
                       call->request.answer_max);
    call->to_send = call->bytes;
    call->to_send_size = call->size;
}

/* The way to the server stands. */
static void begin_tls(struct http_call *call)
{
    if (!call->request.tls) {
        begin_request(call);
        return;
    }
    call->stage = STAGE_TLS;
    call->transport = transport_secure(
        call->transport, call->request.show_certificate ? call->way->tls : call->way->anonymous_tls,
        call->request.host);
}

/* The proxy is asked for the server. */
static void begin_connect(struct http_call *call)
{
    call->stage = STAGE_PROXY_ANSWER;
    if (proxy_is_socks(&call->proxy)) {
        make_socks_greeting(call);
        return;
    }
    http_response_init(&call->response, HTTP_RESPONSE_CONNECT, call->proxy_body, PROXY_ANSWER_MAX);
    make_connect(call);
}

/* 1: the handshake of this stage is done; 0: it waits; -1: it failed, nothing is to be touched. */
static int step_handshake(struct http_call *call)
{
    int result = transport_handshake(call->transport);

    if (result == TRANSPORT_BLOCKED)
        return 0;
    note_certificate(call);
    if (result != 1) {
        connection_failed(call, result);
        return -1;
    }
    if (call->stage == STAGE_PROXY_TLS) {
        begin_connect(call);
        return 1;
    }
    call->trace.secured_us = elapsed_us(call);
    snprintf(call->trace.protection, sizeof call->trace.protection, "%s",
             transport_protection(call->transport));
    begin_request(call);
    return 1;
}

/* The same for sending: 1 when all is with the kernel. */
static int step_send(struct http_call *call)
{
    int result = transport_flush(call->transport);

    while (call->to_send_size > 0 && result == 1) {
        size_t part =
            call->to_send_size < WORKER_WRITE_SIZE ? call->to_send_size : WORKER_WRITE_SIZE;
        result = transport_commit(call->transport, (const uint8_t *)call->to_send, part) == 0
                     ? transport_flush(call->transport)
                     : TRANSPORT_ERROR;
        call->to_send += part;
        call->to_send_size -= part;
    }
    /* After an error too: what the peer has said before it went away is worth more. */
    return result == TRANSPORT_BLOCKED ? 0 : 1;
}

/* The proxy has answered: the connection leads to the server now, or does not. */
static int proxy_answered(struct http_call *call, bool more)
{
    if (call->response.status / 100 != 2) {
        call_attempt_failed(call, explain_refusal(call));
        return -1;
    }
    if (more) {
        call_attempt_failed(call, explain_call(call, HTTP_HOP_PROXY,
                                               "the proxy sent more than its answer to CONNECT"));
        return -1;
    }
    call->trace.proxied_us = elapsed_us(call);
    call->response.head_done = false;
    begin_tls(call);
    return 1;
}

/* SOCKS: refused, or no SOCKS at all. */
static int socks_failed(struct http_call *call, enum socks5_result result)
{
    char text[HTTP_REASON_MAX];

    if (result == SOCKS5_REFUSED) {
        call->login_refused = socks5_is_login_refused(&call->socks);
        call->proxy_refused = !socks5_may_try_another(&call->socks);
        /* The proxy's other addresses have the same to say. */
        call->left.count = 0;
    }
    socks5_explain(&call->socks, result, call->request.named_by, text, sizeof text);
    call_attempt_failed(call, explain_call(call, HTTP_HOP_PROXY, "%s", text));
    return -1;
}

static int receive_socks(struct http_call *call, const uint8_t *bytes, size_t size)
{
    size_t consumed = 0;
    enum socks5_result result = socks5_receive(&call->socks, bytes, size, &consumed);

    if (result == SOCKS5_MORE)
        return 1;
    if (result == SOCKS5_REFUSED || result == SOCKS5_MALFORMED)
        return socks_failed(call, result);
    if (consumed < size) {
        call_attempt_failed(
            call, explain_call(call, HTTP_HOP_PROXY, "the proxy sent more than its SOCKS5 answer"));
        return -1;
    }
    if (result == SOCKS5_SAY) {
        call->to_send = (const char *)call->socks.message;
        call->to_send_size = call->socks.message_size;
        return 1;
    }
    call->trace.proxied_us = elapsed_us(call);
    begin_tls(call);
    return 1;
}

static int answered(struct http_call *call, bool more)
{
    if (call->stage == STAGE_PROXY_ANSWER)
        return proxy_answered(call, more);
    call->trace.answered_us = elapsed_us(call);
    if (more && call->response.status == 101)
        call_attempt_failed(
            call,
            explain_call(call, HTTP_HOP_UPGRADE,
                         "the server sent something before the request; is it tunnel-server?"));
    else
        answer_call(call, HTTP_HOP_NONE);
    return -1;
}

/* Whoever answers in HTTP does not want TLS, nor another port: that is not to be suggested. */
static const char *what_is_malformed(const struct http_call *call, bool too_large)
{
    bool proxy = call->stage == STAGE_PROXY_ANSWER;

    if (too_large)
        return proxy ? "the header of the proxy's answer is larger than 16 KiB"
                     : "the header of the answer is larger than 16 KiB";
    if (http_response_has_begun(&call->response))
        return proxy ? "the proxy's answer is not valid HTTP: its first line, a header line or a "
                       "length is wrong"
                     : "the answer is not valid HTTP: its first line, a header line or a length is "
                       "wrong; does something on the way change it?";
    return proxy ? "the proxy's answer is not HTTP; is it an HTTP proxy?"
                 : "the answer is not HTTP; does the port speak something else, or is TLS needed "
                   "(https)?";
}

static int malformed(struct http_call *call, bool too_large)
{
    enum http_hop hop = call->stage == STAGE_PROXY_ANSWER ? HTTP_HOP_PROXY : HTTP_HOP_HTTP;

    call_attempt_failed(call, explain_call(call, hop, "%s", what_is_malformed(call, too_large)));
    return -1;
}

/* An answer of which what matters is there, though it may be cut short: a refusal. */
static bool is_enough(const struct http_call *call)
{
    return call->response.head_done && (call->response.status / 100 != 2 ||
                                        (call->request.upgrade && call->stage == STAGE_ANSWER));
}

/* The end of the connection may be the end of the answer. */
static int ended(struct http_call *call, long result)
{
    if (is_enough(call) || (result == TRANSPORT_EOF && call->response.head_done &&
                            http_response_end(&call->response) == HTTP_RESPONSE_DONE))
        return answered(call, false);
    connection_failed(call, result);
    return -1;
}

static int step_receive(struct http_call *call)
{
    uint8_t bytes[8192];
    long got = transport_read(call->transport, bytes, sizeof bytes);
    size_t consumed = 0;

    if (got == TRANSPORT_BLOCKED)
        return 0;
    if (got < 0)
        return ended(call, got);
    if (call->stage == STAGE_PROXY_ANSWER && proxy_is_socks(&call->proxy))
        return receive_socks(call, bytes, (size_t)got);
    enum http_response_result result =
        http_response_receive(&call->response, bytes, (size_t)got, &consumed);
    switch (result) {
    case HTTP_RESPONSE_MORE:
        return 1;
    case HTTP_RESPONSE_DONE:
        return answered(call, consumed < (size_t)got);
    default:
        return malformed(call, result == HTTP_RESPONSE_TOO_LARGE);
    }
}

static void on_call_next_turn(struct worker_later *later);

static void go_on_with_call(struct http_call *call)
{
    int result = 1;

    for (unsigned steps = 0; result == 1; steps++) {
        if (steps == READS_A_TURN) {
            watch_want(call->writable, false);
            worker_later(call->worker, &call->later, on_call_next_turn);
            return;
        }
        if (call->stage == STAGE_PROXY_TLS || call->stage == STAGE_TLS) {
            result = step_handshake(call);
        } else {
            result = step_send(call);
            if (result == 1)
                result = step_receive(call);
        }
    }
    if (result != 0)
        return;
    /* While it waits to send it reads nothing: what has come would be announced over and over. */
    bool blocked = transport_busy(call->transport);
    watch_want(call->readable, !blocked);
    watch_want(call->writable, blocked);
}

static void on_call_next_turn(struct worker_later *later)
{
    go_on_with_call(list_entry(later, struct http_call, later));
}

static void on_call_ready(void *argument)
{
    go_on_with_call(argument);
}

static void forget_address(struct http_call *call, const struct socket_address *address)
{
    for (size_t i = 0; i < call->left.count; i++) {
        struct socket_address *at = &call->left.addresses[i];
        if (at->size != address->size || memcmp(&at->storage, &address->storage, at->size) != 0)
            continue;
        memmove(at, at + 1, (call->left.count - i - 1) * sizeof *at);
        call->left.count--;
        return;
    }
}

static void on_call_connected(void *context, const struct connector_result *result)
{
    struct http_call *call = context;

    call->connector = NULL;
    if (result->fd < 0) {
        call->timed_out = result->timed_out;
        call->left.count = 0; /* all of them have been tried */
        if (!call->reached)
            call->targets.count = 0; /* nobody is there who could be told another one */
        call_attempt_failed(call, explain_connect(call, result->error));
        return;
    }
    call->reached = true;
    forget_address(call, &result->address);
    call->trace.tried = result->address;
    socket_format(&result->address, call->trace.address);
    call->trace.connected_us = elapsed_us(call);
    call->transport = transport_new(result->fd);
    call->readable = watch_new(call->worker, result->fd, WATCH_READ, on_call_ready, call);
    call->writable = watch_new(call->worker, result->fd, WATCH_WRITE, on_call_ready, call);
    watch_want(call->readable, true);
    if (call->left.count > 0 || has_other_target(call))
        timer_start_ms(call->patience, ATTEMPT_MAX_MS);
    if (call->proxy.host[0] && call->proxy.kind == PROXY_HTTPS) {
        call->stage = STAGE_PROXY_TLS;
        call->transport =
            transport_secure(call->transport, call->way->anonymous_tls, call->proxy.host);
    } else if (call->proxy.host[0]) {
        begin_connect(call);
    } else {
        begin_tls(call);
    }
    go_on_with_call(call);
}

/* What the proxy is asked for. */
static void note_target(struct http_call *call)
{
    const struct http_call_request *request = &call->request;

    if (call->proxy.host[0] && call->proxy.kind == PROXY_SOCKS5)
        socket_format(&call->targets.addresses[call->target], call->trace.target);
    else if (call->proxy.host[0])
        address_format(request->host, request->port, call->trace.target);
}

static void begin_attempt(struct http_call *call)
{
    struct http_trace *trace = &call->trace;

    call->stage = STAGE_CONNECT;
    call->response.head_done = false;
    call->proxy_refused = call->login_refused = false;
    note_target(call);
    trace->connected_us = trace->proxied_us = trace->secured_us = trace->answered_us = 0;
    trace->certificate[0] = trace->protection[0] = '\0';
    trace->tls_failure = TLS_FAILURE_OTHER;
    call->connector = connector_start_known(call->worker, call->left.addresses, call->left.count,
                                            RESOLVER_NO_TIMEOUT, on_call_connected, call);
    /* What ends with its answer has no use for another one. */
    if (call->request.upgrade)
        connector_use_congestion_control(call->connector, call->way->congestion_control);
}

static void note_addresses(struct http_call *call)
{
    struct http_trace *trace = &call->trace;
    size_t fill = 0;

    trace->named_us = elapsed_us(call);
    trace->address_count = call->left.count;
    for (size_t i = 0; i < call->left.count; i++) {
        char text[SOCKET_TEXT_MAX];
        socket_format_host(&call->left.addresses[i], text);
        if (fill + strlen(text) + 3 > sizeof trace->addresses)
            break;
        fill += (size_t)snprintf(trace->addresses + fill, sizeof trace->addresses - fill, "%s%s",
                                 i > 0 ? ", " : "", text);
    }
    trace->tried = call->left.addresses[0];
    socket_format(&trace->tried, trace->address);
}

static void on_call_resolved(void *context, const struct resolver_result *result)
{
    struct http_call *call = context;

    call->query = NULL;
    if (result->error) {
        if (call->trace.proxy[0])
            answer_call(call, explain_call(call, HTTP_HOP_PROXY,
                                           "the proxy's name did not resolve: %s; check --proxy or "
                                           "HTTPS_PROXY",
                                           result->error));
        else
            answer_call(call, explain_call(call, HTTP_HOP_DNS,
                                           "the name did not resolve: %s; check %s and the network",
                                           result->error, call->request.named_by));
        return;
    }
    call->left = call->known = *result;
    note_addresses(call);
    begin_attempt(call);
}

/* ---- deadlines */

static void on_patience(void *argument)
{
    struct http_call *call = argument;

    if (is_enough(call))
        answered(call, false);
    else
        fail_silent(call, "no answer came");
}

static void on_call_deadline(void *argument)
{
    struct http_call *call = argument;

    call->timed_out = true;
    if (call->query) {
        resolver_cancel(call->query);
        call->query = NULL;
        bool proxys = call->stage == STAGE_NAME && call->trace.proxy[0];
        answer_call(call, explain_call(call, proxys ? HTTP_HOP_PROXY : HTTP_HOP_DNS,
                                       "the name did not resolve in time"));
        return;
    }
    connector_cancel(call->connector);
    call->connector = NULL;
    if (is_enough(call))
        answered(call, false);
    else
        fail_silent(call,
                    call->stage == STAGE_CONNECT ? "no answer in time" : "no answer came in time");
}

/* ---- life */

static void look_up(struct http_call *call, enum stage stage, const char *host, uint16_t port,
                    resolver_callback callback)
{
    struct resolver_result known;

    call->stage = stage;
    if (http_way_override(call->way, host, port, &known))
        callback(call, &known);
    else
        call->query =
            resolver_lookup(call->worker, host, port, RESOLVER_NO_TIMEOUT, callback, call);
}

static void on_target_resolved(void *context, const struct resolver_result *result)
{
    struct http_call *call = context;

    call->query = NULL;
    if (result->error) {
        answer_call(call, explain_call(call, HTTP_HOP_DNS,
                                       "the name did not resolve: %s; check %s; with socks5h:// "
                                       "the proxy looks it up",
                                       result->error, call->request.named_by));
        return;
    }
    call->targets = *result;
    look_up(call, STAGE_NAME, call->proxy.host, call->proxy.port, on_call_resolved);
}

/* Looks for the way; begins, or answers with what is wrong with it. */
static void on_call_next(void *argument)
{
    struct http_call *call = argument;
    const struct http_call_request *request = &call->request;
    const struct proxy *proxy = &call->proxy;
    const char *host = request->host;
    uint16_t port = request->port;

    const char *why = http_way_proxy(call->way, host, port, request->tls, &call->proxy);
    if (why) {
        answer_call(call,
                    explain_call(call, HTTP_HOP_PROXY,
                                 "the proxy in HTTPS_PROXY (or http_proxy, ALL_PROXY): %s; --proxy "
                                 "none uses no proxy",
                                 why));
        return;
    }
    if (call->size > REQUEST_MAX) {
        answer_call(call,
                    explain_call(call, HTTP_HOP_AUTH, "the request would be larger than %d KiB",
                                 REQUEST_MAX / 1024));
        return;
    }
    if (proxy->host[0])
        address_format(proxy->host, proxy->port, call->trace.proxy);
    if (proxy->host[0] && proxy->kind == PROXY_SOCKS5)
        look_up(call, STAGE_TARGET_NAME, host, port, on_target_resolved);
    else if (proxy->host[0])
        look_up(call, STAGE_NAME, proxy->host, proxy->port, on_call_resolved);
    else
        look_up(call, STAGE_NAME, host, port, on_call_resolved);
}

struct http_call *http_call_start(struct http_way *way, const struct http_call_request *request,
                                  unsigned timeout_ms, http_call_callback callback, void *context)
{
    struct http_call *call = memory_new(sizeof *call);

    call->way = way;
    call->worker = way->worker;
    call->request = *request;
    call->callback = callback;
    call->context = context;
    call->begun_us = clock_now_us();
    call->body = memory_new(request->answer_max + 1);
    call->deadline = timer_new(call->worker, on_call_deadline, call);
    call->patience = timer_new(call->worker, on_patience, call);
    call->next = timer_new(call->worker, on_call_next, call);
    list_init(&call->later.node);
    make_request(call);
    call->request.headers = NULL;
    call->request.body = NULL;
    timer_start_ms(call->deadline, timeout_ms);
    timer_fire(call->next);
    return call;
}
