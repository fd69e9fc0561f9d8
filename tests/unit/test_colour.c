/* Colour: on a terminal that has it, and nowhere else. */
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <unistd.h>

#include <cmocka.h>

#include "colour.h"

static void only_on_a_terminal_that_has_it(void **state)
{
    (void)state;
    int terminal = posix_openpt(O_RDWR | O_NOCTTY);
    int ends[2];

    assert_true(terminal >= 0);
    assert_int_equal(pipe(ends), 0);
    unsetenv("NO_COLOR");
    setenv("TERM", "xterm", 1);
    assert_true(colour_is_wanted(terminal));
    assert_false(colour_is_wanted(ends[1]));
    setenv("NO_COLOR", "1", 1);
    assert_false(colour_is_wanted(terminal));
    /* no-color.org: when present and not an empty string. */
    setenv("NO_COLOR", "", 1);
    assert_true(colour_is_wanted(terminal));
    setenv("TERM", "dumb", 1);
    assert_false(colour_is_wanted(terminal));
    unsetenv("TERM");
    assert_false(colour_is_wanted(terminal));
    close(terminal);
    close(ends[0]);
    close(ends[1]);
}

static void nothing_where_it_is_not_wanted(void **state)
{
    (void)state;
    for (int colour = COLOUR_NONE; colour <= COLOUR_SOFT; colour++) {
        assert_string_equal(colour_begin(false, (enum colour)colour), "");
        assert_string_equal(colour_end(false, (enum colour)colour), "");
    }
    assert_string_equal(colour_begin(true, COLOUR_NONE), "");
    assert_string_equal(colour_end(true, COLOUR_NONE), "");
    assert_string_equal(colour_begin(true, COLOUR_BAD), "\x1b[31m");
    assert_string_equal(colour_end(true, COLOUR_BAD), "\x1b[0m");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(only_on_a_terminal_that_has_it),
        cmocka_unit_test(nothing_where_it_is_not_wanted),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
