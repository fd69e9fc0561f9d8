#include "cluster.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

void cluster_init(struct cluster *cluster, struct worker *worker,
                  const struct address_cluster *settings, struct dial_tls tls)
{
    memset(cluster, 0, sizeof *cluster);
    cluster->worker = worker;
    cluster->settings = settings;
    cluster->tls = tls;
    for (size_t i = 0; i < 3; i++)
        idmap_init(&cluster->nodes[i]);
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
                      const struct kafka_address *to)
{
    log_info(cluster->worker->log, "node_moved", "A broker has another address now",
             log_str("cluster", cluster->settings->name), log_i64("node", node),
             log_str("from", from->host), log_u64("from_port", from->port),
             log_bytes("to", to->host, to->host_size), log_i64("to_port", to->port));
}

bool cluster_announce(struct cluster *cluster, enum kafka_endpoint_type type, int32_t node,
                      const struct kafka_address *address)
{
    struct idmap *map = &cluster->nodes[type];
    struct address *known = idmap_get(map, (uint32_t)node);

    if (address->host_size > ADDRESS_HOST_MAX)
        return false;
    if (known && known->port == address->port && strlen(known->host) == address->host_size &&
        memcmp(known->host, address->host, address->host_size) == 0)
        return true;
    if (known) {
        note_move(cluster, node, known, address);
    } else {
        if (map->count >= CLUSTER_NODES_MAX)
            return false;
        known = calloc(1, sizeof *known);
        if (!known)
            abort();
        idmap_put(map, (uint32_t)node, known);
    }
    memcpy(known->host, address->host, address->host_size);
    known->host[address->host_size] = '\0';
    known->port = (uint16_t)address->port;
    return true;
}

/* What to do about a TLS handshake that failed. */
static const char *tls_advice(enum tls_failure failure)
{
    switch (failure) {
    case TLS_FAILURE_TRUST:
        return "; add the brokers' CA with --kafka-ca, or renew the certificate if it has expired";
    case TLS_FAILURE_NAME:
        return "; let the certificate have the name or address that the broker advertises, or say "
               "with --kafka-server-name which name it has";
    case TLS_FAILURE_ALERT:
        return "; does the broker want a client certificate (--kafka-cert, --kafka-key) of another "
               "authority?";
    case TLS_FAILURE_NOT_TLS:
        return "; is this the broker's TLS port? If it has none, leave --kafka-tls out";
    default:
        return "";
    }
}

void cluster_describe_failure(const struct dial_result *result, char text[CLUSTER_FAILURE_MAX])
{
    const char *hop = result->failure == DIAL_FAILURE_NAME  ? "name not resolved: "
                      : result->failure == DIAL_FAILURE_TLS ? "TLS: "
                                                            : "";

    snprintf(text, CLUSTER_FAILURE_MAX, "%s%.120s%s", hop, result->error,
             result->failure == DIAL_FAILURE_TLS ? tls_advice(result->tls) : "");
}
