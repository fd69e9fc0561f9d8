#include "tenants/ledger.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>

#include "base/memory.h"
#include "io/clock.h"

enum {
    MINUTE_US = 60 * 1000 * 1000,
    /* Accounts that are only remembered for their dials. */
    UNUSED_MAX = 10000,
    UNUSED_LOOKED_AT = 8, /* each time */
};

uint64_t ledger_descriptors(void)
{
    struct rlimit limit;

    if (getrlimit(RLIMIT_NOFILE, &limit) == 0 && limit.rlim_cur < LEDGER_DESCRIPTORS_MAX)
        return (uint64_t)limit.rlim_cur;
    return LEDGER_DESCRIPTORS_MAX;
}

/* Of the descriptors, a quarter at the most is for what sessions can do without. */
static uint64_t joins_allowed(const struct options *options)
{
    uint64_t wanted = (uint64_t)options->max_sessions * (uint64_t)(options->max_links - 1);
    uint64_t most = ledger_descriptors() / 4;

    return wanted < most ? wanted : most;
}

/* Of the descriptors, what links do not need; half of them at the least. */
static uint64_t streams_allowed(uint64_t links)
{
    uint64_t all = ledger_descriptors();
    uint64_t others = links + LEDGER_OTHER_DESCRIPTORS;
    return all > 2 * others ? all - others : all / 2;
}

void ledger_init(struct ledger *ledger, const struct options *options,
                 const struct hash_key *hash_key, size_t places, uint64_t memory)
{
    uint64_t joins = joins_allowed(options);
    uint64_t links = (uint64_t)(options->max_sessions + options->max_handshakes) + joins;

    *ledger = (struct ledger){.options = options, .hash_key = hash_key, .places = places};
    pthread_mutex_init(&ledger->lock, NULL);
    memory_budget_init(&ledger->whole, memory);
    ledger->supplies[TENANT_SESSIONS].total = (uint64_t)options->max_sessions;
    ledger->supplies[TENANT_STREAMS].total = streams_allowed(links);
    ledger->supplies[TENANT_LINKS].total = links;
    ledger->supplies[TENANT_JOINS].total = joins;
    ledger->supplies[TENANT_GREETINGS].total = (uint64_t)options->max_handshakes;
    for (size_t i = 0; i < LEDGER_BUCKETS; i++)
        list_init(&ledger->buckets[i]);
    list_init(&ledger->used);
    list_init(&ledger->unused);
}

static void account_free(struct account *account)
{
    list_remove(&account->bucket);
    list_remove(&account->node);
    free(account);
}

void ledger_clear(struct ledger *ledger)
{
    struct list *node;

    if (ledger->places == 0)
        return;
    while ((node = list_pop(&ledger->unused)))
        account_free(list_entry(node, struct account, node));
    pthread_mutex_destroy(&ledger->lock);
    ledger->places = 0;
}

void ledger_lock(struct ledger *ledger)
{
    pthread_mutex_lock(&ledger->lock);
}

void ledger_unlock(struct ledger *ledger)
{
    pthread_mutex_unlock(&ledger->lock);
}

/* ---- accounts */

/* Those of which nothing counts any more, and the oldest if there are too many. */
static void forget_unused(struct ledger *ledger)
{
    uint64_t now = clock_now_us();

    for (int i = 0; i < UNUSED_LOOKED_AT && !list_empty(&ledger->unused); i++) {
        struct account *account = list_entry(ledger->unused.next, struct account, node);
        list_remove(&account->node);
        bool counts = account->dials_us > now || account->links_us > now ||
                      rate_wait_us(&account->up, now) > 0 || rate_wait_us(&account->down, now) > 0;
        if (counts && ledger->unused_count <= UNUSED_MAX) {
            list_append(&ledger->unused, &account->node);
            continue;
        }
        ledger->unused_count--;
        account_free(account);
    }
}

static struct account *find_account(struct list *bucket, const char *key)
{
    list_each(at, bucket) {
        struct account *account = list_entry(at, struct account, bucket);
        if (strcmp(account->key, key) == 0)
            return account;
    }
    return NULL;
}

static void set_limits(struct account *account)
{
    const struct ledger *ledger = account->ledger;
    const struct options *options = ledger->options;
    char identity[HTTP_IDENTITY_MAX];
    struct identity_limits *limits = &account->limits;

    *limits =
        (struct identity_limits){.most = {[LIMIT_SESSIONS] = (uint64_t)options->max_sessions_of,
                                          [LIMIT_STREAMS] = (uint64_t)options->max_streams_of,
                                          [LIMIT_LINKS] = (uint64_t)options->max_links_of,
                                          [LIMIT_DIALS] = (uint64_t)options->max_dials,
                                          [LIMIT_NEW_LINKS] = (uint64_t)options->max_new_links,
                                          [LIMIT_BYTES_UP] = options->max_bytes_up,
                                          [LIMIT_BYTES_DOWN] = options->max_bytes_down}};
    if (ledger->adjust) {
        snprintf(identity, sizeof identity, "%.*s", (int)account->identity_size, account->key);
        ledger->adjust(ledger->adjust_context, identity, limits);
    }
    rate_set(&account->up, limits->most[LIMIT_BYTES_UP]);
    rate_set(&account->down, limits->most[LIMIT_BYTES_DOWN]);
}

void ledger_adjust(struct ledger *ledger,
                   void (*adjust)(void *context, const char *identity,
                                  struct identity_limits *limits),
                   void *context)
{
    ledger_lock(ledger);
    ledger->adjust = adjust;
    ledger->adjust_context = context;
    /* The others are looked at when they are used again. */
    list_each(at, &ledger->used)
        set_limits(list_entry(at, struct account, node));
    ledger_unlock(ledger);
}

static struct account *account_new(struct ledger *ledger, struct list *bucket, const char *key,
                                   size_t identity_size)
{
    struct account *account = memory_new(sizeof *account + ledger->places * sizeof account->at[0]);

    account->ledger = ledger;
    account->identity_size = identity_size;
    snprintf(account->key, sizeof account->key, "%s", key);
    list_init(&account->bucket);
    list_init(&account->node);
    memory_share_init(&account->share, &ledger->whole);
    list_append(bucket, &account->bucket);
    return account;
}

struct account *ledger_use(struct ledger *ledger, const char *key, size_t identity_size)
{
    uint64_t hash = hash_bytes(ledger->hash_key, key, strlen(key));
    struct list *bucket = &ledger->buckets[hash % LEDGER_BUCKETS];

    forget_unused(ledger);
    struct account *account = find_account(bucket, key);
    if (!account)
        account = account_new(ledger, bucket, key, identity_size);
    else if (account->references == 0)
        ledger->unused_count--;
    if (account->references == 0)
        set_limits(account);
    account_reference(account);
    return account;
}

void account_reference(struct account *account)
{
    if (account->references++ > 0)
        return;
    list_remove(&account->node);
    list_append(&account->ledger->used, &account->node);
}

void account_release(struct account *account)
{
    if (--account->references > 0)
        return;
    list_remove(&account->node);
    list_append(&account->ledger->unused, &account->node);
    account->ledger->unused_count++;
}

/* ---- what they have */

enum share_answer account_ask(const struct account *account, enum tenant_thing thing)
{
    return share_ask(&account->ledger->supplies[thing], &account->holdings[thing], 1);
}

bool account_is_full(const struct account *account, enum tenant_thing thing)
{
    static const enum limit limits[TENANT_THINGS] = {
        [TENANT_SESSIONS] = LIMIT_SESSIONS, [TENANT_STREAMS] = LIMIT_STREAMS,
        [TENANT_LINKS] = LIMIT_LINKS,       [TENANT_JOINS] = LIMITS,
        [TENANT_GREETINGS] = LIMITS,
    };
    uint64_t most = limits[thing] < LIMITS ? account->limits.most[limits[thing]] : 0;

    return most > 0 && share_used(&account->holdings[thing]) >= most;
}

enum ledger_answer account_take(struct account *account, enum tenant_thing thing)
{
    struct holding *holding = &account->holdings[thing];

    if (account_is_full(account, thing))
        return LEDGER_LIMITED;
    switch (account_ask(account, thing)) {
    case SHARE_GRANTED:
        share_add(&account->ledger->supplies[thing], holding, 1);
        return LEDGER_TAKEN;
    case SHARE_ENTITLED:
        return LEDGER_ENTITLED;
    default:
        return LEDGER_REFUSED;
    }
}

void account_give(struct account *account, enum tenant_thing thing)
{
    if (account->owed[thing] > 0) {
        account->owed[thing]--;
        return;
    }
    share_give(&account->ledger->supplies[thing], &account->holdings[thing], 1);
}

void account_owe(struct account *account, enum tenant_thing thing)
{
    account->owed[thing]++;
    share_give(&account->ledger->supplies[thing], &account->holdings[thing], 1);
}

void account_keep(struct account *account, enum tenant_thing thing)
{
    account->owed[thing]--;
    share_add(&account->ledger->supplies[thing], &account->holdings[thing], 1);
}

struct account *ledger_find_largest(struct ledger *ledger, const struct account *but,
                                    enum tenant_thing thing)
{
    struct account *largest = NULL;
    uint64_t most = 1;

    list_each(at, &ledger->used) {
        struct account *account = list_entry(at, struct account, node);
        uint64_t used = share_used(&account->holdings[thing]);
        if (account == but || used <= most)
            continue;
        largest = account;
        most = used;
    }
    return largest;
}

static bool count_in_minute(uint64_t *until_us, uint64_t most, uint64_t now_us)
{
    uint64_t since = *until_us > now_us ? *until_us : now_us;

    if (most == 0)
        return true;
    if (since + MINUTE_US / most > now_us + MINUTE_US)
        return false;
    *until_us = since + MINUTE_US / most;
    return true;
}

bool account_may_dial(struct account *account, uint64_t now_us)
{
    return count_in_minute(&account->dials_us, account->limits.most[LIMIT_DIALS], now_us);
}

bool account_may_link(struct account *account, uint64_t now_us)
{
    return count_in_minute(&account->links_us, account->limits.most[LIMIT_NEW_LINKS], now_us);
}
