/*
 * Asks a cluster's bootstrap brokers, those that answer, for its brokers or controllers, and fills
 * in the address book. It has no login of its own: where brokers want one the question fails,
 * unless it is put on a connection that a client has logged in on.
 */
#pragma once

#include "cluster.h"

struct learner;

/* error: NULL, or what the last broker said. wants_login: a broker hung up instead of answering, as
 * brokers do that want a login (or TLS) first. */
typedef void (*learner_callback)(void *context, const char *error, bool wants_login);

/* Answers later, once. */
struct learner *learner_start(struct cluster *cluster, enum kafka_endpoint_type type,
                              unsigned timeout_ms, learner_callback callback, void *context);
/* The same on a connection that stands already, to a bootstrap broker that knows who asks; no other
 * one is tried. Owns connection. */
struct learner *learner_start_on(struct cluster *cluster, enum kafka_endpoint_type type,
                                 struct transport *connection, unsigned timeout_ms,
                                 learner_callback callback, void *context);
void learner_cancel(struct learner *learner);
