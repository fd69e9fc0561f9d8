#include "../lib/cmocka.h"

#include <dirent.h>
#include <event2/event.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "config/secret.h"
#include "io/secret_command.h"

enum { PATIENCE_MS = 20000 };

static char *const environment[] = {(char[]){"PATH=/usr/bin:/bin"}, (char[]){"KEPT=yes"},
                                    (char[]){"HIDDEN=no"}, NULL};

struct fixture {
    struct log log;
    struct worker worker;
    char logged[16384];
    size_t logged_size;
    char *token; /* a copy; NULL: there was none */
    char reason[1000];
    int answers;
};

static void keep_line(void *context, const char *line, size_t size)
{
    struct fixture *f = context;

    if (f->logged_size + size < sizeof f->logged) {
        memcpy(f->logged + f->logged_size, line, size);
        f->logged_size += size;
    }
}

static int set_up(void **state)
{
    struct fixture *f = calloc(1, sizeof *f);
    const struct log_settings settings = {
        .level = LOG_LEVEL_DEBUG, .sink = keep_line, .sink_context = f};

    log_init(&f->log, &settings);
    worker_init(&f->worker, &f->log, 16 << 20);
    *state = f;
    return 0;
}

static int tear_down(void **state)
{
    struct fixture *f = *state;

    worker_clear(&f->worker);
    free(f->token);
    free(f);
    return 0;
}

static void on_token(void *context, const struct secret_result *result)
{
    struct fixture *f = context;

    f->answers++;
    free(f->token);
    f->token = result->secret ? strdup(result->secret) : NULL;
    snprintf(f->reason, sizeof f->reason, "%s", result->secret ? "" : result->reason);
    event_base_loopbreak(f->worker.base);
}

static bool is_hidden(const char *entry)
{
    return strncmp(entry, "HIDDEN=", 7) == 0;
}

static struct secret_command *new_secret_command(struct fixture *f, const char *text, bool token)
{
    const struct secret_command_settings settings = {.command = text,
                                                     .environment = environment,
                                                     .is_hidden = is_hidden,
                                                     .named_by = "--token-command",
                                                     .time_limit = " (--dial-timeout)",
                                                     .what = token ? "token" : "password",
                                                     .check = token ? secret_check_token
                                                                    : secret_check_line};

    return secret_command_new(&f->worker, &settings);
}

static void run_again(struct fixture *f, struct secret_command *command, unsigned timeout_ms)
{
    const struct timeval patience = {PATIENCE_MS / 1000, 0};

    f->answers = 0;
    secret_command_start(command, timeout_ms, on_token, f);
    assert_int_equal(f->answers, 0);
    event_base_loopexit(f->worker.base, &patience);
    event_base_dispatch(f->worker.base);
    assert_int_equal(f->answers, 1);
}

static void run(struct fixture *f, const char *text, unsigned timeout_ms)
{
    struct secret_command *command = new_secret_command(f, text, true);

    run_again(f, command, timeout_ms);
    secret_command_free(command);
}

static void expect_token(struct fixture *f, const char *text, const char *token)
{
    run(f, text, PATIENCE_MS);
    if (!f->token)
        fail_msg("%s: %s", text, f->reason);
    assert_string_equal(f->token, token);
}

static void expect_failure(struct fixture *f, const char *text, const char *words)
{
    run(f, text, PATIENCE_MS);
    assert_null(f->token);
    if (!strstr(f->reason, words))
        fail_msg("no \"%s\" in: %s", words, f->reason);
}

static void the_first_line_is_the_token(void **state)
{
    expect_token(*state, "echo t0ken", "t0ken");
    expect_token(*state, "printf t0ken", "t0ken");
    expect_token(*state, "printf 't0ken \\t\\r\\nsecond line\\n'", "t0ken");
    expect_token(*state, "printf ' \\tt0ken\\r\\n'", "t0ken");
    expect_token(*state, "printf 't0'; sleep 0.1; echo ken; exec >&-; sleep 0.1", "t0ken");
    expect_token(*state, "echo \"$KEPT$PATH$HIDDEN\"", "yes/usr/bin:/bin");
}

static void commands_that_fail(void **state)
{
    expect_failure(*state, "echo t0ken; echo no such vault >&2; exit 3",
                   "failed with exit code 3: no such vault");
    expect_failure(*state, "exit 1", "failed with exit code 1");
    expect_failure(*state, "/nonexistent/vault", "(exit code 127)");
    expect_failure(*state, "kill -9 $$", "signal 9");
    expect_failure(*state, "true", "printed nothing");
    expect_failure(*state, "echo", "empty line");
    expect_failure(*state, "echo; echo t0ken", "empty line");
    expect_failure(*state, "echo please log in", "did not print a token");
    expect_failure(*state, "printf 'a\\000b\\n'", "NUL bytes");
    expect_failure(*state, "printf '\\357\\273\\277t0ken\\n'", "byte order mark");
    expect_failure(*state, "echo '\"t0ken\"'", "is in quotes");
    expect_failure(*state, "echo Bearer t0ken", "only the token itself");
    expect_failure(*state, "echo '{\"token\":\"t0ken\"}'", "JSON");
    /* What is cut off at the limit does not become a token. */
    expect_failure(*state, "printf '   '; head -c 12288 /dev/zero | tr '\\0' a",
                   "longer than 12 KiB");
    expect_failure(*state, "head -c 20000 /dev/zero | tr '\\0' a", "longer than 12 KiB");
}

static bool has_process(const char *marker)
{
    char text[300];

    snprintf(text, sizeof text, "ps -ef | grep -v grep | grep -q '%s'", marker);
    return system(text) == 0;
}

/* So many output that it never ends; neither memory nor time is spent on it. */
static void output_without_an_end(void **state)
{
    struct fixture *f = *state;

    run(f, "yes", PATIENCE_MS);
    assert_null(f->token);
    assert_non_null(strstr(f->reason, "more than 64 KiB"));
    run(f, "yes >&2", 500);
    assert_null(f->token);
    assert_non_null(strstr(f->reason, "did not end within 0.5 s"));
}

/* What it has started is killed as well. */
static void the_deadline_ends_all_of_it(void **state)
{
    struct fixture *f = *state;
    char text[200];
    char marker[60];

    snprintf(marker, sizeof marker, "1%d.5", (int)getpid());
    snprintf(text, sizeof text, "echo waiting for a browser >&2; sleep %s & sleep %s; echo t0ken",
             marker, marker);
    run(f, text, 1500);
    assert_null(f->token);
    assert_non_null(strstr(f->reason, "did not end within 1.5 s (--dial-timeout) and was killed: "
                                      "waiting for a browser"));
    for (int i = 0; i < 500 && has_process(marker); i++)
        usleep(10000);
    assert_false(has_process(marker));
}

static void it_runs_again_after_a_kill(void **state)
{
    struct fixture *f = *state;
    char path[] = "/tmp/token-command-XXXXXX";
    char text[200];
    int fd = mkstemp(path);

    assert_true(fd >= 0);
    close(fd);
    /* Hangs while the file is there. */
    snprintf(text, sizeof text, "while test -e %s; do sleep 0.01; done; echo t0ken", path);
    struct secret_command *command = new_secret_command(f, text, true);
    for (int i = 0; i < 12; i++) {
        run_again(f, command, 50);
        assert_null(f->token);
    }
    unlink(path);
    run_again(f, command, PATIENCE_MS);
    assert_non_null(f->token);
    secret_command_free(command);
}

/* A process that stays in the background and holds the output open is not waited for. */
static void a_background_process_is_not_waited_for(void **state)
{
    expect_token(*state, "sleep 25 & echo t0ken", "t0ken");
}

static void cancelled(void **state)
{
    struct fixture *f = *state;
    struct secret_command *command = new_secret_command(f, "sleep 60", true);
    const struct timeval moment = {0, 100000};

    secret_command_start(command, PATIENCE_MS, on_token, f);
    secret_command_cancel(command);
    secret_command_start(command, PATIENCE_MS, on_token, f);
    event_base_loopexit(f->worker.base, &moment);
    event_base_dispatch(f->worker.base);
    secret_command_free(command);
    secret_command_free(NULL);
    assert_int_equal(f->answers, 0);
}

/* No descriptor of ours, no terminal, signals as usual, a session of its own. */
static void what_it_inherits(void **state)
{
    struct fixture *f = *state;
    int leak = open("/dev/null", O_RDONLY);

    assert_true(leak > 2);
    signal(SIGPIPE, SIG_IGN);
    /* The fourth one is the directory that ls reads. */
    expect_token(f, "ls /dev/fd/ | tr '\\n' :", "0:1:2:3:");
    expect_token(f, "cat; echo end", "end");
    expect_token(f, "(: </dev/tty) 2>/dev/null && echo terminal || echo none", "none");
    expect_token(f, "sh -c 'kill -PIPE $$; echo ignored' || echo ended", "ended");
    close(leak);
}

/* Standard error goes to the log, without what could be a secret, and not without a bound. */
static void complaints_are_logged(void **state)
{
    struct fixture *f = *state;

    run(f,
        "echo 'reading /etc/vault' >&2; printf '\\033[31mred\\n' >&2; echo t0ken-of-today; "
        "echo 'got t0ken-of-today' >&2; "
        "echo 'or eyJhbGciOiJSUzI1NiJ9.eyJpc3MiOiJBQ01FLlRVTi5TSEEyNTY6In0.c2lnbmF0dXJl' >&2",
        PATIENCE_MS);
    assert_string_equal(f->token, "t0ken-of-today");
    assert_non_null(strstr(f->logged, "reading /etc/vault"));
    assert_non_null(strstr(f->logged, "got (...)"));
    assert_non_null(strstr(f->logged, "or (...)"));
    assert_null(strstr(f->logged, "t0ken"));
    assert_null(strstr(f->logged, "eyJ"));
    assert_null(memchr(f->logged, 033, f->logged_size));

    f->logged_size = 0;
    memset(f->logged, 0, sizeof f->logged);
    run(f, "i=0; while test $i -lt 3000; do echo line $i of many >&2; i=$((i+1)); done; echo t0ken",
        PATIENCE_MS);
    assert_non_null(strstr(f->logged, "line 2999 of many"));
    assert_null(strstr(f->logged, "line 2900 of many"));
    assert_non_null(strstr(f->logged, "more to standard error than is shown"));
    int lines = 0;
    for (size_t i = 0; i < f->logged_size; i++)
        lines += f->logged[i] == '\n';
    assert_in_range(lines, 2, 25);

    /* The same at every dial is said once. */
    struct secret_command *command =
        new_secret_command(f, "echo from the vault >&2; echo t0ken", true);
    f->log.settings.level = LOG_LEVEL_INFO;
    for (int i = 0; i < 3; i++) {
        f->logged_size = 0;
        run_again(f, command, PATIENCE_MS);
        assert_int_equal(f->logged_size > 0, i == 0);
    }
    secret_command_free(command);
}

/* A password may be of several words, and short; it is hidden as a token is. */
static void a_password(void **state)
{
    struct fixture *f = *state;
    struct secret_command *command = new_secret_command(
        f, "echo 'a b, $c'; echo 'it is a b, $c, as you know' >&2; exec >&-; sleep 0.05", false);

    run_again(f, command, PATIENCE_MS);
    assert_string_equal(f->token, "a b, $c");
    assert_non_null(strstr(f->logged, "it is (...), as you know"));
    assert_null(strstr(f->logged, "a b, $c"));
    secret_command_free(command);
    command = new_secret_command(f, "echo", false);
    run_again(f, command, PATIENCE_MS);
    assert_non_null(strstr(f->reason, "the first line of its output is the password"));
    secret_command_free(command);
    /* Also where it does not come to its end. */
    f->logged_size = 0;
    memset(f->logged, 0, sizeof f->logged);
    command =
        new_secret_command(f, "printf ' s3cret\\r\\n'; echo 'is s3cret' >&2; sleep 60", false);
    run_again(f, command, 300);
    assert_null(f->token);
    assert_non_null(strstr(f->reason, "was killed: is (...)"));
    assert_null(strstr(f->logged, "s3cret"));
    secret_command_free(command);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(the_first_line_is_the_token, set_up, tear_down),
        cmocka_unit_test_setup_teardown(commands_that_fail, set_up, tear_down),
        cmocka_unit_test_setup_teardown(output_without_an_end, set_up, tear_down),
        cmocka_unit_test_setup_teardown(the_deadline_ends_all_of_it, set_up, tear_down),
        cmocka_unit_test_setup_teardown(it_runs_again_after_a_kill, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_background_process_is_not_waited_for, set_up, tear_down),
        cmocka_unit_test_setup_teardown(cancelled, set_up, tear_down),
        cmocka_unit_test_setup_teardown(what_it_inherits, set_up, tear_down),
        cmocka_unit_test_setup_teardown(complaints_are_logged, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_password, set_up, tear_down),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
