#include "../lib/cmocka.h"

#include <string.h>

#include "base/redact.h"

static void expect_redacted(const char *text, const char *secret, const char *shown)
{
    char out[100];

    redact(text, strlen(text), secret, out, sizeof out);
    assert_string_equal(out, shown);
}

#define PART_OF_48 "0123456789abcdef-_~+/=%ABCDEFGHIJKLMNOPQRSTUVWXY"

static void what_may_be_a_secret_is_left_out(void **state)
{
    (void)state;
    char out[8];

    expect_redacted("", NULL, "");
    expect_redacted(" a \r\n\t\x1b b\x7f", NULL, "a b");
    expect_redacted("say " PART_OF_48 " so", NULL, "say " PART_OF_48 " so");
    expect_redacted("say " PART_OF_48 "x so", NULL, "say (...) so");
    expect_redacted("(" PART_OF_48 PART_OF_48 ")", NULL, "((...))");
    expect_redacted("a." PART_OF_48 "x:b c", NULL, "(...) c");
    expect_redacted("https://0123456789abcdef-myorg-account1.snowflakecomputing.com/oauth/token",
                    NULL,
                    "https://0123456789abcdef-myorg-account1.snowflakecomputing.com/oauth/token");
    expect_redacted("bad eyJhbGciOiJub25lIn0.e30.c2ln", NULL, "bad (...)");
    expect_redacted("x=eyJhbGciOiJub25lIn0.e30.c2ln;", NULL, "(...);");
    expect_redacted("token=hunter22, hunter22", "hunter22", "token=(...), (...)");
    expect_redacted("a b", "a b", "(...)");
    expect_redacted("aaa", "aa", "(...)a");
    expect_redacted("abc", "", "abc");
    expect_redacted("caf\xc3\xa9", NULL, "caf\xc3\xa9");
    redact("123456789", 9, NULL, out, sizeof out);
    assert_string_equal(out, "1234567");
    redact("1\0002", 3, NULL, out, sizeof out);
    assert_string_equal(out, "1 2");
    redact("x", 1, NULL, out, 1);
    assert_string_equal(out, "");
}

/* Half a token at the end of a text that was cut is short enough to be shown. */
static void the_end_of_a_cut_text(void **state)
{
    (void)state;
    static const char *const cases[][2] = {{"", ""},
                                           {"token", ""},
                                           {"bad token abc", "bad token "},
                                           {"{\"detail\":\"abc", "{\"detail\":\""},
                                           {"all of it. ", "all of it. "}};

    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++)
        assert_int_equal(redact_cut(cases[i][0], strlen(cases[i][0])), strlen(cases[i][1]));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_may_be_a_secret_is_left_out),
        cmocka_unit_test(the_end_of_a_cut_text),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
