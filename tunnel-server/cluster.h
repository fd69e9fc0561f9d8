/*
 * A named Kafka cluster as the server knows it: bootstrap brokers, and the address book, which says
 * where a node lives now. The book is filled by every response that passes, and by a question of
 * our own when a client asks for a node that nobody has announced yet (after a restart of the
 * server, for example).
 */
#pragma once

#include "base/idmap.h"
#include "base/json.h"
#include "config/address.h"
#include "kafka/filter.h"
#include "net/dial.h"

struct cluster {
    struct worker *worker;
    const struct address_cluster *settings;
    struct dial_tls tls;   /* how its brokers are spoken to */
    size_t preferred;      /* the bootstrap broker that answered last */
    struct idmap nodes[3]; /* by enum kafka_endpoint_type: struct address * */
    bool reachable;        /* by what was tried last */
    bool probed;           /* reachable is the result of a try */
    bool full;             /* the log says so: the address book takes no further node */
};

#define CLUSTER_NODES_MAX 10000
#define CLUSTER_FAILURE_MAX 300

/* settings and what tls points at must live as long. */
void cluster_init(struct cluster *cluster, struct worker *worker,
                  const struct address_cluster *settings, struct dial_tls tls);
void cluster_clear(struct cluster *cluster);
/* NULL: not announced. */
const struct address *cluster_node(const struct cluster *cluster, enum kafka_endpoint_type type,
                                   int32_t node);
/* A response announced the node's address. false: it is not in the book, which is full, or no host
 * name is that long. */
bool cluster_announce(struct cluster *cluster, enum kafka_endpoint_type type, int32_t node,
                      const struct kafka_address *address);
/* Brokers and controllers that the cluster has announced. */
size_t cluster_node_count(const struct cluster *cluster);
/* An object of /status.json: name, reachability, bootstrap brokers, nodes. */
void cluster_write(const struct cluster *cluster, struct json_writer *json);
/* What to do about a TLS handshake that failed. */
const char *cluster_tls_advice(enum tls_failure failure);
/* A sentence: why a broker could not be connected to, and what to do. */
void cluster_describe_failure(const struct dial_result *result, char text[CLUSTER_FAILURE_MAX]);
