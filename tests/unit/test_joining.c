/* When one more link is dialled for: how soon, how often, and up to how many. */
#include "../lib/cmocka.h"

#include <string.h>

#include "joining.h"

enum { S = 1000 * 1000 };

static struct joining joining;
static const uint64_t start = 1000 * UINT64_C(1000000);

static int set_up(void **state)
{
    (void)state;
    joining_init(&joining);
    joining_succeeded(&joining, 1, start);
    return 0;
}

static uint64_t refuse(unsigned links, uint64_t now_us)
{
    return joining_failed(&joining, JOINING_REFUSED, "http: 429", 0, links, 0, now_us);
}

static void as_many_as_are_wanted(void **state)
{
    (void)state;
    assert_int_equal(joining_due(&joining, 1, 1), UINT64_MAX);
    assert_true(joining_due(&joining, 2, 1) <= start);
    joining_succeeded(&joining, 2, start + S);
    assert_int_equal(joining_due(&joining, 2, 2), UINT64_MAX);
    assert_true(joining_due(&joining, 8, 2) <= start + S);
}

/* Half a minute, doubling up to ten minutes. */
static void who_is_refused_stays_at_what_there_is(void **state)
{
    static const unsigned pauses_s[] = {30, 60, 120, 240, 480, 600, 600};
    uint64_t now = start;

    (void)state;
    joining_succeeded(&joining, 2, now);
    for (size_t i = 0; i < sizeof pauses_s / sizeof pauses_s[0]; i++) {
        assert_int_equal(refuse(2, now), pauses_s[i] * 1000);
        assert_int_equal(joining_due(&joining, 8, 2), now + pauses_s[i] * UINT64_C(1000000));
        now = joining_due(&joining, 8, 2);
        assert_string_equal(joining.reason, "http: 429");
    }
    refuse(2, now);
    /* One of the two is lost: it is replaced all the same, and that tells nothing of a third. */
    joining_lost(&joining, 1, true, start, 0, now);
    assert_true(joining_due(&joining, 8, 1) <= now);
    joining_succeeded(&joining, 2, now);
    assert_int_equal(joining_due(&joining, 8, 2), now + 600 * UINT64_C(1000000));
    assert_string_equal(joining.reason, "http: 429");
    /* Then there is room for a third. */
    now += 600 * UINT64_C(1000000);
    joining_succeeded(&joining, 3, now);
    assert_true(joining_due(&joining, 8, 3) <= now);
    assert_string_equal(joining.reason, "");
    assert_int_equal(refuse(3, now), 30 * 1000);
}

static void the_pause_that_is_asked_for(void **state)
{
    (void)state;
    assert_int_equal(joining_failed(&joining, JOINING_REFUSED, "", 45000, 1, 0, start), 45000);
    assert_int_equal(joining_failed(&joining, JOINING_REFUSED, "", 45000, 1, 0, start), 60000);
    assert_int_equal(joining_failed(&joining, JOINING_REFUSED, "", 86400000, 1, 0, start), 600000);
    /* Spread by a quarter. */
    assert_in_range(joining_failed(&joining, JOINING_REFUSED, "", 0, 1, UINT32_MAX, start), 240000,
                    300000);
}

/* Nobody has answered where there were as many links before: something has happened to the way. */
static void a_link_that_was_there_comes_back_soon(void **state)
{
    uint64_t now = start;

    (void)state;
    joining_succeeded(&joining, 2, now);
    joining_succeeded(&joining, 3, now);
    for (unsigned pause_ms = 1000; pause_ms < 600000; pause_ms *= 2)
        assert_int_equal(joining_failed(&joining, JOINING_FAILED, "tcp", 0, 1, 0, now), pause_ms);
    now = joining_due(&joining, 8, 1);
    joining_succeeded(&joining, 2, now);
    assert_true(joining_due(&joining, 8, 2) <= now);
    /* More than there have ever been: it may be that so many are not allowed. */
    assert_int_equal(joining_failed(&joining, JOINING_FAILED, "tcp", 0, 3, 0, now), 30000);
}

static void instances_that_do_not_have_the_session(void **state)
{
    (void)state;
    assert_int_equal(joining_failed(&joining, JOINING_UNKNOWN, "", 0, 1, 0, start), 30000);
    assert_true(joining.is_spread);
    /* Nor is it over when the first link is there again. */
    joining_succeeded(&joining, 1, start);
    assert_true(joining.is_spread);
    joining_succeeded(&joining, 2, start);
    assert_false(joining.is_spread);
}

static void a_lost_link_is_replaced_at_a_pace(void **state)
{
    (void)state;
    joining_succeeded(&joining, 2, start);
    joining_lost(&joining, 1, true, start, 0, start + 5 * S);
    assert_true(joining_due(&joining, 2, 1) <= start + 5 * S);
    joining_lost(&joining, 1, true, start + 5 * S, 0, start + 5 * S);
    assert_int_equal(joining_due(&joining, 2, 1), start + 6 * S);
    /* One that has done nothing. */
    joining_lost(&joining, 1, false, start + 6 * S, 0, start + 7 * S);
    assert_int_equal(joining_due(&joining, 2, 1), start + 8 * S);
    joining_lost(&joining, 1, false, start + 8 * S, 0, start + 9 * S);
    assert_int_equal(joining_due(&joining, 2, 1), start + 11 * S);
}

/* What is in between lets everybody in, and closes an old connection for it. */
static void who_loses_a_link_for_each_new_one(void **state)
{
    uint64_t now = start;

    (void)state;
    joining_succeeded(&joining, 2, now);
    for (int i = 0; i < 3; i++) {
        assert_true(joining_due(&joining, 8, 2) <= now + S);
        now += S;
        joining_succeeded(&joining, 3, now);
        joining_lost(&joining, 2, true, now - S / 10, 0, now + S / 10);
    }
    assert_true(joining_due(&joining, 8, 2) >= now + 30 * S);
    assert_string_not_equal(joining.reason, "");
    /* Links that are cut every two seconds are another matter. */
    joining_forget(&joining);
    for (int i = 0; i < 20; i++) {
        now += 2 * S;
        joining_succeeded(&joining, 3, now - S);
        joining_lost(&joining, 2, true, now - S, 0, now);
        assert_true(joining_due(&joining, 8, 2) <= now);
    }
}

/* Whoever closes each link as soon as it is up, while the next one is dialled for. */
static void links_that_come_up_and_go_at_once(void **state)
{
    const uint64_t end = start + 300 * UINT64_C(1000000);
    unsigned dials = 0;

    (void)state;
    for (uint64_t now = start; now < end; dials++) {
        joining_succeeded(&joining, 2, now);
        assert_false(joining_lost(&joining, 1, false, now, 0, now + 1000));
        /* The next one may have come so far that it comes up all the same. */
        assert_true(joining_due(&joining, 8, 1) > now + S / 2);
        joining_succeeded(&joining, 2, now + 2000);
        assert_true(joining_due(&joining, 8, 2) > now + S / 2);
        joining_lost(&joining, 1, false, now, 0, now + 3000);
        now = joining_due(&joining, 8, 1);
    }
    assert_in_range(dials, 3, 10);
    /* One that works is another matter. */
    joining_succeeded(&joining, 2, end);
    joining_lost(&joining, 1, true, end, 0, end + 20 * S);
    assert_true(joining_due(&joining, 8, 1) <= end + 20 * S);
}

static void links_that_are_lost_together_count_once(void **state)
{
    (void)state;
    for (unsigned links = 2; links <= 8; links++)
        joining_succeeded(&joining, links, start);
    for (unsigned links = 7; links > 0; links--)
        joining_lost(&joining, links, false, start, 0, start + S);
    assert_int_equal(joining_due(&joining, 8, 1), start + 2 * S);
}

static void whose_wishes_change_often(void **state)
{
    (void)state;
    joining_succeeded(&joining, 2, start);
    joining_closed(&joining, start + S);
    assert_int_equal(joining_due(&joining, 8, 1), start + 6 * S);
    joining_succeeded(&joining, 2, start + S);
    assert_int_equal(joining_due(&joining, 8, 2), start + 6 * S);
}

#define PREPARED(test) cmocka_unit_test_setup(test, set_up)

int main(void)
{
    const struct CMUnitTest tests[] = {
        PREPARED(as_many_as_are_wanted),
        PREPARED(who_is_refused_stays_at_what_there_is),
        PREPARED(the_pause_that_is_asked_for),
        PREPARED(a_link_that_was_there_comes_back_soon),
        PREPARED(instances_that_do_not_have_the_session),
        PREPARED(a_lost_link_is_replaced_at_a_pace),
        PREPARED(who_loses_a_link_for_each_new_one),
        PREPARED(links_that_come_up_and_go_at_once),
        PREPARED(links_that_are_lost_together_count_once),
        PREPARED(whose_wishes_change_often),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
