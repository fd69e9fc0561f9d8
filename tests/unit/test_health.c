/* What is known of bootstrap brokers, and in which order they are tried. */
#include "../lib/cmocka.h"

#include <string.h>

#include "../../tunnel-server/brokers/health.h"

static struct health health;

static int set_up(void **state)
{
    (void)state;
    health_init(&health, 3);
    return 0;
}

static void is_order(const char *expected)
{
    uint8_t order[ADDRESS_BROKERS_MAX];
    char text[8] = "";

    health_order(&health, order);
    for (size_t i = 0; i < health.count; i++)
        text[i] = (char)('0' + order[i]);
    assert_string_equal(text, expected);
}

static void the_configured_order_is_the_first_one(void **state)
{
    (void)state;
    is_order("012");
    assert_false(health_any_up(&health));
    assert_false(health_is_complete(&health));
}

static void whom_a_client_was_connected_to_is_first(void **state)
{
    (void)state;
    health_answered(&health, 1, 10);
    is_order("012");
    health_prefer(&health, 1);
    is_order("120");
    assert_true(health_any_up(&health));
}

static void who_does_not_answer_is_last(void **state)
{
    (void)state;
    for (int state_of = BROKER_HANGING; state_of < BROKER_STATES; state_of++) {
        set_up(NULL);
        health_prefer(&health, 1);
        assert_int_equal(health_failed(&health, 1, (enum broker_state)state_of, "why", 10),
                         BROKER_UNTRIED);
        is_order("201");
        assert_int_equal(health_answered(&health, 1, 20), state_of);
        is_order("120");
    }
}

static void a_doubt_lasts_until_the_next_answer(void **state)
{
    (void)state;
    health_answered(&health, 0, 10);
    health_doubt(&health, 0);
    is_order("120");
    assert_int_equal(health.brokers[0].state, BROKER_UP);
    health_answered(&health, 0, 20);
    is_order("012");
    /* Also when it has failed meanwhile. */
    health_doubt(&health, 0);
    health_failed(&health, 0, BROKER_HANGING, "why", 30);
    is_order("120");
    health_answered(&health, 0, 40);
    is_order("012");
}

static void when_all_fail_all_are_tried(void **state)
{
    (void)state;
    health_prefer(&health, 2);
    for (size_t i = 0; i < 3; i++)
        health_failed(&health, i, BROKER_UNREACHABLE, "why", 10);
    is_order("201");
    assert_true(health_is_complete(&health));
    assert_false(health_any_up(&health));
}

static void the_record_says_since_when_and_why(void **state)
{
    (void)state;
    const struct broker_health *broker = &health.brokers[0];
    char long_text[2 * HEALTH_WHY_MAX];

    health_answered(&health, 0, 10);
    health_answered(&health, 0, 20);
    assert_int_equal(broker->since_us, 10);
    assert_int_equal(broker->answered_us, 20);
    health_failed(&health, 0, BROKER_HANGING, "it is silent", 30);
    health_failed(&health, 0, BROKER_HANGING, "it is silent", 40);
    assert_int_equal(broker->since_us, 30);
    assert_int_equal(broker->answered_us, 20);
    assert_int_equal(broker->failures, 2);
    assert_string_equal(broker->why, "it is silent");
    health_failed(&health, 0, BROKER_UNREACHABLE, "refused", 50);
    assert_int_equal(broker->since_us, 50);
    assert_int_equal(broker->failures, 3);
    health_answered(&health, 0, 60);
    assert_int_equal(broker->failures, 0);
    assert_string_equal(broker->why, "");
    memset(long_text, 'x', sizeof long_text);
    long_text[sizeof long_text - 1] = '\0';
    health_failed(&health, 0, BROKER_FOREIGN, long_text, 70);
    assert_int_equal(strlen(broker->why), HEALTH_WHY_MAX - 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(the_configured_order_is_the_first_one, set_up),
        cmocka_unit_test_setup(whom_a_client_was_connected_to_is_first, set_up),
        cmocka_unit_test_setup(who_does_not_answer_is_last, set_up),
        cmocka_unit_test_setup(a_doubt_lasts_until_the_next_answer, set_up),
        cmocka_unit_test_setup(when_all_fail_all_are_tried, set_up),
        cmocka_unit_test_setup(the_record_says_since_when_and_why, set_up),
    };
    return cmocka_run_group_tests_name("health", tests, NULL, NULL);
}
