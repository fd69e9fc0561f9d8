/*
 * One dial: TCP, TLS, and the upgrade to a WebSocket, as a client.
 *
 * The name is resolved here, without blocking, and each of its addresses is tried in turn; the
 * whole dial has one deadline. What fails is reported by the hop where it failed, in words for a
 * person.
 */
#pragma once

#include "net/socket.h"
#include "net/tls.h"
#include "net/transport.h"
#include "net/worker.h"

enum http_hop {
    HTTP_HOP_DNS,
    HTTP_HOP_TCP,
    HTTP_HOP_TLS,
    HTTP_HOP_AUTH, /* 401, 403, or a redirect to a sign-in page */
    HTTP_HOP_HTTP, /* an answer, but not from a tunnel */
    HTTP_HOP_UPGRADE,
    HTTP_HOP_NONE, /* the dial succeeded */
};

/* "dns", "tcp", "tls", "auth", "http", "upgrade" */
const char *http_hop_name(enum http_hop hop);

struct http_client_settings {
    const char *host; /* a name or an IP literal without brackets */
    uint16_t port;
    const char *path;
    bool tls;
    const char *ca_file; /* NULL: the system's CAs only */
    const char *cert_file;
    const char *key_file;
};

struct http_dial_result {
    enum http_hop hop;
    struct transport *transport; /* on success: the callback's */
    int status;                  /* HTTP status, 0 when there was none */
    const char *reason;          /* on failure: what is wrong, and what to do about it */
    const char *address;         /* the address that was tried last, "" if none */
};

typedef void (*http_dial_callback)(void *context, const struct http_dial_result *result);

struct http_client;

/* NULL: a file is wrong; see error. Strings of settings must live as long as the client. */
struct http_client *http_client_new(struct worker *worker,
                                    const struct http_client_settings *settings,
                                    struct tls_error *error);
void http_client_free(struct http_client *client);

/*
 * Starts a dial; one at a time. authorization: value of the Authorization header, or NULL; copied,
 * and wiped after use. Answers later, once, from the loop.
 */
void http_client_dial(struct http_client *client, const char *authorization, unsigned timeout_ms,
                      http_dial_callback callback, void *context);
