#include "upstream.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "learner.h"

struct upstream {
    struct worker *worker;
    struct cluster *cluster; /* NULL: a raw target */
    upstream_callback callback;
    void *context;
    unsigned timeout_ms;
    bool any_broker;
    bool only_login;
    enum kafka_endpoint_type type; /* of the node */
    int32_t node;
    size_t tried;
    struct address address; /* being tried */
    struct dial *dial;
    struct learner *learner;
    char failures[1024];           /* of many brokers the first ones */
    char why[CLUSTER_FAILURE_MAX]; /* the last of them; "" when it did not fit */
};

void upstream_close(const struct upstream_result *result)
{
    transport_free(result->transport);
    if (result->fd >= 0)
        close(result->fd);
}

void upstream_cancel(struct upstream *upstream)
{
    if (!upstream)
        return;
    dial_cancel(upstream->dial);
    learner_cancel(upstream->learner);
    free(upstream);
}

static void answer(struct upstream *upstream, const struct upstream_result *result)
{
    upstream_callback callback = upstream->callback;

    callback(upstream->context, result);
    free(upstream);
}

static void fail(struct upstream *upstream, enum mux_code code, const char *reason)
{
    answer(upstream, &(struct upstream_result){.fd = -1, .code = code, .reason = reason});
}

static void try_address(struct upstream *upstream);

static void try_broker(struct upstream *upstream)
{
    const struct address_cluster *settings = upstream->cluster->settings;
    size_t index = (upstream->cluster->preferred + upstream->tried) % settings->count;

    upstream->address = settings->brokers[index];
    try_address(upstream);
}

/* Appends "broker1:9092: why"; brokers that fail alike in turn share one sentence. */
static void note_failure(struct upstream *upstream, const struct dial_result *result)
{
    char address[ADDRESS_TEXT_MAX];
    char why[CLUSTER_FAILURE_MAX];
    char *end = upstream->failures + strlen(upstream->failures);
    const char *separator = end > upstream->failures ? "; " : "";
    size_t alike = strlen(upstream->why);

    cluster_describe_failure(result, why);
    if (alike > 0 && strcmp(why, upstream->why) == 0) {
        end -= alike + strlen(": ");
        separator = ", ";
    }
    size_t room = (size_t)(upstream->failures + sizeof upstream->failures - end);
    address_format(upstream->address.host, upstream->address.port, address);
    int size = snprintf(end, room, "%s%s: %s", separator, address, why);
    snprintf(upstream->why, sizeof upstream->why, "%s", (size_t)size < room ? why : "");
}

static void connected(struct upstream *upstream, const struct dial_result *result)
{
    char address[ADDRESS_TEXT_MAX];

    address_format(upstream->address.host, upstream->address.port, address);
    if (upstream->any_broker) {
        size_t count = upstream->cluster->settings->count;
        upstream->cluster->preferred = (upstream->cluster->preferred + upstream->tried) % count;
    }
    if (upstream->cluster)
        upstream->cluster->reachable = true;
    answer(upstream, &(struct upstream_result){.fd = result->fd,
                                               .transport = result->transport,
                                               .only_login = upstream->only_login,
                                               .code = MUX_CODE_UNKNOWN_NODE,
                                               .reason = upstream->failures,
                                               .address = address});
}

static void on_dialled(void *context, const struct dial_result *result)
{
    struct upstream *upstream = context;

    upstream->dial = NULL;
    if (result->failure == DIAL_FAILURE_NONE) {
        connected(upstream, result);
        return;
    }
    note_failure(upstream, result);
    upstream->tried++;
    if (upstream->any_broker && upstream->tried < upstream->cluster->settings->count) {
        try_broker(upstream);
        return;
    }
    if (upstream->any_broker)
        upstream->cluster->reachable = false;
    fail(upstream, result->timed_out ? MUX_CODE_UPSTREAM_TIMEOUT : MUX_CODE_UPSTREAM_UNREACHABLE,
         upstream->failures);
}

static void try_address(struct upstream *upstream)
{
    upstream->dial = dial_start(upstream->worker, upstream->address.host, upstream->address.port,
                                upstream->cluster ? &upstream->cluster->tls : NULL,
                                upstream->timeout_ms, on_dialled, upstream);
}

static void on_learned(void *context, const char *error, bool wants_login)
{
    struct upstream *upstream = context;
    const struct address *known = cluster_node(upstream->cluster, upstream->type, upstream->node);

    upstream->learner = NULL;
    if (known) {
        upstream->address = *known;
        try_address(upstream);
        return;
    }
    snprintf(upstream->failures, sizeof upstream->failures,
             "the cluster has not announced a %s %d%s%s",
             upstream->type == KAFKA_ENDPOINT_CONTROLLER ? "controller" : "broker",
             (int)upstream->node, error ? ", and asking it failed: " : "", error ? error : "");
    if (wants_login) {
        /* The client can tell the brokers who asks. */
        upstream->any_broker = upstream->only_login = true;
        try_broker(upstream);
        return;
    }
    fail(upstream, MUX_CODE_UNKNOWN_NODE, upstream->failures);
}

static struct upstream *upstream_new(struct worker *worker, struct cluster *cluster,
                                     unsigned timeout_ms, upstream_callback callback, void *context)
{
    struct upstream *upstream = calloc(1, sizeof *upstream);

    if (!upstream)
        abort();
    upstream->worker = worker;
    upstream->cluster = cluster;
    upstream->timeout_ms = timeout_ms;
    upstream->callback = callback;
    upstream->context = context;
    return upstream;
}

struct upstream *upstream_bootstrap(struct cluster *cluster, unsigned timeout_ms,
                                    upstream_callback callback, void *context)
{
    struct upstream *upstream =
        upstream_new(cluster->worker, cluster, timeout_ms, callback, context);

    upstream->any_broker = true;
    try_broker(upstream);
    return upstream;
}

struct upstream *upstream_node(struct cluster *cluster, enum kafka_endpoint_type type, int32_t node,
                               unsigned timeout_ms, upstream_callback callback, void *context)
{
    struct upstream *upstream =
        upstream_new(cluster->worker, cluster, timeout_ms, callback, context);
    const struct address *known = cluster_node(cluster, type, node);

    upstream->type = type;
    upstream->node = node;
    if (known) {
        upstream->address = *known;
        try_address(upstream);
    } else {
        upstream->learner = learner_start(cluster, type, timeout_ms, on_learned, upstream);
    }
    return upstream;
}

struct upstream *upstream_target(struct worker *worker, const struct address *address,
                                 unsigned timeout_ms, upstream_callback callback, void *context)
{
    struct upstream *upstream = upstream_new(worker, NULL, timeout_ms, callback, context);

    upstream->address = *address;
    try_address(upstream);
    return upstream;
}
