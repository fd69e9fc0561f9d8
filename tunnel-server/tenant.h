/*
 * Who uses the server, and how much of it: fair shares by identity. Whoever is anonymous is told
 * apart by address (of IPv6 the first 64 bits).
 *
 * Of each thing that is bounded (enum tenant_thing), and of the memory of streams
 * (base/memory_budget.h), a tenant may have what others leave; where they want it too, an equal
 * part (base/share.h). One that has more gives way.
 *
 * A tenant exists while a link or a session refers to it, and for as long as its dials count.
 */
#pragma once

#include "base/memory_budget.h"
#include "http/server.h"
#include "io/worker.h"
#include "metrics/table.h"
#include "options.h"

enum tenant_thing {
    TENANT_SESSIONS, /* --max-sessions */
    TENANT_STREAMS,  /* connections to brokers and targets: of the descriptors */
    TENANT_LINKS,    /* upgraded connections, also those that are closing */
    TENANT_JOINS,    /* of these, links that have joined a session that had one */
    TENANT_GREETINGS /* links that have not said HELLO: --max-handshakes */
};
#define TENANT_THINGS 5
#define TENANT_BUCKETS 256
#define TENANT_KEY_MAX (HTTP_IDENTITY_MAX + SOCKET_TEXT_MAX)

struct tenant;

struct tenants_owner {
    /* What from has too much of, to wants and is entitled to: ends one of it. false: there is none
     * that can be ended. */
    bool (*give_way)(void *context, struct tenant *from, enum tenant_thing thing);
    /* The same for memory: cuts the stream that from is charged most for. */
    bool (*give_way_memory)(void *context, struct tenant *from, enum memory_way way);
};

struct tenants {
    struct worker *worker;
    const struct options *options;
    const struct tenants_owner *owner;
    void *context;
    struct supply supplies[TENANT_THINGS];
    struct list buckets[TENANT_BUCKETS]; /* struct tenant, by its bucket */
    struct list used;                    /* struct tenant, by its node: somebody refers to it */
    struct list unused;                  /* the others, the longest unused first */
    size_t unused_count;
};

struct tenant {
    struct list bucket;
    struct list node;
    struct tenants *tenants;
    size_t references;
    struct list sessions; /* the owner's: of struct session, oldest first */
    struct memory_share share;
    struct holding holdings[TENANT_THINGS];
    uint64_t dials_us; /* when, at the rate allowed, the dials so far would have been over */
    char key[TENANT_KEY_MAX];
};

void tenants_init(struct tenants *tenants, struct worker *worker, const struct options *options,
                  const struct tenants_owner *owner, void *context);
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

/* The tenant of an identity, with one reference more. */
struct tenant *tenant_use(struct tenants *tenants, const char *identity, const char *peer);
void tenant_reference(struct tenant *tenant);
void tenant_release(struct tenant *tenant);

/* Whether there is one of the thing for the tenant, without making anybody give way. */
enum share_answer tenant_ask(const struct tenant *tenant, enum tenant_thing thing);
/* Takes one, if need be from a tenant that has more than its part. */
bool tenant_take(struct tenant *tenant, enum tenant_thing thing);
void tenant_give(struct tenant *tenant, enum tenant_thing thing);
/* Counts a connection that is begun to a broker or target; false: too many in a minute. */
bool tenant_may_dial(struct tenant *tenant, uint64_t now_us);
/* Something was refused, or ended, because of a limit: counts it. */
void tenant_limited(const struct tenants *tenants, enum metrics_limit limit);
