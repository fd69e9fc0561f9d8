#include "../lib/cmocka.h"

#include <string.h>

#include "base/pattern.h"

static bool fits(const char *pattern, const char *text)
{
    return pattern_fits(pattern, strlen(pattern), text, strlen(text));
}

static void patterns(void **state)
{
    (void)state;
    static const struct {
        const char *pattern;
        const char *text;
        bool fits;
    } rows[] = {
        {"", "", true},
        {"", "a", false},
        {"*", "", true},
        {"*", "anything", true},
        {"?", "", false},
        {"?", "a", true},
        {"a", "a", true},
        {"a", "A", false},
        {"a", "ab", false},
        {"ab", "a", false},
        {"ci-*", "ci-", true},
        {"ci-*", "ci-7", true},
        {"ci-*", "ci", false},
        {"*-ci", "a-ci-ci", true},
        {"*-ci", "a-ci-c", false},
        {"a*b*c", "abc", true},
        {"a*b*c", "a-b-b-c", true},
        {"a*b*c", "a-c-b", false},
        {"a**", "a", true},
        {"?*", "", false},
        {"?*?", "ab", true},
        {"?*?", "a", false},
        {"a?c", "abc", true},
        {"[ab]", "a", false},
        {"*.txt", "a.txt.b", false},
    };

    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
        if (fits(rows[i].pattern, rows[i].text) != rows[i].fits)
            fail_msg("\"%s\" and \"%s\"", rows[i].pattern, rows[i].text);
}

/* Names come from the wire: they may hold any byte, and end where their size says. */
static void names_of_any_bytes(void **state)
{
    (void)state;
    assert_true(pattern_fits("a*c", 3, "a\0*c", 4));
    assert_true(pattern_fits("a?", 2, "a\0", 2));
    assert_false(pattern_fits("a", 1, "a\0", 2));
    assert_true(pattern_fits("abc", 2, "ab", 2));
    assert_true(pattern_fits("*", 1, NULL, 0));
}

/* With every * tried at every place this would take longer than anybody waits. */
static void many_stars(void **state)
{
    (void)state;
    char pattern[2000];
    char text[60000];

    for (size_t i = 0; i < sizeof pattern; i += 2)
        memcpy(pattern + i, "*a", 2);
    pattern[sizeof pattern - 1] = 'b';
    memset(text, 'a', sizeof text);
    assert_false(pattern_fits(pattern, sizeof pattern, text, sizeof text));
}

static void lists(void **state)
{
    (void)state;
    assert_true(pattern_list_fits(NULL, "a", 1));
    assert_false(pattern_list_fits("", "a", 1));
    assert_false(pattern_list_fits(" , ,", "a", 1));
    assert_false(pattern_list_fits(" , ,", "", 0));
    assert_true(pattern_list_fits("a", "a", 1));
    assert_true(pattern_list_fits("b,a", "a", 1));
    assert_true(pattern_list_fits(" b\t, a\t ,c", "a", 1));
    assert_true(pattern_list_fits("b,,c*", "cd", 2));
    assert_false(pattern_list_fits("b,c", "b,c", 3));
    assert_true(pattern_list_fits("a, \"b,c\" ", "b,c", 3));
    assert_true(pattern_list_fits("\"b,c\",a", "a", 1));
    assert_false(pattern_list_fits("\"b,c\"", "b", 1));
    assert_true(pattern_list_fits("\"CN=*,O=Example\"", "CN=alice,O=Example", 18));
    assert_true(pattern_list_fits("\" a \"", " a ", 3));
    assert_true(pattern_list_fits("\"\"", "", 0));
}

static void lists_with_mistakes(void **state)
{
    static const char *const good[] = {
        NULL,           "",     " , ,", "a, b*,\"c,d\" ,e", "\"CN=a,O=b\"", "CN=a, CN=b", "O=x",
        "ci-*,\"O=x\"", "a\"b",
    };
    static const struct {
        const char *list;
        const char *why;
    } bad[] = {
        {"a,\"b,c", "has a pattern without its closing quotation mark"},
        {"\"", "has a pattern without its closing quotation mark"},
        {"\"a\"b,c", "has something between a closing quotation mark and the next comma"},
        {"\"a\" \"b\"", "has something between a closing quotation mark and the next comma"},
        {"CN=alice,O=Example",
         "has a certificate's subject without quotation marks around it, so that its commas make "
         "it several patterns"},
        {"ci-*, CN=*, OU=x",
         "has a certificate's subject without quotation marks around it, so that its commas make "
         "it several patterns"},
    };

    (void)state;
    for (size_t i = 0; i < sizeof good / sizeof *good; i++)
        assert_null(pattern_list_check(good[i]));
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        assert_string_equal(pattern_list_check(bad[i].list), bad[i].why);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(patterns),
        cmocka_unit_test(names_of_any_bytes),
        cmocka_unit_test(many_stars),
        cmocka_unit_test(lists),
        cmocka_unit_test(lists_with_mistakes),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
