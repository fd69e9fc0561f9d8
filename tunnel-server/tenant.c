#include "tenant.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>

#include "access.h"
#include "base/memory.h"
#include "io/clock.h"
#include "metrics/metrics.h"

enum {
    MINUTE_US = 60 * 1000 * 1000,
    /* Tenants that are only remembered for their dials. */
    UNUSED_MAX = 10000,
    UNUSED_LOOKED_AT = 8, /* each time */
    ATTEMPTS = 16,        /* to make somebody give way */
    OTHER_DESCRIPTORS = 64,
    DESCRIPTORS_MAX = 1 << 24,
};

static bool give_way_memory(void *context, const struct memory_share *to, enum memory_way way);

static uint64_t descriptors(void)
{
    struct rlimit limit;

    if (getrlimit(RLIMIT_NOFILE, &limit) == 0 && limit.rlim_cur < DESCRIPTORS_MAX)
        return (uint64_t)limit.rlim_cur;
    return DESCRIPTORS_MAX;
}

/* Of the descriptors, a quarter at the most is for what sessions can do without. */
static uint64_t joins_allowed(const struct options *options)
{
    uint64_t wanted = (uint64_t)options->max_sessions * (uint64_t)(options->max_links - 1);

    return wanted < descriptors() / 4 ? wanted : descriptors() / 4;
}

/* Of the descriptors, what links do not need; half of them at the least. */
static uint64_t streams_allowed(uint64_t links)
{
    uint64_t all = descriptors();
    uint64_t others = links + OTHER_DESCRIPTORS;
    return all > 2 * others ? all - others : all / 2;
}

void tenants_init(struct tenants *tenants, struct worker *worker, const struct options *options,
                  const struct tenants_owner *owner, void *context)
{
    uint64_t joins = joins_allowed(options);
    uint64_t links = (uint64_t)(options->max_sessions + options->max_handshakes) + joins;

    *tenants =
        (struct tenants){.worker = worker, .options = options, .owner = owner, .context = context};
    tenants->supplies[TENANT_SESSIONS].total = (uint64_t)options->max_sessions;
    tenants->supplies[TENANT_STREAMS].total = streams_allowed(links);
    tenants->supplies[TENANT_LINKS].total = links;
    tenants->supplies[TENANT_JOINS].total = joins;
    tenants->supplies[TENANT_GREETINGS].total = (uint64_t)options->max_handshakes;
    for (size_t i = 0; i < TENANT_BUCKETS; i++)
        list_init(&tenants->buckets[i]);
    list_init(&tenants->used);
    list_init(&tenants->unused);
    worker->budget.give_way = give_way_memory;
    worker->budget.context = tenants;
}

struct tenants_capacity tenants_capacity(const struct tenants *tenants)
{
    const struct memory_budget *budget = &tenants->worker->budget;
    uint64_t by_memory = budget->receive.total / MUX_STREAM_FLOOR;
    uint64_t by_descriptors = tenants->supplies[TENANT_STREAMS].total;
    uint64_t sessions = tenants->supplies[TENANT_SESSIONS].total;
    uint64_t all = descriptors();

    return (struct tenants_capacity){
        .sessions = sessions,
        .connections = by_memory < by_descriptors ? by_memory : by_descriptors,
        .memory_binds = by_memory < by_descriptors,
        .descriptors = all == DESCRIPTORS_MAX ? UINT64_MAX : all,
        .few_descriptors = all < 2 * sessions + OTHER_DESCRIPTORS,
    };
}

static void tenant_free(struct tenant *tenant)
{
    list_remove(&tenant->bucket);
    list_remove(&tenant->node);
    free(tenant);
}

void tenants_clear(struct tenants *tenants)
{
    struct list *node;

    if (!tenants->worker)
        return;
    while ((node = list_pop(&tenants->unused)))
        tenant_free(list_entry(node, struct tenant, node));
    tenants->worker->budget.give_way = NULL;
}

/* ---- who it is */

/* Whose address it is. */
static void format_subscriber(const char *peer, char text[SOCKET_TEXT_MAX])
{
    struct socket_address address;
    char host[SOCKET_TEXT_MAX];
    const char *start = peer[0] == '[' ? peer + 1 : peer;
    const char *end = peer[0] == '[' ? strchr(peer, ']') : strrchr(peer, ':');

    snprintf(host, sizeof host, "%.*s", end ? (int)(end - start) : (int)strlen(start), start);
    if (socket_parse(host, 0, &address)) {
        socket_keep_subscriber(&address);
        socket_format_host(&address, text);
    } else {
        memcpy(text, host, sizeof host);
    }
}

static void make_key(char key[TENANT_KEY_MAX], const char *identity, const char *peer)
{
    char address[SOCKET_TEXT_MAX] = "";

    if (strcmp(identity, ACCESS_ANONYMOUS) == 0)
        format_subscriber(peer, address);
    snprintf(key, TENANT_KEY_MAX, "%s%s%s", identity, address[0] ? " from " : "", address);
}

static struct list *tenant_bucket(struct tenants *tenants, const char *key)
{
    uint64_t hash = hash_bytes(&tenants->worker->hash_key, key, strlen(key));

    return &tenants->buckets[hash % TENANT_BUCKETS];
}

/* Those whose dials do not count any more, and the oldest if there are too many. */
static void forget_unused(struct tenants *tenants)
{
    uint64_t now = clock_now_us();

    for (int i = 0; i < UNUSED_LOOKED_AT && !list_empty(&tenants->unused); i++) {
        struct tenant *tenant = list_entry(tenants->unused.next, struct tenant, node);
        list_remove(&tenant->node);
        if (tenant->dials_us > now && tenants->unused_count <= UNUSED_MAX) {
            list_append(&tenants->unused, &tenant->node);
            continue;
        }
        tenants->unused_count--;
        tenant_free(tenant);
    }
}

static struct tenant *find_tenant(struct list *bucket, const char *key)
{
    list_each(at, bucket) {
        struct tenant *tenant = list_entry(at, struct tenant, bucket);
        if (strcmp(tenant->key, key) == 0)
            return tenant;
    }
    return NULL;
}

struct tenant *tenant_use(struct tenants *tenants, const char *identity, const char *peer)
{
    char key[TENANT_KEY_MAX];

    forget_unused(tenants);
    make_key(key, identity, peer);
    struct list *bucket = tenant_bucket(tenants, key);
    struct tenant *tenant = find_tenant(bucket, key);
    if (!tenant) {
        tenant = memory_new(sizeof *tenant);
        tenant->tenants = tenants;
        memcpy(tenant->key, key, sizeof key);
        list_init(&tenant->bucket);
        list_init(&tenant->node);
        list_init(&tenant->sessions);
        memory_share_init(&tenant->share, &tenants->worker->budget);
        list_append(bucket, &tenant->bucket);
    } else if (tenant->references == 0) {
        tenants->unused_count--;
    }
    tenant_reference(tenant);
    return tenant;
}

void tenant_reference(struct tenant *tenant)
{
    if (tenant->references++ > 0)
        return;
    list_remove(&tenant->node);
    list_append(&tenant->tenants->used, &tenant->node);
}

void tenant_release(struct tenant *tenant)
{
    if (--tenant->references > 0)
        return;
    list_remove(&tenant->node);
    list_append(&tenant->tenants->unused, &tenant->node);
    tenant->tenants->unused_count++;
}

/* ---- what it has */

enum share_answer tenant_ask(const struct tenant *tenant, enum tenant_thing thing)
{
    return share_ask(&tenant->tenants->supplies[thing], &tenant->holdings[thing], 1);
}

/* Who has most of the thing; NULL: nobody but those that have no more than one. */
static struct tenant *find_largest(struct tenants *tenants, const struct tenant *but,
                                   enum tenant_thing thing)
{
    struct tenant *largest = NULL;

    list_each(at, &tenants->used) {
        struct tenant *tenant = list_entry(at, struct tenant, node);
        uint64_t used = tenant->holdings[thing].used;
        if (tenant != but && used > (largest ? largest->holdings[thing].used : 1))
            largest = tenant;
    }
    return largest;
}

bool tenant_take(struct tenant *tenant, enum tenant_thing thing)
{
    struct tenants *tenants = tenant->tenants;
    struct supply *supply = &tenants->supplies[thing];
    enum share_answer answer = tenant_ask(tenant, thing);

    for (int i = 0; i < ATTEMPTS && answer == SHARE_ENTITLED; i++) {
        struct tenant *largest = find_largest(tenants, tenant, thing);
        if (!largest || largest->holdings[thing].used <= tenant->holdings[thing].used + 1 ||
            !tenants->owner->give_way(tenants->context, largest, thing))
            return false;
        tenant_limited(tenants, METRICS_LIMIT_GAVE_WAY);
        answer = tenant_ask(tenant, thing);
    }
    if (answer != SHARE_GRANTED)
        return false;
    share_take(supply, &tenant->holdings[thing], 1);
    return true;
}

void tenant_give(struct tenant *tenant, enum tenant_thing thing)
{
    share_give(&tenant->tenants->supplies[thing], &tenant->holdings[thing], 1);
}

static uint64_t memory_of(const struct tenant *tenant, enum memory_way way)
{
    return way == MEMORY_RECEIVE ? tenant->share.receive.used : tenant->share.send.used;
}

/* memory_budget's: whoever is charged most, and more than its part. */
static bool give_way_memory(void *context, const struct memory_share *to, enum memory_way way)
{
    struct tenants *tenants = context;
    const struct memory_budget *budget = &tenants->worker->budget;
    const struct supply *supply = way == MEMORY_RECEIVE ? &budget->receive : &budget->send;
    struct tenant *largest = NULL;

    list_each(at, &tenants->used) {
        struct tenant *tenant = list_entry(at, struct tenant, node);
        if (&tenant->share != to && (!largest || memory_of(tenant, way) > memory_of(largest, way)))
            largest = tenant;
    }
    const struct holding *holding = way == MEMORY_RECEIVE ? &to->receive : &to->send;
    if (!largest || memory_of(largest, way) <= share_part(supply, holding) ||
        !tenants->owner->give_way_memory(tenants->context, largest, way))
        return false;
    tenant_limited(tenants, METRICS_LIMIT_GAVE_WAY);
    return true;
}

bool tenant_may_dial(struct tenant *tenant, uint64_t now_us)
{
    uint64_t each_us = MINUTE_US / (uint64_t)tenant->tenants->options->max_dials;
    uint64_t since = tenant->dials_us > now_us ? tenant->dials_us : now_us;

    if (since + each_us > now_us + MINUTE_US)
        return false;
    tenant->dials_us = since + each_us;
    return true;
}

void tenant_limited(const struct tenants *tenants, enum metrics_limit limit)
{
    metrics_add(tenants->worker->metrics, METRIC_LIMITED, limit, 0, 1);
}
