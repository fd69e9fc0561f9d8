/* How long a client waits before its next dial. */
#include "../lib/cmocka.h"

#include "backoff.h"

enum { S = 1000, LONG_AGO_US = 60 * 1000 * 1000 };

static const uint32_t chances[] = {0, 1, 12345, 0x7fffffff, UINT32_MAX};

struct range {
    unsigned least;
    unsigned most;
};

/* Over all that there are. */
static struct range pauses(const struct backoff_facts *facts)
{
    struct range range = {UINT32_MAX, 0};

    for (uint32_t i = 0; i < 200 * 1000; i++) {
        unsigned ms = backoff_ms(facts, i);
        range.least = ms < range.least ? ms : range.least;
        range.most = ms > range.most ? ms : range.most;
    }
    return range;
}

static void at_once_after_a_link_that_worked(void **state)
{
    struct backoff_facts facts = {.dialled_us = LONG_AGO_US, .patience = BACKOFF_SHORT};

    (void)state;
    for (size_t i = 0; i < sizeof chances / sizeof chances[0]; i++)
        assert_int_equal(backoff_ms(&facts, chances[i]), 0);
    facts.dialled_us = BACKOFF_PACE_US - 1;
    struct range range = pauses(&facts);
    assert_true(range.least == 100 && range.most == 199);
}

/* From a tenth of a second up to a bound that doubles: so those who begin together part. */
static void longer_after_each_failure(void **state)
{
    static const unsigned most[] = {200, 400, 800, 1600, 3200, 6400, 10 * S, 10 * S};
    static const unsigned most_short[] = {200, 400, 800, 1 * S, 1 * S, 1 * S, 1 * S, 1 * S};

    (void)state;
    for (unsigned i = 0; i < sizeof most / sizeof most[0]; i++) {
        struct backoff_facts facts = {.failures = i + 1};
        struct range range = pauses(&facts);
        assert_true(range.least == 100 && range.most == most[i]);
        facts.patience = BACKOFF_SHORT;
        range = pauses(&facts);
        assert_true(range.least == 100 && range.most == most_short[i]);
    }
    /* A server that is near does not stay so for ever. */
    struct backoff_facts facts = {.failures = 9, .patience = BACKOFF_SHORT};
    assert_int_equal(pauses(&facts).most, 10 * S);
    facts.failures = UINT32_MAX;
    assert_int_equal(pauses(&facts).most, 10 * S);
}

static void who_is_refused_waits_long(void **state)
{
    struct backoff_facts facts = {.failures = 1, .patience = BACKOFF_REFUSED};
    struct range range = pauses(&facts);

    (void)state;
    assert_true(range.least == 30 * S && range.most == 45 * S - 1);
}

/* Spread by a quarter, for it asks all; and no more than a minute. */
static void what_the_server_asks_for_counts_if_it_is_longer(void **state)
{
    struct backoff_facts facts = {.failures = 1, .asked_ms = 5 * S};
    struct range range = pauses(&facts);

    (void)state;
    assert_true(range.least == 5 * S && range.most == 6250);
    facts.asked_ms = 3600 * S;
    range = pauses(&facts);
    assert_true(range.least == 60 * S && range.most == 75 * S);
    facts = (struct backoff_facts){.failures = 20, .asked_ms = 50};
    assert_int_equal(pauses(&facts).most, 10 * S);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(at_once_after_a_link_that_worked),
        cmocka_unit_test(longer_after_each_failure),
        cmocka_unit_test(who_is_refused_waits_long),
        cmocka_unit_test(what_the_server_asks_for_counts_if_it_is_longer),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
