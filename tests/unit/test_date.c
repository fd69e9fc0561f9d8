/* Moments as people write them. */
#include "../lib/cmocka.h"

#include <string.h>

#include "base/date.h"

static void expect_end(const char *text, int64_t wanted)
{
    int64_t end;

    if (!date_parse_end(text, strlen(text), &end))
        fail_msg("%s is no date", text);
    assert_int_equal(end, wanted);
}

static void expect_no_date(const char *text)
{
    int64_t end;

    if (date_parse_end(text, strlen(text), &end))
        fail_msg("%s is a date", text);
}

/* The numbers are those of date -ud. */
static void what_is_read(void **state)
{
    (void)state;
    expect_end("1970-01-01", 86400);
    expect_end("1970-01-01T00:00:00Z", 0);
    expect_end("2027-01-31", 1801440000);
    expect_end("2027-01-31T18:00:00Z", 1801418400);
    expect_end("2000-02-29", 951868800);
    expect_end("2024-02-29", 1709251200);
    expect_end("2100-02-28", 4107542400);
    expect_end("2038-01-19T03:14:08Z", INT64_C(2147483648));
    expect_end("9999-12-31T23:59:59Z", INT64_C(253402300799));
}

static void what_is_not(void **state)
{
    static const char *const texts[] = {
        "",
        "2027",
        "2027-01",
        "2027-1-31",
        "2027-01-3",
        "2027-01-31 ",
        " 2027-01-31",
        "2027-01-31T",
        "2027-01-31T18:00",
        "2027-01-31T18:00:00",
        "2027-01-31T18:00:00z",
        "2027-01-31T18:00:00+01:00",
        "2027-01-31T18:00:00Zulu",
        "2027-01-31T24:00:00Z",
        "2027-01-31T18:60:00Z",
        "2027-01-31T18:00:60Z",
        "2027-01-31 18:00:00Z",
        "2027-13-01",
        "2027-00-01",
        "2027-01-00",
        "2027-01-32",
        "2027-04-31",
        "2027-02-29",
        "2100-02-29",
        "1969-12-31",
        "-027-01-31",
        "+027-01-31",
        "2027/01/31",
        "31.01.2027",
        "20270131",
    };

    (void)state;
    for (size_t i = 0; i < sizeof texts / sizeof texts[0]; i++)
        expect_no_date(texts[i]);
}

/* Every day of four centuries, and what is beyond all years. */
static void what_is_written_is_read(void **state)
{
    char text[DATE_TEXT_SIZE];
    int64_t end;

    (void)state;
    for (int64_t moment = 1; moment < INT64_C(400) * 366 * 86400; moment += 86399) {
        date_format(moment, text);
        assert_true(date_parse_end(text, strlen(text), &end));
        assert_int_equal(end, moment);
    }
    date_format(1801418400, text);
    assert_string_equal(text, "2027-01-31T18:00:00Z");
    date_format(INT64_MIN, text);
    assert_string_equal(text, "1970-01-01T00:00:00Z");
    date_format(INT64_MAX, text);
    assert_string_equal(text, "9999-12-31T23:59:59Z");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_is_read),
        cmocka_unit_test(what_is_not),
        cmocka_unit_test(what_is_written_is_read),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
