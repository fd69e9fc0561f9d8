#include "../lib/cmocka.h"

#include <stdlib.h>

#include "mux/stream_state.h"
#include "mux/window.h"

/* In units of more than a stream's floor, so that it does not show. */
static const struct mux_window_limits limits = {.initial = 10000, .base = 40000, .max = 160000};
enum { RTT = 100 };

static struct mux_window window;
static struct memory_budget budget;
static struct memory_share share;
static uint64_t now;

static void open_window(uint64_t bytes)
{
    memory_budget_init(&budget, 2 * bytes);
    memory_share_init(&share, &budget);
    assert_true(mux_window_open(&window, &limits, &share));
    now = 1000;
}

static void receive(uint64_t size)
{
    assert_true(mux_window_receive(&window, size, &share));
    assert_true(window.charged == mux_window_charge(&window));
}

/* The peer sends size bytes and the owner takes them at once, a quarter window at a time. */
static void pass(uint64_t size, uint64_t microseconds)
{
    for (uint64_t part; size > 0; size -= part) {
        part = window.limit - window.received;
        part = part < size ? part : size;
        assert_true(part > 0);
        now += microseconds * part / limits.base;
        receive(part);
        mux_window_consume(&window, part, now, RTT, &limits, &share);
        mux_window_announce(&window, UINT64_MAX, &share);
    }
}

/* A stream that carries nothing costs its floor; credit for the first window costs what is used. */
static void starts_small_then_takes_its_base(void **state)
{
    (void)state;
    open_window(10000000);
    assert_true(window.limit == 10000 && budget.receive.used == MUX_STREAM_FLOOR);
    receive(5000);
    assert_true(budget.receive.used == 5000);
    assert_int_equal(mux_window_consume(&window, 1000, now, RTT, &limits, &share),
                     MUX_WINDOW_LATER);
    assert_true(budget.receive.used == 4000);
    assert_int_equal(mux_window_consume(&window, 4000, now, RTT, &limits, &share), MUX_WINDOW_NOW);
    mux_window_announce(&window, UINT64_MAX, &share);
    assert_true(window.limit == 15000 && budget.receive.used == MUX_STREAM_FLOOR);
    pass(10000, 3 * RTT); /* a window's worth has gone through: this is more than a greeting */
    assert_true(window.limit == window.consumed + 40000 && budget.receive.used == 40000);
    mux_window_close(&window, &share);
    assert_true(budget.receive.used == 0);
}

static void grows_when_it_is_what_limits(void **state)
{
    (void)state;
    open_window(10000000);
    pass(1000000, RTT / 10);
    assert_true(window.size == limits.max && window.limit == window.consumed + limits.max);
    mux_window_close(&window, &share);
}

static void does_not_grow_when_the_link_limits(void **state)
{
    (void)state;
    open_window(10000000);
    pass(1000000, 3 * RTT);
    assert_true(window.size == limits.base);
    mux_window_close(&window, &share);
}

/* A base of 40000 bytes in so many microseconds, until what was before does not count any more. */
static void pass_at(uint64_t microseconds)
{
    for (int i = 0; i < 60; i++)
        pass(limits.base, microseconds);
}

/* What passes in 1.5 ms, whatever the round trip is: 80 bytes in each us. */
static void a_fast_stream_has_room_for_turns(void **state)
{
    (void)state;
    open_window(10000000);
    pass_at(500);
    assert_true(window.size == limits.base); /* the distance asks for no more */
    assert_in_range(window.limit - window.consumed, 115000, 120000);
    assert_true(budget.receive.used == window.limit - window.consumed);
    pass_at(1000);
    assert_in_range(window.limit - window.consumed, 58000, 62000);
    pass_at(3000); /* 20000 bytes: less than its base */
    assert_true(window.limit - window.consumed == limits.base);
    mux_window_close(&window, &share);
}

static void no_rate_is_worth_more_than_the_most(void **state)
{
    (void)state;
    open_window(10000000);
    pass_at(250); /* 240000 bytes in 1.5 ms */
    assert_true(window.size == limits.base && window.limit == window.consumed + limits.max);
    mux_window_close(&window, &share);
}

/* Turns do not come round more slowly where more passes: there are bounds to what may lie about. */
static void no_rate_is_worth_more_than_some_megabytes(void **state)
{
    const struct mux_window_limits large = {
        .initial = 65536, .base = 524288, .max = 64 * 1024 * 1024};

    (void)state;
    memory_budget_init(&budget, 1024 * 1024 * 1024);
    memory_share_init(&share, &budget);
    assert_true(mux_window_open(&window, &large, &share));
    for (int i = 0; i < 1000; i++) {
        receive(window.limit - window.received);
        now += 250;
        mux_window_consume(&window, window.received - window.consumed, now, 0, &large, &share);
        mux_window_announce(&window, UINT64_MAX, &share);
    }
    assert_true(window.limit - window.consumed == 4 * 1024 * 1024);
    mux_window_close(&window, &share);
}

/* One that was fast, and then has nothing to say, is as any other. */
static void idle_is_not_fast(void **state)
{
    (void)state;
    open_window(10000000);
    pass_at(500);
    uint64_t wanted = mux_window_shrink(&window, now + 60, 50, &limits);
    assert_true(wanted == window.consumed + limits.initial);
    assert_true(mux_window_limited(&window, wanted, &share));
    mux_window_announce(&window, UINT64_MAX, &share);
    assert_true(window.limit == window.consumed + limits.initial);
    mux_window_close(&window, &share);
}

static void a_rate_finds_no_more_than_free_budget(void **state)
{
    (void)state;
    open_window(160000);
    pass_at(500);
    assert_true(window.rate_size > 80000 && budget.receive.used <= 80000);
    assert_in_range(window.limit - window.consumed, limits.base, 80000);
    mux_window_close(&window, &share);
}

static void does_not_grow_when_the_owner_lags(void **state)
{
    (void)state;
    open_window(10000000);
    pass(10000, 0);
    for (int i = 0; i < 100; i++) {
        receive(window.limit - window.received);
        mux_window_consume(&window, 10000, now, RTT, &limits, &share);
        mux_window_announce(&window, UINT64_MAX, &share);
    }
    assert_true(window.size == limits.base);
    mux_window_close(&window, &share);
}

static void grows_only_into_free_budget(void **state)
{
    (void)state;
    open_window(60000);
    pass(1000000, RTT);
    assert_true(window.size == limits.base && budget.receive.used <= 30000);
    assert_true(window.limit - window.consumed > limits.initial);
    mux_window_close(&window, &share);
}

/* However little there is, a stream has credit for a first window; what it is used for is charged.
 */
static void without_budget_the_first_window_stays(void **state)
{
    (void)state;
    struct mux_window other;

    open_window(10000);
    assert_true(mux_window_open(&other, &limits, &share));
    mux_window_close(&other, &share);
    pass(500000, RTT);
    assert_true(window.limit - window.consumed == limits.initial);
    receive(9000);
    assert_true(budget.receive.used == 9000);
    assert_false(mux_window_open(&other, &limits, &share));
    share_take(&budget.receive, &share.receive, 500);
    assert_false(mux_window_receive(&window, 1000, &share));
    assert_true(window.received == window.consumed + 9000 && window.charged == 9000);
    assert_true(mux_window_receive(&window, 500, &share));
    share_give(&budget.receive, &share.receive, 500);
    mux_window_close(&window, &share);
    assert_true(budget.receive.used == 0);
}

static void shrinks_when_idle(void **state)
{
    (void)state;
    open_window(10000000);
    pass(1000000, RTT / 10);
    assert_true(mux_window_shrink(&window, now + 10, 50, &limits) == 0);
    uint64_t wanted = mux_window_shrink(&window, now + 60, 50, &limits);
    assert_true(wanted == window.consumed + limits.initial);
    assert_true(mux_window_shrink(&window, now + 600, 50, &limits) == 0);
    assert_true(mux_window_told_limit(&window) == wanted);
    mux_window_announce(&window, UINT64_MAX, &share);
    assert_false(mux_window_limited(&window, window.limit + 1, &share));
    assert_true(mux_window_limited(&window, wanted + 7, &share));
    assert_true(window.limit == wanted + 7 && budget.receive.used == limits.initial + 7);
    assert_false(mux_window_limited(&window, wanted, &share));
    mux_window_close(&window, &share);
}

static void bytes_under_way_survive_shrinking(void **state)
{
    (void)state;
    open_window(10000000);
    pass(1000000, RTT / 10);
    uint64_t wanted = mux_window_shrink(&window, now + 60, 50, &limits);
    receive(wanted + 50 - window.received);
    assert_false(mux_window_limited(&window, wanted, &share));
    mux_window_consume(&window, window.received - window.consumed, now, RTT, &limits, &share);
    assert_true(mux_window_told_limit(&window) == window.consumed);
    assert_true(mux_window_limited(&window, wanted + 50, &share));
    mux_window_announce(&window, UINT64_MAX, &share);
    assert_true(window.limit > window.consumed);
    mux_window_close(&window, &share);
}

/* Two shares: what the one holds beyond its part is not the other's loss. */

static struct memory_share poor;
static unsigned asked;

static bool shut_window(void *context, const struct memory_share *to, enum memory_way way)
{
    (void)context;
    assert_true(to == &poor && way == MEMORY_RECEIVE);
    if (asked++ > 0)
        return false;
    mux_window_close(&window, &share);
    return true;
}

static void a_share_gives_way_when_another_has_less(void **state)
{
    (void)state;
    struct mux_window other;

    open_window(16000);
    memory_share_init(&poor, &budget);
    receive(10000);
    /* Five eighths are taken by one of two: the rest is the other's, up to its half. */
    assert_true(mux_window_open(&other, &limits, &poor));
    assert_true(mux_window_receive(&other, 6000, &poor));
    assert_false(mux_window_receive(&other, 2000, &poor)); /* nobody is asked to give way */
    asked = 0;
    budget.give_way = shut_window;
    assert_false(mux_window_receive(&other, 3000, &poor)); /* more than the half: nor now */
    assert_int_equal(asked, 0);
    assert_true(mux_window_receive(&other, 2000, &poor));
    assert_int_equal(asked, 1);
    mux_window_close(&other, &poor);
    assert_true(budget.receive.used == 0 && budget.receive.holders == 0);
}

static void growth_of_one_leaves_room_for_that_of_others(void **state)
{
    (void)state;
    struct mux_window other;

    open_window(200000);
    memory_share_init(&poor, &budget);
    assert_true(mux_window_open(&other, &limits, &poor));
    pass(2000000, RTT / 10); /* alone it would have taken half of it: 100000 */
    assert_true(budget.receive.used <= 100000 - 100000 / 8 && budget.receive.used > 80000);
    for (int i = 0; i < 3; i++) {
        uint64_t part = other.limit - other.received;
        assert_true(mux_window_receive(&other, part, &poor));
        mux_window_consume(&other, part, now, RTT, &limits, &poor);
        mux_window_announce(&other, UINT64_MAX, &poor);
    }
    assert_true(other.limit - other.consumed > limits.initial);
    mux_window_close(&window, &share);
    mux_window_close(&other, &poor);
}

static void halves_follow_their_table(void **state)
{
    (void)state;
    static const struct {
        enum mux_half from;
        enum mux_half_event event;
        bool possible;
        enum mux_half to;
    } table[] = {
        {MUX_HALF_OPEN, MUX_EVENT_FINISH, true, MUX_HALF_FINISHING},
        {MUX_HALF_OPEN, MUX_EVENT_DONE, false, MUX_HALF_OPEN},
        {MUX_HALF_OPEN, MUX_EVENT_RESET, true, MUX_HALF_OVER},
        {MUX_HALF_FINISHING, MUX_EVENT_FINISH, false, MUX_HALF_FINISHING},
        {MUX_HALF_FINISHING, MUX_EVENT_DONE, true, MUX_HALF_OVER},
        {MUX_HALF_FINISHING, MUX_EVENT_RESET, true, MUX_HALF_OVER},
        {MUX_HALF_OVER, MUX_EVENT_FINISH, false, MUX_HALF_OVER},
        {MUX_HALF_OVER, MUX_EVENT_DONE, false, MUX_HALF_OVER},
        {MUX_HALF_OVER, MUX_EVENT_RESET, true, MUX_HALF_OVER},
    };

    for (size_t i = 0; i < sizeof table / sizeof table[0]; i++) {
        enum mux_half half = table[i].from;
        assert_int_equal(mux_half_step(&half, table[i].event), table[i].possible);
        assert_int_equal(half, table[i].to);
    }
}

/* A window that nothing has come into costs the floor, however much has been granted: with the
 * default --memory ten thousand sessions have three each, whoever they belong to. */
static void idle_windows_cost_what_they_hold(void **state)
{
    enum { SESSIONS = 10000, EACH = 3, DEFAULT_MEMORY = 256 * 1024 * 1024 };
    struct mux_window *windows = calloc((size_t)SESSIONS * EACH, sizeof *windows);
    struct memory_share *shares = calloc(SESSIONS, sizeof *shares);

    (void)state;
    assert_non_null(windows);
    assert_non_null(shares);
    for (int identities = 1; identities <= SESSIONS; identities += SESSIONS - 1) {
        memory_budget_init(&budget, DEFAULT_MEMORY);
        for (int i = 0; i < SESSIONS; i++)
            memory_share_init(&shares[i], &budget);
        for (int i = 0; i < SESSIONS * EACH; i++) {
            struct memory_share *its = &shares[i / EACH % identities];
            assert_true(mux_window_open(&windows[i], &limits, its));
            assert_true(memory_share_take(its, MEMORY_SEND, MUX_STREAM_FLOOR));
        }
        /* Each can still receive a whole first window. */
        assert_true(mux_window_receive(&windows[0], limits.initial, &shares[0]));
        assert_true(budget.receive.used < DEFAULT_MEMORY / 4);
    }
    free(shares);
    free(windows);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(idle_windows_cost_what_they_hold),
        cmocka_unit_test(starts_small_then_takes_its_base),
        cmocka_unit_test(grows_when_it_is_what_limits),
        cmocka_unit_test(does_not_grow_when_the_link_limits),
        cmocka_unit_test(a_fast_stream_has_room_for_turns),
        cmocka_unit_test(no_rate_is_worth_more_than_the_most),
        cmocka_unit_test(no_rate_is_worth_more_than_some_megabytes),
        cmocka_unit_test(idle_is_not_fast),
        cmocka_unit_test(a_rate_finds_no_more_than_free_budget),
        cmocka_unit_test(does_not_grow_when_the_owner_lags),
        cmocka_unit_test(grows_only_into_free_budget),
        cmocka_unit_test(without_budget_the_first_window_stays),
        cmocka_unit_test(shrinks_when_idle),
        cmocka_unit_test(bytes_under_way_survive_shrinking),
        cmocka_unit_test(a_share_gives_way_when_another_has_less),
        cmocka_unit_test(growth_of_one_leaves_room_for_that_of_others),
        cmocka_unit_test(halves_follow_their_table),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
