/*
 * Who uses a worker of the server, and how much of it: fair shares by identity. Whoever is
 * anonymous is told apart by address (of IPv6 the first 64 bits).
 *
 * Of each thing that is bounded (enum tenant_thing), and of the memory of streams
 * (base/memory_budget.h), an identity may have what others leave; where they want it too, an equal
 * part (base/share.h). One that has more gives way. What counts is what it has at all workers: the
 * ledger (ledger.h) decides. What is to give way and is at another worker is asked for there;
 * connections and joined links are given on credit meanwhile, the rest is refused this time.
 *
 * A tenant exists while a link or a session of the worker refers to it.
 */
#pragma once

#include "io/worker.h"
#include "metrics/table.h"
#include "tenants/ledger.h"

/* What an account is asked to give way with at another worker. */
struct tenant_wish {
    struct account *account; /* with a reference, which tenants_grant() gives back */
    bool memory;
    enum tenant_thing thing; /* not memory */
    enum memory_way way;     /* memory */
};

struct tenants_owner {
    /* What from has too much of, to wants and is entitled to: ends one of it. false: there is none
     * that can be ended. */
    bool (*give_way)(void *context, struct tenant *from, enum tenant_thing thing);
    /* The same for memory: cuts the stream that from is charged most for. */
    bool (*give_way_memory)(void *context, struct tenant *from, enum memory_way way);
    /* Has that worker call tenants_grant(). NULL: there is but one worker. Called while the ledger
     * is locked. */
    void (*ask)(void *context, size_t place, const struct tenant_wish *wish);
};

struct tenants {
    struct worker *worker;
    struct ledger *ledger;
    size_t place; /* the worker's, in the ledger */
    const struct tenants_owner *owner;
    void *context;
    struct supply held[TENANT_THINGS]; /* at this worker; other threads may read it */
};

struct tenant {
    struct tenants *tenants;
    struct account *account;
    size_t references;
    struct list sessions; /* the owner's: of struct session, oldest first */
    struct memory_share share;
    struct holding holdings[TENANT_THINGS]; /* at this worker */
};

void tenants_init(struct tenants *tenants, struct worker *worker, struct ledger *ledger,
                  size_t place, const struct tenants_owner *owner, void *context);
/* Nobody may refer to a tenant any more. */
void tenants_clear(struct tenants *tenants);

/* What all tenants together may have: of each thing, what its limit and the machine leave. */
struct tenants_capacity {
    uint64_t sessions;
    uint64_t connections; /* to brokers and targets */
    bool memory_binds;    /* it is --memory that allows no more connections, not descriptors */
    uint64_t descriptors; /* ulimit -n; UINT64_MAX: as good as none */
    bool few_descriptors; /* not each session would find one for a link and for a connection */
};
struct tenants_capacity tenants_capacity(const struct tenants *tenants);

/* Whose address peer is: of IPv6 the first 64 bits. */
void tenants_subscriber(const char *peer, char text[SOCKET_TEXT_MAX]);
/* The tenant of an identity, with one reference more. */
struct tenant *tenant_use(struct tenants *tenants, const char *identity, const char *peer);
void tenant_reference(struct tenant *tenant);
void tenant_release(struct tenant *tenant);

/* Whether there is one of the thing for the tenant, without making anybody give way. */
enum share_answer tenant_ask(const struct tenant *tenant, enum tenant_thing thing);
/* Takes one, if need be from a tenant that has more than its part. LEDGER_LIMITED: the identity has
 * as many as it may have, at all workers together. */
enum ledger_answer tenant_take_within(struct tenant *tenant, enum tenant_thing thing);
bool tenant_take(struct tenant *tenant, enum tenant_thing thing);
void tenant_give(struct tenant *tenant, enum tenant_thing thing);
/* One of the thing goes to another worker, where tenant_arrive() takes it in: the account, with a
 * reference. The tenant's stays the caller's. */
struct account *tenant_depart(struct tenant *tenant, enum tenant_thing thing);
/* The tenant, with one reference more; that of the account is given back. */
struct tenant *tenant_arrive(struct tenants *tenants, struct account *account,
                             enum tenant_thing thing);
/* Another worker has asked for it. */
void tenants_grant(struct tenants *tenants, const struct tenant_wish *wish);
/* Counts a connection that is begun to a broker or target; false: too many in a minute. */
bool tenant_may_dial(struct tenant *tenant, uint64_t now_us);
/* Counts a link; NULL, or why there may be none: a sentence part with the option, and *limit. */
const char *tenant_obstacle_to_link(struct tenant *tenant, uint64_t now_us,
                                    enum metrics_limit *limit);
/* Something was refused, or ended, because of a limit: counts it. */
void tenant_limited(const struct tenants *tenants, enum metrics_limit limit);
