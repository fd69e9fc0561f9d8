/*
 * Which listeners a client has for the nodes of the clusters. When a response announces a node for
 * which there is none, the client is asked to open one (EXPOSE), and the response waits until the
 * client says where it is (EXPOSED), for a bounded time. What responses go on naming is named to
 * the client again every minute, so that it knows which listeners are still of use; it may take the
 * others back (WITHDRAWN).
 */
#pragma once

#include "base/idmap.h"
#include "base/list.h"
#include "brokers/cluster.h"
#include "config/address.h"
#include "io/timer.h"
#include "io/worker.h"
#include "mux/session.h"

struct node_wait_owner {
    /* The client has answered: look again whether the listeners are there. */
    void (*answered)(void *context);
    /* The client did not answer in time. The wait has been taken out of the list. */
    void (*timed_out)(void *context);
};

/* Something that waits for listeners; part of its owner, who fills in owner and context, begins
 * with list_init(&wait->node) and may take it out with list_remove() at any time. */
struct node_wait {
    struct list node; /* in listeners->waiting */
    const struct node_wait_owner *owner;
    void *context;
    uint64_t since_us;
    uint64_t number; /* of the wait */
    uint64_t until;  /* the last node that the client had been asked for when the wait began */
};

/* The listeners for one cluster's nodes. */
struct exposed_book {
    bool keeps_names;      /* the client wants to be told the nodes' own addresses (KEEP) */
    struct idmap nodes[3]; /* by enum kafka_endpoint_type: struct exposed * */
    struct list named[3];  /* the same, those that no response has named for longest first */
    struct list again;     /* those to be named to the client again */
};

struct node_listeners {
    struct worker *worker;
    struct mux_session *mux;
    const struct address_cluster *clusters;
    size_t cluster_count;
    const char *session;        /* its id, for the log */
    struct exposed_book *books; /* one a cluster */
    struct list waiting;        /* struct node_wait, oldest first */
    struct list unanswered;     /* struct exposed that the client was asked for, oldest first */
    uint64_t asked;             /* how many it was asked for so far */
    uint64_t waits;             /* that have begun so far */
    bool telling;               /* those who waited look at the answers now */
    struct timer *timer;
    bool linked; /* the session has a link: without one, nobody is too late */
};

/* clusters and session must live as long as the listeners. */
void node_listeners_init(struct node_listeners *listeners, struct worker *worker,
                         struct mux_session *mux, const struct address_cluster *clusters,
                         size_t cluster_count, const char *session);
/* Nothing may wait any more. */
void node_listeners_clear(struct node_listeners *listeners);

/*
 * The client's listener for a node that is at *real; cluster is the index into clusters. Returns 0:
 * *local is valid until the next call; 1: there is none yet, or, of a client that keeps names, none
 * for that address; -1: there will be none: the client could not open one, and the next response
 * that names the node makes it try again, or there are too many.
 */
int node_listeners_find(struct node_listeners *listeners, size_t cluster,
                        enum kafka_endpoint_type type, int32_t node,
                        const struct kafka_address *real, struct kafka_address *local);
/* The client keeps the names of this cluster's brokers: from now on it is told where a node is
 * before it is asked for a listener, and is asked again when the node is elsewhere. */
void node_listeners_keep_names(struct node_listeners *listeners, size_t cluster);
/* Asks the client for listeners of those nodes that it was not asked for yet, and tells it where
 * the nodes themselves are, by the address book. */
void node_listeners_ask(struct node_listeners *listeners, size_t cluster,
                        const struct cluster *book, const struct kafka_wanted *nodes, size_t count);
/* A WITHDRAWN message has come. */
void node_listeners_withdrawn(struct node_listeners *listeners, const uint8_t *payload,
                              size_t size);
/* An EXPOSED message has come. */
void node_listeners_receive(struct node_listeners *listeners, const uint8_t *payload, size_t size);

/* Begins to wait until the client has answered all that it was asked for so far, unless it does
 * already. Ends with a call of the wait's owner. */
void node_listeners_wait(struct node_listeners *listeners, struct node_wait *wait);
