/*
 * Both ends of a tunnel in one process: a client's session in net.near, a server's in net.far, a
 * link over a wire between them, and flows: TCP connections that a relay takes in at the client's
 * end and another one hands out at the server's.
 *
 *     client (net_peer) - TCP - relay - session - link - wire - link - session - relay - TCP -
 * target
 */
#pragma once

#include "net_support.h"

#include "tunnel/link.h"
#include "tunnel/relay_kafka.h"

enum { NET_FLOWS = 8, NET_FLOW_BUFFER = 32 * 1024 };

struct net_flow_end {
    struct relay *relay; /* NULL: none yet, or it has ended */
    bool ended;
    enum relay_end how;
    enum mux_code code;
    char reason[200];
};

struct net_flow {
    struct net_peer client; /* what it sends is stream 2i, what it gets 2i + 1 */
    struct net_peer target;
    struct net_flow_end near;
    struct net_flow_end far;
    int far_fd; /* the server's end of the target's connection; -1: its relay has it */
    /* Set before the flow is opened, or soon after. */
    struct kafka_filter *filter; /* of the far relay, which frees it */
    bool waits;                  /* the far relay is not connected before net_flow_connect() */
    unsigned half_closed_s;      /* of the far end, as its owner is told */
    enum relay_side half_closed_side;
    int refused_login;
    int paused;
    uint8_t answer[20000]; /* to a request of the owner's */
    size_t answer_size;
    bool wanted; /* the filter waits for listeners */
    unsigned unanswered;
    bool logged_in;
};

struct net_link_end {
    struct link *link;
    unsigned ended; /* links so far */
    enum link_end how;
    char reason[200];
    struct link_record record;
};

struct net_tunnel {
    bool tls;
    bool tcp; /* the wire; else Unix sockets */
    struct mux_session *client;
    struct mux_session *server;
    struct net_link_end near;
    struct net_link_end far;
    struct net_wire wire;
    /* Of a link that has joined the first one: net_tunnel_join(). */
    struct net_link_end near_joined;
    struct net_link_end far_joined;
    struct net_wire wire_joined;
    struct net_flow flows[NET_FLOWS];
    size_t count;
    /* Relays of flows that are opened from now on do not let the system take in much that they do
     * not read. For bytes one way only: a buffer of a fixed size may be full before its window is,
     * and Linux then closes the window although more is on its way. Since 6.17 it also drops all
     * that comes from beyond the window, ACKs among it, so that what the relay sends does not
     * arrive before it reads; after the peer's reset it never does. */
    bool bounds_relays;
    unsigned established; /* how often the client was told */
    unsigned goaways[2];  /* at the client, at the server */
    /* What the server does with HELLO: refuses, with this code. MUX_CODE_NONE: it does not */
    enum mux_code refuses;
    bool hands_on; /* the first link is for another instance: net_tunnel_forward() */
    struct link *handed_on;
};

/* With sessions, the first link, and net.step set to what moves all of it. */
void net_tunnel_open(struct net_tunnel *tunnel, bool tls, bool tcp);
/* The same without a link. */
void net_tunnel_prepare(struct net_tunnel *tunnel, bool tls, bool tcp);
/* What net.step is then; context: the tunnel. */
void net_tunnel_step(void *context);
/* Another link, when the one before has ended at the client's end. Waits until it stands. */
void net_tunnel_relink(struct net_tunnel *tunnel);
/* The same without waiting. */
void net_tunnel_link(struct net_tunnel *tunnel);
/* Another link beside the first one. Waits until it stands. */
void net_tunnel_join(struct net_tunnel *tunnel);
/* The instance that has the session gets the link that was handed on. */
void net_tunnel_forward(struct net_tunnel *tunnel);
/* No ping is under way: time may jump, and the link lives on. */
bool net_tunnel_is_calm(const struct net_tunnel *tunnel);
/* All that is left goes without a word. */
void net_tunnel_close(struct net_tunnel *tunnel);

/* up: bytes that the client sends; down: that the target sends. Then both end their side. */
struct net_flow *net_flow_open(struct net_tunnel *tunnel, uint64_t up, uint64_t down);
void net_flow_connect(struct net_flow *flow);
/* Ended in good order at both ends, every byte at its place. */
bool net_flow_is_complete(const struct net_flow *flow);
