#include "monitoring/pages.h"

#include <errno.h>
#include <event2/buffer.h>
#include <event2/bufferevent.h>
#include <event2/http.h>
#include <event2/keyvalq_struct.h>
#include <event2/listener.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/socket.h>
#include <unistd.h>

#include "io/clock.h"
#include "io/listener.h"
#include "metrics/metrics.h"

enum {
    HEADERS_MAX = 16 * 1024,
    REQUEST_BODY_MAX = 1024,
    BACKLOG = 128,
    HOST_MAX = 80,
    /* Together with those that have been told to make way and are not gone yet. */
    CONNECTIONS_MOST = 2 * PAGES_CONNECTIONS,
    SWEEP_MS = 50,
    PAUSE_MS = 200, /* without descriptors */
    /* All that evhttp knows; those that no page has get 405 here, not its 501. */
    METHODS = EVHTTP_REQ_GET | EVHTTP_REQ_HEAD | EVHTTP_REQ_POST | EVHTTP_REQ_PUT |
              EVHTTP_REQ_DELETE | EVHTTP_REQ_OPTIONS | EVHTTP_REQ_TRACE | EVHTTP_REQ_CONNECT |
              EVHTTP_REQ_PATCH,
};

struct pages {
    struct worker *worker;
    const struct pages_owner *owner;
    void *context;
    struct evhttp *http;
    struct evconnlistener *listener; /* the http object's */
    struct list connections;         /* struct connection, the oldest first */
    size_t connection_count;
    struct event *sweep; /* looks through them */
    bool loopback;
    uint16_t port;
};

/* What evhttp does not bound: how many connections there are, and how long one may live. */
struct connection {
    struct list node;
    struct pages *pages;
    struct bufferevent *socket; /* evhttp's, and a reference */
    uint64_t since_us;
    bool ending; /* its socket is shut down */
};

void pages_say(struct pages_answer *answer, int status, const char *text)
{
    answer->status = status;
    answer->type = "text/plain; charset=utf-8";
    answer->bytes = text;
    answer->size = strlen(text);
}

/* ---- connections */

static void connection_free(struct connection *connection)
{
    struct pages *pages = connection->pages;

    bufferevent_decref(connection->socket);
    list_remove(&connection->node);
    free(connection);
    if (--pages->connection_count < CONNECTIONS_MOST)
        evconnlistener_enable(pages->listener);
}

/* When evhttp frees a connection, it takes its callbacks out of the bufferevent. */
static bool is_over(const struct connection *connection)
{
    bufferevent_event_cb on_event = NULL;

    bufferevent_getcb(connection->socket, NULL, NULL, &on_event, NULL);
    return !on_event;
}

/* evhttp finds an end of file, and frees what is its own. */
static void end_connection(struct connection *connection)
{
    connection->ending = true;
    shutdown(bufferevent_getfd(connection->socket), SHUT_RDWR);
}

/* Who asks gets an answer within milliseconds: the oldest one is the least worth its place. */
static void make_way(struct pages *pages)
{
    size_t left = pages->connection_count;

    for (struct list *at = pages->connections.next; at != &pages->connections; at = at->next) {
        struct connection *connection = list_entry(at, struct connection, node);
        if (connection->ending)
            left--;
    }
    for (struct list *at = pages->connections.next;
         left > PAGES_CONNECTIONS && at != &pages->connections; at = at->next) {
        struct connection *connection = list_entry(at, struct connection, node);
        if (connection->ending)
            continue;
        end_connection(connection);
        left--;
    }
}

/* evhttp tells nobody when it frees a connection: so those that there are are looked through. */
static void on_sweep(evutil_socket_t fd, short what, void *argument)
{
    static const struct timeval again = {0, SWEEP_MS * 1000};
    struct pages *pages = argument;
    uint64_t now = clock_now_us();

    (void)fd;
    (void)what;
    for (struct list *at = pages->connections.next, *next; at != &pages->connections; at = next) {
        struct connection *connection = list_entry(at, struct connection, node);
        next = at->next;
        if (is_over(connection))
            connection_free(connection);
        else if (now - connection->since_us > PAGES_LIFE_S * UINT64_C(1000000))
            end_connection(connection);
    }
    if (!list_empty(&pages->connections))
        event_add(pages->sweep, &again);
}

static void on_pages_resume(evutil_socket_t fd, short what, void *argument)
{
    (void)fd;
    (void)what;
    evconnlistener_enable(argument);
}

/*
 * accept() failed for want of a descriptor: without a pause the loop would do nothing else, and
 * libevent would write a line each time. The listener's argument is evhttp's, so there is no way to
 * the pages from here. Should they be at their limit of connections when the pause is over, one
 * more is accepted, and that is all.
 */
static void on_accept_failed(struct evconnlistener *listener, void *argument)
{
    static const struct timeval pause = {0, PAUSE_MS * 1000};

    (void)argument;
    if (event_base_once(evconnlistener_get_base(listener), -1, EV_TIMEOUT, on_pages_resume,
                        listener, &pause) == 0)
        evconnlistener_disable(listener);
}

/* evhttp asks for each connection's bufferevent; a reference is kept until it is over. */
static struct bufferevent *on_connection(struct event_base *base, void *argument)
{
    static const struct timeval soon = {0, SWEEP_MS * 1000};
    struct pages *pages = argument;
    struct connection *connection = calloc(1, sizeof *connection);

    if (!connection)
        abort();
    connection->pages = pages;
    connection->since_us = clock_now_us();
    connection->socket = bufferevent_socket_new(base, -1, BEV_OPT_CLOSE_ON_FREE);
    if (!connection->socket)
        abort();
    bufferevent_incref(connection->socket);
    list_append(&pages->connections, &connection->node);
    if (++pages->connection_count >= CONNECTIONS_MOST)
        evconnlistener_disable(pages->listener);
    make_way(pages);
    if (!event_pending(pages->sweep, EV_TIMEOUT, NULL))
        event_add(pages->sweep, &soon);
    return connection->socket;
}

/* ---- who may ask */

/* "127.0.0.1:9091", "[::1]:9091", "localhost:9091": the host in host, the port returned; 0: no. */
static unsigned split_host(const char *text, char host[HOST_MAX])
{
    const char *colon = strrchr(text, ':');
    size_t size = colon ? (size_t)(colon - text) : 0;

    if (size == 0 || size >= HOST_MAX)
        return 0;
    if (text[0] == '[' && text[size - 1] == ']') {
        text++;
        size -= 2;
    }
    memcpy(host, text, size);
    host[size] = '\0';
    size_t digits = strspn(colon + 1, "0123456789");
    if (digits == 0 || digits > 5 || colon[1 + digits] != '\0')
        return 0;
    return (unsigned)strtoul(colon + 1, NULL, 10);
}

static bool host_is_allowed(const struct pages *pages, const char *text)
{
    char host[HOST_MAX];
    struct socket_address address;
    unsigned port = text ? split_host(text, host) : 0;

    if (port != pages->port)
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
static const char *refusal(const struct pages *pages, struct evhttp_request *request)
{
    const struct evkeyvalq *headers = evhttp_request_get_input_headers(request);
    const char *host = evhttp_find_header(headers, "Host");
    const char *origin = evhttp_find_header(headers, "Origin");
    const char *site = evhttp_find_header(headers, "Sec-Fetch-Site");

    if (!host_is_allowed(pages, host))
        return "Host must be this address: an IP address or localhost, with the port.\n";
    if (origin && !origin_is_own(origin, host))
        return "Pages of other origins may not ask.\n";
    /* none: the user has typed the address. */
    if (site && strcmp(site, "same-origin") != 0 && strcmp(site, "none") != 0)
        return "Pages of other origins may not ask.\n";
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

/* The page as GET has it is looked for to tell 405 from 404. */
static void put_page(struct pages *pages, enum evhttp_cmd_type method, const char *path,
                     struct pages_answer *answer)
{
    const bool readable = method == EVHTTP_REQ_GET || method == EVHTTP_REQ_HEAD;
    const struct pages_request asked = {.path = path, .post = method == EVHTTP_REQ_POST};
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

static const char *status_text(int status)
{
    switch (status) {
    case 200:
        return "OK";
    case 403:
        return "Forbidden";
    case 404:
        return "Not Found";
    case 405:
        return "Method Not Allowed";
    case 503:
        return "Service Unavailable";
    default:
        return "Error";
    }
}

static void add_headers(struct evhttp_request *request, const struct pages_answer *answer)
{
    struct evkeyvalq *headers = evhttp_request_get_output_headers(request);

    evhttp_add_header(headers, "Content-Type", answer->type);
    evhttp_add_header(headers, "Cache-Control", "no-store");
    evhttp_add_header(headers, "X-Content-Type-Options", "nosniff");
    evhttp_add_header(headers, "X-Frame-Options", "DENY");
    evhttp_add_header(headers, "Referrer-Policy", "no-referrer");
    evhttp_add_header(headers, "Cross-Origin-Resource-Policy", "same-origin");
    evhttp_add_header(headers, "Content-Security-Policy",
                      "default-src 'none'; script-src 'self'; style-src 'self'; connect-src "
                      "'self'; img-src 'self'; base-uri 'none'; form-action 'none'; "
                      "frame-ancestors 'none'");
    evhttp_add_header(headers, "Connection", "close");
    if (answer->allow)
        evhttp_add_header(headers, "Allow", answer->allow);
}

/* HEAD gets the length that GET would. */
static void send_page(struct evhttp_request *request, const struct pages_answer *answer)
{
    const void *bytes = answer->bytes ? answer->bytes : answer->body.bytes;
    size_t size = answer->bytes ? answer->size : answer->body.size;
    struct evbuffer *body = evbuffer_new();
    char length[24];

    if (!body)
        abort();
    add_headers(request, answer);
    snprintf(length, sizeof length, "%zu", size);
    evhttp_add_header(evhttp_request_get_output_headers(request), "Content-Length", length);
    if (size > 0 && evhttp_request_get_command(request) != EVHTTP_REQ_HEAD)
        evbuffer_add(body, bytes, size);
    evhttp_send_reply(request, answer->status, status_text(answer->status), body);
    evbuffer_free(body);
}

static void on_request(struct evhttp_request *request, void *argument)
{
    struct pages *pages = argument;
    struct pages_answer answer = {.status = 200, .type = "text/plain; charset=utf-8"};
    const struct evhttp_uri *uri = evhttp_request_get_evhttp_uri(request);
    const char *path = uri ? evhttp_uri_get_path(uri) : NULL;
    const char *why = refusal(pages, request);

    text_init(&answer.body, PAGES_BODY_MAX);
    if (why)
        pages_say(&answer, 403, why);
    else
        put_page(pages, evhttp_request_get_command(request), path ? path : "", &answer);
    send_page(request, &answer);
    text_clear(&answer.body);
}

/* ---- life */

bool pages_parse(const char *text, struct socket_address *address, char *error, size_t size)
{
    struct address parsed;
    const char *why = address_parse_listen(text, &parsed);

    if (!why && !socket_parse(parsed.host, parsed.port, address))
        why = "give a numeric address to listen on";
    if (why)
        snprintf(error, size, "--status %s: %s", text, why);
    return !why;
}

static bool bind_listener(struct pages *pages, const struct socket_address *address, char *error,
                          size_t size)
{
    char text[SOCKET_TEXT_MAX];
    struct socket_address bound = {.size = sizeof bound.storage};

    socket_format(address, text);
    struct evconnlistener *listener = evconnlistener_new_bind(
        pages->worker->base, NULL, NULL,
        LEV_OPT_CLOSE_ON_FREE | LEV_OPT_CLOSE_ON_EXEC | LEV_OPT_REUSEABLE, BACKLOG,
        (const struct sockaddr *)&address->storage, (int)address->size);
    if (!listener) {
        if (errno == EADDRINUSE)
            snprintf(error, size, "--status %s: the port is in use; " LISTENER_WHO_HOLDS, text);
        else
            snprintf(error, size, "--status %s: %s", text, strerror(errno));
        return false;
    }
    if (!evhttp_bind_listener(pages->http, listener))
        abort();
    evconnlistener_set_error_cb(listener, on_accept_failed);
    pages->listener = listener;
    if (getsockname(evconnlistener_get_fd(listener), (struct sockaddr *)&bound.storage,
                    &bound.size) != 0)
        bound = *address;
    pages->port = socket_port(&bound);
    socket_format(&bound, text);
    log_info(pages->worker->log, "status_page", "Status pages are served", log_str("listen", text));
    if (!pages->loopback)
        log_warning(pages->worker->log, "status_exposed",
                    "Whoever reaches the status address can read who uses the tunnel, without a "
                    "token: let only your monitoring reach it",
                    log_str("listen", text));
    return true;
}

struct pages *pages_new(struct worker *worker, const struct socket_address *address,
                        const struct pages_owner *owner, void *context, char *error, size_t size)
{
    struct pages *pages = calloc(1, sizeof *pages);

    if (!pages)
        abort();
    pages->worker = worker;
    pages->owner = owner;
    pages->context = context;
    pages->loopback = socket_is_loopback(address);
    list_init(&pages->connections);
    pages->http = evhttp_new(worker->base);
    pages->sweep = worker_timer(worker, on_sweep, pages);
    if (!pages->http)
        abort();
    evhttp_set_allowed_methods(pages->http, METHODS);
    evhttp_set_max_headers_size(pages->http, HEADERS_MAX);
    evhttp_set_max_body_size(pages->http, REQUEST_BODY_MAX);
    evhttp_set_timeout(pages->http, PAGES_LIFE_S);
    evhttp_set_bevcb(pages->http, on_connection, pages);
    evhttp_set_gencb(pages->http, on_request, pages);
    if (bind_listener(pages, address, error, size))
        return pages;
    pages_free(pages);
    return NULL;
}

void pages_free(struct pages *pages)
{
    if (!pages)
        return;
    evhttp_free(pages->http);
    for (struct list *node; (node = list_pop(&pages->connections));) {
        struct connection *connection = list_entry(node, struct connection, node);
        bufferevent_decref(connection->socket);
        free(connection);
    }
    event_free(pages->sweep);
    free(pages);
}
