#include "../lib/cmocka.h"

#include <stdio.h>
#include <string.h>

#include "../../tunnel-client/journal.h"

static void keeps_the_last_ones(void **state)
{
    (void)state;
    struct journal journal = {0};
    char reason[16];

    assert_null(journal_get(&journal, 0));
    for (uint64_t i = 0; i < 100; i++) {
        snprintf(reason, sizeof reason, "%u", (unsigned)i);
        journal_add(&journal, i, JOURNAL_LINK_LOST, reason, 2 * i);
    }
    for (size_t i = 0; i < JOURNAL_ENTRIES; i++) {
        const struct journal_entry *entry = journal_get(&journal, i);
        assert_non_null(entry);
        assert_int_equal(entry->time_us, 99 - i);
        assert_int_equal(entry->ms, 2 * (99 - i));
    }
    assert_string_equal(journal_get(&journal, 0)->reason, "99");
    assert_null(journal_get(&journal, JOURNAL_ENTRIES));
}

/* An hour without a server must not push out what happened before it. */
static void the_same_failure_again_only_counts(void **state)
{
    (void)state;
    struct journal journal = {0};
    char reason[JOURNAL_REASON_MAX + 100];

    memset(reason, 'r', sizeof reason);
    reason[sizeof reason - 1] = '\0';
    journal_add(&journal, 1, JOURNAL_LINK_LOST, "gone", 7);
    for (uint64_t i = 2; i < 500; i++)
        journal_add(&journal, i, JOURNAL_DIAL_FAILED, reason, i);
    assert_int_equal(journal_get(&journal, 0)->times, 498);
    assert_int_equal(journal_get(&journal, 0)->time_us, 499);
    assert_int_equal(strlen(journal_get(&journal, 0)->reason), JOURNAL_REASON_MAX - 1);
    assert_string_equal(journal_get(&journal, 1)->reason, "gone");
    journal_add(&journal, 500, JOURNAL_DIAL_FAILED, "another", 0);
    assert_int_equal(journal_get(&journal, 0)->times, 1);
    /* Drops are told one by one. */
    journal_add(&journal, 501, JOURNAL_LINK_LOST, "gone", 7);
    journal_add(&journal, 502, JOURNAL_LINK_LOST, "gone", 7);
    assert_int_equal(journal_get(&journal, 1)->time_us, 501);
}

/* Links that come and go by turns are told once each, where the latest of them belongs. */
static void what_happens_to_one_of_several_links_counts(void **state)
{
    (void)state;
    struct journal journal = {0};

    journal_add(&journal, 1, JOURNAL_UP, "", 0);
    for (uint64_t i = 2; i < 200; i += 2) {
        journal_add(&journal, i, JOURNAL_LINK_LEFT, "reset", i);
        journal_add(&journal, i + 1, JOURNAL_LINK_JOINED, "", 0);
    }
    assert_int_equal(journal.count, 3);
    assert_int_equal(journal_get(&journal, 0)->kind, JOURNAL_LINK_JOINED);
    assert_int_equal(journal_get(&journal, 0)->times, 99);
    assert_int_equal(journal_get(&journal, 1)->kind, JOURNAL_LINK_LEFT);
    assert_int_equal(journal_get(&journal, 1)->time_us, 198);
    assert_int_equal(journal_get(&journal, 1)->ms, 198);
    assert_int_equal(journal_get(&journal, 2)->kind, JOURNAL_UP);
    journal_add(&journal, 300, JOURNAL_LINK_LEFT, "another reason", 7);
    assert_int_equal(journal_get(&journal, 0)->times, 1);
    journal_add(&journal, 301, JOURNAL_LINK_LEFT, "reset", 7);
    assert_int_equal(journal_get(&journal, 0)->times, 100);
    assert_int_equal(journal_get(&journal, 1)->time_us, 300);
    assert_int_equal(journal_get(&journal, 2)->kind, JOURNAL_LINK_JOINED);
    assert_int_equal(journal.count, 4);
    for (uint64_t i = 0; i < 4; i++)
        journal_add(&journal, 400 + i, JOURNAL_LINK_LOST, "gone", 0);
    journal_add(&journal, 500, JOURNAL_LINK_LEFT, "reset", 7);
    assert_int_equal(journal_get(&journal, 0)->times, 1);
    assert_int_equal(journal.count, 9);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(keeps_the_last_ones),
        cmocka_unit_test(the_same_failure_again_only_counts),
        cmocka_unit_test(what_happens_to_one_of_several_links_counts),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
