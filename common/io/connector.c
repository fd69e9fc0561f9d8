#include "io/connector.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/memory.h"
#include "io/congestion.h"
#include "io/timer.h"
#include "io/watch.h"

enum { NEXT_ATTEMPT_US = 250 * 1000 };

struct attempt {
    struct connector *connector;
    struct watch *connected;
    struct socket_address address;
    int fd; /* -1: not begun, or failed */
};

struct connector {
    struct worker *worker;
    connector_callback callback;
    connector_permit permit; /* NULL: all addresses are */
    void *context;
    const char *congestion_control; /* NULL: the system's */
    struct resolver_query *query;
    struct timer *deadline;
    struct timer *next;
    struct attempt attempts[RESOLVER_ADDRESSES_MAX];
    size_t count;
    size_t begun;
    size_t failed;
    const char *error;
};

static void attempt_end(struct attempt *attempt)
{
    watch_free(attempt->connected);
    attempt->connected = NULL;
    if (attempt->fd >= 0)
        close(attempt->fd);
    attempt->fd = -1;
}

void connector_cancel(struct connector *connector)
{
    if (!connector)
        return;
    resolver_cancel(connector->query);
    for (size_t i = 0; i < connector->begun; i++)
        attempt_end(&connector->attempts[i]);
    timer_free(connector->deadline);
    timer_free(connector->next);
    free(connector);
}

static void answer_connector(struct connector *connector, struct connector_result *result)
{
    connector_callback callback = connector->callback;
    void *context = connector->context;

    connector_cancel(connector);
    callback(context, result);
}

static void fail_connector(struct connector *connector, bool timed_out, bool name_failed,
                           const char *error)
{
    struct connector_result result = {
        .fd = -1, .timed_out = timed_out, .name_failed = name_failed, .error = error};

    answer_connector(connector, &result);
}

static void begin_next(struct connector *connector);

static void connector_attempt_failed(struct attempt *attempt, int error)
{
    struct connector *connector = attempt->connector;

    attempt_end(attempt);
    connector->failed++;
    connector->error = strerror(error);
    if (connector->begun < connector->count)
        begin_next(connector);
    else if (connector->failed == connector->count)
        fail_connector(connector, error == ETIMEDOUT, false, connector->error);
}

static void on_connector_connected(void *argument)
{
    struct attempt *attempt = argument;
    struct connector_result result = {.fd = attempt->fd, .address = attempt->address};
    int error = 0;
    socklen_t size = sizeof error;

    if (getsockopt(attempt->fd, SOL_SOCKET, SO_ERROR, &error, &size) != 0)
        error = errno;
    if (error != 0) {
        connector_attempt_failed(attempt, error);
        return;
    }
    attempt->fd = -1;
    socket_tune(result.fd);
    answer_connector(attempt->connector, &result);
}

static void begin_next(struct connector *connector)
{
    struct attempt *attempt = &connector->attempts[connector->begun++];

    attempt->fd = socket_new(attempt->address.storage.ss_family);
    if (attempt->fd < 0) {
        connector_attempt_failed(attempt, errno);
        return;
    }
    if (connector->congestion_control)
        congestion_choose(attempt->fd, connector->congestion_control);
    else
        congestion_unpace_loopback(attempt->fd, &attempt->address);
    if (connect(attempt->fd, (struct sockaddr *)&attempt->address.storage, attempt->address.size) !=
            0 &&
        errno != EINPROGRESS && errno != EINTR) {
        connector_attempt_failed(attempt, errno);
        return;
    }
    attempt->connected =
        watch_new(connector->worker, attempt->fd, WATCH_WRITE, on_connector_connected, attempt);
    watch_want(attempt->connected, true);
    if (connector->begun < connector->count)
        timer_start_us(connector->next, NEXT_ATTEMPT_US);
}

static void on_connector_next(void *argument)
{
    struct connector *connector = argument;

    if (connector->begun < connector->count)
        begin_next(connector);
}

static void on_connector_deadline(void *argument)
{
    struct connector *connector = argument;

    fail_connector(connector, true, connector->query != NULL, "no answer in time");
}

static void set_addresses(struct connector *connector, const struct socket_address *addresses,
                          size_t count)
{
    for (size_t i = 0; i < count; i++) {
        if (connector->permit && !connector->permit(connector->context, &addresses[i]))
            continue;
        connector->attempts[connector->count++] =
            (struct attempt){.connector = connector, .address = addresses[i], .fd = -1};
    }
}

static void on_connector_resolved(void *context, const struct resolver_result *result)
{
    struct connector *connector = context;

    connector->query = NULL;
    if (result->error) {
        fail_connector(connector, false, true, result->error);
        return;
    }
    set_addresses(connector, result->addresses, result->count);
    if (connector->count > 0)
        begin_next(connector);
    else
        answer_connector(connector,
                         &(struct connector_result){
                             .fd = -1, .forbidden = true, .error = "the address is forbidden"});
}

static struct connector *connector_new(struct worker *worker, unsigned timeout_ms,
                                       connector_callback callback, void *context)
{
    struct connector *connector = memory_new(sizeof *connector);

    connector->worker = worker;
    connector->callback = callback;
    connector->context = context;
    connector->deadline = timer_new(worker, on_connector_deadline, connector);
    connector->next = timer_new(worker, on_connector_next, connector);
    if (timeout_ms != RESOLVER_NO_TIMEOUT)
        timer_start_ms(connector->deadline, timeout_ms);
    return connector;
}

struct connector *connector_start(struct worker *worker, const char *host, uint16_t port,
                                  unsigned timeout_ms, connector_callback callback, void *context)
{
    struct connector *connector = connector_new(worker, timeout_ms, callback, context);

    connector->query =
        resolver_lookup(worker, host, port, timeout_ms, on_connector_resolved, connector);
    return connector;
}

void connector_guard(struct connector *connector, connector_permit permit)
{
    connector->permit = permit;
}

void connector_use_congestion_control(struct connector *connector, const char *name)
{
    connector->congestion_control = name;
}

struct connector *connector_start_known(struct worker *worker,
                                        const struct socket_address *addresses, size_t count,
                                        unsigned timeout_ms, connector_callback callback,
                                        void *context)
{
    struct connector *connector = connector_new(worker, timeout_ms, callback, context);

    set_addresses(connector, addresses, count);
    timer_fire(connector->next);
    return connector;
}
