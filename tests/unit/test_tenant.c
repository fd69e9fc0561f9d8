/* Who is whom, and who gives way to whom. */
#include "../lib/cmocka.h"

#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#include "../../tunnel-server/authentication/access.h"
#include "../../tunnel-server/tenants/tenant.h"
#include "io/clock.h"
#include "monitoring/telemetry.h"

static struct log quiet;
static struct worker worker;
static struct ledger ledger;
static struct tenants tenants;
static struct options options;
static struct tenant *asked; /* to give way */
static bool willing;

static bool give_way(void *context, struct tenant *from, enum tenant_thing thing)
{
    (void)context;
    asked = from;
    if (willing)
        tenant_give(from, thing);
    return willing;
}

static bool give_way_memory(void *context, struct tenant *from, enum memory_way way)
{
    (void)context;
    asked = from;
    if (willing)
        memory_share_give(&from->share, way, 1000);
    return willing;
}

static const struct tenants_owner owner = {.give_way = give_way,
                                           .give_way_memory = give_way_memory};

static int set_up(void **state)
{
    (void)state;
    log_init(&quiet, &(struct log_settings){.level = LOG_LEVEL_ERROR, .fd = STDERR_FILENO});
    worker_init(&worker, &quiet, 20000);
    telemetry_start(&worker, METRIC_SERVER, &(struct telemetry_names){0});
    options =
        (struct options){.max_sessions = 4, .max_handshakes = 8, .max_links = 3, .max_dials = 60};
    ledger_init(&ledger, &options, &worker.hash_key, 1, 20000);
    tenants_init(&tenants, &worker, &ledger, 0, &owner, NULL);
    asked = NULL;
    willing = true;
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    assert_true(list_empty(&ledger.used));
    for (int i = 0; i < TENANT_THINGS; i++)
        assert_true(ledger.supplies[i].used == 0 && ledger.supplies[i].holders == 0);
    tenants_clear(&tenants);
    ledger_clear(&ledger);
    worker_clear(&worker);
    return 0;
}

static bool are_one(const char *identity, const char *peer, const char *other_identity,
                    const char *other_peer)
{
    struct tenant *one = tenant_use(&tenants, identity, peer);
    struct tenant *other = tenant_use(&tenants, other_identity, other_peer);
    bool same = one == other;

    tenant_release(one);
    tenant_release(other);
    return same;
}

static void strangers_are_told_apart_by_address(void **state)
{
    static const char nobody[] = ACCESS_ANONYMOUS;

    (void)state;
    assert_true(are_one("alice", "127.0.0.1:1", "alice", "[2001:db8::1]:2"));
    assert_false(are_one("alice", "127.0.0.1:1", "bob", "127.0.0.1:1"));
    assert_true(are_one(nobody, "127.0.0.1:1", nobody, "127.0.0.1:2"));
    assert_false(are_one(nobody, "127.0.0.1:1", nobody, "127.0.0.2:1"));
    assert_true(are_one(nobody, "[2001:db8::1]:1", nobody, "[2001:db8:0:0:1::2]:1"));
    assert_false(are_one(nobody, "[2001:db8::1]:1", nobody, "[2001:db8:0:1::1]:1"));
    assert_false(are_one(nobody, "127.0.0.1:1", "anonymous from 127.0.0.1 ", "127.0.0.1:1"));
    assert_true(are_one(nobody, "?", nobody, "?"));
}

static void whoever_has_most_gives_way(void **state)
{
    (void)state;
    struct tenant *alice = tenant_use(&tenants, "alice", "");
    struct tenant *bob = tenant_use(&tenants, "bob", "");
    struct tenant *carol = tenant_use(&tenants, "carol", "");

    for (int i = 0; i < 4; i++)
        assert_true(tenant_take(alice, TENANT_SESSIONS));
    assert_false(tenant_take(alice, TENANT_SESSIONS));
    assert_null(asked);
    assert_true(tenant_take(bob, TENANT_SESSIONS)); /* 3 and 1 */
    assert_true(asked == alice);
    assert_true(tenant_take(bob, TENANT_SESSIONS)); /* 2 and 2 */
    asked = NULL;
    assert_false(tenant_take(bob, TENANT_SESSIONS));
    assert_false(tenant_take(alice, TENANT_SESSIONS));
    assert_null(asked);
    assert_true(tenant_take(carol, TENANT_SESSIONS)); /* one of them has 1 */
    asked = NULL;
    willing = false;
    assert_int_equal(tenant_ask(carol, TENANT_SESSIONS), SHARE_REFUSED);
    while (alice->holdings[TENANT_SESSIONS].used > 0)
        tenant_give(alice, TENANT_SESSIONS);
    while (bob->holdings[TENANT_SESSIONS].used > 0)
        tenant_give(bob, TENANT_SESSIONS);
    tenant_give(carol, TENANT_SESSIONS);
    tenant_release(alice);
    tenant_release(bob);
    tenant_release(carol);
}

/* However many links have joined sessions, there is a place for each session's first one, and for
 * each that has not said which it is for. */
static void joined_links_keep_nobody_out(void **state)
{
    (void)state;
    struct tenant *alice = tenant_use(&tenants, "alice", "");
    struct tenant *bob = tenant_use(&tenants, "bob", "");

    for (int i = 0; i < 8; i++) {
        assert_true(tenant_take(alice, TENANT_LINKS));
        assert_true(tenant_take(alice, TENANT_JOINS));
    }
    assert_false(tenant_take(alice, TENANT_JOINS));
    assert_null(asked);
    for (int i = 0; i < 12; i++)
        assert_true(tenant_take(alice, TENANT_LINKS));
    assert_false(tenant_take(alice, TENANT_LINKS));
    assert_true(tenant_take(bob, TENANT_JOINS));
    assert_true(asked == alice);
    tenant_give(bob, TENANT_JOINS);
    while (alice->holdings[TENANT_JOINS].used > 0)
        tenant_give(alice, TENANT_JOINS);
    while (alice->holdings[TENANT_LINKS].used > 0)
        tenant_give(alice, TENANT_LINKS);
    tenant_release(alice);
    tenant_release(bob);
}

static void joined_links_take_few_descriptors(void **state)
{
    struct rlimit before;
    struct rlimit few;

    assert_int_equal(getrlimit(RLIMIT_NOFILE, &before), 0);
    few = before;
    few.rlim_cur = 100;
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &few), 0);
    tear_down(state);
    assert_int_equal(set_up(state), 0);
    assert_int_equal(ledger.supplies[TENANT_JOINS].total, 8);
    struct tenants_capacity capacity = tenants_capacity(&tenants);
    assert_true(capacity.sessions == 4 && capacity.descriptors == 100);
    assert_true(capacity.connections == 20000 / 2 / MUX_STREAM_FLOOR && capacity.memory_binds);
    assert_false(capacity.few_descriptors);
    tear_down(state);
    options.max_sessions = 1000;
    worker_init(&worker, &quiet, 20000);
    ledger_init(&ledger, &options, &worker.hash_key, 1, 20000);
    tenants_init(&tenants, &worker, &ledger, 0, &owner, NULL);
    assert_int_equal(ledger.supplies[TENANT_JOINS].total, 25);
    assert_int_equal(ledger.supplies[TENANT_STREAMS].total, 50);
    memory_budget_init(&worker.budget, 1024 * 1024);
    capacity = tenants_capacity(&tenants);
    assert_true(capacity.connections == 50 && !capacity.memory_binds && capacity.few_descriptors);
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &before), 0);
}

static void memory_is_taken_from_whom_it_is_too_much(void **state)
{
    (void)state;
    struct tenant *alice = tenant_use(&tenants, "alice", "");
    struct tenant *bob = tenant_use(&tenants, "bob", "");

    assert_true(memory_share_take(&alice->share, MEMORY_RECEIVE, 10000));
    willing = false;
    assert_false(memory_share_take(&bob->share, MEMORY_RECEIVE, 1000));
    assert_true(asked == alice);
    willing = true;
    assert_true(memory_share_take(&bob->share, MEMORY_RECEIVE, 5000));
    asked = NULL;
    assert_false(memory_share_take(&bob->share, MEMORY_RECEIVE, 1));
    assert_false(memory_share_take(&alice->share, MEMORY_RECEIVE, 1));
    assert_null(asked);
    memory_share_give(&alice->share, MEMORY_RECEIVE, 5000);
    memory_share_give(&bob->share, MEMORY_RECEIVE, 5000);
    tenant_release(alice);
    tenant_release(bob);
}

static void dials_count_for_a_minute_whoever_refers_to_them(void **state)
{
    (void)state;
    uint64_t now = clock_now_us() + 1000 * 1000;
    struct tenant *alice = tenant_use(&tenants, "alice", "");

    for (int i = 0; i < 60; i++)
        assert_true(tenant_may_dial(alice, now));
    assert_false(tenant_may_dial(alice, now));
    tenant_release(alice);
    alice = tenant_use(&tenants, "alice", "");
    assert_false(tenant_may_dial(alice, now));
    assert_true(tenant_may_dial(alice, now + 1000 * 1000));
    assert_false(tenant_may_dial(alice, now + 1000 * 1000));
    struct tenant *bob = tenant_use(&tenants, "bob", "");
    assert_true(tenant_may_dial(bob, now));
    for (int i = 0; i < 60; i++)
        assert_true(tenant_may_dial(alice, now + 61 * 1000 * 1000));
    assert_false(tenant_may_dial(alice, now + 61 * 1000 * 1000));
    tenant_release(alice);
    tenant_release(bob);
}

/* ---- two workers */

static struct {
    struct worker worker;
    struct tenants tenants;
    struct tenant *asked;
} beside;
static struct tenant_wish wish; /* what the other worker was asked for; no account: nothing */
static size_t wished_at;

static void note_wish(void *context, size_t place, const struct tenant_wish *asked_for)
{
    (void)context;
    wished_at = place;
    wish = *asked_for;
}

static bool give_way_beside(void *context, struct tenant *from, enum tenant_thing thing)
{
    (void)context;
    beside.asked = from;
    tenant_give(from, thing);
    return true;
}

static bool give_memory_beside(void *context, struct tenant *from, enum memory_way way)
{
    (void)context;
    beside.asked = from;
    memory_share_give(&from->share, way,
                      share_used(way == MEMORY_RECEIVE ? &from->share.receive : &from->share.send));
    return true;
}

static const struct tenants_owner here_owner = {
    .give_way = give_way, .give_way_memory = give_way_memory, .ask = note_wish};
static const struct tenants_owner beside_owner = {
    .give_way = give_way_beside, .give_way_memory = give_memory_beside, .ask = note_wish};

static int set_up_two(void **state)
{
    set_up(state);
    tenants_clear(&tenants);
    ledger_clear(&ledger);
    ledger_init(&ledger, &options, &worker.hash_key, 2, 20000);
    tenants_init(&tenants, &worker, &ledger, 0, &here_owner, NULL);
    assert_true(worker_init_beside(&beside.worker, &worker));
    beside.worker.metrics = worker.metrics;
    tenants_init(&beside.tenants, &beside.worker, &ledger, 1, &beside_owner, NULL);
    beside.asked = NULL;
    wish = (struct tenant_wish){0};
    return 0;
}

static int tear_down_two(void **state)
{
    assert_int_equal(share_used_of(&ledger.whole.receive) + share_used_of(&ledger.whole.send), 0);
    for (int i = 0; i < TENANT_THINGS; i++)
        assert_int_equal(share_used_of(&beside.tenants.held[i]), 0);
    tenants_clear(&beside.tenants);
    worker_clear(&beside.worker);
    return tear_down(state);
}

static void a_limit_is_that_of_all_workers_together(void **state)
{
    (void)state;
    options.max_streams_of = 3;
    struct tenant *here = tenant_use(&tenants, "alice", "");
    struct tenant *there = tenant_use(&beside.tenants, "alice", "");

    assert_true(here != there && here->account == there->account);
    assert_int_equal(tenant_take_within(here, TENANT_STREAMS), LEDGER_TAKEN);
    assert_int_equal(tenant_take_within(there, TENANT_STREAMS), LEDGER_TAKEN);
    assert_int_equal(tenant_take_within(there, TENANT_STREAMS), LEDGER_TAKEN);
    assert_int_equal(tenant_take_within(here, TENANT_STREAMS), LEDGER_LIMITED);
    assert_int_equal(tenant_take_within(there, TENANT_STREAMS), LEDGER_LIMITED);
    assert_int_equal(share_used_of(&beside.tenants.held[TENANT_STREAMS]), 2);
    uint64_t now = clock_now_us() + 1000 * 1000;
    for (int i = 0; i < 60; i++)
        assert_true(tenant_may_dial(i % 2 ? here : there, now));
    assert_false(tenant_may_dial(here, now) || tenant_may_dial(there, now));
    tenant_give(here, TENANT_STREAMS);
    tenant_give(there, TENANT_STREAMS);
    tenant_give(there, TENANT_STREAMS);
    tenant_release(here);
    tenant_release(there);
}

/* Of links: so many at a time, and so many in a minute, even when it has none meanwhile. */
static void links_are_limited(void **state)
{
    (void)state;
    enum metrics_limit limit = METRICS_LIMIT_LINKS;
    options.max_links_of = 2;
    options.max_new_links = 6;
    uint64_t now = clock_now_us() + 1000 * 1000;
    struct tenant *alice = tenant_use(&tenants, "alice", "");

    for (int i = 0; i < 2; i++) {
        assert_null(tenant_obstacle_to_link(alice, now, &limit));
        assert_true(tenant_take(alice, TENANT_LINKS));
    }
    assert_non_null(
        strstr(tenant_obstacle_to_link(alice, now, &limit), "--max-links-per-identity"));
    assert_int_equal(limit, METRICS_LIMIT_LINKS_OF);
    assert_int_equal(tenant_take_within(alice, TENANT_LINKS), LEDGER_LIMITED);
    tenant_give(alice, TENANT_LINKS);
    tenant_give(alice, TENANT_LINKS);
    tenant_release(alice);
    for (int i = 0; i < 4; i++) {
        alice = tenant_use(&tenants, "alice", "");
        assert_null(tenant_obstacle_to_link(alice, now, &limit));
        tenant_release(alice);
    }
    alice = tenant_use(&tenants, "alice", "");
    assert_non_null(strstr(tenant_obstacle_to_link(alice, now, &limit), "--max-links-per-minute"));
    assert_int_equal(limit, METRICS_LIMIT_NEW_LINKS);
    assert_null(tenant_obstacle_to_link(alice, now + 10 * 1000 * 1000, &limit));
    /* Nobody else is meant. */
    struct tenant *bob = tenant_use(&tenants, "bob", "");
    assert_null(tenant_obstacle_to_link(bob, now, &limit));
    tenant_release(bob);
    tenant_release(alice);
}

/* As rules of --access would. */
static void adjust(void *context, const char *identity, struct identity_limits *limits)
{
    const uint64_t *most = context;

    if (strcmp(identity, "alice") != 0 && strcmp(identity, "anonymous") != 0)
        return;
    limits->most[LIMIT_STREAMS] = *most;
    limits->most[LIMIT_BYTES_UP] = *most * 1000;
}

static void some_have_limits_of_their_own(void **state)
{
    (void)state;
    uint64_t most = 1;
    options.max_streams_of = 2;
    ledger_adjust(&ledger, adjust, &most);
    struct tenant *alice = tenant_use(&tenants, "alice", "");
    struct tenant *bob = tenant_use(&tenants, "bob", "");
    struct tenant *stranger = tenant_use(&tenants, "anonymous", "10.0.0.1:4000");

    assert_int_equal(alice->account->limits.most[LIMIT_STREAMS], 1);
    assert_int_equal(bob->account->limits.most[LIMIT_STREAMS], 2);
    assert_int_equal(stranger->account->limits.most[LIMIT_STREAMS], 1);
    assert_int_equal(rate_per_second(&alice->account->up), 1000);
    assert_int_equal(rate_per_second(&bob->account->up), 0);
    assert_true(tenant_take(alice, TENANT_STREAMS));
    assert_int_equal(tenant_take_within(alice, TENANT_STREAMS), LEDGER_LIMITED);
    /* Other rules count at once, for who is there as well. */
    most = 3;
    ledger_adjust(&ledger, adjust, &most);
    assert_true(tenant_take(alice, TENANT_STREAMS));
    assert_int_equal(rate_per_second(&alice->account->up), 3000);
    ledger_adjust(&ledger, NULL, NULL);
    assert_int_equal(tenant_take_within(alice, TENANT_STREAMS), LEDGER_LIMITED);
    tenant_give(alice, TENANT_STREAMS);
    tenant_give(alice, TENANT_STREAMS);
    tenant_release(alice);
    tenant_release(bob);
    tenant_release(stranger);
}

static void who_has_most_is_asked_where_it_has_it(void **state)
{
    (void)state;
    struct tenant *alice = tenant_use(&beside.tenants, "alice", "");
    struct tenant *bob = tenant_use(&tenants, "bob", "");

    for (int i = 0; i < 4; i++)
        assert_true(tenant_take(alice, TENANT_SESSIONS));
    assert_false(tenant_take(bob, TENANT_SESSIONS));
    assert_null(asked);
    assert_true(wish.account == alice->account && wished_at == 1);
    /* Once until it is granted. */
    wished_at = 7;
    assert_false(tenant_take(bob, TENANT_SESSIONS));
    assert_int_equal(wished_at, 7);
    tenants_grant(&beside.tenants, &wish);
    assert_true(beside.asked == alice);
    assert_true(tenant_take(bob, TENANT_SESSIONS));
    tenant_give(bob, TENANT_SESSIONS);
    for (int i = 0; i < 3; i++)
        tenant_give(alice, TENANT_SESSIONS);
    tenant_release(alice);
    tenant_release(bob);
}

/* Connections cannot wait: the newcomer has one at once, and the other's ends a moment later. */
static void what_gives_way_elsewhere_is_owed(void **state)
{
    (void)state;
    struct tenant *alice = tenant_use(&beside.tenants, "alice", "");
    struct tenant *bob = tenant_use(&tenants, "bob", "");

    ledger.supplies[TENANT_STREAMS].total = 6;
    for (int i = 0; i < 6; i++)
        assert_true(tenant_take(alice, TENANT_STREAMS));
    assert_true(tenant_take(bob, TENANT_STREAMS));
    assert_true(wish.account == alice->account && wished_at == 1);
    const struct tenant_wish first = wish;
    assert_true(tenant_take(bob, TENANT_STREAMS));
    assert_int_equal(share_used_of(&ledger.supplies[TENANT_STREAMS]), 6);
    assert_int_equal(share_used(&alice->account->holdings[TENANT_STREAMS]), 4);
    assert_int_equal(share_used(&alice->holdings[TENANT_STREAMS]), 6);
    tenants_grant(&beside.tenants, &first);
    assert_int_equal(share_used(&alice->holdings[TENANT_STREAMS]), 5);
    /* One ends by itself: that pays for the other. */
    tenant_give(alice, TENANT_STREAMS);
    beside.asked = NULL;
    tenants_grant(&beside.tenants, &wish);
    assert_null(beside.asked);
    assert_int_equal(share_used(&alice->holdings[TENANT_STREAMS]), 4);
    assert_int_equal(share_used(&alice->account->holdings[TENANT_STREAMS]), 4);
    assert_true(tenant_take(bob, TENANT_STREAMS));
    assert_false(tenant_take(bob, TENANT_STREAMS));
    tenants_grant(&beside.tenants, &wish);
    for (int i = 0; i < 3; i++) {
        tenant_give(bob, TENANT_STREAMS);
        tenant_give(alice, TENANT_STREAMS);
    }
    assert_int_equal(share_used_of(&ledger.supplies[TENANT_STREAMS]), 0);
    tenant_release(alice);
    tenant_release(bob);
}

static void memory_is_that_of_all_workers_together(void **state)
{
    (void)state;
    struct tenant *alice = tenant_use(&beside.tenants, "alice", "");
    struct tenant *bob = tenant_use(&tenants, "bob", "");

    assert_false(memory_share_take(&alice->share, MEMORY_RECEIVE, 8751));
    assert_null(wish.account);
    assert_true(memory_share_take(&alice->share, MEMORY_RECEIVE, 8750));
    /* Bob has what is kept for those who come, and goes on while more is asked for. */
    assert_true(memory_share_take(&bob->share, MEMORY_RECEIVE, 600));
    assert_null(wish.account);
    assert_true(memory_share_take(&bob->share, MEMORY_RECEIVE, 100));
    assert_true(wish.account == alice->account && wish.memory && wished_at == 1);
    assert_false(memory_share_take(&bob->share, MEMORY_RECEIVE, 600));
    assert_int_equal(memory_share_send_room(&bob->share), 8750);
    tenants_grant(&beside.tenants, &wish);
    assert_true(beside.asked == alice);
    assert_true(memory_share_take(&bob->share, MEMORY_RECEIVE, 600));
    assert_int_equal(share_used_of(&ledger.whole.receive), 1300);
    memory_share_give(&bob->share, MEMORY_RECEIVE, 1300);
    tenant_release(alice);
    tenant_release(bob);
}

static void a_link_takes_its_place_along(void **state)
{
    (void)state;
    struct tenant *here = tenant_use(&tenants, "alice", "");

    assert_true(tenant_take(here, TENANT_LINKS));
    struct account *account = tenant_depart(here, TENANT_LINKS);
    tenant_release(here);
    assert_int_equal(share_used_of(&tenants.held[TENANT_LINKS]), 0);
    assert_int_equal(share_used_of(&ledger.supplies[TENANT_LINKS]), 1);
    struct tenant *there = tenant_arrive(&beside.tenants, account, TENANT_LINKS);
    assert_int_equal(share_used_of(&beside.tenants.held[TENANT_LINKS]), 1);
    tenant_give(there, TENANT_LINKS);
    tenant_release(there);
}

#define PREPARED_TWO(test) cmocka_unit_test_setup_teardown(test, set_up_two, tear_down_two)
#define PREPARED(test) cmocka_unit_test_setup_teardown(test, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        PREPARED(strangers_are_told_apart_by_address),
        PREPARED(whoever_has_most_gives_way),
        PREPARED(joined_links_keep_nobody_out),
        PREPARED(joined_links_take_few_descriptors),
        PREPARED(memory_is_taken_from_whom_it_is_too_much),
        PREPARED(dials_count_for_a_minute_whoever_refers_to_them),
        cmocka_unit_test_setup_teardown(links_are_limited, set_up, tear_down),
        cmocka_unit_test_setup_teardown(some_have_limits_of_their_own, set_up, tear_down),
        PREPARED_TWO(a_limit_is_that_of_all_workers_together),
        PREPARED_TWO(who_has_most_is_asked_where_it_has_it),
        PREPARED_TWO(what_gives_way_elsewhere_is_owed),
        PREPARED_TWO(memory_is_that_of_all_workers_together),
        PREPARED_TWO(a_link_takes_its_place_along),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
