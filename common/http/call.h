/*
 * One HTTP request as a client: name look-up or --resolve, TCP, a proxy where there is one (HTTP or
 * SOCKS), TLS, the request, its answer. What http/client.h (the upgrade to a WebSocket) and
 * http/fetch.h (a whole answer) have in common.
 *
 * A host's addresses are tried side by side (io/connector.h). One that connects but leads to no
 * answer makes way for those that are left. The whole call has one deadline. What fails is reported
 * by the hop where it failed, in words for a person.
 */
#pragma once

#include "http/hop.h"
#include "http/response.h"
#include "http/way.h"
#include "io/transport.h"

struct http_call_request {
    const char
        *host;     /* a name or an IP literal without brackets; as method and path it must live */
    uint16_t port; /* until the callback */
    bool tls;
    const char *named_by; /* the option that names the host, for messages: "--server" */
    const char *method;
    const char *path;
    /* "Name: value" without line ends, NULL at the end; Host is not among them. Copied, and wiped
     * after use. NULL: none. */
    const char *const *headers;
    const char *body; /* copied; NULL: none */
    size_t body_size;
    size_t answer_max; /* so much of the answer's body is kept */
    bool show_certificate;
    bool upgrade; /* wants 101: the connection is the callback's then */
};

/* How far the last attempt came, for people. Times in microseconds since the call began; 0: it did
 * not get there. */
struct http_trace {
    uint64_t named_us;
    uint64_t connected_us;
    uint64_t proxied_us;
    uint64_t secured_us;
    uint64_t answered_us;
    size_t address_count;          /* that the name has */
    char addresses[400];           /* "10.0.0.1, 10.0.0.2" */
    char address[SOCKET_TEXT_MAX]; /* that was tried last; "" if none */
    struct socket_address tried;   /* the same; size 0 if none */
    char proxy[ADDRESS_TEXT_MAX];  /* "" if there is none */
    char target[ADDRESS_TEXT_MAX]; /* what the proxy was asked to connect to */
    char protection[64];           /* "" before TLS */
    char certificate[300];         /* see transport_certificate() */
    enum tls_failure tls_failure;
};

struct http_call_result {
    enum http_hop hop; /* HTTP_HOP_NONE: an answer came, whatever its status */
    bool timed_out;
    bool login_refused;                   /* by a proxy: the login is wrong, or missing */
    const char *reason;                   /* on failure: what is wrong, and what to do about it */
    const struct http_response *response; /* head_done: an answer came, maybe not whole */
    struct transport *transport;          /* after 101 with upgrade: the callback's */
    const struct http_trace *trace;
};

typedef void (*http_call_callback)(void *context, const struct http_call_result *result);

struct http_call;

/* Answers later, once, from the loop. */
struct http_call *http_call_start(struct http_way *way, const struct http_call_request *request,
                                  unsigned timeout_ms, http_call_callback callback, void *context);
/* Before the callback only; NULL is fine. */
void http_call_cancel(struct http_call *call);

/* "host:443 (10.0.0.1:443 through the proxy p:3128): " and what: how every reason begins. */
void http_call_prefix(const struct http_call_request *request, const struct http_trace *trace,
                      char *text, size_t size);
