/*
 * Local listeners: a bootstrap listener a cluster, a listener a node, a listener a raw target.
 * Listeners live as long as the program. One is up to two sockets: on loopback, 127.0.0.1 and ::1
 * on the same port, since `localhost` may resolve to either.
 */
#pragma once

#include "base/idmap.h"
#include "base/list.h"
#include "config/address.h"
#include "mux/message.h"
#include "net/listener.h"

struct port;

/* Called for each accepted connection; fd is the callback's. */
typedef void (*port_callback)(void *context, struct port *port, int fd,
                              const struct socket_address *peer);

struct ports {
    struct worker *worker;
    const char *advertise; /* NULL: the address that is listened on */
    port_callback callback;
    void *context;
    struct list all; /* struct port */
};

/* Where connections to a listener lead. */
struct port {
    struct list node; /* in ports->all */
    struct ports *ports;
    struct listener *listeners[2];
    enum mux_target_kind kind;
    int32_t node_id; /* -1 but for nodes */
    uint16_t number;
    char name[ADDRESS_NAME_MAX + 1]; /* of the cluster or target */
    char label[MUX_TARGET_TEXT_MAX]; /* for the log: "kafka", "kafka/2", "kafka/controller/2" */
    char host[ADDRESS_HOST_MAX + 1]; /* the address listened on */
    struct idmap nodes[3];           /* a bootstrap port: its nodes' ports by endpoint type */
};

void ports_init(struct ports *ports, struct worker *worker, const char *advertise,
                port_callback callback, void *context);
void ports_clear(struct ports *ports);
/* Stops accepting; what is accepted goes on. */
void ports_close(struct ports *ports);

/* Opens a listener for a cluster's bootstrap or a raw target. NULL: error holds a sentence. */
struct port *ports_open(struct ports *ports, enum mux_target_kind kind,
                        const struct address_named *where, char *error, size_t size);
/* The bootstrap port of a cluster; NULL: there is none of that name. */
struct port *ports_cluster(const struct ports *ports, struct mux_text name);
/*
 * The port for a node of the cluster, opened if it is not there yet: bootstrap + 1 + (node mod
 * 1000), or the next one that is free. NULL: none could be opened; error says why.
 */
struct port *ports_node(struct port *bootstrap, uint8_t endpoint_type, int32_t node, char *error,
                        size_t size);
/* The host that Kafka clients are to dial. */
const char *port_advertised_host(const struct port *port);
struct mux_target port_target(const struct port *port);
