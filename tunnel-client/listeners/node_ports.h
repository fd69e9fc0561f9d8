/*
 * Which local ports the listeners for a cluster's nodes get: node N of a cluster with the ports
 * FIRST to LAST is at FIRST + N mod (how many these are). The ports follow from the configuration
 * alone, so that they are the same after every start. No sockets in here.
 */
#pragma once

#include <stdbool.h>

#include "config/address.h"

/* A cluster with fewer ports than this between its bootstrap listener and the next one gets its
 * ports elsewhere. */
#define NODE_PORTS_MIN 50

/* A listener of the configuration: a cluster's bootstrap or a raw target. */
struct node_ports {
    const char *name;
    const char *host; /* numeric */
    uint16_t port;    /* 0: not known yet */
    bool cluster;
    struct address_ports nodes; /* of a cluster; first 0: none yet */
};

/* The port of a node, or the one that is so many further on; attempt is less than their number. */
uint16_t node_ports_at(const struct address_ports *ports, int32_t node, unsigned attempt);

/* Whether a listener may be in the way of one on the other host: the same, a wildcard, or both on
 * loopback, where 127.0.0.1 and ::1 are listened on together. */
bool node_ports_hosts_meet(const char *a, const char *b);

/* Whether the ports that are there, for the cluster all[index], meet another listener or another
 * cluster's. false: error says which. */
bool node_ports_check(const struct node_ports *all, size_t count, size_t index, char *error,
                      size_t size);

/*
 * Gives ports to the clusters that have none: ADDRESS_NODE_PORTS from the bootstrap port + 1 on, or
 * as many as there are before the next port of the configuration. Clusters for which these would be
 * fewer than NODE_PORTS_MIN get, in order of their bootstrap ports, the next ADDRESS_NODE_PORTS
 * above them that are free of all others'; if there are none, the first from 1024 on.
 */
void node_ports_plan(struct node_ports *all, size_t count);
