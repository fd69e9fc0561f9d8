/* One HTTP request and its whole answer, over the same way as a dial: proxies, CAs, --resolve. */
#pragma once

#include "config/url.h"
#include "http/call.h"

#define HTTP_FETCH_BODY_MAX 65536

struct http_fetch_request {
    const char *host; /* all strings must live until the callback */
    uint16_t port;
    bool tls;
    const char *named_by; /* the option that names the host, for messages */
    const char *method;   /* "GET" or "POST" */
    const char *path;
    const char *header;       /* one more, "Name: value"; wiped after use; NULL: none */
    const char *content_type; /* NULL: no body */
    const char *body;
    size_t body_size;
    const char *accept; /* NULL: anything */
};

struct http_fetch_result {
    enum http_hop hop; /* HTTP_HOP_NONE: an answer came, whatever its status */
    int status;
    bool login_refused;     /* by a proxy: the login is wrong, or missing */
    const char *reason;     /* on failure: a sentence */
    const char *location;   /* of a redirect; "" if there is none */
    unsigned retry_after_s; /* of Retry-After, at most an hour; 0: there is none */
    int64_t date;           /* of the Date header, seconds since 1970; 0: none */
    const char *body;       /* at most HTTP_FETCH_BODY_MAX; NUL terminated behind it */
    size_t body_size;
};

typedef void (*http_fetch_callback)(void *context, const struct http_fetch_result *result);

struct http_fetch;

/* Takes a URL apart from which keys come, or to which secrets go. NULL, or what is wrong with it, a
 * sentence part: only https:// will do, or http:// to this machine itself. */
const char *http_fetch_check_url(const char *text, struct url *url);

/* Answers later, never from inside this call. The answer's body is wiped afterwards. */
struct http_fetch *http_fetch_start(struct http_way *way, const struct http_fetch_request *request,
                                    unsigned timeout_ms, http_fetch_callback callback,
                                    void *context);
/* Before the callback only; NULL is fine. */
void http_fetch_cancel(struct http_fetch *fetch);
