/*
 * What the filter (filter.h) asks of its owner: which address stands in place of which, and what
 * comes of a call.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/printable.h"

struct kafka_address {
    const char *host; /* not NUL terminated */
    size_t host_size;
    int32_t port;
};

/* Whether clients can be sent there, and people be told of it: the node is none of those that a
 * broker is before it knows its id, the port is one, and the host is a word. */
static inline bool kafka_address_is_usable(int32_t node, const struct kafka_address *address)
{
    return node >= 0 && address->port >= 1 && address->port <= UINT16_MAX &&
           printable_is_word(address->host, address->host_size);
}

/* Node ids of brokers and of controllers (DescribeCluster, KIP-919) are spaces of their own. */
enum kafka_endpoint_type {
    KAFKA_ENDPOINT_BROKER = 1,
    KAFKA_ENDPOINT_CONTROLLER = 2,
};

struct kafka_filter_callbacks {
    /* A response announces that node (>= 0) lives at *real (a host of visible ASCII, a port from 1
     * to 65535). Answer with the address that the client must see:
     *   0         *local is filled in: a host of 1 to 255 bytes whose memory stays as it is until
     *             the next kafka_filter_ call
     *   positive  not known yet: the response is held; after kafka_filter_retry() it is asked again
     *   negative  cannot be: the connection must close
     * The same node may be asked for several times, also for one response. */
    int (*map)(void *context, enum kafka_endpoint_type type, int32_t node,
               const struct kafka_address *real, struct kafka_address *local);
    /* Optional. A response announced node at *real and the announcement is erased, not rewritten
     * (Fetch and the share APIs): for the address book only. */
    void (*seen)(void *context, enum kafka_endpoint_type type, int32_t node,
                 const struct kafka_address *real);
    /* Optional. A response announces a node to which no client can be sent: its id is below zero,
     * its port is none, or its host holds what no host does. Its address is erased. May be called
     * more than once for a response. */
    void (*unusable)(void *context, enum kafka_endpoint_type type, int32_t node,
                     const struct kafka_address *real);
    /* Optional, for figures. A request has come; api_key -1: a raw SASL token. What asked() returns
     * is kept with the request (the time, say) and given to answered() when the first bytes of its
     * response are there; of Produce with acks=0 there is none. */
    uint64_t (*asked)(void *context, int16_t api_key, int16_t version);
    void (*answered)(void *context, int16_t api_key, uint64_t mark);
    /* Optional, for figures: so many addresses of a response were rewritten, or erased, and so many
     * of the latter because they were unusable. */
    void (*rewrote)(void *context, int16_t api_key, uint32_t rewritten, uint32_t erased,
                    uint32_t unusable);
};

enum {
    KAFKA_FILTER_BLOCKED = 1,
    KAFKA_FILTER_TIRED = 2,
    KAFKA_FILTER_REFUSED = 3,       /* see kafka_filter_refuse_login() */
    KAFKA_FILTER_OWN = 4,           /* see kafka_filter_ask() */
    KAFKA_FILTER_EFRAME = -1,       /* malformed */
    KAFKA_FILTER_EVERSION = -2,     /* an address-carrying API in a version that is not known */
    KAFKA_FILTER_ECORRELATION = -3, /* a response to nothing */
    KAFKA_FILTER_ELIMIT = -4,       /* more than may be held, or too many requests in flight */
    KAFKA_FILTER_EMEMORY = -5,      /* no memory */
    KAFKA_FILTER_EADDRESS = -6,     /* the map gave no address */
    KAFKA_FILTER_EPROTOCOL = -7,    /* not Kafka at all: TLS, HTTP, ... */
    KAFKA_FILTER_ELOGIN = -8,       /* see kafka_filter_only_login() */
    KAFKA_FILTER_EDENIED = -9,      /* denied, in a way that has no answer */
};

struct kafka_wanted {
    enum kafka_endpoint_type type;
    int32_t node;
};
