/* Which listeners an outgoing connection may be in the way of, by the kernel's settings. */
#include "../lib/cmocka.h"

#include <string.h>

#include "io/outgoing_ports.h"

#define USUAL "32768\t60999\n"
#define NONE "\n"

static bool meets(const char *local_range, const char *reserved, uint16_t first, uint16_t last)
{
    char range[OUTGOING_PORTS_TEXT] = "";

    return outgoing_ports_meet_settings(local_range, reserved, first, last, range);
}

static void the_range_has_both_its_ends(void **state)
{
    (void)state;
    assert_false(meets(USUAL, NONE, 32767, 32767));
    assert_true(meets(USUAL, NONE, 32768, 32768));
    assert_true(meets(USUAL, NONE, 60999, 60999));
    assert_false(meets(USUAL, NONE, 61000, 65535));
    assert_true(meets("1024 65535", NONE, 65535, 65535));
}

static void one_port_of_many_is_enough(void **state)
{
    (void)state;
    assert_true(meets(USUAL, NONE, 32000, 32768));
    assert_true(meets(USUAL, NONE, 60999, 65535));
    assert_true(meets(USUAL, NONE, 1, 65535));
    assert_false(meets(USUAL, NONE, 9093, 10092));
}

static void reserved_ports_are_not_given_away(void **state)
{
    (void)state;
    const char *reserved = "8080,40000-40100,50000\n";

    assert_false(meets(USUAL, reserved, 40000, 40100));
    assert_false(meets(USUAL, reserved, 50000, 50000));
    assert_true(meets(USUAL, reserved, 39999, 40100));
    assert_true(meets(USUAL, reserved, 40000, 40101));
    assert_false(meets(USUAL, "1-65535\n", 1, 65535));
}

static void the_range_is_told(void **state)
{
    (void)state;
    char range[OUTGOING_PORTS_TEXT];

    assert_true(outgoing_ports_meet_settings(USUAL, NONE, 40000, 40000, range));
    assert_string_equal(range, "32768-60999");
}

static void settings_that_cannot_be_read_say_nothing(void **state)
{
    (void)state;
    static const char *const odd[] = {"", "\n", "x", "32768", "60999 32768", "1 70000", "0 0"};

    for (size_t i = 0; i < sizeof odd / sizeof *odd; i++)
        assert_false(meets(odd[i], NONE, 1, 65535));
    assert_true(meets(USUAL, "x,1-65535\n", 40000, 40000));
}

static void this_systems_settings_are_found(void **state)
{
    (void)state;
    char range[OUTGOING_PORTS_TEXT] = "";

    assert_true(outgoing_ports_meet(1, UINT16_MAX, range));
    assert_non_null(strchr(range, '-'));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_range_has_both_its_ends),
        cmocka_unit_test(one_port_of_many_is_enough),
        cmocka_unit_test(reserved_ports_are_not_given_away),
        cmocka_unit_test(the_range_is_told),
        cmocka_unit_test(settings_that_cannot_be_read_say_nothing),
        cmocka_unit_test(this_systems_settings_are_found),
    };

    return cmocka_run_group_tests_name("outgoing_ports", tests, NULL, NULL);
}
