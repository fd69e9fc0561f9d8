/*
 * Connects to one broker of a cluster: TCP, TLS where it is wanted, the proof that it speaks Kafka
 * (proof.h), unless --check-brokers is off, and a login (broker_login.h), if there is an account
 * for one. A broker that the cluster has announced must be where --allow-brokers and --deny-brokers
 * let it be.
 */
#pragma once

#include "broker_login/broker_login.h"
#include "brokers/cluster.h"

struct broker_dial_result {
    struct transport *transport; /* connected, the callback's; NULL: failed */
    enum broker_state state;     /* BROKER_UP: connected */
    bool timed_out;
    bool forbidden;      /* by a rule */
    bool login;          /* on failure: it is the login that has failed, not the broker */
    bool refused;        /* login: other brokers would refuse it as well */
    const char *why;     /* on failure: a sentence without the address */
    const char *rule;    /* forbidden: the rule's text, or what the address is ("link-local") */
    uint64_t expires_us; /* on success: when the broker wants another login; 0: never */
};

typedef void (*broker_dial_callback)(void *context, const struct broker_dial_result *result);

struct broker_dial;

/*
 * A bootstrap broker by its index in the settings, or one at an address that the cluster has
 * announced. account: to log in with, lives until the callback; NULL: nobody logs in. timeout_ms:
 * for the connection, again for the proof, and again for the login. Answers later, once. What was
 * found out about a bootstrap broker the cluster has been told by then; that a login fails is no
 * fault of the broker's towards others.
 */
struct broker_dial *broker_dial_bootstrap(struct cluster *cluster, size_t broker,
                                          struct login_account *account, unsigned timeout_ms,
                                          broker_dial_callback callback, void *context);
struct broker_dial *broker_dial_announced(struct cluster *cluster, const struct address *address,
                                          struct login_account *account, unsigned timeout_ms,
                                          broker_dial_callback callback, void *context);
/* From its own call, after the start: a login begins, perhaps not the only one. */
void broker_dial_on_login(struct broker_dial *dial, void (*logs_in)(void *context));
/* Before the callback only; NULL is fine. */
void broker_dial_cancel(struct broker_dial *dial);
