/*
 * Local listeners: a bootstrap listener a cluster, a listener a node, a listener a raw target.
 * Listeners live as long as the program: what Kafka clients were told stays true. With one
 * exception: when no port or descriptor is left for a node, those of nodes that nobody is connected
 * to and that the server has not named for PORTS_KEPT_S are taken back, the oldest first; so are
 * those of names, of which a cluster may have NAMED_PORTS_MAX (named_ports.h). One is up
 * to two sockets: on loopback, 127.0.0.1 and ::1 on the same port, since `localhost` may resolve to
 * either.
 */
#pragma once

#include <errno.h>

#include "base/idmap.h"
#include "base/list.h"
#include "config/address.h"
#include "io/listener.h"
#include "listeners/kept_names.h"
#include "mux/message.h"

/* Longer than Kafka clients keep what a Metadata response said, unless they are told otherwise
 * (metadata.max.age.ms: 5 minutes): none of them knows the listener of a node that has not been
 * named since. */
#define PORTS_KEPT_S 600

struct port;

/* Called for each accepted connection; fd is the callback's. */
typedef void (*port_callback)(void *context, struct port *port, int fd,
                              const struct socket_address *peer);

struct ports {
    struct worker *worker;
    const char *advertise; /* "": the address that is listened on */
    port_callback callback;
    void *context;
    struct list all;     /* struct port */
    size_t node_sockets; /* open ones of nodes' listeners */
    size_t node_sockets_max;
    struct kept_names names; /* of brokers that keep them (named_ports.h) */
    bool names_may_move;     /* nobody knows the names' addresses yet */
    struct idmap by_place;   /* struct port of such brokers, by address and port */
};

/* Where connections to a listener lead. */
struct port {
    struct list node; /* in ports->all */
    struct ports *ports;
    struct port *bootstrap; /* of a node, or of a name; NULL: it is neither */
    struct list idle;       /* of one that may be taken back: in bootstrap->unused */
    bool stays;             /* of a name that is a bootstrap broker's: it is never taken back */
    uint64_t used_us;       /* when it was named, or had a connection, last */
    size_t connections;
    size_t waiting; /* of these, for a link: when they were counted last, for the status page */
    struct listener *listeners[2];
    enum mux_target_kind kind;
    int32_t node_id;    /* -1 but for nodes */
    uint8_t known_type; /* of the node whose listener this is for the server; 0: nobody's */
    int32_t known_node; /* then: in bootstrap->nodes */
    uint16_t number;
    char name[ADDRESS_NAME_MAX + 1]; /* of the cluster or target */
    char label[MUX_TARGET_TEXT_MAX]; /* for the log: "kafka", "kafka/2", "kafka/controller/2" */
    char host[ADDRESS_HOST_MAX + 1]; /* the address listened on */
    char broker[ADDRESS_TEXT_MAX];   /* of a node: where it is behind the server; "": not told */
    /* Of a broker that keeps its name: */
    struct kept_name *kept;               /* NULL: it does not */
    char kept_host[ADDRESS_HOST_MAX + 1]; /* to the letter */
    bool outdated; /* of a bootstrap broker: the server has not told it again */
    /* A bootstrap port: */
    bool keeps_names;                /* its brokers keep theirs */
    struct idmap told[3];            /* then: struct told_name by endpoint type */
    struct idmap nodes[3];           /* its nodes' ports by endpoint type */
    struct address_ports node_ports; /* where these are; first 0: nowhere */
    struct list unused;  /* nodes' ports without connections, the longest unused first */
    bool full;           /* of names: the log says so */
    unsigned held_count; /* ports of nodes that have a listener; if they keep names, listeners */
    uint8_t *held;       /* a bit for each of node_ports that has a listener */
    uint8_t *foreign;    /* while nodes get theirs, a bit for each that was found in use: to look
                            again for every node would keep a link waiting until it is lost */
};

/* A node that is to have a listener. */
struct port_request {
    uint8_t endpoint_type; /* 1 broker, 2 controller */
    int32_t node;
    struct port *port; /* the answer; NULL: failed says why */
    int failed;        /* an errno: EADDRINUSE for no free port, EMFILE for too few descriptors */
};

/* Why a broker that keeps its name has no listener, beside what binding says. */
enum {
    PORTS_UNTOLD = ENOENT,   /* the server has not told the name */
    PORTS_FOREIGN = EEXIST,  /* another cluster has a broker of that name and port */
    PORTS_FULL = ENOSPC,     /* there is no address left */
    PORTS_UNPUBLISHED = EIO, /* no hosts file leads there: the command's cannot be written */
    PORTS_TOO_MANY = E2BIG,  /* the cluster has as many listeners as it may have */
};

void ports_init(struct ports *ports, struct worker *worker, const char *advertise,
                port_callback callback, void *context);
void ports_clear(struct ports *ports);
/* Stops accepting; what is accepted goes on. */
void ports_close(struct ports *ports);

/* Opens a listener for a cluster's bootstrap or a raw target. nodes: the ports of the cluster's
 * nodes, first 0 if ports_plan() is to choose them. NULL: error holds a sentence. */
struct port *ports_open(struct ports *ports, enum mux_target_kind kind,
                        const struct address_named *where, const struct address_ports *nodes,
                        char *error, size_t size);
/* When all of these are open: every cluster gets the ports of its nodes (node_ports.h). */
void ports_plan(struct ports *ports);
/* The bootstrap port of a cluster; NULL: there is none of that name. */
struct port *ports_cluster(const struct ports *ports, struct mux_text name);
/*
 * Listeners for nodes of the cluster, opened where they are not there yet. The requests are sorted
 * by type and node; first every node whose own port is free gets that one, then the others get the
 * next free ones: so it does not matter in which order nodes are named together. Whoever gets none
 * gets one that is taken back; withdrawn then has the closed ports, for ports_forget(). NULL: none
 * may be taken back.
 */
void ports_nodes(struct port *bootstrap, struct port_request *requests, size_t count,
                 uint64_t now_us, struct list *withdrawn);
/* Frees what ports_nodes() has taken back. */
void ports_forget(struct list *withdrawn);
/* A connection to the port begins, and has ended: meanwhile it is not taken back. */
void port_begin(struct port *port);
void port_end(struct port *port, uint64_t now_us);
/* Of a node: 1 broker, 2 controller. */
uint8_t port_endpoint_type(const struct port *port);
/* The port of a node that has one; NULL otherwise. */
struct port *ports_node(const struct port *bootstrap, uint8_t endpoint_type, int32_t node);
/* What a request's failure means and what can be done about it. */
void ports_explain(const struct port *bootstrap, int failed, char *error, size_t size);
/* The host that Kafka clients are to dial. */
const char *port_advertised_host(const struct port *port);
/* The host to dial on this machine. */
const char *port_local_host(const struct port *port);
struct mux_target port_target(const struct port *port);

/* What listeners are made of, for named_ports.c. */
/* Without a listener yet, and in no list. */
struct port *ports_new_port(struct ports *ports, enum mux_target_kind kind, const char *name,
                            const char *host, int32_t node_id);
/* Its label, anew: after a change of what it leads to. */
void ports_label(struct port *port);
/* Binds host:number, and the other loopback family beside it. 0, or an errno. */
int ports_bind(struct port *port, uint16_t number);
/* It is open: into the list of all, and into the log. */
void ports_announce(struct port *port);
/* It is the node's listener from now on, instead of another one and of another node's. */
void ports_know(struct port *port, uint8_t endpoint_type, int32_t node);
/* It was named just now. */
void ports_touch(struct port *port, uint64_t now_us);
/* The listener that has been unused for longest; NULL: none has been for long enough. */
struct port *ports_longest_unused(const struct port *bootstrap, uint64_t now_us);
/* Closes it, and says so in the log. It is in no list any more; its memory is the caller's, who
 * finds what the server knew it as in known_type. */
void ports_withdraw(struct port *port, uint64_t now_us);
