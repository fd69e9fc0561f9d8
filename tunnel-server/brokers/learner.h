/*
 * Asks a cluster's bootstrap brokers, those that answer, for its brokers or controllers, and fills
 * in the address book. It logs in as the client for whom it asks, if there is an account. Where
 * brokers want a login and there is none the question fails, unless it is put on a connection that
 * a client has logged in on.
 */
#pragma once

#include "broker_login/logins.h"
#include "brokers/cluster.h"

struct learner;

/* What came of it, besides nodes in the address book. */
struct learner_result {
    const char *error; /* NULL, or what the last broker said */
    bool wants_login;  /* a broker hung up instead of answering, as brokers do that want a login (or
                          TLS) first; with an account it has had that */
    bool login;        /* on failure: the login has failed */
};

typedef void (*learner_callback)(void *context, const struct learner_result *result);

/* account: to log in with; NULL: nobody does. Answers later, once. */
struct learner *learner_start(struct cluster *cluster, enum kafka_endpoint_type type,
                              struct login_account *account, unsigned timeout_ms,
                              learner_callback callback, void *context);
/* The same on a connection that stands already, to a bootstrap broker that knows who asks; no other
 * one is tried. Owns connection. */
struct learner *learner_start_on(struct cluster *cluster, enum kafka_endpoint_type type,
                                 struct transport *connection, unsigned timeout_ms,
                                 learner_callback callback, void *context);
void learner_cancel(struct learner *learner);
