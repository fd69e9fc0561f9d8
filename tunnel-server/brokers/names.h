/*
 * Tells a client that keeps the brokers' names what these are (KEEP and NAMES, docs/protocol.md):
 * the bootstrap brokers as they are configured, and the nodes, after the brokers were asked. Each
 * session asks once for each cluster.
 */
#pragma once

#include "authorization/stream_guard.h"
#include "broker_login/logins.h"
#include "brokers/cluster.h"
#include "brokers/node_listeners.h"
#include "mux/session.h"
#include "tenants/tenant.h"

struct names_answer;

struct names {
    struct mux_session *mux;
    struct node_listeners *listeners;
    struct cluster *clusters;
    size_t cluster_count;
    struct logins *logins;                /* by these the server logs in at brokers, for */
    const char *identity;                 /* this one */
    const struct access_in_force *access; /* rules is NULL without --access */
    struct tenant *tenant;                /* asking is a dial of this one */
    unsigned timeout_ms;                  /* of asking */
    struct names_answer *answers;         /* one a cluster */
};

/* All but the answers is filled in; what is pointed at must live as long. */
void names_init(struct names *names);
void names_clear(struct names *names);
/* A KEEP message has come. */
void names_keep(struct names *names, const uint8_t *payload, size_t size);
