#include "cluster.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { NODES_SHOWN = 1000 };

void cluster_init(struct cluster *cluster, struct worker *worker,
                  const struct address_cluster *settings, struct dial_tls tls)
{
    memset(cluster, 0, sizeof *cluster);
    cluster->worker = worker;
    cluster->settings = settings;
    cluster->tls = tls;
    for (size_t i = 0; i < 3; i++)
        idmap_init(&cluster->nodes[i], &worker->hash_key);
}

void cluster_clear(struct cluster *cluster)
{
    for (size_t i = 0; i < 3; i++) {
        struct address *address;
        for (size_t at = 0; (address = idmap_next(&cluster->nodes[i], &at));)
            free(address);
        idmap_clear(&cluster->nodes[i]);
    }
}

const struct address *cluster_node(const struct cluster *cluster, enum kafka_endpoint_type type,
                                   int32_t node)
{
    return idmap_get(&cluster->nodes[type], (uint32_t)node);
}

static void note_move(const struct cluster *cluster, int32_t node, const struct address *from,
                      const struct address *to)
{
    char before[ADDRESS_TEXT_MAX];
    char now[ADDRESS_TEXT_MAX];

    address_format(from->host, from->port, before);
    address_format(to->host, to->port, now);
    log_info(cluster->worker->log, "node_moved", "A node has another address now",
             log_str("cluster", cluster->settings->name), log_i64("node", node),
             log_str("from", before), log_str("to", now));
}

static void note_full(struct cluster *cluster, int32_t node)
{
    if (!cluster->full)
        log_error(cluster->worker->log, "nodes_full",
                  "The cluster has announced more nodes than the address book holds; connections "
                  "that hear of another one are reset",
                  log_str("cluster", cluster->settings->name), log_i64("node", node),
                  log_u64("limit", CLUSTER_NODES_MAX));
    cluster->full = true;
}

bool cluster_announce(struct cluster *cluster, enum kafka_endpoint_type type, int32_t node,
                      const struct kafka_address *address)
{
    struct idmap *map = &cluster->nodes[type];
    struct address *known = idmap_get(map, (uint32_t)node);
    struct address now = {.port = (uint16_t)address->port};

    if (address->host_size > ADDRESS_HOST_MAX)
        return false;
    memcpy(now.host, address->host, address->host_size);
    if (known && (known->port != now.port || strcmp(known->host, now.host) != 0))
        note_move(cluster, node, known, &now);
    if (!known) {
        if (map->count >= CLUSTER_NODES_MAX) {
            note_full(cluster, node);
            return false;
        }
        known = calloc(1, sizeof *known);
        if (!known)
            abort();
        idmap_put(map, (uint32_t)node, known);
    }
    *known = now;
    return true;
}

size_t cluster_node_count(const struct cluster *cluster)
{
    return cluster->nodes[KAFKA_ENDPOINT_BROKER].count +
           cluster->nodes[KAFKA_ENDPOINT_CONTROLLER].count;
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
    const struct idmap *map = &cluster->nodes[type];
    const struct address *address;
    size_t shown = 0;

    for (size_t at = 0; shown < NODES_SHOWN && (address = idmap_next(map, &at)); shown++) {
        json_put_object(json, NULL);
        json_put_u64(json, "node", map->slots[at - 1].id);
        json_put_string(json, "kind", type == KAFKA_ENDPOINT_BROKER ? "broker" : "controller");
        write_address(json, "address", address);
        json_put_end(json);
    }
}

void cluster_write(const struct cluster *cluster, struct json_writer *json)
{
    json_put_object(json, NULL);
    json_put_string(json, "name", cluster->settings->name);
    json_put_bool(json, "reachable", cluster->reachable);
    json_put_bool(json, "tried", cluster->probed);
    json_put_bool(json, "tls", cluster->tls.context != NULL);
    json_put_array(json, "bootstrap");
    for (size_t i = 0; i < cluster->settings->count; i++)
        write_address(json, NULL, &cluster->settings->brokers[i]);
    json_put_end(json);
    json_put_u64(json, "node_count", cluster_node_count(cluster));
    json_put_array(json, "nodes");
    write_nodes(cluster, KAFKA_ENDPOINT_BROKER, json);
    write_nodes(cluster, KAFKA_ENDPOINT_CONTROLLER, json);
    json_put_end(json);
    json_put_end(json);
}

const char *cluster_tls_advice(enum tls_failure failure)
{
    switch (failure) {
    case TLS_FAILURE_TRUST:
        return "add the brokers' CA with --kafka-ca, or renew the certificate if it has expired";
    case TLS_FAILURE_NAME:
        return "let the certificate have the name or address that the broker advertises, or say "
               "with --kafka-server-name which name it has";
    case TLS_FAILURE_ALERT:
        return "does the broker want a client certificate (--kafka-cert, --kafka-key) of another "
               "authority?";
    case TLS_FAILURE_NOT_TLS:
        return "is this the broker's TLS port? If it has none, leave --kafka-tls out";
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
