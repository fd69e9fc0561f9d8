#include "../lib/cmocka.h"

#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/log.h"
#include "base/utf8.h"

struct capture {
    char text[65536];
    size_t size;
    unsigned lines;
    uint64_t now_us;
    struct log log;
};

static void capture_line(void *context, const char *line, size_t size)
{
    struct capture *c = context;

    assert_true(size > 0 && size <= LOG_LINE_MAX);
    assert_true(line[size - 1] == '\n');
    assert_null(memchr(line, '\n', size - 1));
    assert_true(c->size + size < sizeof c->text);
    memcpy(c->text + c->size, line, size);
    c->size += size;
    c->text[c->size] = '\0';
    c->lines++;
}

static uint64_t capture_now(void *context)
{
    return ((struct capture *)context)->now_us;
}

static struct log *capture_start(struct capture *c, enum log_format format, uint32_t burst)
{
    memset(c, 0, sizeof *c);
    c->now_us = 1795206600123456; /* 2026-11-20T20:30:00.123456Z */
    log_init(&c->log, &(struct log_settings){.level = LOG_LEVEL_INFO,
                                             .format = format,
                                             .sink = capture_line,
                                             .sink_context = c,
                                             .now_us = capture_now,
                                             .now_context = c,
                                             .burst = burst});
    return &c->log;
}

#define STAMP "2026-11-20T20:30:00.123Z "
#define JSON_START(level, event)                                                                   \
    "{\"time\":\"2026-11-20T20:30:00.123Z\",\"level\":\"" level "\",\"event\":\"" event "\","

static void text_lines_look_as_documented(void **state)
{
    (void)state;
    struct capture c;
    struct log *log = capture_start(&c, LOG_FORMAT_TEXT, 0);

    log_info(log, "link_up", "The link to the server is up", log_str("server", "https://x"),
             log_u64("rtt_us", 231));
    log_error(log, "bye", "Nothing more");
    log_warning(log, "kinds", "All kinds", log_i64("i", INT64_MIN), log_u64("u", UINT64_MAX),
                log_bool("yes", true), log_bool("no", false), log_ms("idle", 250),
                log_bytes("part", "kafka", 3), log_str("none", NULL), log_str("empty", ""),
                log_str("dash", "-"));
    assert_string_equal(
        c.text,
        STAMP "info  The link to the server is up server=https://x rtt_us=231\n" //
        STAMP "error Nothing more\n"                                             //
        STAMP "warning All kinds i=-9223372036854775808 u=18446744073709551615 yes=true no=false "
              "idle=250ms part=kaf none=- empty=\"\" dash=\"-\"\n");
}

static void json_lines_look_as_documented(void **state)
{
    (void)state;
    struct capture c;
    struct log *log = capture_start(&c, LOG_FORMAT_JSON, 0);

    log_info(log, "link_up", "The \"link\" is up", log_str("server", "a\\b\"c\n\t\x01"),
             log_u64("rtt_us", 231), log_i64("i", -1), log_bool("yes", true), log_ms("idle", 250),
             log_str("none", NULL));
    log_error(log, "bye", "Nothing more");
    assert_string_equal(c.text,
                        JSON_START("info", "link_up") "\"body\":\"The \\\"link\\\" is up\","
                                                      "\"server\":\"a\\\\b\\\"c\\n\\t\\u0001\","
                                                      "\"rtt_us\":231,\"i\":-1,\"yes\":true,"
                                                      "\"idle_ms\":250,\"none\":null}\n" //
                        JSON_START("error", "bye") "\"body\":\"Nothing more\"}\n");
}

static void a_peers_bytes_forge_nothing(void **state)
{
    (void)state;
    struct capture c;
    struct log *log = capture_start(&c, LOG_FORMAT_TEXT, 0);
    /* a forged line, an escape sequence, C1 NEL, line separator, right-to-left override, bad UTF-8
     */
    static const char hostile[] = "x\r\n2026 error \x1b[2J\xc2\x85\xe2\x80\xa8\xe2\x80\xae\xff\xc0"
                                  "\x80\x00 \"q\" \\";
    struct log_field field = log_bytes("v", hostile, sizeof hostile - 1);

    log_event(log, LOG_LEVEL_INFO, "hostile", "m", &field, 1);
    assert_string_equal(c.text, STAMP "info  m v=\"x\\r\\n2026 error \\u001b[2J\\u0085\\u2028"
                                      "\\u202e\\xff\\xc0\\x80\\u0000 \\\"q\\\" \\\\\"\n");

    log = capture_start(&c, LOG_FORMAT_JSON, 0);
    log_event(log, LOG_LEVEL_INFO, "hostile", "m", &field, 1);
    assert_string_equal(c.text, JSON_START("info", "hostile") //
                        "\"body\":\"m\",\"v\":\"x\\r\\n2026 error \\u001b[2J\\u0085\\u2028\\u202e"
                        "\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd\\u0000 \\\"q\\\" \\\\\"}\n");
}

static void plain_utf8_stays_readable(void **state)
{
    (void)state;
    struct capture c;
    struct log *log = capture_start(&c, LOG_FORMAT_TEXT, 0);

    log_info(log, "utf", "m", log_str("v", "gr\xc3\xbc\xc3\x9f"), log_str("w", "a=b"));
    assert_string_equal(c.text, STAMP "info  m v=gr\xc3\xbc\xc3\x9f w=\"a=b\"\n");
}

static void a_long_value_is_cut_visibly(void **state)
{
    (void)state;
    char value[LOG_VALUE_MAX + 2];
    struct capture c;
    struct log *log = capture_start(&c, LOG_FORMAT_JSON, 0);

    memset(value, 'a', sizeof value - 1);
    value[sizeof value - 1] = '\0';
    log_info(log, "long", "m", log_str("v", value), log_str("after", "kept"));
    assert_non_null(strstr(c.text, "aaa...\",\"after\":\"kept\",\"truncated\":true}\n"));
    value[LOG_VALUE_MAX] = '\0';
    log_info(log, "whole", "m", log_str("v", value));
    assert_non_null(strstr(c.text, "aaa\"}\n"));
}

/* Every length around the limit, with multi-byte units: lines stay bounded, closed, whole UTF-8. */
static void a_long_line_is_cut_visibly(void **state)
{
    (void)state;
    static char value[1200];

    memset(value, '\xff', sizeof value);
    for (int format = LOG_FORMAT_TEXT; format <= LOG_FORMAT_JSON; format++) {
        for (size_t last = 0; last < 400; last++) {
            struct capture c;
            struct log *log = capture_start(&c, (enum log_format)format, 0);

            log_info(log, "long", "m", log_bytes("a", value, 330), log_bytes("b", value, 330),
                     log_bytes("c", value, 330), log_bytes("d", value, last), log_u64("e", 5));
            assert_int_equal(c.lines, 1);
            assert_true(utf8_valid((const uint8_t *)c.text, c.size));
            bool cut = format == LOG_FORMAT_JSON ? strstr(c.text, ",\"truncated\":true}\n") != NULL
                                                 : strstr(c.text, " [truncated]\n") != NULL;
            bool whole = strstr(c.text, format == LOG_FORMAT_JSON ? ",\"e\":5}\n" : " e=5\n");
            assert_true(cut != whole);
            assert_true(last > 10 || whole || format == LOG_FORMAT_TEXT);
            assert_true(last < 390 || cut);
        }
    }
}

static void count_call(unsigned *calls)
{
    (*calls)++;
}

static void a_level_that_is_off_costs_nothing(void **state)
{
    (void)state;
    unsigned calls = 0;
    struct capture c;
    struct log *log = capture_start(&c, LOG_FORMAT_TEXT, 0);

    log_debug(log, "quiet", "m", (count_call(&calls), log_u64("n", 1)));
    assert_int_equal(calls, 0);
    log_event(log, LOG_LEVEL_DEBUG, "quiet", "m", NULL, 0);
    assert_int_equal(c.lines, 0);
    assert_false(log_enabled(log, LOG_LEVEL_DEBUG));
    log->settings.level = LOG_LEVEL_DEBUG;
    log_debug(log, "quiet", "m", (count_call(&calls), log_u64("n", 1)));
    assert_int_equal(calls, 1);
    assert_string_equal(c.text, STAMP "debug m n=1\n");
}

static void a_flood_is_limited_and_counted(void **state)
{
    (void)state;
    struct capture c;
    struct log *log = capture_start(&c, LOG_FORMAT_TEXT, 3);

    for (int i = 0; i < 10; i++)
        log_warning(log, "flood", "Too much");
    log_info(log, "other", "Another event is not held back");
    assert_int_equal(c.lines, 4);

    c.now_us += 999999;
    log_warning(log, "flood", "Too much");
    assert_int_equal(c.lines, 4);

    /* Another event's line brings the report, before itself. */
    c.now_us += 1;
    c.size = 0;
    log_info(log, "other", "Later");
    assert_string_equal(
        c.text, "2026-11-20T20:30:01.123Z warning 8 more like this were not logged like=flood "
                "count=8\n2026-11-20T20:30:01.123Z info  Later\n");
    log_warning(log, "flood", "Too much");
    assert_int_equal(c.lines, 7);
}

static void flush_reports_what_was_left_out(void **state)
{
    (void)state;
    struct capture c;
    struct log *log = capture_start(&c, LOG_FORMAT_JSON, 1);

    log_info(log, "flood", "m");
    log_flush(log);
    assert_int_equal(c.lines, 1);
    log_info(log, "flood", "m");
    log_flush(log);
    log_flush(log);
    assert_int_equal(c.lines, 2);
    assert_non_null(strstr(c.text, "\"event\":\"log_limited\",\"body\":\"1 more like this were not "
                                   "logged\",\"like\":\"flood\",\"count\":1}\n"));
}

static void a_clock_set_back_does_not_silence(void **state)
{
    (void)state;
    struct capture c;
    struct log *log = capture_start(&c, LOG_FORMAT_TEXT, 1);

    log_info(log, "flood", "m");
    c.now_us -= 3600 * UINT64_C(1000000);
    log_info(log, "flood", "m");
    assert_int_equal(c.lines, 2);
}

static void no_limit_means_none(void **state)
{
    (void)state;
    struct capture c;
    struct log *log = capture_start(&c, LOG_FORMAT_TEXT, UINT32_MAX);

    for (int i = 0; i < 1000; i++)
        log_info(log, "flood", "m");
    assert_int_equal(c.lines, 1000);
}

/* More events than the table holds: each is still logged, and what was left out is still told. */
static void more_events_than_the_table_holds(void **state)
{
    (void)state;
    static char names[2 * LOG_EVENTS_MAX][8];
    struct capture c;
    struct log *log = capture_start(&c, LOG_FORMAT_TEXT, 1);

    for (unsigned i = 0; i < 2 * LOG_EVENTS_MAX; i++) {
        snprintf(names[i], sizeof names[i], "e%u", i);
        c.now_us++;
        log_info(log, names[i], "m");
        log_info(log, names[i], "m");
    }
    log_flush(log);
    assert_int_equal(c.lines, 4 * LOG_EVENTS_MAX);
}

static size_t read_all(int fd, char *out, size_t size)
{
    ssize_t got = read(fd, out, size - 1);

    assert_true(got >= 0);
    out[got] = '\0';
    return (size_t)got;
}

static void writes_to_a_file_descriptor(void **state)
{
    (void)state;
    int fds[2];
    char text[256];
    struct log log;

    assert_int_equal(pipe(fds), 0);
    log_init(&log, &(struct log_settings){.level = LOG_LEVEL_INFO, .fd = fds[1]});
    log_info(&log, "hello", "Hello", log_u64("n", 1));
    read_all(fds[0], text, sizeof text);
    assert_non_null(strstr(text, "Z info  Hello n=1\n"));
    assert_int_equal(text[4], '-');
    close(fds[0]);
    close(fds[1]);
}

static void a_stuck_reader_loses_lines_not_the_program(void **state)
{
    (void)state;
    int fds[2];
    char text[8192];
    struct log log;

    assert_int_equal(pipe(fds), 0);
    log_init(&log,
             &(struct log_settings){.level = LOG_LEVEL_INFO, .fd = fds[1], .burst = UINT32_MAX});
    for (int i = 0; i < 5000; i++)
        log_info(&log, "hello", "Filling a pipe that nobody reads, line by line");
    assert_true(log.lost > 0 && log.lost < 5000);

    uint64_t lost = log.lost;
    char expected[128];
    assert_int_equal(fcntl(fds[0], F_SETFL, O_NONBLOCK), 0);
    while (read(fds[0], text, sizeof text) > 0)
        ;
    log_info(&log, "hello", "Here again");
    read_all(fds[0], text, sizeof text);
    snprintf(expected, sizeof expected, "because the log could not be written lines=%llu\n",
             (unsigned long long)lost);
    assert_non_null(strstr(text, "Here again\n"));
    assert_non_null(strstr(text, expected));
    assert_int_equal(log.lost, 0);
    close(fds[0]);
    close(fds[1]);
    log_info(&log, "hello", "Nobody there");
    assert_int_equal(log.lost, 1);
}

/* Plain characters go in by the run: where it does not fit, it is cut as the rest is. */
static void runs_of_plain_text_are_cut_where_room_ends(void **state)
{
    (void)state;
    struct capture c;
    char value[2 * LOG_VALUE_MAX], expected[LOG_VALUE_MAX + 100];

    for (int format = LOG_FORMAT_TEXT; format <= LOG_FORMAT_JSON; format++) {
        struct log *log = capture_start(&c, (enum log_format)format, 0);
        const char *quote = format == LOG_FORMAT_JSON ? "\"" : "";
        memset(value, 'a', sizeof value);
        value[sizeof value - 1] = '\0';
        log_info(log, "long", "m", log_str("v", value));
        snprintf(expected, sizeof expected, "%s%.*s...%s", quote, LOG_VALUE_MAX, value, quote);
        assert_non_null(strstr(c.text, expected));
        assert_non_null(strstr(c.text, "truncated"));
        /* An escape at the end does not fit any more, and is left out whole. */
        log = capture_start(&c, (enum log_format)format, 0);
        value[LOG_VALUE_MAX - 1] = '\n';
        value[LOG_VALUE_MAX] = '\0';
        log_info(log, "long", "m", log_str("v", value));
        snprintf(expected, sizeof expected, "%.*s...\"", LOG_VALUE_MAX - 1, value);
        assert_non_null(strstr(c.text, expected));
    }
}

static void the_time_moves_on(void **state)
{
    (void)state;
    struct capture c;
    struct log *log = capture_start(&c, LOG_FORMAT_TEXT, 0);

    log_info(log, "one", "m");
    c.now_us += 877 * 1000;
    log_info(log, "two", "m");
    c.now_us -= 2 * 1000 * 1000;
    log_info(log, "three", "m");
    assert_string_equal(c.text, "2026-11-20T20:30:00.123Z info  m\n"
                                "2026-11-20T20:30:01.000Z info  m\n"
                                "2026-11-20T20:29:59.000Z info  m\n");
}

struct gatherer {
    struct log log;
    int fds[2];
    unsigned asked;
};

static void count_asked(void *context)
{
    ((struct gatherer *)context)->asked++;
}

static struct log *gather_start(struct gatherer *g, enum log_level level)
{
    memset(g, 0, sizeof *g);
    assert_int_equal(pipe(g->fds), 0);
    assert_int_equal(fcntl(g->fds[0], F_SETFL, O_NONBLOCK), 0);
    log_init(&g->log, &(struct log_settings){.level = level, .fd = g->fds[1], .burst = UINT32_MAX});
    log_gather(&g->log, count_asked, g);
    return &g->log;
}

/* What one write(2) has brought; a pipe does not tell where one ends, so: all that has come. */
static size_t written(const struct gatherer *g, char *out, size_t size)
{
    ssize_t got = read(g->fds[0], out, size - 1);

    out[got > 0 ? got : 0] = '\0';
    return got > 0 ? (size_t)got : 0;
}

static void gather_end(const struct gatherer *g)
{
    close(g->fds[0]);
    close(g->fds[1]);
}

static void gathered_lines_are_written_together(void **state)
{
    (void)state;
    char text[3 * LOG_LINE_MAX];
    struct gatherer g;
    struct log *log = gather_start(&g, LOG_LEVEL_INFO);

    log_info(log, "one", "One");
    log_info(log, "two", "Two");
    assert_int_equal(written(&g, text, sizeof text), 0);
    assert_int_equal(g.asked, 1);
    assert_int_equal(log->counts.lines[LOG_LEVEL_INFO], 0);
    log_write_out(log);
    written(&g, text, sizeof text);
    assert_non_null(strstr(text, "One\n"));
    assert_non_null(strstr(text, "Two\n"));
    assert_int_equal(log->counts.lines[LOG_LEVEL_INFO], 2);
    log_write_out(log);
    assert_int_equal(written(&g, text, sizeof text), 0);
    log_info(log, "three", "Three");
    assert_int_equal(g.asked, 2);
    log_flush(log);
    written(&g, text, sizeof text);
    assert_non_null(strstr(text, "Three\n"));
    gather_end(&g);
}

static void what_matters_does_not_wait(void **state)
{
    (void)state;
    char text[3 * LOG_LINE_MAX];
    struct gatherer g;
    struct log *log = gather_start(&g, LOG_LEVEL_INFO);

    log_info(log, "one", "One");
    log_warning(log, "two", "Two");
    written(&g, text, sizeof text);
    const char *one = strstr(text, "One\n");
    assert_non_null(one);
    assert_non_null(strstr(one, "Two\n"));
    log_gather(log, NULL, NULL);
    log_info(log, "three", "Three");
    assert_true(written(&g, text, sizeof text) > 0);
    gather_end(&g);

    log = gather_start(&g, LOG_LEVEL_DEBUG);
    log_info(log, "one", "One");
    assert_true(written(&g, text, sizeof text) > 0);
    assert_int_equal(g.asked, 0);
    gather_end(&g);
}

/* A write to a pipe that others share must be whole or nothing. */
static void what_is_gathered_is_bounded(void **state)
{
    (void)state;
    char text[8 * LOG_LINE_MAX], value[LOG_VALUE_MAX + 1];
    struct gatherer g;
    struct log *log = gather_start(&g, LOG_LEVEL_INFO);

    memset(value, 'v', sizeof value);
    value[LOG_VALUE_MAX] = '\0';
    for (unsigned i = 0; i < 16; i++) {
        log_info(log, "long", "Long", log_str("value", value));
        assert_true(log->gathered.size <= LOG_LINE_MAX);
    }
    size_t size = written(&g, text, sizeof text);
    assert_true(size > 8 * LOG_VALUE_MAX);
    assert_int_equal(text[size - 1], '\n');
    assert_int_equal(log->counts.lines[LOG_LEVEL_INFO] + log->gathered.lines[LOG_LEVEL_INFO], 16);
    gather_end(&g);
}

static void gathered_lines_that_are_lost_are_counted(void **state)
{
    (void)state;
    char text[65536 + LOG_LINE_MAX];
    struct gatherer g;
    struct log *log = gather_start(&g, LOG_LEVEL_INFO);
    unsigned lines = 0;

    while (log->lost == 0 && lines < 5000) {
        for (unsigned i = 0; i < 3; i++, lines++)
            log_info(log, "hello", "Filling a pipe that nobody reads");
        log_write_out(log);
    }
    assert_int_equal(log->lost, 3);
    assert_int_equal(log->counts.lines[LOG_LEVEL_INFO], lines - 3);
    while (read(g.fds[0], text, sizeof text) > 0)
        continue;
    log_info(log, "hello", "Here again");
    log_write_out(log);
    written(&g, text, sizeof text);
    assert_non_null(strstr(text, "Here again\n"));
    assert_non_null(strstr(text, "could not be written lines=3\n"));
    assert_int_equal(log->lost, 0);
    gather_end(&g);
}

static void utf8_is_strict(void **state)
{
    (void)state;
    static const char *const good[] = {"a",
                                       "\x7f",
                                       "\xc2\x80",
                                       "\xe0\xa0\x80",
                                       "\xed\x9f\xbf",
                                       "\xee\x80\x80",
                                       "\xf0\x90\x80\x80",
                                       "\xf4\x8f\xbf\xbf"};
    static const char *const bad[] = {"\x80",
                                      "\xc0\x80",
                                      "\xc1\xbf",
                                      "\xe0\x9f\xbf",
                                      "\xed\xa0\x80",
                                      "\xf0\x8f\xbf\xbf",
                                      "\xf4\x90\x80\x80",
                                      "\xf5\x80\x80\x80",
                                      "\xff",
                                      "\xc2",
                                      "\xe0\xa0",
                                      "\xc2z"};

    for (size_t i = 0; i < sizeof good / sizeof *good; i++)
        assert_true(utf8_valid((const uint8_t *)good[i], strlen(good[i])));
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        assert_false(utf8_valid((const uint8_t *)bad[i], strlen(bad[i])));
}

static void problems_are_counted_whatever_is_written(void **state)
{
    (void)state;
    struct capture c;
    struct log *log = capture_start(&c, LOG_FORMAT_TEXT, 2);

    log->settings.level = LOG_LEVEL_ERROR;
    for (unsigned i = 0; i < 5; i++)
        log_warning(log, "quiet", "m");
    log->settings.level = LOG_LEVEL_INFO;
    for (unsigned i = 0; i < 5; i++)
        log_error(log, "loud", "m", log_u64("i", i));
    log_info(log, "fine", "m");
    log_debug(log, "off", "m");
    const struct log_counts *counts = &log->counts;
    assert_int_equal(counts->problem_count, 2);
    assert_string_equal(counts->problems[0].event, "quiet");
    assert_int_equal(counts->problems[0].count, 5);
    assert_int_equal(counts->problems[1].count, 5);
    assert_int_equal(counts->suppressed, 3);
    assert_int_equal(counts->lines[LOG_LEVEL_ERROR], 2);
    assert_int_equal(counts->lines[LOG_LEVEL_WARNING], 0);
    assert_int_equal(counts->lines[LOG_LEVEL_INFO], 1);
}

static void records_are_never_left_out(void **state)
{
    (void)state;
    struct capture c;
    struct log *log = capture_start(&c, LOG_FORMAT_TEXT, 2);
    const struct log_field field = log_u64("n", 1);

    for (unsigned i = 0; i < 50; i++)
        log_always(log, "audit", "m", &field, 1);
    assert_int_equal(c.lines, 50);
    assert_int_equal(log->counts.suppressed, 0);
    log->settings.level = LOG_LEVEL_WARNING;
    log_always(log, "audit", "m", &field, 1);
    assert_int_equal(c.lines, 50);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(text_lines_look_as_documented),
        cmocka_unit_test(json_lines_look_as_documented),
        cmocka_unit_test(a_peers_bytes_forge_nothing),
        cmocka_unit_test(plain_utf8_stays_readable),
        cmocka_unit_test(a_long_value_is_cut_visibly),
        cmocka_unit_test(a_long_line_is_cut_visibly),
        cmocka_unit_test(a_level_that_is_off_costs_nothing),
        cmocka_unit_test(a_flood_is_limited_and_counted),
        cmocka_unit_test(flush_reports_what_was_left_out),
        cmocka_unit_test(problems_are_counted_whatever_is_written),
        cmocka_unit_test(records_are_never_left_out),
        cmocka_unit_test(a_clock_set_back_does_not_silence),
        cmocka_unit_test(no_limit_means_none),
        cmocka_unit_test(more_events_than_the_table_holds),
        cmocka_unit_test(writes_to_a_file_descriptor),
        cmocka_unit_test(a_stuck_reader_loses_lines_not_the_program),
        cmocka_unit_test(runs_of_plain_text_are_cut_where_room_ends),
        cmocka_unit_test(the_time_moves_on),
        cmocka_unit_test(gathered_lines_are_written_together),
        cmocka_unit_test(what_matters_does_not_wait),
        cmocka_unit_test(what_is_gathered_is_bounded),
        cmocka_unit_test(gathered_lines_that_are_lost_are_counted),
        cmocka_unit_test(utf8_is_strict),
    };
    return cmocka_run_group_tests_name("log", tests, NULL, NULL);
}
