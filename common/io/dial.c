#include "io/dial.h"

#include <stdlib.h>

#include "base/memory.h"
#include "io/clock.h"
#include "io/timer.h"
#include "io/watch.h"

struct dial {
    struct worker *worker;
    dial_callback callback;
    connector_permit permit;
    void *context;
    struct dial_tls tls;
    const char *host;
    uint64_t deadline_us;
    struct connector *connector;
    struct transport *transport; /* NULL before it is connected */
    struct watch *readable;
    struct watch *writable;
    struct timer *deadline;
};

static void end_handshake_events(struct dial *dial)
{
    watch_free(dial->readable);
    watch_free(dial->writable);
    timer_free(dial->deadline);
}

void dial_cancel(struct dial *dial)
{
    if (!dial)
        return;
    connector_cancel(dial->connector);
    end_handshake_events(dial);
    transport_free(dial->transport);
    SSL_CTX_free(dial->tls.context);
    free(dial);
}

static void answer_dial(struct dial *dial, const struct dial_result *result)
{
    dial_callback callback = dial->callback;
    void *context = dial->context;

    end_handshake_events(dial);
    callback(context, result);
    transport_free(dial->transport);
    SSL_CTX_free(dial->tls.context);
    free(dial);
}

static void fail_dial_tls(struct dial *dial, enum tls_failure failure, bool timed_out,
                          const char *error)
{
    answer_dial(dial, &(struct dial_result){.failure = DIAL_FAILURE_TLS,
                                            .tls = failure,
                                            .timed_out = timed_out,
                                            .error = error});
}

static void handshake_done(struct dial *dial)
{
    struct dial_result result = {.transport = dial->transport};

    dial->transport = NULL;
    answer_dial(dial, &result);
}

static void go_on_with_dial(struct dial *dial)
{
    switch (transport_handshake(dial->transport)) {
    case 1:
        handshake_done(dial);
        break;
    case TRANSPORT_BLOCKED:
        watch_want(dial->writable, transport_busy(dial->transport));
        break;
    case TRANSPORT_EOF:
        fail_dial_tls(dial, TLS_FAILURE_NOT_TLS, false,
                      "the connection was closed during the TLS handshake");
        break;
    default:
        fail_dial_tls(dial, transport_failure(dial->transport), false,
                      transport_error(dial->transport));
    }
}

static void on_dial_ready(void *argument)
{
    go_on_with_dial(argument);
}

static void on_dial_deadline(void *argument)
{
    fail_dial_tls(argument, TLS_FAILURE_NOT_TLS, true, "no answer during the TLS handshake");
}

static void start_handshake(struct dial *dial)
{
    int fd = transport_fd(dial->transport);
    uint64_t now = clock_now_us();
    uint64_t left_us = dial->deadline_us > now ? dial->deadline_us - now : 0;

    dial->transport = transport_secure(dial->transport, dial->tls.context,
                                       dial->tls.server_name ? dial->tls.server_name : dial->host);
    dial->readable = watch_new(dial->worker, fd, WATCH_READ, on_dial_ready, dial);
    dial->writable = watch_new(dial->worker, fd, WATCH_WRITE, on_dial_ready, dial);
    dial->deadline = timer_new(dial->worker, on_dial_deadline, dial);
    watch_want(dial->readable, true);
    timer_start_us(dial->deadline, left_us);
}

static void on_dial_connected(void *context, const struct connector_result *result)
{
    struct dial *dial = context;

    dial->connector = NULL;
    if (result->fd >= 0) {
        dial->transport = transport_new(result->fd);
        if (dial->tls.context)
            start_handshake(dial);
        go_on_with_dial(dial);
        return;
    }
    answer_dial(dial, &(struct dial_result){.failure = result->name_failed ? DIAL_FAILURE_NAME
                                                       : result->forbidden ? DIAL_FAILURE_FORBIDDEN
                                                                           : DIAL_FAILURE_TCP,
                                            .timed_out = result->timed_out,
                                            .error = result->error});
}

struct dial *dial_start(struct worker *worker, const char *host, uint16_t port,
                        const struct dial_tls *tls, unsigned timeout_ms, dial_callback callback,
                        void *context)
{
    struct dial *dial = memory_new(sizeof *dial);

    dial->worker = worker;
    dial->callback = callback;
    dial->context = context;
    dial->host = host;
    if (tls)
        dial->tls = *tls;
    /* It may be exchanged while this one connects. */
    if (dial->tls.context)
        SSL_CTX_up_ref(dial->tls.context);
    dial->deadline_us = clock_now_us() + (uint64_t)timeout_ms * 1000;
    dial->connector = connector_start(worker, host, port, timeout_ms, on_dial_connected, dial);
    return dial;
}

static bool ask_permission(void *context, const struct socket_address *address)
{
    const struct dial *dial = context;

    return dial->permit(dial->context, address);
}

void dial_guard(struct dial *dial, connector_permit permit)
{
    dial->permit = permit;
    connector_guard(dial->connector, ask_permission);
}
