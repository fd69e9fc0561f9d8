/* Retry-After: the number and the three forms of a date (RFC 9110, 5.6.7 and 10.2.3). */
#include "../lib/cmocka.h"

#include "http/retry_after.h"

enum { THEN = 784111777 }; /* Sun, 06 Nov 1994 08:49:37 GMT */

static void seconds_are_read(void **state)
{
    (void)state;
    assert_int_equal(http_retry_after("0", THEN), 0);
    assert_int_equal(http_retry_after("120", THEN), 120);
    assert_int_equal(http_retry_after(" 7 ", THEN), 7);
    assert_true(http_retry_after("99999999999999999999999999", THEN) > 1000000);
}

static void dates_are_read(void **state)
{
    (void)state;
    static const char *const forms[] = {"Sun, 06 Nov 1994 08:49:37 GMT",
                                        "Sunday, 06-Nov-94 08:49:37 GMT",
                                        "Sun Nov  6 08:49:37 1994"};

    for (size_t i = 0; i < 3; i++) {
        assert_int_equal(http_retry_after(forms[i], THEN - 30), 30);
        assert_int_equal(http_retry_after(forms[i], THEN), 0);
        assert_int_equal(http_retry_after(forms[i], THEN + 5), 0);
    }
    assert_int_equal(http_retry_after("Thu, 29 Feb 2024 23:59:59 GMT", 1709251199 - 1), 1);
    assert_int_equal(http_retry_after("Fri, 01 Mar 2024 00:00:00 GMT", 1709251199), 1);
    assert_int_equal(http_retry_after("Thu, 01 Jan 1970 00:00:01 GMT", 0), 1);
}

static void nonsense_is_none(void **state)
{
    (void)state;
    static const char *const texts[] = {"",
                                        "soon",
                                        "-1",
                                        "1.5",
                                        "12 monkeys",
                                        "Sun, 06 Nov 1994",
                                        "Sun, 06 Now 1994 08:49:37 GMT",
                                        "Sun, 06 Nov 1994 08:49:37 CET",
                                        "Sun, 32 Nov 1994 08:49:37 GMT",
                                        "Sun, 06 Nov 1994 25:49:37 GMT",
                                        "Sun, 06 anF 1994 08:49:37 GMT"};

    for (size_t i = 0; i < sizeof texts / sizeof texts[0]; i++)
        assert_int_equal(http_retry_after(texts[i], THEN), -1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(seconds_are_read),
        cmocka_unit_test(dates_are_read),
        cmocka_unit_test(nonsense_is_none),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
