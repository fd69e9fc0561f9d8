#include "../lib/cmocka.h"

#include <string.h>

#include "../../tunnel-client/link_history.h"

static void keeps_the_last_ones(void **state)
{
    (void)state;
    struct link_history history = {0};
    char reason[LINK_HISTORY_REASON_MAX + 100];

    memset(reason, 'r', sizeof reason);
    reason[sizeof reason - 1] = '\0';
    assert_null(link_history_get(&history, 0));
    for (uint32_t i = 1; i <= 20; i++) {
        const struct link_history_entry entry = {
            .number = i, .cause = LINK_CAUSE_SPARE, .time_us = 7 * i, .end = "lost"};
        link_history_add(&history, &entry, reason + i);
        assert_int_equal(link_history_get(&history, 0)->number, i);
    }
    for (uint32_t i = 0; i < LINK_HISTORY_ENTRIES; i++) {
        const struct link_history_entry *entry = link_history_get(&history, i);
        assert_int_equal(entry->number, 20 - i);
        assert_int_equal(entry->time_us, 7 * entry->number);
        assert_int_equal(strlen(entry->reason), LINK_HISTORY_REASON_MAX - 1);
    }
    assert_null(link_history_get(&history, LINK_HISTORY_ENTRIES));
    assert_string_equal(link_cause_name(LINK_CAUSE_SERVER), "server");
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(keeps_the_last_ones)};

    return cmocka_run_group_tests(tests, NULL, NULL);
}
