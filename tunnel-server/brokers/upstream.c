#include "brokers/upstream.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/memory.h"
#include "brokers/bootstrap.h"
#include "brokers/broker_dial.h"
#include "brokers/learner.h"

struct upstream {
    struct worker *worker;
    struct cluster *cluster; /* NULL: a raw target */
    struct login_account *account;
    upstream_callback callback;
    void *context;
    unsigned timeout_ms;
    uint64_t without; /* bootstrap brokers that do not do, a bit for each */
    bool only_login;
    enum kafka_endpoint_type type; /* of the node */
    int32_t node;
    struct address address; /* of the node or target */
    struct bootstrap *bootstrap;
    struct broker_dial *broker;
    struct dial *target;
    struct learner *learner;
    char why[1024]; /* the node is not known */
};

void upstream_cancel(struct upstream *upstream)
{
    if (!upstream)
        return;
    bootstrap_cancel(upstream->bootstrap);
    broker_dial_cancel(upstream->broker);
    dial_cancel(upstream->target);
    learner_cancel(upstream->learner);
    free(upstream);
}

static void answer_upstream(struct upstream *upstream, const struct upstream_result *result)
{
    upstream_callback callback = upstream->callback;

    callback(upstream->context, result);
    free(upstream);
}

static void fail_upstream(struct upstream *upstream, enum mux_code code, const char *reason)
{
    answer_upstream(upstream, &(struct upstream_result){.code = code, .reason = reason});
}

/* Connected, to that address. */
static void hand_out(struct upstream *upstream, struct transport *transport,
                     const struct address *to, uint64_t expires_us)
{
    char address[ADDRESS_TEXT_MAX];

    address_format(to->host, to->port, address);
    answer_upstream(upstream, &(struct upstream_result){.transport = transport,
                                                        .expires_us = expires_us,
                                                        .only_login = upstream->only_login,
                                                        .code = MUX_CODE_UNKNOWN_NODE,
                                                        .reason = upstream->why,
                                                        .address = address});
}

static enum mux_code code_of(enum broker_state state, bool timed_out, bool login)
{
    return login                     ? MUX_CODE_LOGIN
           : state == BROKER_FOREIGN ? MUX_CODE_KAFKA_PROTOCOL
           : timed_out               ? MUX_CODE_UPSTREAM_TIMEOUT
                                     : MUX_CODE_UPSTREAM_UNREACHABLE;
}

/* ---- any bootstrap broker */

static void on_bootstrap(void *context, const struct bootstrap_result *result)
{
    struct upstream *upstream = context;

    upstream->bootstrap = NULL;
    if (!result->transport)
        fail_upstream(upstream, code_of(result->state, result->timed_out, result->login),
                      result->reason);
    else
        hand_out(upstream, result->transport, &upstream->cluster->settings->brokers[result->broker],
                 result->expires_us);
}

static void try_bootstrap(struct upstream *upstream)
{
    upstream->bootstrap = bootstrap_start(upstream->cluster, upstream->account, upstream->without,
                                          upstream->timeout_ms, on_bootstrap, upstream);
}

/* ---- a node */

static void note_forbidden(const struct upstream *upstream, const char *address,
                           const struct broker_dial_result *result)
{
    log_warning(upstream->worker->log, "node_forbidden",
                "A node that the cluster has announced is at an address that is not allowed; "
                "nothing was sent there",
                log_str("cluster", upstream->cluster->settings->name),
                log_i64("node", upstream->node), log_str("address", address),
                log_str("rule", result->rule), log_str("reason", result->why));
}

static void on_node(void *context, const struct broker_dial_result *result)
{
    struct upstream *upstream = context;
    char address[ADDRESS_TEXT_MAX];
    char reason[ADDRESS_TEXT_MAX + CLUSTER_FAILURE_MAX + 2];

    upstream->broker = NULL;
    if (result->state == BROKER_UP) {
        hand_out(upstream, result->transport, &upstream->address, result->expires_us);
        return;
    }
    address_format(upstream->address.host, upstream->address.port, address);
    if (result->forbidden)
        note_forbidden(upstream, address, result);
    snprintf(reason, sizeof reason, "%s: %s", address, result->why);
    fail_upstream(upstream, code_of(result->state, result->timed_out, result->login), reason);
}

static void try_node(struct upstream *upstream, const struct address *address)
{
    upstream->address = *address;
    upstream->broker =
        broker_dial_announced(upstream->cluster, &upstream->address, upstream->account,
                              upstream->timeout_ms, on_node, upstream);
}

static void on_upstream_learned(void *context, const struct learner_result *result)
{
    struct upstream *upstream = context;
    const char *error = result->error;
    struct address known;

    upstream->learner = NULL;
    if (cluster_node(upstream->cluster, upstream->type, upstream->node, &known)) {
        try_node(upstream, &known);
        return;
    }
    snprintf(upstream->why, sizeof upstream->why, "the cluster has not announced a %s %d%s%s",
             upstream->type == KAFKA_ENDPOINT_CONTROLLER ? "controller" : "broker",
             (int)upstream->node, error ? ", and asking it failed: " : "", error ? error : "");
    if (result->wants_login) {
        /* The client can tell the brokers who asks. */
        upstream->only_login = true;
        try_bootstrap(upstream);
        return;
    }
    fail_upstream(upstream, result->login ? MUX_CODE_LOGIN : MUX_CODE_UNKNOWN_NODE, upstream->why);
}

/* ---- a raw target */

static void on_target(void *context, const struct dial_result *result)
{
    struct upstream *upstream = context;
    char address[ADDRESS_TEXT_MAX];
    char why[CLUSTER_FAILURE_MAX];
    char reason[ADDRESS_TEXT_MAX + CLUSTER_FAILURE_MAX + 2];

    upstream->target = NULL;
    if (result->failure == DIAL_FAILURE_NONE) {
        hand_out(upstream, result->transport, &upstream->address, 0);
        return;
    }
    cluster_describe_failure(result, why);
    address_format(upstream->address.host, upstream->address.port, address);
    snprintf(reason, sizeof reason, "%s: %s", address, why);
    fail_upstream(upstream, code_of(BROKER_UNREACHABLE, result->timed_out, false), reason);
}

/* ---- which of them */

static struct upstream *upstream_new(struct worker *worker, struct cluster *cluster,
                                     struct login_account *account, unsigned timeout_ms,
                                     upstream_callback callback, void *context)
{
    struct upstream *upstream = memory_new(sizeof *upstream);

    upstream->worker = worker;
    upstream->cluster = cluster;
    upstream->account = account;
    upstream->timeout_ms = timeout_ms;
    upstream->callback = callback;
    upstream->context = context;
    return upstream;
}

struct upstream *upstream_bootstrap(struct cluster *cluster, struct login_account *account,
                                    unsigned timeout_ms, upstream_callback callback, void *context)
{
    struct upstream *upstream =
        upstream_new(cluster->worker, cluster, account, timeout_ms, callback, context);

    try_bootstrap(upstream);
    return upstream;
}

struct upstream *upstream_bootstrap_broker(struct cluster *cluster, size_t broker,
                                           struct login_account *account, unsigned timeout_ms,
                                           upstream_callback callback, void *context)
{
    struct upstream *upstream =
        upstream_new(cluster->worker, cluster, account, timeout_ms, callback, context);

    upstream->without = ~((uint64_t)1 << broker);
    try_bootstrap(upstream);
    return upstream;
}

struct upstream *upstream_node(struct cluster *cluster, enum kafka_endpoint_type type, int32_t node,
                               struct login_account *account, unsigned timeout_ms,
                               upstream_callback callback, void *context)
{
    struct upstream *upstream =
        upstream_new(cluster->worker, cluster, account, timeout_ms, callback, context);
    struct address known;

    upstream->type = type;
    upstream->node = node;
    if (cluster_node(cluster, type, node, &known))
        try_node(upstream, &known);
    else
        upstream->learner =
            learner_start(cluster, type, account, timeout_ms, on_upstream_learned, upstream);
    return upstream;
}

struct upstream *upstream_target(struct worker *worker, const struct address *address,
                                 unsigned timeout_ms, upstream_callback callback, void *context)
{
    struct upstream *upstream = upstream_new(worker, NULL, NULL, timeout_ms, callback, context);

    upstream->address = *address;
    upstream->target = dial_start(worker, upstream->address.host, upstream->address.port, NULL,
                                  timeout_ms, on_target, upstream);
    return upstream;
}
