/*
 * Finding a connection to what a stream asks for: a bootstrap broker that answers (bootstrap.h),
 * one node, or a raw target. Brokers have proven that they speak Kafka (broker_dial.h). A node that
 * is not in the address book is asked for once at the bootstrap brokers. Where these answer nobody
 * who has not logged in, the answer is a connection to one of them, on which the client may log in
 * and no more: the caller then asks again with that login.
 */
#pragma once

#include "broker_login/logins.h"
#include "brokers/cluster.h"
#include "mux/protocol.h"

struct upstream;

struct upstream_result {
    struct transport *transport; /* connected, the callback's; NULL: failed */
    enum mux_code code;
    uint64_t expires_us; /* on success: when the broker wants another login; 0: never */
    bool only_login;     /* to a bootstrap broker instead of the node: good for a login, no more */
    const char *reason;  /* on failure: a sentence with the address; only_login: why that */
    const char *address; /* on success: "broker1:9092" */
};

typedef void (*upstream_callback)(void *context, const struct upstream_result *result);

/* Each answers later, once, unless cancelled. account: to log in with, lives until then; NULL:
 * nobody logs in. */
struct upstream *upstream_bootstrap(struct cluster *cluster, struct login_account *account,
                                    unsigned timeout_ms, upstream_callback callback, void *context);
/* One of them and no other: broker is its place among the bootstrap brokers. */
struct upstream *upstream_bootstrap_broker(struct cluster *cluster, size_t broker,
                                           struct login_account *account, unsigned timeout_ms,
                                           upstream_callback callback, void *context);
struct upstream *upstream_node(struct cluster *cluster, enum kafka_endpoint_type type, int32_t node,
                               struct login_account *account, unsigned timeout_ms,
                               upstream_callback callback, void *context);
struct upstream *upstream_target(struct worker *worker, const struct address *address,
                                 unsigned timeout_ms, upstream_callback callback, void *context);
void upstream_cancel(struct upstream *upstream);
