/*
 * One dial: an HTTP call (http/call.h) that ends in the upgrade to a WebSocket (RFC 6455, 4.1).
 * What fails is reported by the hop where it failed, in words for a person.
 */
#pragma once

#include "http/call.h"

struct http_client_settings {
    const char *host; /* a name or an IP literal without brackets */
    uint16_t port;
    const char *path;
    bool tls;
    bool certificate; /* the way has one to show */
};

struct http_dial_result {
    enum http_hop hop;
    struct transport *transport; /* on success: the callback's */
    int status;                  /* HTTP status, 0 when there was none */
    bool login_refused;          /* by a proxy (407, SOCKS): the login is wrong, or missing */
    unsigned retry_after_ms; /* a server that is short of something (503, 429) wants that; or 0 */
    const char *reason;      /* on failure: what is wrong, and what to do about it */
    const struct http_trace *trace;
    const struct http_response *response; /* head_done: an answer came */
};

typedef void (*http_dial_callback)(void *context, const struct http_dial_result *result);

struct http_client;

/* way, and strings of settings, must live as long as the client. */
struct http_client *http_client_new(struct http_way *way,
                                    const struct http_client_settings *settings);
void http_client_free(struct http_client *client);

/*
 * Starts a dial; one at a time. headers: "Name: value" strings beside those of the upgrade, NULL at
 * the end; copied, and wiped after use. Answers later, once, from the loop.
 */
void http_client_dial(struct http_client *client, const char *const *headers, unsigned timeout_ms,
                      http_dial_callback callback, void *context);
/* The callback does not come. Nothing may be under way. */
void http_client_cancel(struct http_client *client);
