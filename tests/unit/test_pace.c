/* How much may wait for a link's connection, by what is known of its rate. */
#include "../lib/cmocka.h"

#include "tunnel/pace.h"

enum { KIB = 1024, MBIT = 1000 * 1000 / 8, STEP_US = 10 * 1000 };

static struct pace measured(uint64_t rate)
{
    struct pace pace;

    pace_init(&pace);
    pace_measured(&pace, rate, false, 0);
    return pace;
}

static void assert_unbounded(const struct pace *pace)
{
    assert_int_equal(pace_unsent(pace), 128 * KIB);
    assert_true(pace_pull(pace) == SIZE_MAX);
}

static void an_unknown_rate_bounds_nothing(void **state)
{
    (void)state;
    struct pace pace = measured(0);

    assert_unbounded(&pace);
    /* What is sent now and then never fills the link, however slow that looks. */
    for (unsigned i = 0; i < 100; i++)
        pace_measured(&pace, 1000, true, i * STEP_US);
    assert_unbounded(&pace);
}

static void a_high_rate_bounds_nothing(void **state)
{
    (void)state;
    struct pace pace = measured(500 * MBIT);

    assert_unbounded(&pace);
    pace = measured(UINT64_MAX);
    assert_unbounded(&pace);
}

/* Half of what may wait is left when the kernel asks for more, and a pull comes on top. */
static void about_20_ms_wait(void **state)
{
    (void)state;

    for (uint64_t mbit = 14; mbit < 500; mbit++) {
        struct pace pace = measured(mbit * MBIT);
        size_t pull = pace_pull(&pace) < 256 * KIB ? pace_pull(&pace) : 256 * KIB;
        size_t most = pace_unsent(&pace) / 2 + pull;
        assert_true(most * 1000 / (mbit * MBIT) <= 20);
        /* Nor does the link run dry while the program is kept from it for a moment. */
        assert_true(mbit > 50 || pace_unsent(&pace) * 1000 / (mbit * MBIT) >= 16);
    }
}

static void a_slow_link_is_given_a_frame_at_a_time(void **state)
{
    (void)state;
    static const uint64_t rates[] = {1, 1000, MBIT / 10, MBIT, 3 * MBIT};

    for (size_t i = 0; i < sizeof rates / sizeof rates[0]; i++) {
        struct pace pace = measured(rates[i]);
        assert_int_equal(pace_unsent(&pace), PACE_UNSENT_LEAST);
        assert_int_equal(pace_pull(&pace), PACE_PULL_LEAST);
    }
}

static void faster_counts_at_once_and_slower_by_and_by(void **state)
{
    (void)state;
    struct pace pace = measured(4 * MBIT);

    pace_measured(&pace, 40 * MBIT, false, STEP_US);
    size_t fast = pace_unsent(&pace);
    assert_in_range(fast, 96 * KIB, 100 * 1000);
    /* A round trip with a loss in it. */
    pace_measured(&pace, 20 * MBIT, false, 2 * STEP_US);
    assert_in_range(pace_unsent(&pace), fast * 7 / 8, fast);
    for (unsigned i = 3; i < 60; i++)
        pace_measured(&pace, 4 * MBIT, false, i * STEP_US);
    assert_int_equal(pace_unsent(&pace), PACE_UNSENT_LEAST);
}

/* The application had nothing to send: that lowers no rate, but it may show a higher one. */
static void at_least_only_raises(void **state)
{
    (void)state;
    struct pace pace = measured(20 * MBIT);
    size_t before = pace_unsent(&pace);

    pace_measured(&pace, 1000, true, STEP_US);
    pace_measured(&pace, 0, false, 2 * STEP_US);
    assert_int_equal(pace_unsent(&pace), before);
    pace_measured(&pace, 40 * MBIT, true, 3 * STEP_US);
    assert_true(pace_unsent(&pace) > before * 3 / 2);
}

static void measuring_has_its_intervals(void **state)
{
    (void)state;
    struct pace pace;

    pace_init(&pace);
    assert_true(pace_is_due(&pace, 5));
    pace_measured(&pace, MBIT, false, 5);
    assert_false(pace_is_due(&pace, 5 + STEP_US - 1));
    assert_true(pace_is_due(&pace, 5 + STEP_US));
    pace_give_up(&pace);
    assert_false(pace_is_due(&pace, UINT64_MAX - 1));
    assert_unbounded(&pace);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(an_unknown_rate_bounds_nothing),
        cmocka_unit_test(a_high_rate_bounds_nothing),
        cmocka_unit_test(about_20_ms_wait),
        cmocka_unit_test(a_slow_link_is_given_a_frame_at_a_time),
        cmocka_unit_test(faster_counts_at_once_and_slower_by_and_by),
        cmocka_unit_test(at_least_only_raises),
        cmocka_unit_test(measuring_has_its_intervals),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
