#include "brokers/learner.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/memory.h"
#include "brokers/bootstrap.h"
#include "io/timer.h"
#include "io/watch.h"
#include "kafka/bootstrap.h"

enum { CORRELATION_ID = 1, FIRST_BUFFER = 4096 };

struct learner {
    struct cluster *cluster;
    struct login_account *account;
    enum kafka_endpoint_type type; /* of the nodes that are asked for */
    learner_callback callback;
    void *context;
    unsigned timeout_ms;
    uint64_t tried; /* a bit for each bootstrap broker whose answer did not do */
    size_t broker;  /* that is asked now */
    bool wants_login;
    bool login_failed;
    bool only_this; /* connection: no other broker is tried */
    struct bootstrap *bootstrap;
    struct transport *connection;
    struct watch *readable;
    struct timer *deadline; /* of the answer */
    uint8_t *response;
    size_t capacity;
    size_t size;
    char error[ADDRESS_TEXT_MAX + CLUSTER_FAILURE_MAX + 2];
};

static void close_connection(struct learner *learner)
{
    watch_free(learner->readable);
    timer_free(learner->deadline);
    learner->readable = NULL;
    learner->deadline = NULL;
    transport_free(learner->connection);
    learner->connection = NULL;
    learner->size = 0;
}

void learner_cancel(struct learner *learner)
{
    if (!learner)
        return;
    bootstrap_cancel(learner->bootstrap);
    close_connection(learner);
    login_account_release(learner->account);
    free(learner->response);
    free(learner);
}

static void finish_learner(struct learner *learner, const char *error)
{
    learner_callback callback = learner->callback;
    void *context = learner->context;
    char text[1024];
    const struct learner_result result = {.error = error ? text : NULL,
                                          .wants_login = learner->wants_login,
                                          .login = learner->login_failed};

    snprintf(text, sizeof text, "%s", error ? error : "");
    learner_cancel(learner);
    callback(context, &result);
}

static void try_next(struct learner *learner);

/* The connection stands, but the conversation on it failed. */
static void answer_failed(struct learner *learner, const char *why)
{
    const struct address *broker = &learner->cluster->settings->brokers[learner->broker];
    size_t count = learner->cluster->settings->count;
    char address[ADDRESS_TEXT_MAX];

    address_format(broker->host, broker->port, address);
    snprintf(learner->error, sizeof learner->error, "%s%s%.*s", learner->only_this ? "" : address,
             learner->only_this ? "" : ": ", CLUSTER_FAILURE_MAX, why);
    close_connection(learner);
    learner->tried |= (uint64_t)1 << learner->broker;
    if (!learner->only_this && learner->tried != UINT64_MAX >> (64 - count))
        try_next(learner);
    else
        finish_learner(learner, learner->error);
}

static void note_learned_node(void *context, int32_t node, const struct kafka_address *address)
{
    struct learner *learner = context;

    cluster_announce(learner->cluster, learner->type, node, address);
}

static void grow_response_room(struct learner *learner)
{
    size_t capacity = learner->capacity ? learner->capacity * 2 : FIRST_BUFFER;
    uint8_t *response = memory_grow(learner->response, capacity);

    learner->response = response;
    learner->capacity = capacity;
}

/* Reads what there is; false: the learner has gone on to something else. */
static bool read_some(struct learner *learner)
{
    char why[120];

    if (learner->size == learner->capacity)
        grow_response_room(learner);
    long got = transport_read(learner->connection, learner->response + learner->size,
                              learner->capacity - learner->size);
    if (got > 0)
        learner->size += (size_t)got;
    else if (got == TRANSPORT_ERROR)
        answer_failed(learner, transport_error(learner->connection));
    else if (got == TRANSPORT_EOF) {
        snprintf(why, sizeof why,
                 "the broker closed the connection after a %s request; it may require TLS or SASL",
                 kafka_bootstrap_api(learner->type));
        learner->wants_login = !login_account_logs_in(learner->account);
        answer_failed(learner, why);
    }
    return got > 0;
}

static void on_learner_readable(void *argument)
{
    struct learner *learner = argument;
    const char *reason = "";

    while (read_some(learner)) {
        switch (kafka_bootstrap_response(learner->type, learner->response, learner->size,
                                         CORRELATION_ID, note_learned_node, learner, &reason)) {
        case KAFKA_BOOTSTRAP_OK:
            finish_learner(learner, NULL);
            return;
        case KAFKA_BOOTSTRAP_MORE:
            break;
        default:
            answer_failed(learner, reason);
            return;
        }
    }
}

static void on_learner_deadline(void *argument)
{
    struct learner *learner = argument;
    char why[120];

    snprintf(why, sizeof why, "no answer to a %s request in time",
             kafka_bootstrap_api(learner->type));
    answer_failed(learner, why);
}

/* The connection stands: asks on it. A socket takes so few bytes at once, or it is broken or full
 * of what a client has sent before, which shows when no answer comes. */
static void ask_broker(struct learner *learner)
{
    const struct worker *worker = learner->cluster->worker;
    uint8_t request[KAFKA_BOOTSTRAP_REQUEST_MAX];
    size_t size = kafka_bootstrap_request(learner->type, request, CORRELATION_ID);

    if (transport_has_room(learner->connection) &&
        transport_commit(learner->connection, request, size) == 0)
        transport_flush(learner->connection);
    learner->readable = watch_new(worker, transport_fd(learner->connection), WATCH_READ,
                                  on_learner_readable, learner);
    learner->deadline = timer_new(worker, on_learner_deadline, learner);
    watch_want(learner->readable, true);
    timer_start_ms(learner->deadline, learner->timeout_ms);
    /* TLS may have read ahead what no event will announce. */
    if (transport_pending(learner->connection))
        watch_fire(learner->readable);
}

static void on_learner_connected(void *context, const struct bootstrap_result *result)
{
    struct learner *learner = context;

    learner->bootstrap = NULL;
    if (!result->transport) {
        learner->login_failed = result->login;
        /* What a broker has said is worth more than that the others cannot be asked. */
        finish_learner(learner, learner->error[0] ? learner->error : result->reason);
        return;
    }
    learner->broker = result->broker;
    learner->connection = result->transport;
    ask_broker(learner);
}

static void try_next(struct learner *learner)
{
    learner->bootstrap = bootstrap_start(learner->cluster, learner->account, learner->tried,
                                         learner->timeout_ms, on_learner_connected, learner);
}

static struct learner *learner_new(struct cluster *cluster, enum kafka_endpoint_type type,
                                   unsigned timeout_ms, learner_callback callback, void *context)
{
    struct learner *learner = memory_new(sizeof *learner);

    learner->cluster = cluster;
    learner->type = type;
    learner->callback = callback;
    learner->context = context;
    learner->timeout_ms = timeout_ms;
    return learner;
}

struct learner *learner_start(struct cluster *cluster, enum kafka_endpoint_type type,
                              struct login_account *account, unsigned timeout_ms,
                              learner_callback callback, void *context)
{
    struct learner *learner = learner_new(cluster, type, timeout_ms, callback, context);

    learner->account = account ? login_account_reference(account) : NULL;
    try_next(learner);
    return learner;
}

struct learner *learner_start_on(struct cluster *cluster, enum kafka_endpoint_type type,
                                 struct transport *connection, unsigned timeout_ms,
                                 learner_callback callback, void *context)
{
    struct learner *learner = learner_new(cluster, type, timeout_ms, callback, context);

    learner->only_this = true;
    learner->connection = connection;
    ask_broker(learner);
    return learner;
}
