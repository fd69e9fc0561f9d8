#include "learner.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "kafka/bootstrap.h"
#include "net/connector.h"

enum { CORRELATION_ID = 1, FIRST_BUFFER = 4096 };

struct learner {
    struct cluster *cluster;
    learner_callback callback;
    void *context;
    unsigned timeout_ms;
    size_t tried;
    struct connector *connector;
    struct event *readable;
    int fd;
    uint8_t *response;
    size_t capacity;
    size_t size;
    char error[200];
};

static void close_connection(struct learner *learner)
{
    if (learner->readable)
        event_free(learner->readable);
    learner->readable = NULL;
    if (learner->fd >= 0)
        close(learner->fd);
    learner->fd = -1;
    learner->size = 0;
}

void learner_cancel(struct learner *learner)
{
    if (!learner)
        return;
    connector_cancel(learner->connector);
    close_connection(learner);
    free(learner->response);
    free(learner);
}

static void finish(struct learner *learner, const char *error)
{
    learner_callback callback = learner->callback;
    void *context = learner->context;
    char text[sizeof learner->error];

    snprintf(text, sizeof text, "%s", error ? error : "");
    learner_cancel(learner);
    callback(context, error ? text : NULL);
}

static void try_next(struct learner *learner);

static void broker_failed(struct learner *learner, const char *why)
{
    const struct address_cluster *settings = learner->cluster->settings;
    const struct address *broker =
        &settings->brokers[(learner->cluster->preferred + learner->tried) % settings->count];

    close_connection(learner);
    snprintf(learner->error, sizeof learner->error, "%.120s:%u: %s", broker->host,
             (unsigned)broker->port, why);
    learner->tried++;
    if (learner->tried < settings->count)
        try_next(learner);
    else
        finish(learner, learner->error);
}

static void note_broker(void *context, int32_t node, const struct kafka_address *address)
{
    struct learner *learner = context;

    cluster_announce(learner->cluster, KAFKA_ENDPOINT_BROKER, node, address);
}

static void grow(struct learner *learner)
{
    size_t capacity = learner->capacity ? learner->capacity * 2 : FIRST_BUFFER;
    uint8_t *response = realloc(learner->response, capacity);

    if (!response)
        abort();
    learner->response = response;
    learner->capacity = capacity;
}

static void on_readable(evutil_socket_t fd, short what, void *argument)
{
    struct learner *learner = argument;
    const char *reason = "";

    if (what & EV_TIMEOUT) {
        broker_failed(learner, "no answer to a Metadata request in time");
        return;
    }
    if (learner->size == learner->capacity)
        grow(learner);
    ssize_t got =
        read((int)fd, learner->response + learner->size, learner->capacity - learner->size);
    if (got < 0 && (errno == EAGAIN || errno == EINTR))
        return;
    if (got <= 0) {
        broker_failed(learner,
                      "the broker closed the connection upon a Metadata request; it may want "
                      "TLS or SASL");
        return;
    }
    learner->size += (size_t)got;
    switch (kafka_bootstrap_response(learner->response, learner->size, CORRELATION_ID, note_broker,
                                     learner, &reason)) {
    case KAFKA_BOOTSTRAP_OK:
        finish(learner, NULL);
        break;
    case KAFKA_BOOTSTRAP_MORE:
        break;
    default:
        broker_failed(learner, reason);
    }
}

static void on_connected(void *context, const struct connector_result *result)
{
    struct learner *learner = context;
    const struct timeval timeout = {learner->timeout_ms / 1000, learner->timeout_ms % 1000 * 1000};
    uint8_t request[KAFKA_BOOTSTRAP_REQUEST_MAX];
    size_t size = kafka_bootstrap_request(request, CORRELATION_ID);

    learner->connector = NULL;
    if (result->fd < 0) {
        broker_failed(learner, result->error);
        return;
    }
    learner->fd = result->fd;
    /* A fresh socket takes so few bytes at once, or it is broken. */
    if (write(learner->fd, request, size) != (ssize_t)size) {
        broker_failed(learner, strerror(errno));
        return;
    }
    learner->readable = event_new(learner->cluster->worker->base, learner->fd, EV_READ | EV_PERSIST,
                                  on_readable, learner);
    if (!learner->readable)
        abort();
    event_add(learner->readable, &timeout);
}

static void try_next(struct learner *learner)
{
    const struct address_cluster *settings = learner->cluster->settings;
    const struct address *broker =
        &settings->brokers[(learner->cluster->preferred + learner->tried) % settings->count];

    learner->connector = connector_start(learner->cluster->worker, broker->host, broker->port,
                                         learner->timeout_ms, on_connected, learner);
}

struct learner *learner_start(struct cluster *cluster, unsigned timeout_ms,
                              learner_callback callback, void *context)
{
    struct learner *learner = calloc(1, sizeof *learner);

    if (!learner)
        abort();
    learner->cluster = cluster;
    learner->callback = callback;
    learner->context = context;
    learner->timeout_ms = timeout_ms;
    learner->fd = -1;
    try_next(learner);
    return learner;
}
