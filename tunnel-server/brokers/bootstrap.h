/*
 * A connection to any bootstrap broker of a cluster that answers. They are tried in the order of
 * what is known of them (health.h); the next one also starts when the one before has not answered
 * within a quarter of a second, unless it is being logged in at, and the first that proves itself
 * wins (as RFC 8305 does with addresses). A broker that was overtaken is doubted, and asked again
 * by the server itself.
 */
#pragma once

#include "broker_login/logins.h"
#include "brokers/cluster.h"

struct bootstrap_result {
    struct transport *transport; /* connected, the callback's; NULL: failed */
    size_t broker;               /* on success: its index */
    enum broker_state state;     /* on failure: of the last one */
    bool timed_out;              /* on failure: the last one */
    bool login;                  /* on failure: the login at the last one */
    uint64_t expires_us;         /* on success: when it wants another login; 0: never */
    const char *reason;          /* on failure: a sentence with the addresses */
};

typedef void (*bootstrap_callback)(void *context, const struct bootstrap_result *result);

struct bootstrap;

/* without: the brokers that are not tried, a bit for each; at least one must be left. account and
 * timeout_ms: as for broker_dial_bootstrap(), for each. A login that all would refuse is tried
 * once. Answers later, once. */
struct bootstrap *bootstrap_start(struct cluster *cluster, struct login_account *account,
                                  uint64_t without, unsigned timeout_ms,
                                  bootstrap_callback callback, void *context);
/* Before the callback only; NULL is fine. */
void bootstrap_cancel(struct bootstrap *bootstrap);
