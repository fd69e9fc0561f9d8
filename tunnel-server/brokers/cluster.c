#include "brokers/cluster.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/memory.h"
#include "base/printable.h"
#include "brokers/failures.h"
#include "io/clock.h"

enum {
    NODES_SHOWN = 1000,
    UNUSABLE_TOLD = 100, /* of a cluster */
};

/* One of the book. */
struct cluster_node {
    struct list recent; /* in cluster->book->recent */
    struct address address;
    uint64_t announced_us;
    int32_t id;
};

/* What is known, at all workers. */
struct cluster_book {
    pthread_mutex_t lock; /* of all that follows; the log's lock is taken inside it */
    struct health health;
    struct idmap nodes[3]; /* by enum kafka_endpoint_type: struct cluster_node * */
    struct list recent[3]; /* the same, those announced longest ago first */
    struct idmap unusable; /* ids of nodes that the log has told of */
    bool reachable;        /* a bootstrap broker is up; the log says so, or that none is */
    bool probed;           /* reachable is the result of a try */
    bool on_loopback;      /* a bootstrap broker is: its nodes may be */
    bool full;             /* the log says so: the address book takes no further node */
};

void cluster_init(struct cluster *cluster, struct worker *worker,
                  const struct address_cluster *settings, struct cluster_access access)
{
    struct cluster_book *book = memory_new(sizeof *book);

    memset(cluster, 0, sizeof *cluster);
    cluster->worker = worker;
    cluster->settings = settings;
    cluster->access = access;
    cluster->book = book;
    cluster->owns_book = true;
    pthread_mutex_init(&book->lock, NULL);
    health_init(&book->health, settings->count);
    for (size_t i = 0; i < 3; i++) {
        idmap_init(&book->nodes[i], &worker->hash_key);
        list_init(&book->recent[i]);
    }
    idmap_init(&book->unusable, &worker->hash_key);
}

void cluster_view(struct cluster *cluster, struct worker *worker, const struct cluster *first)
{
    *cluster = (struct cluster){.worker = worker,
                                .settings = first->settings,
                                .access = first->access,
                                .book = first->book};
}

static void book_free(struct cluster_book *book)
{
    for (size_t i = 0; i < 3; i++) {
        struct cluster_node *node;
        for (size_t at = 0; (node = idmap_next(&book->nodes[i], &at));)
            free(node);
        idmap_clear(&book->nodes[i]);
    }
    idmap_clear(&book->unusable);
    pthread_mutex_destroy(&book->lock);
    free(book);
}

void cluster_clear(struct cluster *cluster)
{
    if (cluster->owns_book)
        book_free(cluster->book);
    cluster->book = NULL;
}

/* The book is also read through views that do not change it. */
static struct cluster_book *lock_book(const struct cluster *cluster)
{
    pthread_mutex_lock(&cluster->book->lock);
    return cluster->book;
}

static void unlock_book(const struct cluster *cluster)
{
    pthread_mutex_unlock(&cluster->book->lock);
}

/* ---- bootstrap brokers */

static void format_bootstrap(const struct cluster *cluster, size_t broker,
                             char text[ADDRESS_TEXT_MAX])
{
    const struct address *address = &cluster->settings->brokers[broker];

    address_format(address->host, address->port, text);
}

/* All of them were tried, and none is up. */
static void note_unreachable(struct cluster *cluster)
{
    struct failures failures = {.count = 0};

    for (size_t i = 0; i < cluster->book->health.count; i++)
        failures_add(&failures, &cluster->settings->brokers[i],
                     cluster->book->health.brokers[i].why);
    log_warning(cluster->worker->log, "cluster_unreachable",
                "No bootstrap broker of the cluster answers; are the addresses right, and are the "
                "brokers running?",
                log_str("cluster", cluster->settings->name), log_str("reason", failures.text));
}

/* A broker has changed: the cluster may have. */
static void update_reachability(struct cluster *cluster, size_t broker)
{
    char address[ADDRESS_TEXT_MAX];
    bool up = health_any_up(&cluster->book->health);
    bool known = up || health_is_complete(&cluster->book->health);

    if (!known || (cluster->book->probed && up == cluster->book->reachable))
        return;
    cluster->book->reachable = up;
    cluster->book->probed = true;
    if (!up) {
        note_unreachable(cluster);
        return;
    }
    format_bootstrap(cluster, broker, address);
    log_info(cluster->worker->log, "cluster_reachable", "A broker of the cluster answers",
             log_str("cluster", cluster->settings->name), log_str("address", address));
}

/* The lock is held. */
static void note_broker_answer(struct cluster *cluster, size_t broker)
{
    char address[ADDRESS_TEXT_MAX];
    enum broker_state before = health_answered(&cluster->book->health, broker, clock_now_us());

    if (before == BROKER_UP)
        return;
    format_bootstrap(cluster, broker, address);
    if (before != BROKER_UNTRIED)
        log_info(cluster->worker->log, "broker_back", "A bootstrap broker answers again",
                 log_str("cluster", cluster->settings->name), log_str("address", address),
                 log_str("was", broker_state_name(before)));
    update_reachability(cluster, broker);
}

void cluster_broker_answered(struct cluster *cluster, size_t broker)
{
    lock_book(cluster);
    note_broker_answer(cluster, broker);
    unlock_book(cluster);
}

/* The lock is held. */
static void note_broker_failure(struct cluster *cluster, size_t broker, enum broker_state state,
                                const char *why)
{
    char address[ADDRESS_TEXT_MAX];
    enum broker_state before =
        health_failed(&cluster->book->health, broker, state, why, clock_now_us());

    if (before == state)
        return;
    format_bootstrap(cluster, broker, address);
    const struct log_field fields[] = {log_str("cluster", cluster->settings->name),
                                       log_str("address", address), log_str("reason", why)};
    if (state == BROKER_HANGING)
        log_event(cluster->worker->log, LOG_LEVEL_WARNING, "broker_hangs",
                  "A bootstrap broker accepts connections but does not answer; trying others",
                  fields, 3);
    else
        log_event(cluster->worker->log, LOG_LEVEL_INFO, "broker_down",
                  "A bootstrap broker cannot be used", fields, 3);
    update_reachability(cluster, broker);
}

void cluster_broker_failed(struct cluster *cluster, size_t broker, enum broker_state state,
                           const char *why)
{
    lock_book(cluster);
    note_broker_failure(cluster, broker, state, why);
    unlock_book(cluster);
}

void cluster_broker_preferred(struct cluster *cluster, size_t broker)
{
    health_prefer(&lock_book(cluster)->health, broker);
    unlock_book(cluster);
}

void cluster_broker_on_loopback(struct cluster *cluster)
{
    lock_book(cluster)->on_loopback = true;
    unlock_book(cluster);
}

bool cluster_is_on_loopback(const struct cluster *cluster)
{
    bool on_loopback = lock_book(cluster)->on_loopback;

    unlock_book(cluster);
    return on_loopback;
}

bool cluster_is_reachable(const struct cluster *cluster)
{
    bool reachable = lock_book(cluster)->reachable;

    unlock_book(cluster);
    return reachable;
}

struct health cluster_health(const struct cluster *cluster)
{
    const struct health health = lock_book(cluster)->health;

    unlock_book(cluster);
    return health;
}

void cluster_broker_doubted(struct cluster *cluster, size_t broker)
{
    health_doubt(&lock_book(cluster)->health, broker);
    unlock_book(cluster);
    if (cluster->doubted)
        cluster->doubted(cluster->context, broker);
}

bool cluster_is_bootstrap(const struct cluster *cluster, const struct address *address)
{
    for (size_t i = 0; i < cluster->settings->count; i++) {
        const struct address *broker = &cluster->settings->brokers[i];
        if (broker->port == address->port && address_same_host(broker->host, address->host))
            return true;
    }
    return false;
}

/* The lock is held. */
static void describe_state(const struct cluster *cluster, size_t broker,
                           char text[CLUSTER_TROUBLE_MAX])
{
    const struct broker_health *health = &cluster->book->health.brokers[broker];
    char address[ADDRESS_TEXT_MAX];
    char why[HEALTH_WHY_MAX];

    format_bootstrap(cluster, broker, address);
    printable(health->why, strlen(health->why), why, sizeof why);
    snprintf(text, CLUSTER_TROUBLE_MAX, "%s is %s%s%s", address, broker_state_name(health->state),
             why[0] ? ": " : "", why);
}

bool cluster_tell_trouble(const struct cluster *cluster, size_t broker,
                          char text[CLUSTER_TROUBLE_MAX])
{
    enum broker_state state = lock_book(cluster)->health.brokers[broker].state;
    bool troubled = state != BROKER_UP && state != BROKER_UNTRIED;

    if (troubled)
        describe_state(cluster, broker, text);
    unlock_book(cluster);
    return troubled;
}

/* The lock is held. */
static void list_failing(const struct cluster *cluster, bool for_strangers, char *text, size_t size)
{
    const char *name = cluster->settings->name;

    for (size_t i = 0; i < cluster->book->health.count; i++) {
        enum broker_state state = cluster->book->health.brokers[i].state;
        size_t fill = strlen(text);
        char what[CLUSTER_TROUBLE_MAX];
        if (state == BROKER_UP)
            continue;
        describe_state(cluster, i, what);
        int line = for_strangers ? snprintf(text + fill, size - fill,
                                            "%s: bootstrap broker %zu of %zu is %s\n", name, i + 1,
                                            cluster->book->health.count, broker_state_name(state))
                                 : snprintf(text + fill, size - fill, "%s: %s\n", name, what);
        if ((size_t)line >= size - fill) {
            text[fill] = '\0'; /* whole lines only */
            return;
        }
    }
}

void cluster_tell_failing(const struct cluster *cluster, bool for_strangers, char *text,
                          size_t size)
{
    lock_book(cluster);
    list_failing(cluster, for_strangers, text, size);
    unlock_book(cluster);
}

/* ---- the address book */

bool cluster_node(const struct cluster *cluster, enum kafka_endpoint_type type, int32_t node,
                  struct address *address)
{
    const struct cluster_node *known = idmap_get(&lock_book(cluster)->nodes[type], (uint32_t)node);

    if (known)
        *address = known->address;
    unlock_book(cluster);
    return known != NULL;
}

size_t cluster_node_ids(const struct cluster *cluster, enum kafka_endpoint_type type, int32_t *ids,
                        size_t max)
{
    const struct idmap *map = &lock_book(cluster)->nodes[type];
    const struct cluster_node *node;
    size_t count = 0;

    for (size_t at = 0; count < max && (node = idmap_next(map, &at));)
        ids[count++] = node->id;
    unlock_book(cluster);
    return count;
}

static void note_move(const struct cluster *cluster, int32_t node, const struct address *from,
                      const struct address *to)
{
    char before[ADDRESS_TEXT_MAX];
    char now[ADDRESS_TEXT_MAX];

    address_format(from->host, from->port, before);
    address_format(to->host, to->port, now);
    log_info(cluster->worker->log, "node_moved", "The address of a node has changed",
             log_str("cluster", cluster->settings->name), log_i64("node", node),
             log_str("from", before), log_str("to", now));
}

static void note_full(struct cluster *cluster, int32_t node)
{
    if (!cluster->book->full)
        log_error(cluster->worker->log, "nodes_full",
                  "The cluster has announced more nodes than the address book holds; connections "
                  "that hear of another one are reset",
                  log_str("cluster", cluster->settings->name), log_i64("node", node),
                  log_u64("limit", CLUSTER_NODES_MAX));
    cluster->book->full = true;
}

/* A new entry of the book; NULL: it is full of nodes that are named. */
static struct cluster_node *book_enter(struct cluster *cluster, enum kafka_endpoint_type type,
                                       int32_t id, uint64_t now_us)
{
    struct idmap *map = &cluster->book->nodes[type];
    struct cluster_node *node;

    if (map->count < CLUSTER_NODES_MAX) {
        node = memory_new(sizeof *node);
        list_init(&node->recent);
    } else {
        node = list_entry(cluster->book->recent[type].next, struct cluster_node, recent);
        if (now_us - node->announced_us < CLUSTER_FORGET_AFTER_US) {
            note_full(cluster, id);
            return NULL;
        }
        idmap_remove(map, (uint32_t)node->id);
        cluster->book->full = false;
    }
    node->id = id;
    idmap_put(map, (uint32_t)id, node);
    return node;
}

/* The lock is held. */
static bool note_address(struct cluster *cluster, enum kafka_endpoint_type type, int32_t node,
                         struct address now)
{
    struct cluster_node *known = idmap_get(&cluster->book->nodes[type], (uint32_t)node);
    uint64_t now_us = clock_now_us();

    if (known && (known->address.port != now.port || strcmp(known->address.host, now.host) != 0))
        note_move(cluster, node, &known->address, &now);
    if (!known)
        known = book_enter(cluster, type, node, now_us);
    if (!known)
        return false;
    known->address = now;
    known->announced_us = now_us;
    list_remove(&known->recent);
    list_append(&cluster->book->recent[type], &known->recent);
    return true;
}

bool cluster_announce(struct cluster *cluster, enum kafka_endpoint_type type, int32_t node,
                      const struct kafka_address *address)
{
    struct address now = {.port = (uint16_t)address->port};

    if (!address_take_host(address->host, address->host_size, now.host))
        return false;
    lock_book(cluster);
    bool noted = note_address(cluster, type, node, now);
    unlock_book(cluster);
    return noted;
}

/* Whether the log should tell of the node: once. */
static bool book_tells(struct cluster *cluster, int32_t node)
{
    struct cluster_book *book = lock_book(cluster);
    bool tells =
        !idmap_get(&book->unusable, (uint32_t)node) && book->unusable.count < UNUSABLE_TOLD;

    if (tells)
        idmap_put(&book->unusable, (uint32_t)node, book);
    unlock_book(cluster);
    return tells;
}

void cluster_announce_unusable(struct cluster *cluster, enum kafka_endpoint_type type, int32_t node,
                               const struct kafka_address *address)
{
    struct address real = {.port = (uint16_t)address->port};
    char text[ADDRESS_TEXT_MAX + 16];
    size_t size = address->host_size < ADDRESS_HOST_MAX ? address->host_size : ADDRESS_HOST_MAX;

    if (!book_tells(cluster, node))
        return;
    memcpy(real.host, address->host, size);
    if (address->port >= 0 && address->port <= UINT16_MAX)
        address_format(real.host, real.port, text);
    else
        snprintf(text, sizeof text, "%.*s:%ld", ADDRESS_HOST_MAX, real.host, (long)address->port);
    log_warning(
        cluster->worker->log, "node_unusable",
        node < 0 ? "A cluster announces a node with a negative id: clients cannot be sent there, "
                   "and its address is removed from responses; a broker that has just started is "
                   "like that for a moment; otherwise, give it a node.id"
        : !printable_is_word(address->host, address->host_size)
            ? "A cluster announces a node whose host holds blanks, control characters or other "
              "bytes that are no part of a host: its address is removed from responses; see the "
              "broker's advertised.listeners"
            : "A cluster announces a node without a port: clients cannot be sent there, and its "
              "address is removed from responses; see the broker's advertised.listeners",
        log_str("cluster", cluster->settings->name), log_i64("node", node),
        log_str("kind", type == KAFKA_ENDPOINT_BROKER ? "broker" : "controller"),
        log_str("address", text));
}

/* The lock is held. */
static size_t count_nodes(const struct cluster_book *book)
{
    return book->nodes[KAFKA_ENDPOINT_BROKER].count + book->nodes[KAFKA_ENDPOINT_CONTROLLER].count;
}

size_t cluster_node_count(const struct cluster *cluster)
{
    size_t count = count_nodes(lock_book(cluster));

    unlock_book(cluster);
    return count;
}

static void write_address(struct json_writer *json, const char *key, const struct address *address)
{
    char text[ADDRESS_TEXT_MAX];

    address_format(address->host, address->port, text);
    json_put_string(json, key, text);
}

static void write_nodes(const struct cluster *cluster, enum kafka_endpoint_type type,
                        struct json_writer *json)
{
    const struct idmap *map = &cluster->book->nodes[type];
    const struct cluster_node *node;
    size_t shown = 0;

    for (size_t at = 0; shown < NODES_SHOWN && (node = idmap_next(map, &at)); shown++) {
        json_put_object(json, NULL);
        json_put_i64(json, "node", node->id);
        json_put_string(json, "kind", type == KAFKA_ENDPOINT_BROKER ? "broker" : "controller");
        write_address(json, "address", &node->address);
        json_put_end(json);
    }
}

static void write_bootstrap(const struct cluster *cluster, struct json_writer *json)
{
    uint64_t now_us = clock_now_us();

    json_put_array(json, "bootstrap");
    for (size_t i = 0; i < cluster->settings->count; i++) {
        const struct broker_health *broker = &cluster->book->health.brokers[i];
        json_put_object(json, NULL);
        write_address(json, "address", &cluster->settings->brokers[i]);
        json_put_string(json, "state", broker_state_name(broker->state));
        if (broker->state != BROKER_UNTRIED)
            json_put_u64(json, "for_ms", (now_us - broker->since_us) / 1000);
        if (broker->answered_us > 0)
            json_put_u64(json, "answered_ms_ago", (now_us - broker->answered_us) / 1000);
        json_put_u64(json, "failures", broker->failures);
        json_put_string(json, "reason", broker->why);
        json_put_end(json);
    }
    json_put_end(json);
}

void cluster_write(const struct cluster *cluster, struct json_writer *json)
{
    lock_book(cluster);
    json_put_object(json, NULL);
    json_put_string(json, "name", cluster->settings->name);
    json_put_bool(json, "reachable", cluster->book->reachable);
    json_put_bool(json, "tried", cluster->book->probed);
    json_put_bool(json, "tls", cluster->access.tls.context != NULL);
    write_bootstrap(cluster, json);
    json_put_u64(json, "node_count", count_nodes(cluster->book));
    json_put_array(json, "nodes");
    write_nodes(cluster, KAFKA_ENDPOINT_BROKER, json);
    write_nodes(cluster, KAFKA_ENDPOINT_CONTROLLER, json);
    json_put_end(json);
    json_put_end(json);
    unlock_book(cluster);
}

const char *cluster_tls_advice(enum tls_failure failure)
{
    switch (failure) {
    case TLS_FAILURE_TRUST:
        return "add the brokers' CA with --kafka-ca, or let the broker send its intermediate "
               "certificate";
    case TLS_FAILURE_DATES:
        return "check the clock of tunnel-server's machine, or renew the certificate";
    case TLS_FAILURE_NAME:
        return "the certificate must have the name or address that the broker advertises; "
               "otherwise, give the name that it has to --kafka-server-name";
    case TLS_FAILURE_ALERT:
        return "does the broker require a client certificate (--kafka-cert, --kafka-key) from "
               "another CA?";
    case TLS_FAILURE_NOT_TLS:
        return "is this the broker's TLS port? If it has none, remove --kafka-tls";
    default:
        return "";
    }
}

void cluster_describe_failure(const struct dial_result *result, char text[CLUSTER_FAILURE_MAX])
{
    const char *hop = result->failure == DIAL_FAILURE_NAME  ? "name not resolved: "
                      : result->failure == DIAL_FAILURE_TLS ? "TLS: "
                                                            : "";

    const char *advice = result->failure == DIAL_FAILURE_TLS ? cluster_tls_advice(result->tls) : "";

    snprintf(text, CLUSTER_FAILURE_MAX, "%s%.120s%s%s", hop, result->error,
             advice[0] != '\0' ? "; " : "", advice);
}
