/* --token-file while it changes: what counts, and what is said of it. */
#include "../lib/cmocka.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "../../tunnel-server/authentication/token_file.h"

struct fixture {
    char directory[40];
    char path[64];
    char other[64];
    char lines[4000];
    size_t size;
    struct log log;
    struct token_file *file;
    int ended; /* so often grants have */
    int renewed;
};

static void on_line(void *context, const char *line, size_t size)
{
    struct fixture *f = context;

    assert_true(f->size + size < sizeof f->lines);
    memcpy(f->lines + f->size, line, size);
    f->size += size;
    f->lines[f->size] = '\0';
}

static void on_ended(void *context)
{
    struct fixture *f = context;

    f->ended++;
}

static void on_renewed(void *context)
{
    struct fixture *f = context;

    f->renewed++;
}

static const struct token_file_owner owner = {.renewed = on_renewed, .ended = on_ended};

static struct token_file *open_tokens(struct fixture *f, const char *path, bool has_rules,
                                      char error[700])
{
    const struct token_file_settings settings = {.path = path, .has_rules = has_rules};

    return token_file_new(&f->log, &settings, &owner, f, error, 700);
}

static void write_text(const char *path, const char *text)
{
    FILE *file = fopen(path, "we");

    assert_non_null(file);
    assert_true(fputs(text, file) >= 0);
    assert_int_equal(fclose(file), 0);
}

/* The clock of ctime stands still for some milliseconds. */
static void let_time_pass(void)
{
    const struct timespec some = {.tv_nsec = 20 * 1000 * 1000};

    nanosleep(&some, NULL);
}

static void set_time(const char *path, time_t seconds)
{
    const struct timespec times[2] = {{.tv_sec = seconds}, {.tv_sec = seconds}};

    assert_int_equal(utimensat(AT_FDCWD, path, times, 0), 0);
}

static int set_up(void **state)
{
    struct fixture *f = calloc(1, sizeof *f);
    const struct log_settings settings = {
        .level = LOG_LEVEL_DEBUG, .sink = on_line, .sink_context = f};
    char error[700];

    strcpy(f->directory, "/tmp/test_token_file.XXXXXX");
    if (!mkdtemp(f->directory))
        return -1;
    snprintf(f->path, sizeof f->path, "%s/tokens", f->directory);
    snprintf(f->other, sizeof f->other, "%s/other", f->directory);
    log_init(&f->log, &settings);
    write_text(f->path, "tok-1 alice\n");
    set_time(f->path, 1000000000);
    f->file = open_tokens(f, f->path, false, error);
    *state = f;
    return f->file ? 0 : -1;
}

static int tear_down(void **state)
{
    struct fixture *f = *state;

    token_file_free(f->file);
    token_file_free(NULL);
    unlink(f->path);
    unlink(f->other);
    int removed = rmdir(f->directory);
    free(f);
    return removed;
}

/* Follows the file often, as many logins do: said is what all of them together have logged, an
 * event and words of its reason; NULL: nothing. */
static void expect_said(struct fixture *f, const char *event, const char *words)
{
    f->size = 0;
    f->lines[0] = '\0';
    for (int i = 0; i < 5; i++)
        token_file_follow(f->file);
    if (!event) {
        if (f->size > 0)
            fail_msg("said: %s", f->lines);
        return;
    }
    if (!strstr(f->lines, event) || !strstr(f->lines, words))
        fail_msg("no %s with %s in: %s", event, words, f->lines);
    if (strchr(f->lines, '\n') != f->lines + f->size - 1)
        fail_msg("more than one line: %s", f->lines);
}

static const char unusable[] = "The token file cannot be used; the old tokens stay in force";
static const char again[] = "The token file has changed and was read again";

static void expect_valid(const struct fixture *f, const char *token, bool valid)
{
    const struct token *found = token_table_find(token_file_tokens(f->file), token, strlen(token));

    if ((found != NULL) != valid)
        fail_msg("%s %s", token, valid ? "is refused" : "is taken");
}

static void a_new_file_counts(void **state)
{
    struct fixture *f = *state;

    expect_said(f, NULL, NULL);
    expect_valid(f, "tok-1", true);
    let_time_pass();
    write_text(f->path, "tok-22 bob\n");
    expect_said(f, again, "tokens=1");
    expect_valid(f, "tok-1", false);
    expect_valid(f, "tok-22", true);
    expect_said(f, NULL, NULL);
}

static void the_same_size_and_time_hide_nothing(void **state)
{
    struct fixture *f = *state;

    let_time_pass();
    write_text(f->path, "tok-2 alice\n"); /* in place */
    set_time(f->path, 1000000000);
    expect_said(f, again, "tokens=1");
    expect_valid(f, "tok-2", true);
    write_text(f->other, "tok-3 alice\n"); /* replaced */
    set_time(f->other, 1000000000);
    assert_int_equal(rename(f->other, f->path), 0);
    expect_said(f, again, "tokens=1");
    expect_valid(f, "tok-2", false);
    expect_valid(f, "tok-3", true);
}

static void bad_files_leave_the_old_tokens(void **state)
{
    struct fixture *f = *state;
    static const char *const bad[][2] = {
        {"", "contains no token"},
        {"# nobody\n", "contains no token"},
        {"tok-9 eve\n\"tok-8\"\n", "line 2: the token is in quotes"},
        {"\xef\xbb\xbftok-9 eve\n", "byte order mark"},
        {"tok-9 eve\ntok-9 mallory\n", "line 2: the token is the same as in line 1"},
    };

    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        let_time_pass();
        write_text(f->path, bad[i][0]);
        expect_said(f, unusable, bad[i][1]);
        expect_valid(f, "tok-1", true);
        expect_valid(f, "tok-9", false);
        expect_said(f, NULL, NULL);
    }
    let_time_pass();
    write_text(f->path, "tok-2\n");
    expect_said(f, again, "tokens=1");
    expect_valid(f, "tok-1", false);
    expect_valid(f, "tok-2", true);
}

static void a_file_that_is_away_for_a_while(void **state)
{
    struct fixture *f = *state;

    assert_int_equal(rename(f->path, f->other), 0);
    expect_said(f, unusable, "No such file or directory");
    expect_valid(f, "tok-1", true);
    expect_said(f, NULL, NULL);
    assert_int_equal(rename(f->other, f->path), 0);
    expect_said(f, again, "tokens=1");
    expect_valid(f, "tok-1", true);
    /* Once more: it is said once more. */
    assert_int_equal(rename(f->path, f->other), 0);
    expect_said(f, unusable, "No such file or directory");
    assert_int_equal(mkdir(f->path, 0700), 0);
    expect_said(f, unusable, "not a regular file");
    assert_int_equal(rmdir(f->path), 0);
    write_text(f->path, "tok-2 bob\n");
    expect_said(f, again, "tokens=1");
    expect_valid(f, "tok-2", true);
}

static void a_file_that_may_not_be_read(void **state)
{
    struct fixture *f = *state;

    if (geteuid() == 0)
        skip(); /* root may */
    let_time_pass();
    write_text(f->path, "tok-2 bob\n");
    chmod(f->path, 0);
    expect_said(f, unusable, "Permission denied");
    expect_valid(f, "tok-1", true);
    chmod(f->path, 0600);
    expect_said(f, again, "tokens=1");
    expect_valid(f, "tok-2", true);
}

/* The system refuses for a moment, with a file that does not change: what was revoked in it must
 * not stay valid until the next change. */
static void a_moment_without_descriptors(void **state)
{
    struct fixture *f = *state;
    struct rlimit limit;
    int taken[64];
    int count = 0;

    assert_int_equal(getrlimit(RLIMIT_NOFILE, &limit), 0);
    const struct rlimit few = {.rlim_cur = 64, .rlim_max = limit.rlim_max};
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &few), 0);

    let_time_pass();
    write_text(f->path, "tok-2 bob\n");
    for (int fd; (fd = open("/dev/null", O_RDONLY | O_CLOEXEC)) >= 0;)
        taken[count++] = fd;
    expect_said(f, unusable, "Too many open files");
    expect_said(f, NULL, NULL);
    expect_valid(f, "tok-1", true);
    while (count > 0)
        close(taken[--count]);
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &limit), 0);
    expect_said(f, again, "tokens=1");
    expect_valid(f, "tok-1", false);
    expect_valid(f, "tok-2", true);
}

static void when_somebody_asks(void **state)
{
    struct fixture *f = *state;
    struct reload reload = {0};

    token_file_reload(f->file, &reload);
    assert_int_equal(reload.renewed, 0);
    assert_int_equal(reload.failed, 0);
    let_time_pass();
    write_text(f->path, "tok-2 bob\n");
    token_file_reload(f->file, &reload);
    assert_int_equal(reload.renewed, 1);
    expect_valid(f, "tok-2", true);
    let_time_pass();
    write_text(f->path, "");
    token_file_reload(f->file, &reload);
    token_file_reload(f->file, &reload);
    assert_int_equal(reload.renewed, 1);
    assert_int_equal(reload.failed, 2);
    expect_valid(f, "tok-2", true);
}

static struct grant *let_in(struct fixture *f, const char *token)
{
    struct token *found = token_table_find(token_file_tokens(f->file), token, strlen(token));

    assert_non_null(found);
    return token_grant(found);
}

/* Only who is in is told, and only of a file that counts. */
static void who_is_in_by_a_token_that_goes(void **state)
{
    struct fixture *f = *state;
    struct grant *alice = let_in(f, "tok-1");

    let_time_pass();
    write_text(f->path, "");
    token_file_follow(f->file);
    assert_int_equal(f->ended, 0);
    assert_int_equal(grant_state(alice), GRANT_GOOD);
    let_time_pass();
    write_text(f->path, "# moved\ntok-1 alice\ntok-2 bob\n");
    token_file_follow(f->file);
    assert_int_equal(f->ended, 0);
    let_time_pass();
    write_text(f->path, "tok-1 alice\n");
    token_file_follow(f->file);
    assert_int_equal(f->ended, 0);
    let_time_pass();
    write_text(f->path, "tok-2 bob\n");
    token_file_follow(f->file);
    assert_int_equal(f->ended, 1);
    assert_int_equal(grant_state(alice), GRANT_REVOKED);
    grant_release(alice);
}

static void who_is_in_by_a_token_that_expires(void **state)
{
    struct fixture *f = *state;

    write_text(f->path, "tok-1 until=9999-12-31 alice\ntok-2 until=1999-12-31 bob\n");
    token_file_follow(f->file);
    struct grant *alice = let_in(f, "tok-1");
    struct grant *bob = let_in(f, "tok-2"); /* the door would not have */
    let_time_pass();
    write_text(f->path, "tok-1 until=2001-12-31 alice\ntok-2 until=1999-12-31 bob\n");
    token_file_follow(f->file);
    assert_int_equal(f->ended, 1);
    assert_int_equal(grant_state(alice), GRANT_EXPIRED);
    assert_int_equal(grant_state(bob), GRANT_EXPIRED);
    grant_release(alice);
    grant_release(bob);
}

static void bad_files_at_the_start(void **state)
{
    struct fixture *f = *state;
    char error[700];

    write_text(f->other, "good\nBearer s3cret\n");
    assert_null(open_tokens(f, f->other, false, error));
    assert_non_null(strstr(error, "--token-file: "));
    assert_non_null(strstr(error, f->other));
    assert_non_null(strstr(error, "line 2: "));
    assert_null(strstr(error, "s3cret"));
    unlink(f->other);
    assert_null(open_tokens(f, f->other, false, error));
    assert_non_null(strstr(error, "No such file"));
    assert_null(open_tokens(f, "/dev/zero", false, error));
    assert_non_null(strstr(error, "not a regular file"));
    assert_int_equal(truncate(f->path, (16 << 20) + 1), 0);
    assert_null(open_tokens(f, f->path, false, error));
    assert_non_null(strstr(error, "larger than 16384 KiB"));
}

/* Without rules of --access, a token that names some would be allowed everything. */
static void rules_that_there_are_not(void **state)
{
    struct fixture *f = *state;
    char error[700];

    write_text(f->other, "tok-1 alice\ntok-2 rule=look bob\n");
    assert_null(open_tokens(f, f->other, false, error));
    assert_non_null(
        strstr(error, "other line 2: rule= names a rule of --access, which is not set"));
    struct token_file *file = open_tokens(f, f->other, true, error);
    assert_non_null(file);
    assert_string_equal(rule_choices_find(token_table_choices(token_file_tokens(file)), "bob"),
                        "look");
    token_file_free(file);
    /* A file that is there already keeps its tokens. */
    write_text(f->path, "tok-1 rule=look alice\n");
    expect_said(f, unusable, "line 1: rule= names a rule of --access");
    assert_int_equal(f->renewed, 0);
    assert_null(token_table_choices(token_file_tokens(f->file)));
    let_time_pass();
    write_text(f->path, "tok-1 alice\ntok-2 bob\n");
    expect_said(f, again, "");
    assert_int_equal(f->renewed, 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(rules_that_there_are_not, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_new_file_counts, set_up, tear_down),
        cmocka_unit_test_setup_teardown(the_same_size_and_time_hide_nothing, set_up, tear_down),
        cmocka_unit_test_setup_teardown(bad_files_leave_the_old_tokens, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_file_that_is_away_for_a_while, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_file_that_may_not_be_read, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_moment_without_descriptors, set_up, tear_down),
        cmocka_unit_test_setup_teardown(when_somebody_asks, set_up, tear_down),
        cmocka_unit_test_setup_teardown(who_is_in_by_a_token_that_goes, set_up, tear_down),
        cmocka_unit_test_setup_teardown(who_is_in_by_a_token_that_expires, set_up, tear_down),
        cmocka_unit_test_setup_teardown(bad_files_at_the_start, set_up, tear_down),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
