#include "tenants/tenant.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "authentication/access.h"
#include "base/memory.h"
#include "metrics/metrics.h"

enum { ATTEMPTS = 16 }; /* to make somebody give way */

static bool give_way_memory(void *context, const struct memory_share *to, enum memory_way way);

void tenants_init(struct tenants *tenants, struct worker *worker, struct ledger *ledger,
                  size_t place, const struct tenants_owner *owner, void *context)
{
    *tenants = (struct tenants){
        .worker = worker, .ledger = ledger, .place = place, .owner = owner, .context = context};
    worker->budget.give_way = give_way_memory;
    worker->budget.context = tenants;
    if (ledger->places > 1)
        memory_budget_join(&worker->budget, &ledger->whole);
}

struct tenants_capacity tenants_capacity(const struct tenants *tenants)
{
    const struct memory_budget *budget = memory_budget_whole(&tenants->worker->budget);
    uint64_t by_memory = budget->receive.total / MUX_STREAM_FLOOR;
    uint64_t by_descriptors = tenants->ledger->supplies[TENANT_STREAMS].total;
    uint64_t sessions = tenants->ledger->supplies[TENANT_SESSIONS].total;
    uint64_t all = ledger_descriptors();

    return (struct tenants_capacity){
        .sessions = sessions,
        .connections = by_memory < by_descriptors ? by_memory : by_descriptors,
        .memory_binds = by_memory < by_descriptors,
        .descriptors = all == LEDGER_DESCRIPTORS_MAX ? UINT64_MAX : all,
        .few_descriptors = all < 2 * sessions + LEDGER_OTHER_DESCRIPTORS,
    };
}

void tenants_clear(struct tenants *tenants)
{
    if (tenants->worker)
        tenants->worker->budget.give_way = NULL;
}

/* ---- who it is */

void tenants_subscriber(const char *peer, char text[SOCKET_TEXT_MAX])
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
        tenants_subscriber(peer, address);
    snprintf(key, TENANT_KEY_MAX, "%s%s%s", identity, address[0] ? " from " : "", address);
}

/* The ledger is locked, and the account has a reference for the tenant. */
static struct tenant *tenant_new(struct tenants *tenants, struct account *account)
{
    struct tenant *tenant = memory_new(sizeof *tenant);

    tenant->tenants = tenants;
    tenant->account = account;
    list_init(&tenant->sessions);
    memory_share_init(&tenant->share, &tenants->worker->budget);
    if (tenants->worker->budget.whole)
        memory_share_join(&tenant->share, &account->share);
    account->at[tenants->place] = tenant;
    return tenant;
}

/* The account's reference becomes the tenant's, or is given back. */
static struct tenant *tenant_of(struct tenants *tenants, struct account *account)
{
    struct tenant *tenant = account->at[tenants->place];

    if (tenant)
        account_release(account);
    else
        tenant = tenant_new(tenants, account);
    tenant_reference(tenant);
    return tenant;
}

struct tenant *tenant_use(struct tenants *tenants, const char *identity, const char *peer)
{
    char key[TENANT_KEY_MAX];

    make_key(key, identity, peer);
    ledger_lock(tenants->ledger);
    struct tenant *tenant = tenant_of(tenants, ledger_use(tenants->ledger, key, strlen(identity)));
    ledger_unlock(tenants->ledger);
    return tenant;
}

void tenant_reference(struct tenant *tenant)
{
    tenant->references++;
}

void tenant_release(struct tenant *tenant)
{
    struct ledger *ledger = tenant->tenants->ledger;

    if (--tenant->references > 0)
        return;
    ledger_lock(ledger);
    tenant->account->at[tenant->tenants->place] = NULL;
    account_release(tenant->account);
    ledger_unlock(ledger);
    free(tenant);
}

/* ---- what it has */

enum share_answer tenant_ask(const struct tenant *tenant, enum tenant_thing thing)
{
    ledger_lock(tenant->tenants->ledger);
    enum share_answer answer = account_ask(tenant->account, thing);
    ledger_unlock(tenant->tenants->ledger);
    return answer;
}

static uint64_t memory_held(const struct tenant *tenant, enum memory_way way)
{
    return share_used(way == MEMORY_RECEIVE ? &tenant->share.receive : &tenant->share.send);
}

static uint64_t held_for(const struct tenant *tenant, const struct tenant_wish *wish)
{
    if (!tenant)
        return 0;
    return wish->memory ? memory_held(tenant, wish->way)
                        : share_used(&tenant->holdings[wish->thing]);
}

/* The worker that has most of what is wished for; of several this one. */
static size_t place_with_most(const struct tenants *tenants, const struct tenant_wish *wish)
{
    const struct account *account = wish->account;
    size_t place = tenants->place;

    for (size_t i = 0; i < tenants->ledger->places; i++)
        if (held_for(account->at[i], wish) > held_for(account->at[place], wish))
            place = i;
    return place;
}

static unsigned bit_of(const struct tenant_wish *wish)
{
    return 1u << (wish->memory ? TENANT_THINGS + (unsigned)wish->way : (unsigned)wish->thing);
}

/* Things that a session cannot be without at its worker: whoever is entitled to one has it at once,
 * and it is owed by the one who gives it until that has ended at another worker. */
static bool is_given_on_credit(const struct tenant_wish *wish)
{
    return !wish->memory && (wish->thing == TENANT_STREAMS || wish->thing == TENANT_JOINS);
}

/* The ledger is locked. What is not owed is asked for once for each account and thing, until it is
 * granted. */
static void ask_elsewhere(const struct tenants *tenants, size_t place,
                          const struct tenant_wish *wish)
{
    if (is_given_on_credit(wish))
        account_owe(wish->account, wish->thing);
    else if (wish->account->asked & bit_of(wish))
        return;
    else
        wish->account->asked |= bit_of(wish);
    account_reference(wish->account);
    tenants->owner->ask(tenants->context, place, wish);
}

/* Whoever is to give way is another account's tenant, so what is done to it does not disturb what
 * the caller is in the middle of. false: nobody has, or not at this worker. */
static bool make_way(struct tenants *tenants, struct tenant *from, const struct tenant_wish *wish)
{
    const struct tenants_owner *owner = tenants->owner;
    bool gave = wish->memory ? owner->give_way_memory(tenants->context, from, wish->way)
                             : owner->give_way(tenants->context, from, wish->thing);

    if (gave)
        tenant_limited(tenants, METRICS_LIMIT_GAVE_WAY);
    return gave;
}

void tenants_grant(struct tenants *tenants, const struct tenant_wish *wish)
{
    struct account *account = wish->account;
    bool credit = is_given_on_credit(wish);

    ledger_lock(tenants->ledger);
    account->asked &= ~bit_of(wish);
    struct tenant *tenant = account->at[tenants->place];
    bool due = !credit || account->owed[wish->thing] > 0;
    ledger_unlock(tenants->ledger);
    bool gave = due && held_for(tenant, wish) > 0 && make_way(tenants, tenant, wish);
    ledger_lock(tenants->ledger);
    /* Nothing that could be ended is here any more. */
    if (credit && due && !gave && account->owed[wish->thing] > 0)
        account_keep(account, wish->thing);
    account_release(account);
    ledger_unlock(tenants->ledger);
}

/* Of the tenant that has most; the ledger is locked. NULL: nobody, or not here: then it was asked
 * for where it is. owed: that counts as given. */
static struct tenant *find_giver(struct tenant *tenant, enum tenant_thing thing, bool *owed)
{
    struct tenants *tenants = tenant->tenants;
    struct account *largest = ledger_find_largest(tenants->ledger, tenant->account, thing);

    if (!largest ||
        share_used(&largest->holdings[thing]) <= share_used(&tenant->account->holdings[thing]) + 1)
        return NULL;
    const struct tenant_wish wish = {.account = largest, .thing = thing};
    struct tenant *here = largest->at[tenants->place];
    if (held_for(here, &wish) > 0)
        return here;
    ask_elsewhere(tenants, place_with_most(tenants, &wish), &wish);
    *owed = is_given_on_credit(&wish);
    return NULL;
}

enum ledger_answer tenant_take_within(struct tenant *tenant, enum tenant_thing thing)
{
    struct tenants *tenants = tenant->tenants;
    struct ledger *ledger = tenants->ledger;

    ledger_lock(ledger);
    enum ledger_answer answer = account_take(tenant->account, thing);
    for (int i = 0; i < ATTEMPTS && answer == LEDGER_ENTITLED; i++) {
        bool given = false;
        struct tenant *giver = find_giver(tenant, thing, &given);
        if (giver) {
            ledger_unlock(ledger);
            given = make_way(tenants, giver, &(struct tenant_wish){.thing = thing});
            ledger_lock(ledger);
        }
        if (!given)
            break;
        answer = account_take(tenant->account, thing);
    }
    ledger_unlock(ledger);
    if (answer == LEDGER_TAKEN)
        share_add(&tenants->held[thing], &tenant->holdings[thing], 1);
    return answer;
}

bool tenant_take(struct tenant *tenant, enum tenant_thing thing)
{
    return tenant_take_within(tenant, thing) == LEDGER_TAKEN;
}

void tenant_give(struct tenant *tenant, enum tenant_thing thing)
{
    struct ledger *ledger = tenant->tenants->ledger;

    share_give(&tenant->tenants->held[thing], &tenant->holdings[thing], 1);
    ledger_lock(ledger);
    account_give(tenant->account, thing);
    ledger_unlock(ledger);
}

struct account *tenant_depart(struct tenant *tenant, enum tenant_thing thing)
{
    struct ledger *ledger = tenant->tenants->ledger;

    share_give(&tenant->tenants->held[thing], &tenant->holdings[thing], 1);
    ledger_lock(ledger);
    account_reference(tenant->account);
    ledger_unlock(ledger);
    return tenant->account;
}

struct tenant *tenant_arrive(struct tenants *tenants, struct account *account,
                             enum tenant_thing thing)
{
    ledger_lock(tenants->ledger);
    struct tenant *tenant = tenant_of(tenants, account);
    ledger_unlock(tenants->ledger);
    share_add(&tenants->held[thing], &tenant->holdings[thing], 1);
    return tenant;
}

static uint64_t memory_of(const struct account *account, enum memory_way way)
{
    uint64_t sum = 0;

    for (size_t i = 0; i < account->ledger->places; i++)
        sum += account->at[i] ? memory_held(account->at[i], way) : 0;
    return sum;
}

/* memory_budget's: whoever is charged most, and more than its part. */
static bool give_way_memory(void *context, const struct memory_share *to, enum memory_way way)
{
    struct tenants *tenants = context;
    const struct memory_budget *budget = memory_budget_whole(&tenants->worker->budget);
    const struct supply *supply = way == MEMORY_RECEIVE ? &budget->receive : &budget->send;
    const struct memory_share *bound = to->whole ? to->whole : to;
    uint64_t part = share_part(supply, way == MEMORY_RECEIVE ? &bound->receive : &bound->send);
    struct tenant_wish wish = {.memory = true, .way = way};
    struct tenant *giver = NULL;
    uint64_t most = part;

    ledger_lock(tenants->ledger);
    list_each(at, &tenants->ledger->used) {
        struct account *account = list_entry(at, struct account, node);
        const struct tenant *here = account->at[tenants->place];
        uint64_t used = memory_of(account, way);
        if ((here && &here->share == to) || used <= most)
            continue;
        wish.account = account;
        most = used;
    }
    size_t place = wish.account ? place_with_most(tenants, &wish) : tenants->place;
    if (place != tenants->place)
        ask_elsewhere(tenants, place, &wish);
    else if (wish.account)
        giver = wish.account->at[place];
    ledger_unlock(tenants->ledger);
    return giver && make_way(tenants, giver, &wish);
}

bool tenant_may_dial(struct tenant *tenant, uint64_t now_us)
{
    ledger_lock(tenant->tenants->ledger);
    bool may = account_may_dial(tenant->account, now_us);
    ledger_unlock(tenant->tenants->ledger);
    return may;
}

const char *tenant_obstacle_to_link(struct tenant *tenant, uint64_t now_us,
                                    enum metrics_limit *limit)
{
    const char *why = NULL;

    ledger_lock(tenant->tenants->ledger);
    if (account_is_full(tenant->account, TENANT_LINKS)) {
        *limit = METRICS_LIMIT_LINKS_OF;
        why = "this identity has reached its limit of links (--max-links-per-identity)";
    } else if (!account_may_link(tenant->account, now_us)) {
        *limit = METRICS_LIMIT_NEW_LINKS;
        why = "this identity has reached its limit of new links per minute "
              "(--max-links-per-minute)";
    }
    ledger_unlock(tenant->tenants->ledger);
    return why;
}

void tenant_limited(const struct tenants *tenants, enum metrics_limit limit)
{
    metrics_add(tenants->worker->metrics, METRIC_LIMITED, limit, 0, 1);
}
