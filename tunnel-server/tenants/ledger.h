/*
 * What all workers of the server together have granted to whom: an account for each identity, which
 * says how much it has of each thing that is bounded, and how often it has dialled. Each worker has
 * a tenant (tenant.h) for an account that it has something of.
 *
 * One lock guards it. It is taken when something begins or ends, or finds a limit; never for a
 * byte. Memory alone is counted without it (base/share.h).
 */
#pragma once

#include <pthread.h>

#include "authorization/identity_limits.h"
#include "base/hash.h"
#include "base/list.h"
#include "base/memory_budget.h"
#include "base/rate.h"
#include "http/server.h"
#include "options.h"

enum tenant_thing {
    TENANT_SESSIONS, /* --max-sessions */
    TENANT_STREAMS,  /* connections to brokers and targets: of the descriptors */
    TENANT_LINKS,    /* upgraded connections, also those that are closing */
    TENANT_JOINS,    /* of these, links that have joined a session that had one */
    TENANT_GREETINGS /* links that have not said HELLO: --max-handshakes */
};
#define TENANT_THINGS 5
#define TENANT_KEY_MAX (HTTP_IDENTITY_MAX + SOCKET_TEXT_MAX)
#define LEDGER_BUCKETS 256

struct tenant;

struct ledger {
    pthread_mutex_t lock; /* of all that follows, and of accounts */
    const struct options *options;
    const struct hash_key *hash_key;
    struct memory_budget whole; /* of several workers' budgets */
    struct supply supplies[TENANT_THINGS];
    struct list buckets[LEDGER_BUCKETS]; /* struct account, by its bucket */
    struct list used;                    /* struct account, by its node: somebody refers to it */
    struct list unused;                  /* the others, the longest unused first */
    /* What an identity may have instead of what the options say; NULL: nobody may. */
    void (*adjust)(void *context, const char *identity, struct identity_limits *limits);
    void *adjust_context;
    size_t unused_count;
    size_t places; /* workers */
};

/* An account exists while somebody refers to it, and for as long as what it did in the last minute
 * counts. */
struct account {
    struct list bucket;
    struct list node;
    struct ledger *ledger;
    size_t references;
    struct memory_share share; /* of ledger->whole */
    struct holding holdings[TENANT_THINGS];
    uint64_t owed[TENANT_THINGS]; /* that have been given to others, and will end at their worker */
    struct identity_limits limits;
    uint64_t dials_us; /* when, at the rate allowed, the dials so far would have been over */
    uint64_t links_us; /* the same of its links */
    struct rate up;    /* without the lock: by any worker */
    struct rate down;
    _Atomic uint64_t slowed_us; /* when the log said last that it is slowed down */
    size_t identity_size;       /* the key begins with its identity */
    unsigned asked;             /* to give way at another worker: bits, of things and of memory */
    char key[TENANT_KEY_MAX];
    struct tenant *at[]; /* by worker: its tenant; NULL: it has none */
};

/* What comes of asking for something. */
enum ledger_answer {
    LEDGER_TAKEN,
    LEDGER_LIMITED,  /* the account has as many as one may have */
    LEDGER_ENTITLED, /* others have too much */
    LEDGER_REFUSED,  /* the account has its part already */
};

/* memory: of all workers; hash_key must live as long. */
void ledger_init(struct ledger *ledger, const struct options *options,
                 const struct hash_key *hash_key, size_t places, uint64_t memory);
/* Nobody may refer to an account any more. */
void ledger_clear(struct ledger *ledger);
/* From now on adjust() is asked, for accounts that there are, too. It is called while the ledger is
 * locked. */
void ledger_adjust(struct ledger *ledger,
                   void (*adjust)(void *context, const char *identity,
                                  struct identity_limits *limits),
                   void *context);
/* How many descriptors there may be; LEDGER_DESCRIPTORS_MAX: as good as no limit. */
#define LEDGER_DESCRIPTORS_MAX (1 << 24)
#define LEDGER_OTHER_DESCRIPTORS 64 /* than those of links and connections */
uint64_t ledger_descriptors(void);

void ledger_lock(struct ledger *ledger);
void ledger_unlock(struct ledger *ledger);

/* ---- while it is locked */

/* The account of that name, which begins with the identity, with one reference more. */
struct account *ledger_use(struct ledger *ledger, const char *key, size_t identity_size);
void account_reference(struct account *account);
void account_release(struct account *account);
/* Takes one if it can be had, and the account has less than its own limit. */
enum ledger_answer account_take(struct account *account, enum tenant_thing thing);
/* What account_take() would say, without taking. */
enum share_answer account_ask(const struct account *account, enum tenant_thing thing);
void account_give(struct account *account, enum tenant_thing thing);
/* One of the thing counts no more, though it is still there: the next that is given pays for it. */
void account_owe(struct account *account, enum tenant_thing thing);
/* It does not end after all, and counts again. */
void account_keep(struct account *account, enum tenant_thing thing);
/* Who has most of the thing; NULL: nobody but those that have no more than one. */
struct account *ledger_find_largest(struct ledger *ledger, const struct account *but,
                                    enum tenant_thing thing);
/* Counts a dial; false: too many in a minute. */
bool account_may_dial(struct account *account, uint64_t now_us);
/* The same for a link. */
bool account_may_link(struct account *account, uint64_t now_us);
/* Whether it has as many of the thing as its own limit allows. */
bool account_is_full(const struct account *account, enum tenant_thing thing);
