/* A rate that many keep to, under a clock of the test's own. */
#include "../lib/cmocka.h"

#include <pthread.h>

#include "base/rate.h"

enum { SECOND = 1000 * 1000 };

static void none_is_no_limit(void **state)
{
    (void)state;
    struct rate rate = {0};

    rate_spend(&rate, UINT64_MAX, 5);
    assert_int_equal(rate_wait_us(&rate, 5), 0);
    assert_int_equal(rate_portion(&rate, 123456789), 123456789);
}

/* Whatever the pieces, and however greedy: so much a second, and once what a burst has. */
static void it_is_kept_to(void **state)
{
    (void)state;
    static const uint64_t rates[] = {1, 1000, 64 * 1024, 1 << 20, UINT64_C(1) << 40};

    for (size_t i = 0; i < sizeof rates / sizeof rates[0]; i++) {
        struct rate rate = {0};
        uint64_t now = 100 * (uint64_t)SECOND;
        uint64_t start = now;
        uint64_t moved = 0;
        rate_set(&rate, rates[i]);
        for (int piece = 0; piece < 5000; piece++) {
            uint64_t wait = rate_wait_us(&rate, now);
            if (wait > 0) {
                /* Not a moment too early. */
                assert_true(rate_wait_us(&rate, now + wait - 1) == 1);
                now += wait;
                assert_int_equal(rate_wait_us(&rate, now), 0);
            }
            uint64_t units = rate_portion(&rate, 1 + (uint64_t)piece * 7919 % 100000);
            rate_spend(&rate, units, now);
            moved += units;
        }
        now += rate_wait_us(&rate, now);
        double allowed = ((double)(now - start) + RATE_BURST_US) / SECOND * (double)rates[i];
        assert_true((double)moved <= allowed + 5000);
        assert_true((double)moved >= allowed * 0.99 - (double)rates[i] * RATE_BURST_US / SECOND);
    }
}

static void idleness_is_saved_up_to_a_bound(void **state)
{
    (void)state;
    struct rate rate = {0};

    rate_set(&rate, 1000);
    for (uint64_t idle = 1; idle < 100; idle += 30) {
        uint64_t now = idle * 1000 * SECOND;
        rate_spend(&rate, 250, now);
        assert_int_equal(rate_wait_us(&rate, now), 0);
        rate_spend(&rate, 1, now);
        assert_int_equal(rate_wait_us(&rate, now), 1000);
    }
}

/* Another rate holds at once, for what comes; none at all lets everybody go. */
static void it_may_change(void **state)
{
    (void)state;
    struct rate rate = {0};
    uint64_t now = 10 * (uint64_t)SECOND;

    rate_set(&rate, 1000);
    rate_spend(&rate, 10250, now);
    assert_int_equal(rate_wait_us(&rate, now), 10 * SECOND);
    rate_set(&rate, 0);
    assert_int_equal(rate_wait_us(&rate, now), 0);
    rate_set(&rate, 4000);
    now += 10 * SECOND;
    rate_spend(&rate, 4000, now);
    assert_int_equal(rate_wait_us(&rate, now), 1 * SECOND);
}

static struct rate shared;

static void *spend(void *argument)
{
    (void)argument;
    for (int i = 0; i < 100000; i++)
        rate_spend(&shared, 1, 0);
    return NULL;
}

static void threads_share_it(void **state)
{
    (void)state;
    pthread_t threads[3];

    rate_set(&shared, SECOND);
    for (int i = 0; i < 3; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, spend, NULL), 0);
    for (int i = 0; i < 3; i++)
        pthread_join(threads[i], NULL);
    assert_int_equal(rate_wait_us(&shared, 0), 300000);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(none_is_no_limit),
        cmocka_unit_test(it_is_kept_to),
        cmocka_unit_test(idleness_is_saved_up_to_a_bound),
        cmocka_unit_test(it_may_change),
        cmocka_unit_test(threads_share_it),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
