/*
 * An HTTP server: its connections from accept to the end of the one page that they get, or, where
 * there is a tunnel, to the upgrade to a WebSocket. tunnel-server's --listen is one, the door: what
 * it answers to which request is a table in docs/http.md. The status pages (monitoring/pages.h) are
 * another.
 *
 * Whoever comes is a stranger. So each connection has one deadline, from accept on, whatever it
 * sends; a bounded number of slots (http/handshake_slots.h); no memory to speak of before its first
 * byte, and a bounded head after it; one request, and then it is closed. An upgraded connection is
 * handed to the owner. Connections come from the owner's own listeners.
 */
#pragma once

#include <openssl/x509.h>

#include "http/request.h"
#include "io/socket.h"
#include "io/transport.h"
#include "io/worker.h"

#define HTTP_IDENTITY_MAX 256

/* Somebody asks for the upgrade. All of it ends with the call. */
struct http_upgrade {
    const struct http_request *request; /* never log a header of it that could be a secret */
    X509 *certificate; /* the client's verified certificate; NULL: none was asked for or given */
    const char *peer;  /* the address that the TCP connection came from, as text */
};

/* What authorize() says beside the status. */
struct http_admission {
    /* Allowed: as whom, and what the owner wants back with upgraded() or dropped(), or NULL. */
    char identity[HTTP_IDENTITY_MAX];
    void *pass;
    /* Refused: a sentence for the person at the other end, with a line end. */
    const char *body;
};

/* What a page is; 404, plain text and no body to begin with. */
struct http_page {
    int status;       /* one of http/answer.c's */
    const char *type; /* as in struct http_answer, these three */
    const char *headers;
    const char *allow;
    const char *body; /* up to HTTP_PAGE_COPIED bytes end with the call */
    size_t size;
    char *owned; /* or it is this, and freed when it has been sent; else it stays */
};
#define HTTP_PAGE_COPIED 65536

struct http_server_owner {
    /* 101: allowed; else the status to refuse with (one of http/answer.c's). admission is zeroed
     * but for a body that always does. */
    int (*authorize)(void *context, const struct http_upgrade *upgrade,
                     struct http_admission *admission);
    /* The connection is a WebSocket from now on; the owner takes the transport, and the pass. Bytes
     * that the client has sent behind its request are the first that the transport yields. */
    void (*upgraded)(void *context, struct transport *transport,
                     const struct http_admission *admission, const char *peer);
    /* The connection has ended before it was upgraded: its pass is the owner's again. NULL: there
     * are no passes. */
    void (*dropped)(void *context, void *pass);
    /* Answers what is not for the tunnel, whatever the method; HEAD as GET. path is the request's
     * without a slash at the end, "" if it is longer than any that there could be. */
    void (*page)(void *context, const struct http_request *request, const char *path,
                 struct http_page *page);
};

struct http_server_settings {
    /* Where the tunnel is: "/tunnel", or the same as "/tunnel/". NULL: there is none. */
    const char *path;
    const char *const *origins; /* that may open one from a page: "https://example.com" */
    size_t origin_count;
    size_t handshakes_max;         /* connections that are not upgraded yet */
    uint64_t handshake_timeout_ms; /* from accept to the upgrade, or to the end of a page */
    size_t head_max;               /* bytes of a request's line and headers */
    size_t body_max;               /* of its body, which nobody looks at */
    bool quiet;                    /* nothing is logged or counted */
};

/* How a connection left the door. */
enum http_server_end {
    HTTP_SERVER_UPGRADED,
    HTTP_SERVER_PAGE,      /* it got a page */
    HTTP_SERVER_REFUSED,   /* a sound request was not granted */
    HTTP_SERVER_MALFORMED, /* what came was no request of HTTP/1 */
    HTTP_SERVER_TOO_LARGE,
    HTTP_SERVER_TIMEOUT,
    HTTP_SERVER_EVICTED, /* it made way for another, or no other could make way for it */
    HTTP_SERVER_TLS,     /* the TLS handshake failed */
    HTTP_SERVER_HUNG_UP, /* the peer went away before it had asked for anything */
};

#define HTTP_SERVER_ENDS 9
/* "upgraded", "page", ...: for figures. */
const char *http_server_end_name(enum http_server_end end);

struct http_server;

/* Plain HTTP until http_server_use_tls(). Strings must live as long as the server. */
struct http_server *http_server_new(struct worker *worker,
                                    const struct http_server_settings *settings,
                                    const struct http_server_owner *owner, void *context);
void http_server_free(struct http_server *server);
/* TLS by this context (tls_server_context()) for all connections that have not sent a byte yet;
 * others keep theirs. Takes a reference of its own. */
void http_server_use_tls(struct http_server *server, SSL_CTX *context);
/* Takes an accepted connection. */
void http_server_adopt(struct http_server *server, int fd, const struct socket_address *peer);
/* Connections that are not upgraded yet, those that take their answer along included. */
size_t http_server_count(const struct http_server *server);
/* The owner refuses every upgrade from now on: what is under way gets half a second to hear that.
 */
void http_server_stop(struct http_server *server);
