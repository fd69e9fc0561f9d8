/* Audit records: what a line holds, the chain, and what a verifier finds of what was done to it. */
#include "../lib/cmocka.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../../tunnel-server/audit/audit_record.h"
#include "../../tunnel-server/audit/audit_repeats.h"
#include "../../tunnel-server/audit/audit_verify.h"

enum { RECORDS = 9, TOLD_MAX = 20 };

/* A file of records: the first is audit_opened. */
struct lines {
    char text[RECORDS + 4][AUDIT_LINE_MAX + 1];
    size_t count;
};

static struct lines lines;
static struct audit_chain chain;
static struct audit_verifier verifier;
static struct audit_finding told[TOLD_MAX];
static char words[TOLD_MAX][200];
static size_t told_count;

static void add_line(const char *event, const struct log_field *fields, size_t count)
{
    char body[AUDIT_BODY_MAX];
    size_t size = audit_body_write(body, UINT64_C(1764495600123456), event, fields, count);
    size_t line = audit_line_write(&chain, body, size, lines.text[lines.count]);

    lines.text[lines.count++][line] = '\0';
}

static void add_opened(uint64_t torn)
{
    add_line("audit_opened",
             (const struct log_field[]){log_u64("torn_bytes", torn), log_str("sink", "file")}, 2);
}

static int set_up(void **state)
{
    (void)state;
    lines.count = 0;
    told_count = 0;
    audit_chain_begin(&chain);
    add_opened(0);
    while (lines.count < RECORDS)
        add_line("session_opened",
                 (const struct log_field[]){log_str("identity", "alice"),
                                            log_u64("number", lines.count)},
                 2);
    return 0;
}

static void tell(void *context, const struct audit_finding *finding)
{
    (void)context;
    assert_true(told_count < TOLD_MAX);
    told[told_count] = *finding;
    snprintf(words[told_count], sizeof words[0], "%s", finding->what);
    told_count++;
}

static void begin(void)
{
    told_count = 0;
    audit_verify_begin(&verifier, tell, NULL);
    audit_verify_file(&verifier, "a");
}

static void end(void)
{
    audit_verify_file_end(&verifier);
    audit_verify_end(&verifier);
}

/* Lines from first on, but for those of which keep is false, in that order; step: bytes at a time.
 */
static void feed(const size_t *order, size_t count, size_t step)
{
    begin();
    for (size_t i = 0; i < count; i++) {
        const char *text = lines.text[order[i]];
        for (size_t at = 0, size = strlen(text); at < size; at += step)
            audit_verify_bytes(&verifier, text + at, size - at < step ? size - at : step);
    }
    end();
}

static void expect_one(uint64_t line, const char *what)
{
    assert_int_equal(verifier.problems, 1);
    assert_int_equal(told_count, 1);
    assert_true(told[0].problem);
    assert_int_equal(told[0].line, line);
    if (!strstr(words[0], what))
        fail_msg("\"%s\" instead of \"%s\"", words[0], what);
}

static void a_line_says_what_there_is(void **state)
{
    (void)state;
    struct audit_line line;
    const char *text = lines.text[1];

    assert_int_equal(strncmp(text, "{\"chain\":\"", 10), 0);
    assert_non_null(strstr(text, ",\"seq\":2,\"time\":\"2025-11-30T09:40:00.123456Z\","
                                 "\"event\":\"session_opened\",\"identity\":\"alice\","
                                 "\"number\":1,\"prev\":\""));
    assert_true(audit_line_read(&line, text, strlen(text) - 1));
    assert_true(line.is_whole && audit_line_is(&line, "session_opened"));
    assert_int_equal(line.place.sequence, 2);
    assert_string_equal(line.time, "2025-11-30T09:40:00.123456Z");
    assert_true(audit_line_read(&line, lines.text[0], strlen(lines.text[0]) - 1));
    uint64_t number = 7;
    assert_true(audit_line_number(&line, "torn_bytes", &number) && number == 0);
    assert_false(audit_line_number(&line, "torn", &number));
}

static void others_words_cannot_forge_a_line(void **state)
{
    (void)state;
    struct audit_line line;
    char large[3000];
    char body[AUDIT_BODY_MAX];
    struct log_field fields[AUDIT_FIELDS_MAX];
    char text[AUDIT_LINE_MAX];

    /* As many values as there can be, each as long as can be, of what takes most room. */
    memset(large, '\x01', sizeof large);
    for (size_t i = 0; i < AUDIT_FIELDS_MAX; i++)
        fields[i] = log_bytes("a_key_as_long_as_the_longest_that_is_used", large, sizeof large);
    size_t size = audit_body_write(body, 0, "event", fields, AUDIT_FIELDS_MAX);
    size_t written = audit_line_write(&chain, body, size, text);
    assert_true(audit_line_read(&line, text, written - 1) && line.is_whole);
    assert_null(memchr(text, '\n', written - 1));

    const char *forged = "x\",\"prev\":\"0\"}\n{\"chain\":\"\xff\xe2\x80\xae";
    fields[0] = log_str("client_id", forged);
    fields[1] = log_str("null", NULL);
    size = audit_body_write(body, 0, "event", fields, 2);
    written = audit_line_write(&chain, body, size, text);
    text[written] = '\0';
    assert_true(audit_line_read(&line, text, written - 1) && line.is_whole);
    assert_non_null(strstr(text, "x\\\",\\\"prev\\\":\\\"0\\\"}\\n{\\\"chain\\\":\\\"\xef\xbf\xbd"
                                 "\\u202e\",\"null\":null,\"prev\""));
}

static void what_is_in_order_passes(void **state)
{
    (void)state;
    static const size_t all[] = {0, 1, 2, 3, 4, 5, 6, 7, 8};
    static const size_t steps[] = {1, 7, 64, 100000};

    for (size_t i = 0; i < sizeof steps / sizeof steps[0]; i++) {
        feed(all, RECORDS, steps[i]);
        assert_int_equal(told_count, 0);
        assert_int_equal(verifier.records, RECORDS);
        assert_int_equal(verifier.chains, 1);
        assert_int_equal(verifier.last.sequence, RECORDS);
    }
}

static void a_missing_line_is_named(void **state)
{
    (void)state;

    for (size_t gone = 1; gone + 1 < RECORDS; gone++) {
        size_t order[RECORDS];
        size_t count = 0;
        char what[60];
        for (size_t i = 0; i < RECORDS; i++)
            if (i != gone)
                order[count++] = i;
        feed(order, count, 1000);
        snprintf(what, sizeof what, "record %zu is missing", gone + 1);
        expect_one(gone + 1, what);
    }
    static const size_t several[] = {0, 1, 6, 7, 8};
    feed(several, 5, 1000);
    expect_one(3, "records 3 to 6 are missing");
    static const size_t first[] = {1, 2, 3};
    feed(first, 3, 1000);
    expect_one(1, "lines are missing before");
}

/* A change of any byte of a line, to anything: the line is named, and no other one. */
static void a_changed_line_is_named(void **state)
{
    (void)state;
    static const size_t all[] = {0, 1, 2, 3, 4, 5, 6, 7, 8};
    char *line = lines.text[4];
    size_t size = strlen(line) - 1;

    for (size_t at = 0; at < size; at++) {
        char before = line[at];
        line[at] = before == '0' ? '1' : '0';
        feed(all, RECORDS, 1000);
        assert_true(verifier.problems >= 1);
        /* A changed hash is missed by the next record too, a changed number by its neighbours. */
        assert_int_equal(told[0].line, 5);
        line[at] = before;
    }
    char *identity = strstr(line, "alice");
    identity[0] = 'A';
    feed(all, RECORDS, 1000);
    expect_one(5, "was changed");
}

/* With a hash that fits, the next one does not. */
static void a_line_that_was_made_anew_is_found(void **state)
{
    (void)state;
    static const size_t all[] = {0, 1, 2, 3, 4, 5, 6, 7, 8};
    struct audit_line before;
    char body[AUDIT_BODY_MAX];

    assert_true(audit_line_read(&before, lines.text[3], strlen(lines.text[3]) - 1));
    struct audit_chain forged = before.place;
    size_t size = audit_body_write(body, 0, "session_ended", NULL, 0);
    size_t line = audit_line_write(&forged, body, size, lines.text[4]);
    lines.text[4][line] = '\0';
    feed(all, RECORDS, 1000);
    expect_one(6, "follows another one");
}

static void lines_in_another_order_are_named(void **state)
{
    (void)state;
    static const size_t swapped[] = {0, 1, 2, 4, 3, 5, 6, 7, 8};
    static const size_t twice[] = {0, 1, 2, 3, 3, 4, 5, 6, 7, 8};

    feed(swapped, RECORDS, 1000);
    assert_int_equal(verifier.problems, 2);
    assert_true(told[0].line == 4 && strstr(words[0], "record 4 is missing"));
    assert_true(told[1].line == 5 && strstr(words[1], "record 4 stands behind record 5"));
    feed(twice, RECORDS + 1, 1000);
    expect_one(5, "record 4 stands behind record 4");
}

static void a_line_that_was_cut_is_named(void **state)
{
    (void)state;
    static const size_t all[] = {0, 1, 2, 3, 4, 5, 6, 7, 8};
    char *line = lines.text[4];
    char whole[AUDIT_LINE_MAX + 1];
    size_t size = strlen(line) - 1;

    memcpy(whole, line, sizeof whole);
    for (size_t left = 1; left < size; left += 13) {
        memcpy(line + left, "\n", 2);
        feed(all, RECORDS, 1000);
        assert_int_equal(verifier.problems, 2);
        assert_true(told[0].line == 5 && strstr(words[0], "only part of one"));
        assert_true(told[1].line == 6 && strstr(words[1], "record 5 is missing"));
        memcpy(line, whole, sizeof whole);
    }
    /* The last one, and no end of line behind it. */
    lines.text[8][size - 20] = '\0';
    feed(all, RECORDS, 1000);
    expect_one(9, "only part of one");
    /* More than any line has. */
    begin();
    for (size_t i = 0; i < 3 * AUDIT_LINE_MAX; i++)
        audit_verify_bytes(&verifier, "x", 1);
    end();
    expect_one(1, "no audit record");
}

/* A program that was killed within a line: what it writes next says so, and how much that was. */
static void a_torn_line_is_accounted_for(void **state)
{
    (void)state;
    char torn[41] = {0};

    memcpy(torn, lines.text[3], 40);
    lines.count = 3;
    audit_chain_begin(&chain);
    struct audit_line last;
    assert_true(audit_line_read(&last, lines.text[2], strlen(lines.text[2]) - 1));
    chain = last.place;
    add_opened(40);
    add_opened(39);
    for (size_t declared = 3; declared < 5; declared++) {
        begin();
        for (size_t i = 0; i < 3; i++)
            audit_verify_bytes(&verifier, lines.text[i], strlen(lines.text[i]));
        audit_verify_bytes(&verifier, torn, 40);
        audit_verify_bytes(&verifier, "\n", 1);
        audit_verify_bytes(&verifier, lines.text[declared], strlen(lines.text[declared]));
        end();
        assert_int_equal(verifier.problems, declared == 3 ? 0 : 2);
        assert_int_equal(told[0].problem, declared == 4);
    }
}

static void files_go_on_where_others_end(void **state)
{
    (void)state;
    struct audit_line last;

    /* The second one begins as after a rotation. */
    assert_true(audit_line_read(&last, lines.text[4], strlen(lines.text[4]) - 1));
    chain = last.place;
    lines.count = 5;
    add_opened(0);
    for (int missing = 0; missing < 2; missing++) {
        begin();
        for (size_t i = 0; i < (missing ? 3u : 5u); i++)
            audit_verify_bytes(&verifier, lines.text[i], strlen(lines.text[i]));
        audit_verify_file_end(&verifier);
        audit_verify_file(&verifier, "b");
        audit_verify_bytes(&verifier, lines.text[5], strlen(lines.text[5]));
        end();
        assert_int_equal(verifier.problems, missing);
        if (missing) {
            assert_string_equal(told[0].file, "b");
            assert_string_equal(words[0], "records 4 to 5 are missing before this line");
        }
    }
    /* Alone, it says that there must be another one. */
    begin();
    audit_verify_bytes(&verifier, lines.text[5], strlen(lines.text[5]));
    end();
    assert_int_equal(verifier.problems, 0);
    assert_int_equal(told_count, 1);
    assert_non_null(strstr(words[0], "the records before 6 are in another file"));
}

static void another_chain_is_noticed(void **state)
{
    (void)state;

    audit_chain_begin(&chain);
    add_opened(0);
    add_line("session_opened", NULL, 0);
    static const size_t within[] = {0, 1, 2, 9, 10};
    feed(within, 5, 1000);
    expect_one(4, "a new chain begins within a file");
    assert_int_equal(verifier.chains, 2);
    static const size_t stranger[] = {0, 1, 2, 10};
    feed(stranger, 4, 1000);
    expect_one(4, "of another chain");
    /* A file of its own: worth a note, for nobody can tell what was before. */
    begin();
    audit_verify_bytes(&verifier, lines.text[0], strlen(lines.text[0]));
    audit_verify_file_end(&verifier);
    audit_verify_file(&verifier, "b");
    audit_verify_bytes(&verifier, lines.text[9], strlen(lines.text[9]));
    end();
    assert_int_equal(verifier.problems, 0);
    assert_int_equal(told_count, 1);
}

/* Whoever calculates all hashes anew, or cuts the end off, does not have a hash that is elsewhere.
 */
static void an_expected_record_must_be_there(void **state)
{
    (void)state;
    static const size_t some[] = {0, 1, 2, 3, 4, 5, 6};
    struct audit_line line;
    char text[120];

    for (size_t which = 5; which < 9; which++) {
        assert_true(audit_line_read(&line, lines.text[which], strlen(lines.text[which]) - 1));
        snprintf(text, sizeof text, "%zu:%s", which + 1, line.place.hash);
        begin();
        assert_true(audit_expected_parse(text, &verifier.expected));
        for (size_t i = 0; i < 7; i++)
            audit_verify_bytes(&verifier, lines.text[some[i]], strlen(lines.text[some[i]]));
        end();
        assert_int_equal(verifier.problems, which > 6);
    }
    static const char *const wrong[] = {"", "7", "7:", "7:abc", ":", "x:y", "-1:", "0:0"};
    for (size_t i = 0; i < sizeof wrong / sizeof wrong[0]; i++)
        assert_false(audit_expected_parse(wrong[i], &verifier.expected));
}

/* ---- repeats */

static struct audit_repeats repeats;
static uint64_t more;
static size_t told_of;

static void count_repeat(void *context, const struct audit_repeat *repeat)
{
    (void)context;
    more += repeat->count;
    told_of++;
}

static void what_repeats_is_counted(void **state)
{
    (void)state;
    size_t admitted = 0;

    memset(&repeats, 0, sizeof repeats);
    more = told_of = 0;
    for (int i = 0; i < 1000; i++) {
        admitted += audit_repeats_admit(&repeats, (uint64_t)i, "refused", "mallory", "limit");
        if (i % 100 == 0)
            assert_true(audit_repeats_admit(&repeats, (uint64_t)i, "refused", "bob",
                                            i < 500 ? "limit" : "token"));
    }
    assert_int_equal(admitted, AUDIT_REPEATS_TOLD);
    audit_repeats_settle(&repeats, AUDIT_REPEATS_US - 1, false, count_repeat, NULL);
    assert_int_equal(told_of, 0);
    audit_repeats_settle(&repeats, AUDIT_REPEATS_US + 1000, false, count_repeat, NULL);
    assert_int_equal(more, 1000 - AUDIT_REPEATS_TOLD);
    assert_int_equal(told_of, 1);
    assert_int_equal(repeats.count, 0);
    assert_true(audit_repeats_admit(&repeats, 2 * AUDIT_REPEATS_US, "refused", "mallory", "limit"));
}

/* Everybody comes from an address of their own: what is told stays bounded, and all is counted. */
static void a_crowd_is_counted_too(void **state)
{
    (void)state;
    size_t admitted = 0;

    memset(&repeats, 0, sizeof repeats);
    more = told_of = 0;
    for (int i = 0; i < 5000; i++) {
        char who[20];
        snprintf(who, sizeof who, "%d", i);
        admitted += audit_repeats_admit(&repeats, 0, "refused", who, "token");
    }
    assert_int_equal(admitted, AUDIT_REPEATS_EVENT);
    audit_repeats_settle(&repeats, 1, true, count_repeat, NULL);
    assert_int_equal(more + admitted, 5000);
}

static uint64_t more_of_mallory;

static void count_mallory(void *context, const struct audit_repeat *repeat)
{
    count_repeat(context, repeat);
    if (strcmp(repeat->who, "mallory") == 0) {
        assert_non_null(repeat->event);
        more_of_mallory += repeat->count;
    } else {
        assert_string_equal(repeat->who, "");
        assert_string_equal(repeat->event, "login_refused");
    }
}

/* Whoever is refused for very many reasons, and whoever comes from very many addresses, takes
 * nobody's place: others' refusals are still told of one by one. */
static void nobody_hides_others(void **state)
{
    enum { NAMES = 1000, ADDRESSES = 5000 };
    static const char denied[] = "request_denied", refused[] = "login_refused";
    size_t of_mallory = 0, of_crowd = 0;
    char text[40];

    (void)state;
    memset(&repeats, 0, sizeof repeats);
    more = more_of_mallory = told_of = 0;
    for (int i = 0; i < NAMES; i++) {
        snprintf(text, sizeof text, "kafka Metadata topic x%d", i);
        of_mallory += audit_repeats_admit(&repeats, 1, denied, "mallory", text);
    }
    assert_in_range(of_mallory, AUDIT_REPEATS_EACH, AUDIT_REPEATS_EACH + AUDIT_REPEATS_TOLD);
    assert_true(audit_repeats_admit(&repeats, 2, denied, "alice", "kafka Fetch topic payroll"));
    assert_true(audit_repeats_admit(&repeats, 2, refused, "203.0.113.9", "no such token"));
    for (int i = 0; i < ADDRESSES; i++) {
        snprintf(text, sizeof text, "2001:db8::%d", i);
        of_crowd += audit_repeats_admit(&repeats, 3, refused, text, "no such token");
    }
    for (int i = 0; i < 20; i++) {
        snprintf(text, sizeof text, "user-%d", i);
        assert_true(audit_repeats_admit(&repeats, 4, denied, text, "kafka Fetch topic payroll"));
    }
    audit_repeats_settle(&repeats, 2 * AUDIT_REPEATS_US, false, count_mallory, NULL);
    assert_int_equal(more_of_mallory + of_mallory, NAMES);
    assert_int_equal(more - more_of_mallory + of_crowd, ADDRESSES);
    assert_int_equal(told_of, 2);
    assert_int_equal(repeats.count, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(a_line_says_what_there_is, set_up),
        cmocka_unit_test_setup(others_words_cannot_forge_a_line, set_up),
        cmocka_unit_test_setup(what_is_in_order_passes, set_up),
        cmocka_unit_test_setup(a_missing_line_is_named, set_up),
        cmocka_unit_test_setup(a_changed_line_is_named, set_up),
        cmocka_unit_test_setup(a_line_that_was_made_anew_is_found, set_up),
        cmocka_unit_test_setup(lines_in_another_order_are_named, set_up),
        cmocka_unit_test_setup(a_line_that_was_cut_is_named, set_up),
        cmocka_unit_test_setup(a_torn_line_is_accounted_for, set_up),
        cmocka_unit_test_setup(files_go_on_where_others_end, set_up),
        cmocka_unit_test_setup(another_chain_is_noticed, set_up),
        cmocka_unit_test_setup(an_expected_record_must_be_there, set_up),
        cmocka_unit_test(nobody_hides_others),
        cmocka_unit_test(what_repeats_is_counted),
        cmocka_unit_test(a_crowd_is_counted_too),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
