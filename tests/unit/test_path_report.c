#include "../lib/cmocka.h"

#include <string.h>

#include "../../tunnel-client/doctor/path_report.h"

enum { MS = 1000, SECOND = 1000 * 1000 };

/* 50 ms, 1.25 MB in a second, 8 links allowed. */
static struct path_report report(uint32_t segments, uint32_t retransmitted, const char *control)
{
    return (struct path_report){.pings = 5,
                                .rtt_least_us = 50 * MS,
                                .rtt_median_us = 51 * MS,
                                .bytes = 1250 * 1000,
                                .took_us = SECOND,
                                .hop_rtt_us = 50 * MS,
                                .segments = segments,
                                .retransmitted = retransmitted,
                                .segment_size = 1448,
                                .congestion_control = control,
                                .links = 8};
}

static void rates_have_units(void **state)
{
    static const struct {
        uint64_t rate;
        const char *text;
    } rates[] = {{0, "0.0 kbit/s"},
                 {1250, "10.0 kbit/s"},
                 {124999, "1000 kbit/s"},
                 {125000, "1.0 Mbit/s"},
                 {1437500, "11.5 Mbit/s"},
                 {125000000, "1.0 Gbit/s"},
                 {UINT64_MAX / 1000, "147573953 Gbit/s"}};
    char text[PATH_RATE_TEXT];

    (void)state;
    for (size_t i = 0; i < sizeof rates / sizeof rates[0]; i++) {
        path_report_rate(rates[i].rate, text);
        assert_string_equal(text, rates[i].text);
    }
}

/* 1448 bytes, 50 ms, 0.1 %: 1.117 MB/s. */
static void a_loss_by_chance_bounds_a_link(void **state)
{
    (void)state;
    struct path_report one = report(10000, 10, "cubic");

    assert_in_range(path_report_settles_at(&one), 1116000, 1118000);
    one.congestion_control = "reno";
    one.retransmitted = 100;
    assert_in_range(path_report_settles_at(&one), 353000, 354000);
    one.retransmitted = 2; /* too few */
    assert_int_equal(path_report_settles_at(&one), 0);
    one = report(10000, 10, "bbr");
    assert_int_equal(path_report_settles_at(&one), 0);
    one = report(0, 0, "");
    assert_int_equal(path_report_settles_at(&one), 0);
    one = report(1, UINT32_MAX, "cubic");
    assert_true(path_report_settles_at(&one) < 1000);
    one.hop_rtt_us = 0;
    assert_int_equal(path_report_settles_at(&one), 0);
}

/* carried: NULL, it does not matter; "": nothing is said. */
static void assert_words(const struct path_report *one, const char *carried, const char *advice)
{
    char text[400];

    path_report_carried(one, text, sizeof text);
    if (carried && (!strstr(text, carried) || (!carried[0] && text[0])))
        fail_msg("no '%s' in: %s", carried, text);
    path_report_advice(one, text, sizeof text);
    if (!strstr(text, advice) || (!advice[0] && text[0]))
        fail_msg("no '%s' in: %s", advice, text);
    assert_true(strlen(text) < 300);
}

static void what_was_found_is_said(void **state)
{
    (void)state;
    struct path_report one = report(864, 1, "cubic");

    assert_words(&one,
                 "carried 1.2 MB to the server in 1.00 s: 10.0 Mbit/s; 1 of 864 TCP segments were "
                 "sent again (0.12 %)",
                 "hardly a segment was lost, but the path is long");
    one = report(864, 9, "cubic");
    assert_words(&one, "9 of 864", "settles at about 2.8 Mbit/s (cubic)");
    assert_words(&one, NULL, "opens up to 8 (--links)");
    one.links = 1;
    assert_words(&one, NULL, "--links 1 allows only one");
    one = report(864, 300, "cubic");
    one.bytes *= 4;
    assert_words(&one, "40.0 Mbit/s", "the line was full");
    one = report(864, 9, "cubic");
    one.hop_rtt_peak_us = 71 * MS;
    assert_words(&one, "9 of 864", "settles at");
    one.hop_rtt_peak_us = 72 * MS;
    assert_words(&one, "9 of 864", "the line was full");
    one.retransmitted = 0;
    assert_words(&one, "0 of 864", "the line was full");
    one.rtt_least_us = 2 * MS;
    assert_words(&one, "0 of 864", "one link is enough: it fills the line");
    one = report(864, 9, "bbr");
    assert_words(&one, "9 of 864", "bbr does not slow down");
    one = report(864, 9, "");
    assert_words(&one, "9 of 864", "the path is long: a second link helps");
    one = report(0, 0, "");
    assert_words(&one, "the system does not tell", "the path is long");
    one.rtt_least_us = 200;
    assert_words(&one, NULL, "one link is enough: the path is short");
    one = report(864, 0, "cubic");
    one.rtt_least_us = 200;
    assert_words(&one, NULL, "the path is short and does not lose packets");
}

static void what_is_not_known_is_not_said(void **state)
{
    (void)state;
    struct path_report one = report(864, 9, "cubic");

    one.took_us = 0;
    assert_words(&one, "", "");
    one = report(864, 9, "cubic");
    one.rtt_least_us = 0;
    assert_words(&one, "10.0 Mbit/s", "");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(rates_have_units),
        cmocka_unit_test(a_loss_by_chance_bounds_a_link),
        cmocka_unit_test(what_was_found_is_said),
        cmocka_unit_test(what_is_not_known_is_not_said),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
