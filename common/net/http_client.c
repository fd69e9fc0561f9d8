#include "net/http_client.h"

#include <errno.h>
#include <fcntl.h>
#include <openssl/err.h>
#include <openssl/x509_vfy.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "base/bytes.h"
#include "config/address.h"
#include "net/lws_loop.h"
#include "net/resolver.h"

enum {
    HEADERS_MAX = 16 * 1024,
    BODY_KEPT = 200,
    WHAT_MAX = 600,
    REASON_MAX = WHAT_MAX + 400,
    ATTEMPT_MAX_MS = 5000, /* an address that does not answer leaves time for the next one */
};

struct http_client {
    struct worker *worker;
    struct http_client_settings settings;
    struct lws_loop *loop;
    SSL_CTX *tls;
    struct lws_protocols protocols[2];

    /* the dial under way */
    http_dial_callback callback;
    void *context;
    char *authorization;
    struct resolver_query *query;
    struct event *deadline; /* of the whole dial */
    struct event *attempt_deadline;
    struct event *next; /* begins the next attempt, or answers, outside libwebsockets' calls */
    struct resolver_result found;
    size_t tried;
    struct lws *wsi; /* the attempt under way */
    struct transport *transport;
    bool attempt_ended;
    bool deadline_passed;

    /* how far the attempt got, and what went wrong */
    bool connected;
    bool tls_done;
    int status;
    char location[160];
    char body[BODY_KEPT + 1];
    size_t body_size;
    char verify_error[200];
    char tls_error[200];
    char address[SOCKET_TEXT_MAX];
    char reason[REASON_MAX];
};

const char *http_hop_name(enum http_hop hop)
{
    static const char *const names[] = {
        [HTTP_HOP_DNS] = "dns",   [HTTP_HOP_TCP] = "tcp",   [HTTP_HOP_TLS] = "tls",
        [HTTP_HOP_AUTH] = "auth", [HTTP_HOP_HTTP] = "http", [HTTP_HOP_UPGRADE] = "upgrade",
        [HTTP_HOP_NONE] = "none",
    };
    return names[hop];
}

/* ---- the answer */

static void forget_authorization(struct http_client *client)
{
    if (client->authorization)
        byte_wipe(client->authorization, strlen(client->authorization));
    free(client->authorization);
    client->authorization = NULL;
}

static void answer(struct http_client *client, enum http_hop hop)
{
    struct http_dial_result result = {.hop = hop,
                                      .transport = client->transport,
                                      .status = client->status,
                                      .reason = client->reason,
                                      .address = client->address};
    http_dial_callback callback = client->callback;

    event_del(client->deadline);
    event_del(client->attempt_deadline);
    event_del(client->next);
    forget_authorization(client);
    client->transport = NULL;
    client->callback = NULL;
    callback(client->context, &result);
}

static enum http_hop explain(struct http_client *client, enum http_hop hop, const char *format,
                             const char *detail)
{
    char server[ADDRESS_TEXT_MAX];
    char what[WHAT_MAX];

    address_format(client->settings.host, client->settings.port, server);
    snprintf(what, sizeof what, format, detail);
    snprintf(client->reason, sizeof client->reason, "%s%s%s%s: %s", server,
             client->address[0] ? " (" : "", client->address, client->address[0] ? ")" : "", what);
    return hop;
}

static bool looks_like_html(const struct http_client *client)
{
    const char *at = client->body;

    while (*at == ' ' || *at == '\t' || *at == '\r' || *at == '\n')
        at++;
    return strncasecmp(at, "<!doctype", 9) == 0 || strncasecmp(at, "<html", 5) == 0;
}

/* What the body says, fit for one line. */
static const char *body_line(struct http_client *client)
{
    while (client->body_size > 0 && (unsigned char)client->body[client->body_size - 1] <= ' ')
        client->body[--client->body_size] = '\0';
    for (char *at = client->body; *at; at++)
        if ((unsigned char)*at < ' ' || (unsigned char)*at == 0x7f)
            *at = ' ';
    return client->body;
}

/* An HTTP answer other than 101: who gave it, and what the person can do. */
static enum http_hop explain_status(struct http_client *client)
{
    char number[320];
    int status = client->status;

    snprintf(number, sizeof number, "%d%s%s", status, client->body_size > 0 ? ": " : "",
             looks_like_html(client) ? "an HTML page" : body_line(client));
    if (status == 401)
        return explain(
            client, HTTP_HOP_AUTH,
            "the server wants a valid token and answered %s; check --token, --token-file "
            "and --auth-scheme",
            number);
    if (status == 403)
        return explain(
            client, HTTP_HOP_AUTH,
            "the token is known but not allowed here, the answer was %s; check the role or "
            "policy it belongs to",
            number);
    if (status >= 300 && status < 400)
        return explain(
            client, HTTP_HOP_AUTH,
            "redirected to %s, a sign-in page by the look of it: the ingress saw no valid "
            "token; check --token and --auth-scheme",
            client->location);
    if (status == 404)
        return explain(client, HTTP_HOP_HTTP,
                       "no tunnel at this path, the answer was %s; check the path in --server",
                       number);
    if (status == 200)
        return explain(
            client, HTTP_HOP_HTTP,
            "a web server answered with a page instead of the upgrade (%s): something other "
            "than tunnel-server is there, or a proxy in between does not pass WebSockets",
            number);
    if (status >= 500)
        return explain(
            client, HTTP_HOP_HTTP,
            "the ingress or server has a problem of its own and answered %s; it is tried "
            "again",
            number);
    return explain(client, HTTP_HOP_UPGRADE, "the upgrade to a WebSocket was refused with %s",
                   number);
}

/* Looks at how far the attempt got. */
static enum http_hop explain_failure(struct http_client *client)
{
    if (client->status != 0 && client->status != 101)
        return explain_status(client);
    if (client->verify_error[0])
        return explain(
            client, HTTP_HOP_TLS,
            "the server's certificate is not trusted: %s; is another CA needed (--ca), or does "
            "something in between intercept TLS?",
            client->verify_error);
    if (client->tls_error[0])
        return explain(
            client, HTTP_HOP_TLS,
            strstr(client->tls_error, "certificate") || strstr(client->tls_error, " CA")
                ? "the TLS handshake failed: %s; does the server want a client certificate "
                  "(--cert, --key) of another authority?"
                : "the TLS handshake failed: %s; does the port speak TLS (https)?",
            client->tls_error);
    if (client->connected && client->settings.tls && !client->tls_done)
        return explain(client, HTTP_HOP_TLS,
                       "%s during the TLS handshake; does the port speak TLS (https/wss)?",
                       client->deadline_passed ? "no answer" : "the connection was closed");
    if (client->connected)
        return explain(
            client, HTTP_HOP_UPGRADE,
            "%s the WebSocket request was sent; is it a tunnel-server, and does everything "
            "in between pass WebSockets?",
            client->deadline_passed ? "no answer came after" : "the connection was closed after");
    return explain(
        client, HTTP_HOP_TCP,
        "no connection: %s; is the server running, and does a firewall or proxy allow it?",
        client->deadline_passed ? "no answer in time"
                                : "it was refused, or the host is not reachable");
}

/* ---- attempts */

static void begin_attempt(struct http_client *client)
{
    struct lws_client_connect_info info = {0};
    const struct socket_address *address = &client->found.addresses[client->tried++];
    const struct timeval patience = {ATTEMPT_MAX_MS / 1000, 0};
    char numeric[SOCKET_TEXT_MAX];

    client->connected = client->tls_done = client->attempt_ended = false;
    client->status = 0;
    client->body_size = 0;
    client->body[0] = client->location[0] = client->verify_error[0] = '\0';
    client->tls_error[0] = '\0';
    socket_format(address, client->address);
    /* libwebsockets wants the host of it alone, without brackets. */
    snprintf(numeric, sizeof numeric, "%s", client->address + (client->address[0] == '['));
    *strrchr(numeric, client->address[0] == '[' ? ']' : ':') = '\0';

    info.context = lws_loop_context(client->loop);
    info.address = numeric;
    info.port = socket_port(address);
    info.host = client->settings.host;
    info.path = client->settings.path;
    info.origin = NULL;
    info.alpn = "http/1.1";
    info.opaque_user_data = client;
    info.pwsi = &client->wsi;
    info.local_protocol_name = client->protocols[0].name;
    info.ssl_connection =
        LCCSCF_HTTP_NO_FOLLOW_REDIRECT | (client->settings.tls ? LCCSCF_USE_SSL : 0);
    if (client->tried < client->found.count)
        event_add(client->attempt_deadline, &patience);
    ERR_clear_error();
    if (!lws_client_connect_via_info(&info)) {
        client->wsi = NULL;
        client->attempt_ended = true;
        event_active(client->next, EV_TIMEOUT, 0);
    }
    lws_loop_kick(client->loop);
}

/* The attempt is over: a success answers, a failure of the network tries the next address. */
static void on_next(evutil_socket_t fd, short what, void *argument)
{
    struct http_client *client = argument;
    enum http_hop hop;

    (void)fd;
    (void)what;
    if (!client->callback)
        return;
    event_del(client->attempt_deadline);
    if (client->transport) {
        client->reason[0] = '\0';
        answer(client, HTTP_HOP_NONE);
        return;
    }
    hop = explain_failure(client);
    if ((hop == HTTP_HOP_TCP || client->status == 0) && client->tried < client->found.count &&
        !client->deadline_passed)
        begin_attempt(client);
    else
        answer(client, hop);
}

static void attempt_over(struct http_client *client)
{
    client->wsi = NULL;
    client->attempt_ended = true;
    event_active(client->next, EV_TIMEOUT, 0);
}

static void abandon_attempt(struct http_client *client)
{
    if (!client->wsi)
        return;
    lws_set_opaque_user_data(client->wsi, NULL);
    lws_set_timeout(client->wsi, PENDING_TIMEOUT_USER_REASON_BASE, LWS_TO_KILL_ASYNC);
    lws_loop_kick(client->loop);
    client->wsi = NULL;
}

static void on_attempt_deadline(evutil_socket_t fd, short what, void *argument)
{
    struct http_client *client = argument;

    (void)fd;
    (void)what;
    abandon_attempt(client);
    attempt_over(client);
}

static void on_deadline(evutil_socket_t fd, short what, void *argument)
{
    struct http_client *client = argument;

    (void)fd;
    (void)what;
    client->deadline_passed = true;
    if (client->query) {
        resolver_cancel(client->query);
        client->query = NULL;
        answer(client, explain(client, HTTP_HOP_DNS, "%s", "the name did not resolve in time"));
        return;
    }
    abandon_attempt(client);
    on_next(-1, 0, client);
}

static void on_resolved(void *context, const struct resolver_result *result)
{
    struct http_client *client = context;

    client->query = NULL;
    if (result->error) {
        answer(client, explain(client, HTTP_HOP_DNS,
                               "the name did not resolve: %s; check --server and the network",
                               result->error));
        return;
    }
    client->found = *result;
    client->tried = 0;
    begin_attempt(client);
}

void http_client_dial(struct http_client *client, const char *authorization, unsigned timeout_ms,
                      http_dial_callback callback, void *context)
{
    const struct timeval timeout = {timeout_ms / 1000, timeout_ms % 1000 * 1000};

    client->callback = callback;
    client->context = context;
    client->authorization = authorization ? strdup(authorization) : NULL;
    client->deadline_passed = false;
    client->address[0] = '\0';
    client->status = 0;
    event_add(client->deadline, &timeout);
    client->query = resolver_lookup(client->worker, client->settings.host, client->settings.port,
                                    timeout_ms, on_resolved, client);
}

/* ---- libwebsockets' side */

static void note_verification(struct http_client *client, X509_STORE_CTX *store, SSL *ssl)
{
    int error = X509_STORE_CTX_get_error(store);

    (void)ssl;
    if (error == X509_V_OK)
        return;
    snprintf(client->verify_error, sizeof client->verify_error, "%s",
             error == X509_V_ERR_HOSTNAME_MISMATCH || error == X509_V_ERR_IP_ADDRESS_MISMATCH
                 ? "it is for another host name"
                 : X509_verify_cert_error_string(error));
}

/*
 * libwebsockets tells little of a handshake that fails; OpenSSL itself is asked: when it began,
 * which alert came, which error ended it. An alert may come after the handshake too: a server that
 * wants a client certificate refuses then (RFC 8446, 4.4.2.4).
 */
static void on_tls_event(const SSL *ssl, int where, int result)
{
    struct http_client *client = SSL_CTX_get_app_data(SSL_get_SSL_CTX(ssl));

    if (!client)
        return;
    if (where & SSL_CB_HANDSHAKE_START)
        client->connected = true;
    if (where == SSL_CB_READ_ALERT && result >> 8 == SSL3_AL_FATAL)
        snprintf(client->tls_error, sizeof client->tls_error,
                 "the server answered with the alert %s", tls_alert_name(result & 0xff));
    unsigned long code = where == SSL_CB_CONNECT_EXIT && result <= 0 ? ERR_peek_last_error() : 0;
    if (code != 0 && !client->tls_error[0]) {
        const char *reason = ERR_reason_error_string(code);
        snprintf(client->tls_error, sizeof client->tls_error, "%s", reason ? reason : "TLS error");
    }
}

/* TLS is done, the request is about to leave: the token must not reach a host that is not the
 * server. */
static int add_headers(struct http_client *client, struct lws *wsi, unsigned char **at, size_t room)
{
    unsigned char *end = *at + room;
    SSL *ssl = client->settings.tls ? lws_get_ssl(wsi) : NULL;

    client->connected = true;
    if (ssl) {
        if (SSL_get_verify_result(ssl) != X509_V_OK || !tls_peer_is(ssl, client->settings.host)) {
            if (!client->verify_error[0])
                snprintf(client->verify_error, sizeof client->verify_error,
                         "it is for another host name");
            return -1;
        }
        client->tls_done = true;
    }
    if (client->authorization &&
        lws_add_http_header_by_token(wsi, WSI_TOKEN_HTTP_AUTHORIZATION,
                                     (const unsigned char *)client->authorization,
                                     (int)strlen(client->authorization), at, end))
        return -1;
    return 0;
}

static void keep_body(struct http_client *client, const char *bytes, size_t size)
{
    size_t room = BODY_KEPT - client->body_size;

    if (size > room)
        size = room;
    memcpy(client->body + client->body_size, bytes, size);
    client->body_size += size;
    client->body[client->body_size] = '\0';
}

/* An answer other than 101: note status, where it redirects, and what of the body is there. */
static void read_refusal(struct http_client *client, struct lws *wsi)
{
    char buffer[LWS_PRE + 1024];

    client->status = (int)lws_http_client_http_response(wsi);
    if (lws_hdr_copy(wsi, client->location, sizeof client->location, WSI_TOKEN_HTTP_LOCATION) < 0)
        client->location[0] = '\0';
    if (client->status == 101)
        return;
    for (int i = 0; i < 4; i++) {
        char *at = buffer + LWS_PRE;
        int size = 1024;
        if (lws_http_client_read(wsi, &at, &size) < 0)
            break;
    }
}

/* libwebsockets closes upon a hang-up without looking at what came before it. */
static void read_last_alert(struct http_client *client, struct lws *wsi)
{
    SSL *ssl = client->settings.tls && client->tls_done ? lws_get_ssl(wsi) : NULL;
    char byte;

    if (ssl)
        SSL_peek(ssl, &byte, 1);
    ERR_clear_error();
}

static void take_over(struct http_client *client, struct lws *wsi)
{
    SSL *ssl = client->settings.tls ? lws_get_ssl(wsi) : NULL;
    int fd = lws_get_socket_fd(wsi);

    if (ssl)
        SSL_up_ref(ssl);
    else
        fd = fcntl(fd, F_DUPFD_CLOEXEC, 0);
    if (fd >= 0)
        client->transport = transport_new(fd, ssl);
    lws_set_timeout(wsi, PENDING_TIMEOUT_USER_REASON_BASE, LWS_TO_KILL_ASYNC);
}

static int on_event(struct lws *wsi, enum lws_callback_reasons reason, void *user, void *in,
                    size_t size)
{
    struct http_client *client = wsi ? lws_get_opaque_user_data(wsi) : NULL;

    if (!client)
        return reason == LWS_CALLBACK_CLIENT_ESTABLISHED ? -1 : 0;
    switch (reason) {
    case LWS_CALLBACK_OPENSSL_PERFORM_SERVER_CERT_VERIFICATION:
        client->connected = true;
        if (size == 0)
            note_verification(client, user, in);
        return 0;
    case LWS_CALLBACK_CLIENT_APPEND_HANDSHAKE_HEADER:
        return add_headers(client, wsi, in, size);
    case LWS_CALLBACK_ESTABLISHED_CLIENT_HTTP:
        read_refusal(client, wsi);
        return 0;
    case LWS_CALLBACK_RECEIVE_CLIENT_HTTP_READ:
        keep_body(client, in, size);
        return 0;
    case LWS_CALLBACK_CLIENT_HTTP_REDIRECT:
        client->status = (int)size;
        snprintf(client->location, sizeof client->location, "%s", in ? (const char *)in : "");
        return 1;
    case LWS_CALLBACK_CLIENT_CONNECTION_ERROR:
    case LWS_CALLBACK_CLOSED_CLIENT_HTTP:
        read_last_alert(client, wsi);
        return 0;
    case LWS_CALLBACK_CLIENT_ESTABLISHED:
        take_over(client, wsi);
        return 0;
    case LWS_CALLBACK_CLIENT_RECEIVE:
        return -1;
    case LWS_CALLBACK_WSI_DESTROY:
        if (client->wsi == wsi || client->wsi == NULL)
            attempt_over(client);
        return 0;
    default:
        return 0;
    }
}

struct http_client *http_client_new(struct worker *worker,
                                    const struct http_client_settings *settings,
                                    struct tls_error *error)
{
    struct http_client *client = calloc(1, sizeof *client);
    struct lws_context_creation_info info = {0};

    if (!client)
        abort();
    client->worker = worker;
    client->settings = *settings;
    client->protocols[0] = (struct lws_protocols){.name = "kafka-tunnel", .callback = on_event};
    client->tls =
        tls_client_context(settings->ca_file, settings->cert_file, settings->key_file, error);
    if (!client->tls) {
        free(client);
        return NULL;
    }
    SSL_CTX_set_app_data(client->tls, client);
    SSL_CTX_set_info_callback(client->tls, on_tls_event);
    lws_set_log_level(0, NULL);
    info.port = CONTEXT_PORT_NO_LISTEN;
    info.protocols = client->protocols;
    info.options = LWS_SERVER_OPTION_DO_SSL_GLOBAL_INIT;
    info.provided_client_ssl_ctx = client->tls;
    info.gid = (gid_t)-1;
    info.uid = (uid_t)-1;
    info.max_http_header_data2 = HEADERS_MAX;
    info.max_http_header_pool2 = 4;
    info.fd_limit_per_thread = 16;
    info.pt_serv_buf_size = HEADERS_MAX;
    /* Our own deadlines are shorter; these are the last resort. */
    info.timeout_secs = 60;
    client->loop = lws_loop_new(worker->base, &info);
    if (!client->loop)
        abort();
    client->deadline = event_new(worker->base, -1, 0, on_deadline, client);
    client->attempt_deadline = event_new(worker->base, -1, 0, on_attempt_deadline, client);
    client->next = event_new(worker->base, -1, 0, on_next, client);
    if (!client->deadline || !client->attempt_deadline || !client->next)
        abort();
    return client;
}

void http_client_free(struct http_client *client)
{
    if (!client)
        return;
    client->callback = NULL;
    resolver_cancel(client->query);
    abandon_attempt(client);
    lws_loop_free(client->loop);
    event_free(client->deadline);
    event_free(client->attempt_deadline);
    event_free(client->next);
    transport_free(client->transport);
    SSL_CTX_free(client->tls);
    forget_authorization(client);
    free(client);
}
