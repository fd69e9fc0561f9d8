/*
 * Connects to one broker of a cluster: TCP, TLS where it is wanted, and the proof that it speaks
 * Kafka (proof.h), unless --check-brokers is off. A broker that the cluster has announced must be
 * where --allow-brokers and --deny-brokers let it be.
 */
#pragma once

#include "cluster.h"

struct broker_dial_result {
    struct transport *transport; /* connected, the callback's; NULL: failed */
    enum broker_state state;     /* BROKER_UP: connected */
    bool timed_out;
    bool forbidden;   /* by a rule */
    const char *why;  /* on failure: a sentence without the address */
    const char *rule; /* forbidden: the rule's text, or what the address is ("link-local") */
};

typedef void (*broker_dial_callback)(void *context, const struct broker_dial_result *result);

struct broker_dial;

/*
 * A bootstrap broker by its index in the settings, or one at an address that the cluster has
 * announced. timeout_ms: for the connection, and again for the proof. Answers later, once. What was
 * found out about a bootstrap broker the cluster has been told by then.
 */
struct broker_dial *broker_dial_bootstrap(struct cluster *cluster, size_t broker,
                                          unsigned timeout_ms, broker_dial_callback callback,
                                          void *context);
struct broker_dial *broker_dial_announced(struct cluster *cluster, const struct address *address,
                                          unsigned timeout_ms, broker_dial_callback callback,
                                          void *context);
/* Before the callback only; NULL is fine. */
void broker_dial_cancel(struct broker_dial *dial);
