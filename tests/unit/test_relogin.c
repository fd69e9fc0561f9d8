/* When the next login is due. */
#include "../lib/cmocka.h"

#include "../../tunnel-server/broker_login/broker_login.h"
#include "../../tunnel-server/broker_login/relogin.h"

static void well_before_the_session_ends(void **state)
{
    (void)state;
    const uint64_t now = UINT64_C(1000000000000);
    const uint64_t lengths[] = {2000000, UINT64_C(3600000000), UINT64_C(366) * 86400000000};

    for (size_t i = 0; i < sizeof lengths / sizeof *lengths; i++) {
        uint64_t first = relogin_due(now, now + lengths[i], 0) - now;
        uint64_t last = relogin_due(now, now + lengths[i], UINT16_MAX) - now;
        assert_int_equal(first, lengths[i] / 100 * 75);
        assert_in_range(last, lengths[i] / 100 * 89, lengths[i] / 100 * 90);
    }
}

static void no_more_than_once_a_second(void **state)
{
    (void)state;
    const uint64_t now = UINT64_C(1000000000000);

    assert_int_equal(relogin_due(now, now + 1000, UINT16_MAX), now + 1000000);
    assert_int_equal(relogin_due(now, now + 1000000, 0), now + 1000000);
    assert_int_equal(relogin_due(now, now - 5, 77), now + 1000000);
}

static void what_brokers_say_of_a_session(void **state)
{
    (void)state;
    assert_int_equal(broker_login_expiry(0, 77), 0);
    assert_int_equal(broker_login_expiry(10000, 77), 10000077);
    /* As good as never. */
    assert_int_equal(broker_login_expiry(INT64_MAX, 77), 0);
    assert_int_equal(broker_login_expiry(-1, 77), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(well_before_the_session_ends),
        cmocka_unit_test(no_more_than_once_a_second),
        cmocka_unit_test(what_brokers_say_of_a_session),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
