#include "net/http_server.h"

#include <fcntl.h>
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <openssl/x509.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/bytes.h"
#include "net/lws_loop.h"
#include "net/tls_files.h"

enum {
    AUTHORIZATION_MAX = 12 * 1024,
    PATH_MAX_SIZE = 256,
};

static const char INGRESS_USER[] = "sf-context-current-user:";

struct http_server {
    struct worker *worker;
    const struct http_server_owner *owner;
    void *context;
    struct http_server_settings settings;
    struct lws_loop *loop;
    struct lws_vhost *vhost;
    struct lws_protocols protocols[2];
    unsigned handshakes;
    char authorization[AUTHORIZATION_MAX];
};

/* One connection as long as libwebsockets has it. */
struct http_connection {
    struct http_server *server;
    struct transport *transport; /* taken over; handed on when libwebsockets has let go */
    char identity[HTTP_IDENTITY_MAX];
    char peer[SOCKET_TEXT_MAX];
};

static struct http_server *server_of(struct lws *wsi)
{
    return lws_vhost_user(lws_get_vhost(wsi));
}

/* Answers and lets the connection go. Returns what the callback must return. */
static int respond(struct lws *wsi, int status, const char *body)
{
    unsigned char buffer[LWS_PRE + 1024];
    unsigned char *start = buffer + LWS_PRE;
    unsigned char *at = start;
    unsigned char *end = buffer + sizeof buffer - 1;
    size_t size = strlen(body);

    if (lws_add_http_common_headers(wsi, (unsigned)status, "text/plain; charset=utf-8", size, &at,
                                    end))
        return -1;
    if (status == 401 &&
        lws_add_http_header_by_name(wsi, (const unsigned char *)"www-authenticate:",
                                    (const unsigned char *)"Bearer", 6, &at, end))
        return -1;
    if (lws_finalize_http_header(wsi, &at, end) || size > (size_t)(end - at))
        return -1;
    memcpy(at, body, size);
    at += size;
    if (lws_write(wsi, start, (size_t)(at - start), LWS_WRITE_HTTP_HEADERS) < 0)
        return -1;
    return 0;
}

static void certificate_subject(struct lws *wsi, char *subject, size_t size)
{
    SSL *ssl = lws_get_ssl(wsi);
    X509 *certificate = ssl ? SSL_get_peer_certificate(ssl) : NULL;

    subject[0] = '\0';
    if (!certificate)
        return;
    if (SSL_get_verify_result(ssl) == X509_V_OK)
        X509_NAME_oneline(X509_get_subject_name(certificate), subject, (int)size);
    X509_free(certificate);
}

static int copy_header(struct lws *wsi, enum lws_token_indexes token, char *value, int size)
{
    value[0] = '\0';
    return lws_hdr_copy(wsi, value, size, token);
}

/* Whether the upgrade is allowed. Returns what the callback must return. */
static int filter_upgrade(struct http_server *server, struct lws *wsi)
{
    struct http_connection *connection = lws_get_opaque_user_data(wsi);
    char path[PATH_MAX_SIZE];
    char user[HTTP_IDENTITY_MAX] = "";
    char subject[HTTP_IDENTITY_MAX];
    const char *body = "refused\n";
    int status;

    if (!connection)
        return -1;
    if (copy_header(wsi, WSI_TOKEN_GET_URI, path, sizeof path) < 0 ||
        strcmp(path, server->settings.path) != 0) {
        respond(wsi, 404, "there is no tunnel at this path\n");
        return -1;
    }
    if (copy_header(wsi, WSI_TOKEN_HTTP_AUTHORIZATION, server->authorization,
                    sizeof server->authorization) < 0)
        server->authorization[0] = '\0';
    if (lws_hdr_custom_copy(wsi, user, sizeof user, INGRESS_USER, sizeof INGRESS_USER - 1) < 0)
        user[0] = '\0';
    certificate_subject(wsi, subject, sizeof subject);
    if (server->settings.client_ca_file && !subject[0]) {
        respond(wsi, 401, "this tunnel wants a client certificate\n");
        return -1;
    }
    /* A nonce of 16 bytes in base64 (RFC 6455, 4.1), which libwebsockets does not check. */
    if (lws_hdr_total_length(wsi, WSI_TOKEN_KEY) != 24) {
        respond(wsi, 400, "Sec-WebSocket-Key is malformed\n");
        return -1;
    }
    struct http_request request = {.path = path,
                                   .authorization = server->authorization,
                                   .ingress_identity = user,
                                   .client_certificate = subject,
                                   .peer = connection->peer};
    status = server->owner->authorize(server->context, &request, connection->identity, &body);
    byte_wipe(server->authorization, sizeof server->authorization);
    if (status == 101)
        return 0;
    respond(wsi, status, body);
    return -1;
}

static int serve_page(struct http_server *server, struct lws *wsi, const char *path)
{
    const char *body = "not found\n";
    int status;

    if (strcmp(path, server->settings.path) == 0) {
        status = 426;
        body = "this is a tunnel for Kafka: connect with tunnel-client (WebSocket)\n";
    } else {
        status = server->owner->page(server->context, path, &body);
    }
    if (respond(wsi, status, body) < 0)
        return -1;
    return lws_http_transaction_completed(wsi) ? -1 : 0;
}

/* Takes socket and TLS from libwebsockets, which then forgets the connection without a byte on the
 * wire. */
static void take_over(struct lws *wsi)
{
    struct http_connection *connection = lws_get_opaque_user_data(wsi);
    SSL *ssl = lws_get_ssl(wsi);
    int fd = lws_get_socket_fd(wsi);

    if (ssl)
        SSL_up_ref(ssl);
    else
        fd = fcntl(fd, F_DUPFD_CLOEXEC, 0);
    if (fd >= 0)
        connection->transport = transport_new(fd, ssl);
    lws_set_timeout(wsi, PENDING_TIMEOUT_USER_REASON_BASE, LWS_TO_KILL_ASYNC);
}

static void forget(struct http_server *server, struct lws *wsi)
{
    struct http_connection *connection = lws_get_opaque_user_data(wsi);

    if (!connection)
        return;
    lws_set_opaque_user_data(wsi, NULL);
    server->handshakes--;
    if (connection->transport)
        server->owner->upgraded(server->context, connection->transport, connection->identity,
                                connection->peer);
    free(connection);
}

/* Tells why a handshake failed, which libwebsockets keeps to itself. */
static void on_tls_event(const SSL *ssl, int where, int result)
{
    struct http_server *server = SSL_CTX_get_app_data(SSL_get_SSL_CTX(ssl));
    unsigned long code = where == SSL_CB_ACCEPT_EXIT && result <= 0 ? ERR_peek_last_error() : 0;
    const char *reason = code != 0 ? ERR_reason_error_string(code) : NULL;

    if (!server || !reason)
        return;
    char peer[SOCKET_TEXT_MAX];
    socket_peer_text(SSL_get_fd(ssl), peer);
    log_info(server->worker->log, "tls_failed", "A TLS handshake with a client failed",
             log_str("peer", peer), log_str("reason", reason));
}

static int on_event(struct lws *wsi, enum lws_callback_reasons reason, void *user, void *in,
                    size_t size)
{
    switch (reason) {
    case LWS_CALLBACK_OPENSSL_LOAD_EXTRA_SERVER_VERIFY_CERTS:
        tls_harden(user);
        SSL_CTX_set_app_data((SSL_CTX *)user, lws_vhost_user(in));
        SSL_CTX_set_info_callback(user, on_tls_event);
        return 0;
    case LWS_CALLBACK_OPENSSL_PERFORM_CLIENT_CERT_VERIFICATION:
        /* libwebsockets takes 0 for good, whatever OpenSSL has found: size is its finding. */
        return size == 0;
    case LWS_CALLBACK_HTTP:
        return serve_page(server_of(wsi), wsi, in);
    case LWS_CALLBACK_FILTER_PROTOCOL_CONNECTION:
        return filter_upgrade(server_of(wsi), wsi);
    case LWS_CALLBACK_ESTABLISHED:
        take_over(wsi);
        return 0;
    case LWS_CALLBACK_RECEIVE:
        return -1; /* nothing is ever read here: the connection is ours since ESTABLISHED */
    case LWS_CALLBACK_WSI_DESTROY:
        forget(server_of(wsi), wsi);
        return 0;
    default:
        return 0;
    }
}

static bool check_files(const struct http_server_settings *settings, struct tls_error *error)
{
    const struct tls_files files = {.cert_option = "tls-cert",
                                    .cert_file = settings->cert_file,
                                    .key_option = "tls-key",
                                    .key_file = settings->key_file,
                                    .ca_option = "client-ca",
                                    .ca_file = settings->client_ca_file};
    struct tls_material *material = tls_material_read(&files, NULL, error);

    tls_material_free(material);
    return material != NULL;
}

struct http_server *http_server_new(struct worker *worker,
                                    const struct http_server_settings *settings,
                                    const struct http_server_owner *owner, void *context,
                                    struct tls_error *error)
{
    struct http_server *server = calloc(1, sizeof *server);
    struct lws_context_creation_info info = {0};

    if (!server)
        abort();
    *server = (struct http_server){
        .worker = worker, .owner = owner, .context = context, .settings = *settings};
    server->protocols[0] = (struct lws_protocols){.name = "kafka-tunnel", .callback = on_event};
    if (!check_files(settings, error)) {
        free(server);
        return NULL;
    }
    lws_set_log_level(0, NULL);
    info.options = LWS_SERVER_OPTION_EXPLICIT_VHOSTS | LWS_SERVER_OPTION_DO_SSL_GLOBAL_INIT;
    info.gid = (gid_t)-1;
    info.uid = (uid_t)-1;
    info.max_http_header_data2 = settings->headers_max;
    info.max_http_header_pool2 = settings->handshakes_max;
    info.fd_limit_per_thread = settings->handshakes_max + 16;
    info.timeout_secs = settings->handshake_timeout_s;
    server->loop = lws_loop_new(worker->base, &info);
    if (!server->loop)
        abort();
    info.port = CONTEXT_PORT_NO_LISTEN_SERVER;
    info.protocols = server->protocols;
    info.vhost_name = "tunnel";
    info.user = server;
    info.alpn = "http/1.1";
    info.keepalive_timeout = (int)settings->handshake_timeout_s;
    if (settings->cert_file) {
        info.ssl_cert_filepath = settings->cert_file;
        info.ssl_private_key_filepath = settings->key_file;
        if (settings->client_ca_file) {
            info.ssl_ca_filepath = settings->client_ca_file;
            info.options |= LWS_SERVER_OPTION_REQUIRE_VALID_OPENSSL_CLIENT_CERT;
        }
    }
    server->vhost = lws_create_vhost(lws_loop_context(server->loop), &info);
    if (!server->vhost) {
        snprintf(error->text, sizeof error->text,
                 "TLS could not be set up with the certificate %s and the key %s",
                 settings->cert_file ? settings->cert_file : "-",
                 settings->key_file ? settings->key_file : "-");
        http_server_free(server);
        return NULL;
    }
    return server;
}

void http_server_free(struct http_server *server)
{
    if (!server)
        return;
    lws_loop_free(server->loop);
    free(server);
}

void http_server_adopt(struct http_server *server, int fd, const struct socket_address *peer)
{
    struct http_connection *connection;
    lws_sock_file_fd_type descriptor = {.sockfd = fd};
    struct lws *wsi;

    if (server->handshakes >= server->settings.handshakes_max) {
        log_warning(server->worker->log, "handshake_refused",
                    "A connection is refused: too many are in the middle of their handshake",
                    log_u64("limit", server->settings.handshakes_max));
        socket_reset(fd);
        return;
    }
    connection = calloc(1, sizeof *connection);
    if (!connection)
        abort();
    connection->server = server;
    socket_format(peer, connection->peer);
    wsi = lws_adopt_descriptor_vhost(server->vhost,
                                     LWS_ADOPT_HTTP | LWS_ADOPT_SOCKET |
                                         (server->settings.cert_file ? LWS_ADOPT_ALLOW_SSL : 0),
                                     descriptor, NULL, NULL);
    if (!wsi) {
        /* libwebsockets has closed the descriptor. */
        free(connection);
        return;
    }
    lws_set_opaque_user_data(wsi, connection);
    server->handshakes++;
    lws_loop_kick(server->loop);
}
