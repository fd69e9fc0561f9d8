#include "monitoring/pages.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "base/memory.h"
#include "http/server.h"
#include "io/listener.h"
#include "monitoring/telemetry.h"

enum {
    HEAD_MAX = 16 * 1024,
    REQUEST_BODY_MAX = 1024,
    HOST_MAX = 80,
};

/* Beside those of every answer. Nothing but this server's own files may be loaded or run. */
static const char PAGE_HEADERS[] =
    "X-Content-Type-Options: nosniff\r\n"
    "X-Frame-Options: DENY\r\n"
    "Referrer-Policy: no-referrer\r\n"
    "Cross-Origin-Resource-Policy: same-origin\r\n"
    "Content-Security-Policy: default-src 'none'; script-src 'self'; style-src 'self'; "
    "connect-src 'self'; img-src 'self'; base-uri 'none'; form-action 'none'; "
    "frame-ancestors 'none'\r\n";

struct pages {
    struct worker *worker;
    const struct pages_owner *owner;
    void *context;
    struct http_server *http;
    struct listener *listener;
    bool loopback;
};

void pages_say(struct pages_answer *answer, int status, const char *text)
{
    answer->status = status;
    answer->type = "text/plain; charset=utf-8";
    answer->bytes = text;
    answer->size = strlen(text);
}

bool pages_put_file(struct pages_answer *answer, const struct pages_file *files, size_t count,
                    const char *path)
{
    for (size_t i = 0; i < count; i++) {
        if (strcmp(path, files[i].path) != 0)
            continue;
        answer->type = files[i].type;
        answer->bytes = files[i].bytes;
        answer->size = files[i].size;
        return true;
    }
    return false;
}

/* ---- who may ask */

/* "127.0.0.1:9091", "[::1]:9091", "localhost:9091": the host in host, the port returned; 0: no. */
static unsigned split_host(const char *text, char host[HOST_MAX])
{
    const char *colon = strrchr(text, ':');
    const char *bracket = strrchr(text, ']');

    if (colon && bracket && colon < bracket)
        colon = NULL;
    size_t size = colon ? (size_t)(colon - text) : strlen(text);

    if (size == 0 || size >= HOST_MAX)
        return 0;
    if (text[0] == '[' && text[size - 1] == ']') {
        text++;
        size -= 2;
    }
    memcpy(host, text, size);
    host[size] = '\0';
    if (!colon)
        return 80; /* goes without saying */
    size_t digits = strspn(colon + 1, "0123456789");
    if (digits == 0 || digits > 5 || colon[1 + digits] != '\0')
        return 0;
    return (unsigned)strtoul(colon + 1, NULL, 10);
}

static bool host_is_allowed(const struct pages *pages, const char *text)
{
    char host[HOST_MAX];
    struct socket_address address;
    unsigned port = split_host(text, host);

    if (port != listener_port(pages->listener))
        return false;
    if (strcasecmp(host, "localhost") == 0)
        return true;
    return socket_parse(host, 0, &address) && (!pages->loopback || socket_is_loopback(&address));
}

static bool origin_is_own(const char *origin, const char *host)
{
    return strncasecmp(origin, "http://", 7) == 0 && strcasecmp(origin + 7, host) == 0;
}

/* NULL: go on; else why not. */
static const char *find_refusal(const struct pages *pages, const struct http_request *request)
{
    char host[HOST_MAX + sizeof "[]:65535"];
    char origin[sizeof host + sizeof "http://"];
    char site[16];

    if (!http_request_header(request, "host", host, sizeof host) || !host_is_allowed(pages, host))
        return "Host must be this address: an IP address or localhost, with the port.\n";
    if (http_request_header_count(request, "origin") > 0 &&
        (!http_request_header(request, "origin", origin, sizeof origin) ||
         !origin_is_own(origin, host)))
        return "Pages of other origins have no access.\n";
    /* none: the user has typed the address. */
    if (http_request_header_count(request, "sec-fetch-site") > 0 &&
        (!http_request_header(request, "sec-fetch-site", site, sizeof site) ||
         (strcmp(site, "same-origin") != 0 && strcmp(site, "none") != 0)))
        return "Pages of other origins have no access.\n";
    return NULL;
}

/* ---- answers */

static void put_metrics(struct pages *pages, struct pages_answer *answer)
{
    pages->owner->collect(pages->context);
    answer->type = "text/plain; version=0.0.4; charset=utf-8";
    metrics_write(pages->worker->metrics, &answer->body);
}

static bool find_page(struct pages *pages, const struct pages_request *request,
                      struct pages_answer *answer)
{
    if (!request->post && strcmp(request->path, "/metrics") == 0)
        put_metrics(pages, answer);
    else if (!request->post && strcmp(request->path, "/healthz") == 0)
        pages_say(answer, 200, "ok\n");
    else
        return pages->owner->page(pages->context, request, answer);
    return true;
}

/* Those that HTTP has; others get 501. */
static bool is_method(const char *method)
{
    static const char *const methods[] = {"GET",     "HEAD",  "POST",    "PUT",  "DELETE",
                                          "OPTIONS", "TRACE", "CONNECT", "PATCH"};

    for (size_t i = 0; i < sizeof methods / sizeof *methods; i++)
        if (strcmp(method, methods[i]) == 0)
            return true;
    return false;
}

/* The page as GET has it is looked for to tell 405 from 404. */
static void put_page(struct pages *pages, const struct http_request *request,
                     struct pages_answer *answer)
{
    const char *method = http_request_method(request);
    const char *path = http_request_path(request);
    const bool readable = strcmp(method, "GET") == 0 || strcmp(method, "HEAD") == 0;
    const struct pages_request asked = {.path = path, .post = strcmp(method, "POST") == 0};
    const struct pages_request with_get = {.path = path};

    if ((readable || asked.post) && find_page(pages, &asked, answer)) {
        if (answer->body.failed)
            pages_say(answer, 500, "The page is too large.\n");
    } else if (readable || !find_page(pages, &with_get, answer)) {
        pages_say(answer, 404, "There is no such page.\n");
    } else if (answer->status != 405) {
        pages_say(answer, 405, "Use GET.\n");
        answer->allow = "GET, HEAD";
    }
}

static void on_pages_request(void *context, const struct http_request *request, const char *path,
                             struct http_page *page)
{
    struct pages *pages = context;
    struct pages_answer answer = {.status = 200, .type = "text/plain; charset=utf-8"};
    const char *why = find_refusal(pages, request);

    (void)path; /* here "/x/" is not "/x" */
    text_init(&answer.body, PAGES_BODY_MAX);
    if (!is_method(http_request_method(request)))
        pages_say(&answer, 501, "There is no such method.\n");
    else if (why)
        pages_say(&answer, 403, why);
    else
        put_page(pages, request, &answer);
    *page = (struct http_page){
        .status = answer.status,
        .type = answer.type,
        .headers = PAGE_HEADERS,
        .allow = answer.allow,
        .body = answer.bytes ? answer.bytes : answer.body.bytes,
        .size = answer.bytes ? answer.size : answer.body.size,
        .owned = answer.body.bytes,
    };
}

/* ---- life */

bool pages_parse(const char *text, struct socket_address *address, char *error, size_t size)
{
    struct address parsed;
    const char *why = address_parse_listen(text, &parsed);

    if (!why && !socket_parse(parsed.host, parsed.port, address))
        why = ADDRESS_NOT_NUMERIC;
    if (why)
        snprintf(error, size, "--status %s: %s", text, why);
    return !why;
}

static void on_pages_accept(void *context, int fd, const struct socket_address *peer)
{
    struct pages *pages = context;

    http_server_adopt(pages->http, fd, peer);
}

static bool bind_listener(struct pages *pages, const struct socket_address *address, char *error,
                          size_t size)
{
    char text[SOCKET_TEXT_MAX];

    socket_format(address, text);
    pages->listener =
        listener_new_for_pages(pages->worker, "status", address, on_pages_accept, pages);
    if (!pages->listener) {
        if (errno == EADDRINUSE)
            snprintf(error, size, "--status %s: the port is in use; " LISTENER_WHO_HOLDS, text);
        else
            snprintf(error, size, "--status %s: %s", text, strerror(errno));
        return false;
    }
    listener_format(pages->listener, text);
    log_info(pages->worker->log, "status_page", "Status pages are served", log_str("listen", text));
    listener_warn_if_at_risk(pages->listener);
    if (!pages->loopback)
        log_warning(pages->worker->log, "status_exposed",
                    "Anyone who reaches the status address can see, without a token, who uses the "
                    "tunnel: let only your monitoring reach it",
                    log_str("listen", text));
    return true;
}

struct pages *pages_new(struct worker *worker, const struct socket_address *address,
                        const struct pages_owner *owner, void *context, char *error, size_t size)
{
    static const struct http_server_owner server_owner = {.page = on_pages_request};
    static const struct http_server_settings settings = {
        .handshakes_max = PAGES_CONNECTIONS,
        .handshake_timeout_ms = PAGES_LIFE_S * 1000,
        .head_max = HEAD_MAX,
        .body_max = REQUEST_BODY_MAX,
        .quiet = true,
    };
    struct pages *pages = memory_new(sizeof *pages);

    pages->worker = worker;
    pages->owner = owner;
    pages->context = context;
    pages->loopback = socket_is_loopback(address);
    pages->http = http_server_new(worker, &settings, &server_owner, pages);
    if (bind_listener(pages, address, error, size))
        return pages;
    pages_free(pages);
    return NULL;
}

void pages_free(struct pages *pages)
{
    if (!pages)
        return;
    listener_free(pages->listener);
    http_server_free(pages->http);
    free(pages);
}
