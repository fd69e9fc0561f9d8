#include "wait.h"

#include <event2/buffer.h>
#include <event2/http.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/printable.h"
#include "config/value.h"
#include "io/clock.h"

enum {
    ASK_AGAIN_MS = 200,
    ANSWER_MAX_S = 2,
    ANSWER_MAX_BYTES = 16 * 1024,
    SAID_MAX = 200,
};

struct waiter {
    struct event_base *base;
    const struct address *address;
    struct evhttp_connection *connection; /* of the question under way */
    struct event *again;
    bool asked; /* a question was answered, or could not be asked */
    bool once;  /* --max 0: one question is all */
    bool ready;
    enum evhttp_request_error error; /* of an answer that broke off */
    char said[SAID_MAX];             /* what the last answer was */
};

static void ask(struct waiter *waiter);

/* The first line of the body, fit for a message. */
static void read_line(struct evhttp_request *request, char *out, size_t size)
{
    ev_ssize_t got = evbuffer_copyout(evhttp_request_get_input_buffer(request), out, size - 1);

    out[got > 0 ? got : 0] = '\0';
    out[strcspn(out, "\r\n")] = '\0';
    printable_columns(out);
}

/* A connection that was made and led to nothing; what could not be connected to tells no error. */
static void on_error(enum evhttp_request_error error, void *argument)
{
    struct waiter *waiter = argument;

    waiter->error = error;
}

static void on_answer(struct evhttp_request *request, void *argument)
{
    struct waiter *waiter = argument;
    int status = request ? evhttp_request_get_response_code(request) : 0;
    char line[SAID_MAX - 32];

    waiter->asked = true;
    waiter->ready = status == 200;
    if (status == 0) {
        snprintf(waiter->said, sizeof waiter->said, "%s",
                 request ? "nothing listens there; is the client running, with this --status?"
                 : waiter->error == EVREQ_HTTP_TIMEOUT
                     ? "what listens there does not answer"
                     : "what listens there is no status page; is it another port that the client "
                       "has in --status?");
    } else {
        read_line(request, line, sizeof line);
        snprintf(waiter->said, sizeof waiter->said, "the answer is %d%s%s", status,
                 line[0] ? ": " : "", line);
    }
    if (waiter->ready || waiter->once)
        event_base_loopbreak(waiter->base);
    else
        worker_wait_ms(waiter->again, ASK_AGAIN_MS);
}

static void on_again(evutil_socket_t fd, short what, void *argument)
{
    (void)fd;
    (void)what;
    ask(argument);
}

/* A connection for each question: the client may have been restarted in between. */
static void ask(struct waiter *waiter)
{
    char host[ADDRESS_TEXT_MAX];
    struct evhttp_request *request = evhttp_request_new(on_answer, waiter);

    if (waiter->connection)
        evhttp_connection_free(waiter->connection);
    waiter->connection = evhttp_connection_base_new(waiter->base, NULL, waiter->address->host,
                                                    waiter->address->port);
    if (!request || !waiter->connection)
        abort();
    evhttp_request_set_error_cb(request, on_error);
    evhttp_connection_set_timeout(waiter->connection, ANSWER_MAX_S);
    evhttp_connection_set_max_headers_size(waiter->connection, ANSWER_MAX_BYTES);
    evhttp_connection_set_max_body_size(waiter->connection, ANSWER_MAX_BYTES);
    address_format(waiter->address->host, waiter->address->port, host);
    evhttp_add_header(evhttp_request_get_output_headers(request), "Host", host);
    evhttp_add_header(evhttp_request_get_output_headers(request), "Connection", "close");
    evhttp_make_request(waiter->connection, request, EVHTTP_REQ_GET, "/readyz");
}

static void say_failure(const struct waiter *waiter, const struct options *options)
{
    char limit[48];

    value_format_duration(options->max_ms, limit, sizeof limit);
    fprintf(stderr, "tunnel-client: not ready within %s (--max): http://%s/readyz: %s\n", limit,
            options->shared.status, waiter->asked ? waiter->said : "there was no answer in time");
}

int wait_until_ready(struct worker *worker, const struct options *options)
{
    struct waiter waiter = {
        .base = worker->base, .address = &options->wait_address, .once = options->max_ms == 0};
    const struct timeval limit = clock_timeval(options->max_ms * 1000);

    waiter.again = worker_timer(worker, on_again, &waiter);
    if (!waiter.once)
        event_base_loopexit(worker->base, &limit);
    event_active(waiter.again, EV_TIMEOUT, 0);
    event_base_dispatch(worker->base);
    if (!waiter.ready)
        say_failure(&waiter, options);
    if (waiter.connection)
        evhttp_connection_free(waiter.connection);
    event_free(waiter.again);
    return waiter.ready ? 0 : 1;
}
