/*
 * A named Kafka cluster as the server knows it: bootstrap brokers and how they are, and the address
 * book, which says where a node lives now. The book is filled by every response that passes, and by
 * a question of our own when a client asks for a node that nobody has announced yet (after a
 * restart of the server, for example). When it is full, nodes that no response has named for ten
 * minutes make way.
 */
#pragma once

#include "base/idmap.h"
#include "base/json.h"
#include "base/list.h"
#include "brokers/health.h"
#include "config/address_rules.h"
#include "io/dial.h"
#include "kafka/filter.h"

/* How to come to its brokers; what is pointed at must live as long as the cluster. */
struct cluster_access {
    struct dial_tls tls;
    const struct address_rules *rules; /* for brokers that are announced */
    bool check;                        /* each connection must prove that it speaks Kafka */
};

struct cluster_book;

/* A worker's view of a cluster; what is known of it is in the book, which the views of all workers
 * share. */
struct cluster {
    struct worker *worker;
    const struct address_cluster *settings;
    struct cluster_access access;
    struct cluster_book *book;
    bool owns_book; /* it is the first view */
    /* A bootstrap broker should be looked at now; NULL: nobody does that. */
    void (*doubted)(void *context, size_t broker);
    void *context;
};

#define CLUSTER_NODES_MAX 10000
/* What a full book of nodes forgets: those that no response has named for so long. */
#define CLUSTER_FORGET_AFTER_US (600 * UINT64_C(1000000))
#define CLUSTER_FAILURE_MAX HEALTH_WHY_MAX

/* settings must live as long. */
void cluster_init(struct cluster *cluster, struct worker *worker,
                  const struct address_cluster *settings, struct cluster_access access);
/* Another worker's view of the cluster that first is a view of. */
void cluster_view(struct cluster *cluster, struct worker *worker, const struct cluster *first);
/* The first view after all others. */
void cluster_clear(struct cluster *cluster);
/* What a bootstrap broker did, by its index. */
void cluster_broker_answered(struct cluster *cluster, size_t broker);
void cluster_broker_failed(struct cluster *cluster, size_t broker, enum broker_state state,
                           const char *why);
/* Others were faster: it is the last choice until it has answered, and is asked at once. */
void cluster_broker_doubted(struct cluster *cluster, size_t broker);
/* A client is connected to it: it is the first one for the next. */
void cluster_broker_preferred(struct cluster *cluster, size_t broker);
/* It is on loopback: so may be the nodes. */
void cluster_broker_on_loopback(struct cluster *cluster);
/* How the bootstrap brokers are now, and whether a bootstrap broker is on loopback. */
struct health cluster_health(const struct cluster *cluster);
bool cluster_is_on_loopback(const struct cluster *cluster);
/* A bootstrap broker is up; the log says so, or that none is. */
bool cluster_is_reachable(const struct cluster *cluster);
/* Whether that is the address of a bootstrap broker, to the letter. */
bool cluster_is_bootstrap(const struct cluster *cluster, const struct address *address);
/* Where a node is now. false: it was not announced. */
bool cluster_node(const struct cluster *cluster, enum kafka_endpoint_type type, int32_t node,
                  struct address *address);
/* The ids of up to max nodes that were announced, in no order. Returns how many. */
size_t cluster_node_ids(const struct cluster *cluster, enum kafka_endpoint_type type, int32_t *ids,
                        size_t max);
/* A response announced the node's address. false: it is not in the book, which is full, or no host
 * name is that long. */
bool cluster_announce(struct cluster *cluster, enum kafka_endpoint_type type, int32_t node,
                      const struct kafka_address *address);
/* A response announced a node that no client can be sent to: the log says so once for each. */
void cluster_announce_unusable(struct cluster *cluster, enum kafka_endpoint_type type, int32_t node,
                               const struct kafka_address *address);
/* Brokers and controllers that the cluster has announced. */
size_t cluster_node_count(const struct cluster *cluster);
/* An object of /status.json: name, reachability, bootstrap brokers, nodes. */
void cluster_write(const struct cluster *cluster, struct json_writer *json);
/* What to do about a TLS handshake that failed. */
const char *cluster_tls_advice(enum tls_failure failure);
/* Appends to text, of size bytes, a line for each bootstrap broker that is not up:
 * "kafka: broker1:9092 is hanging: why"; for strangers "kafka: bootstrap broker 1 of 3 is hanging".
 */
void cluster_tell_failing(const struct cluster *cluster, bool for_strangers, char *text,
                          size_t size);
/* "broker1:9092 is hanging: why", for people. false: that bootstrap broker is up, or was not tried
 * yet. */
#define CLUSTER_TROUBLE_MAX (ADDRESS_TEXT_MAX + 32 + HEALTH_WHY_MAX)
bool cluster_tell_trouble(const struct cluster *cluster, size_t broker,
                          char text[CLUSTER_TROUBLE_MAX]);
/* A sentence: why a broker could not be connected to, and what to do. */
void cluster_describe_failure(const struct dial_result *result, char text[CLUSTER_FAILURE_MAX]);
