#include "../lib/cmocka.h"

#include "mux/stream_state.h"
#include "mux/window.h"

static const struct mux_window_limits limits = {.initial = 1000, .base = 4000, .max = 16000};
enum { RTT = 100 };

static struct mux_window window;
static struct mux_budget budget;
static uint64_t now;

static void open_window(uint64_t bytes)
{
    mux_budget_init(&budget, 2 * bytes);
    assert_true(mux_window_open(&window, &limits, &budget));
    now = 1000;
}

/* The peer sends size bytes and the owner takes them at once, a quarter window at a time. */
static void pass(uint64_t size, uint64_t microseconds)
{
    for (uint64_t part; size > 0; size -= part) {
        part = window.limit - window.received;
        part = part < size ? part : size;
        assert_true(part > 0);
        now += microseconds * part / 4000;
        window.received += part;
        mux_window_consume(&window, part, now, RTT, &limits, &budget);
        mux_window_announce(&window, &budget);
    }
}

static void starts_small_then_takes_its_base(void **state)
{
    (void)state;
    open_window(1000000);
    assert_true(window.limit == 1000 && budget.receive_granted == 1000);
    window.received = 500;
    assert_int_equal(mux_window_consume(&window, 100, now, RTT, &limits, &budget),
                     MUX_WINDOW_LATER);
    assert_int_equal(mux_window_consume(&window, 400, now, RTT, &limits, &budget), MUX_WINDOW_NOW);
    mux_window_announce(&window, &budget);
    assert_true(window.limit == 1500 && budget.receive_granted == 1000);
    pass(1000, 3 * RTT); /* a window's worth has gone through: this is more than a greeting */
    assert_true(window.limit == window.consumed + 4000 && budget.receive_granted == 4000);
    mux_window_close(&window, &budget);
    assert_true(budget.receive_granted == 0);
}

static void grows_when_it_is_what_limits(void **state)
{
    (void)state;
    open_window(1000000);
    pass(100000, RTT / 10);
    assert_true(window.size == limits.max && window.limit == window.consumed + limits.max);
    mux_window_close(&window, &budget);
}

static void does_not_grow_when_the_link_limits(void **state)
{
    (void)state;
    open_window(1000000);
    pass(100000, 3 * RTT);
    assert_true(window.size == limits.base);
    mux_window_close(&window, &budget);
}

static void does_not_grow_when_the_owner_lags(void **state)
{
    (void)state;
    open_window(1000000);
    pass(1000, 0);
    for (int i = 0; i < 100; i++) {
        window.received = window.limit;
        mux_window_consume(&window, 1000, now, RTT, &limits, &budget);
        mux_window_announce(&window, &budget);
    }
    assert_true(window.size == limits.base);
    mux_window_close(&window, &budget);
}

static void grows_only_into_free_budget(void **state)
{
    (void)state;
    open_window(6000);
    pass(100000, RTT);
    assert_true(window.size == limits.base && budget.receive_granted <= 6000);
    mux_window_close(&window, &budget);
}

static void without_budget_the_first_window_stays(void **state)
{
    (void)state;
    struct mux_window other;

    open_window(1500);
    assert_false(mux_window_open(&other, &limits, &budget));
    pass(50000, RTT);
    assert_true(window.limit - window.consumed >= 1000 && budget.receive_granted <= 1500);
    window.received = window.limit;
    mux_window_announce(&window, &budget);
    assert_true(budget.receive_granted >= window.limit - window.consumed);
    mux_window_close(&window, &budget);
    assert_true(budget.receive_granted == 0);
}

static void shrinks_when_idle(void **state)
{
    (void)state;
    open_window(1000000);
    pass(100000, RTT / 10);
    assert_true(mux_window_shrink(&window, now + 10, 50, &limits) == 0);
    uint64_t wanted = mux_window_shrink(&window, now + 60, 50, &limits);
    assert_true(wanted == window.consumed + limits.initial);
    assert_true(mux_window_shrink(&window, now + 600, 50, &limits) == 0);
    assert_true(mux_window_told_limit(&window) == wanted);
    mux_window_announce(&window, &budget);
    assert_false(mux_window_limited(&window, window.limit + 1, &budget));
    assert_true(mux_window_limited(&window, wanted + 7, &budget));
    assert_true(window.limit == wanted + 7 && budget.receive_granted == limits.initial + 7);
    assert_false(mux_window_limited(&window, wanted, &budget));
    mux_window_close(&window, &budget);
}

static void bytes_under_way_survive_shrinking(void **state)
{
    (void)state;
    open_window(1000000);
    pass(100000, RTT / 10);
    uint64_t wanted = mux_window_shrink(&window, now + 60, 50, &limits);
    window.received = wanted + 50;
    assert_false(mux_window_limited(&window, wanted, &budget));
    mux_window_consume(&window, window.received - window.consumed, now, RTT, &limits, &budget);
    assert_true(mux_window_told_limit(&window) == window.consumed);
    assert_true(mux_window_limited(&window, wanted + 50, &budget));
    mux_window_announce(&window, &budget);
    assert_true(window.limit > window.consumed);
    mux_window_close(&window, &budget);
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

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(starts_small_then_takes_its_base),
        cmocka_unit_test(grows_when_it_is_what_limits),
        cmocka_unit_test(does_not_grow_when_the_link_limits),
        cmocka_unit_test(does_not_grow_when_the_owner_lags),
        cmocka_unit_test(grows_only_into_free_budget),
        cmocka_unit_test(without_budget_the_first_window_stays),
        cmocka_unit_test(shrinks_when_idle),
        cmocka_unit_test(bytes_under_way_survive_shrinking),
        cmocka_unit_test(halves_follow_their_table),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
