/*
 * Asks a cluster's bootstrap brokers, in turn, for its brokers or controllers, and fills in the
 * address book. It
 * speaks to brokers without authentication only; where they want SASL the question fails, and nodes
 * become known when a client asks.
 */
#pragma once

#include "cluster.h"

struct learner;

/* error: NULL, or what the last broker said. */
typedef void (*learner_callback)(void *context, const char *error);

/* Answers later, once. */
struct learner *learner_start(struct cluster *cluster, enum kafka_endpoint_type type,
                              unsigned timeout_ms, learner_callback callback, void *context);
void learner_cancel(struct learner *learner);
