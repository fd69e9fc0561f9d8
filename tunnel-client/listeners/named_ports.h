/*
 * Listeners for brokers that keep their names: each name has an address of loopback
 * (kept_names.h), and each broker a listener there at the broker's own port. The server tells the
 * names; they lead here by lines of a hosts file, which are not this file's business.
 *
 * A name and port lead to one broker: to a bootstrap broker if it is one's, to the node that was
 * told last otherwise. A broker that has got another name has a listener at each. When a cluster
 * has as many listeners as it may have, those that are no bootstrap broker's, have no connection
 * and were not asked for for PORTS_KEPT_S make way.
 */
#pragma once

#include "listeners/ports.h"

/* The listeners of a cluster at names. */
#define NAMED_PORTS_MAX ADDRESS_NODE_PORTS

/* When, and what makes way: closed listeners that the server knows as nodes', for ports_forget().
 */
struct named_ports_turn {
    uint64_t now_us;
    struct list *withdrawn;
};

/* Before anything else. may_move: a name whose address another program uses may get another one,
 * as long as it has no listener. */
void named_ports_begin(struct ports *ports, const struct name_network *network, bool may_move);
/* The brokers of this cluster keep their names; before ports_plan(). */
void named_ports_keep(struct port *bootstrap);
/* The server has told where a node is: the next named_ports_nodes() that asks for it opens a
 * listener there. The host is any text. */
void named_ports_tell(struct port *bootstrap, uint8_t endpoint_type, int32_t node, const char *host,
                      uint16_t number);
/* In place of ports_nodes(): finds or opens the listeners where the server has told the nodes to
 * be. */
void named_ports_nodes(struct port *bootstrap, struct port_request *requests, size_t count,
                       const struct named_ports_turn *turn);
/* An answer begins that tells all bootstrap brokers anew, and has come to its end: what is not told
 * meanwhile leads to any of them. */
void named_ports_begin_answer(struct port *bootstrap, uint64_t now_us);
void named_ports_end_answer(struct port *bootstrap);
/* Opens a listener for the bootstrap broker at that place. */
struct port *named_ports_bootstrap(struct port *bootstrap, int32_t place, const struct address *at,
                                   const struct named_ports_turn *turn, int *failed);
/* What a failure of the node's, or of a bootstrap broker's, listener means. */
void named_ports_explain(const struct port *bootstrap, const struct port_request *request,
                         char *error, size_t size);
void named_ports_explain_at(const struct port *bootstrap, const char *host, uint16_t number,
                            int failed, char *error, size_t size);
/* The server's bootstrap brokers, to the letter: "b1:9092,b2:9092". false: there are none, or they
 * do not fit. */
bool named_ports_bootstrap_servers(const struct port *bootstrap, char *text, size_t size);
