/* When secrets that are in no file are asked for, and what becomes of those that there are. */
#include "../lib/cmocka.h"

#include <event2/event.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "../../tunnel-server/broker_login/login_sources.h"
#include "../../tunnel-server/broker_login/logins.h"
#include "io/clock.h"

enum { PATIENCE_US = 20 * 1000 * 1000 };

struct fixture {
    struct log log;
    struct worker worker;
    struct address_cluster cluster;
    struct login_clusters clusters;
    char logged[16384];
    size_t logged_size;
    char directory[60];
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
    snprintf(f->cluster.name, sizeof f->cluster.name, "kafka");
    f->clusters = (struct login_clusters){.all = &f->cluster, .count = 1};
    snprintf(f->directory, sizeof f->directory, "/tmp/login-sources-XXXXXX");
    if (!mkdtemp(f->directory))
        return -1;
    *state = f;
    return 0;
}

static int tear_down(void **state)
{
    struct fixture *f = *state;
    char command[100];

    worker_clear(&f->worker);
    snprintf(command, sizeof command, "rm -r %s", f->directory);
    int removed = system(command);
    free(f);
    return removed;
}

/* A file of the fixture's directory, which has the text from now on. */
static const char *put_file(struct fixture *f, const char *name, const char *text)
{
    static char path[2][100];
    static int next;
    char *out = path[next++ % 2];

    snprintf(out, sizeof path[0], "%s/%s", f->directory, name);
    FILE *file = fopen(out, "w");
    assert_non_null(file);
    fputs(text, file);
    fclose(file);
    return out;
}

static size_t runs(struct fixture *f)
{
    char path[100];
    size_t count = 0;

    snprintf(path, sizeof path, "%s/runs", f->directory);
    FILE *file = fopen(path, "r");
    for (int c; file && (c = getc(file)) != EOF;)
        count += c == '\n';
    if (file)
        fclose(file);
    return count;
}

/* Each of count rules has a command that counts its runs, and then does what is given. */
static struct login_book *make_book(struct fixture *f, int count, const char *command)
{
    static char text[65536];
    size_t size = 0;
    char error[300];

    for (int i = 0; i < count; i++)
        size += (size_t)snprintf(text + size, sizeof text - size,
                                 "r%d.identity=user%d\nr%d.mechanism=PLAIN\nr%d.user=u%d\n"
                                 "r%d.password-command=cd %s; echo >>runs; %s\n",
                                 i, i, i, i, i, i, f->directory, command);
    struct login_book *book =
        login_book_read(put_file(f, "logins", text), &f->clusters, NULL, error, sizeof error);
    if (!book)
        fail_msg("%s", error);
    return book;
}

static struct login_sources *start_sources(struct fixture *f, struct login_book *book,
                                           struct login_sources *before, bool again)
{
    const struct login_sources_settings settings = {.policy = NULL};
    char error[300];
    struct login_sources *sources =
        login_sources_new(&f->worker, &settings, book, error, sizeof error);

    assert_non_null(sources);
    login_sources_begin(sources, before, again);
    login_sources_free(before);
    return sources;
}

static bool has_secret(struct login_book *book, size_t place, const char *text)
{
    struct login_secret *secret = login_book_secret(book, place);
    bool has = secret && (!text || strcmp(login_secret_text(secret), text) == 0);

    login_secret_release(secret);
    return has;
}

static void turn(struct fixture *f)
{
    const struct timeval moment = {0, 20000};

    event_base_loopexit(f->worker.base, &moment);
    event_base_dispatch(f->worker.base);
}

static void wait_for_secret(struct fixture *f, struct login_book *book, size_t place,
                            const char *text)
{
    uint64_t until_us = clock_now_us() + PATIENCE_US;

    while (!has_secret(book, place, text) && clock_now_us() < until_us)
        turn(f);
    if (!has_secret(book, place, text))
        fail_msg("no secret %s: %s", text, f->logged);
}

static void wait_for_word(struct fixture *f, const char *word)
{
    uint64_t until_us = clock_now_us() + PATIENCE_US;

    while (!strstr(f->logged, word) && clock_now_us() < until_us)
        turn(f);
    if (!strstr(f->logged, word))
        fail_msg("no \"%s\" in: %s", word, f->logged);
}

static void when(void **state)
{
    (void)state;
    const int64_t lasts[] = {60, 3600, 86400, 10 * 366 * 86400};

    for (size_t i = 0; i < sizeof lasts / sizeof *lasts; i++) {
        const uint64_t ms = (uint64_t)lasts[i] * 1000;
        assert_int_equal(login_sources_renewal_ms(lasts[i], 0), ms / 100 * 60);
        assert_in_range(login_sources_renewal_ms(lasts[i], UINT16_MAX), ms / 100 * 66,
                        ms / 100 * 67);
    }
    /* Whoever gives out tokens for a second is not asked each second. */
    assert_int_equal(login_sources_renewal_ms(1, 77), 5000);

    for (unsigned failures = 1; failures < 100; failures++) {
        uint64_t least = failures > 6 ? 60000 : UINT64_C(1000) << (failures - 1);
        least = least < 60000 ? least : 60000;
        assert_int_equal(login_sources_pause_ms(failures, 0), least);
        assert_int_equal(login_sources_pause_ms(failures, UINT16_MAX), least + least / 4);
    }
    assert_int_equal(login_sources_pause_ms(UINT16_MAX, 0), 60000);
}

/* A book that is read again keeps the secrets that are still named; others are asked for. */
static void from_book_to_book(void **state)
{
    struct fixture *f = *state;
    struct login_book *first = make_book(f, 2, "cat secret");

    put_file(f, "secret", "one\n");
    struct login_sources *sources = start_sources(f, first, NULL, true);
    assert_false(has_secret(first, 0, NULL));
    wait_for_secret(f, first, 0, "one");
    wait_for_secret(f, first, 1, "one");
    assert_int_equal(runs(f), 2);

    put_file(f, "secret", "two\n");
    struct login_book *second = make_book(f, 3, "cat secret");
    sources = start_sources(f, second, sources, false);
    assert_true(has_secret(second, 0, "one"));
    wait_for_secret(f, second, 2, "two");
    assert_true(has_secret(second, 1, "one"));
    assert_int_equal(runs(f), 3);

    /* With SIGHUP all are asked; until they answer, there is what there was. */
    struct login_book *third = make_book(f, 3, "cat secret");
    sources = start_sources(f, third, sources, true);
    assert_true(has_secret(third, 0, "one"));
    wait_for_secret(f, third, 0, "two");
    wait_for_secret(f, third, 1, "two");

    struct login_book *fourth = make_book(f, 1, "echo another");
    sources = start_sources(f, fourth, sources, false);
    assert_false(has_secret(fourth, 0, NULL));
    wait_for_secret(f, fourth, 0, "another");
    login_sources_free(sources);
    login_book_release(first);
    login_book_release(second);
    login_book_release(third);
    login_book_release(fourth);
}

/* A command that fails takes nothing away, and is tried again after a second. */
static void failures(void **state)
{
    struct fixture *f = *state;
    struct login_book *book = make_book(f, 1, "cat secret");
    struct login_sources *sources = start_sources(f, book, NULL, true);

    wait_for_word(f, "could not be had");
    assert_non_null(strstr(f->logged, "connections that need it are refused"));
    assert_non_null(
        strstr(f->logged, "the password-command of rule r0 failed with exit code 1: cat: "));
    put_file(f, "secret", "one\n");
    wait_for_secret(f, book, 0, "one");
    unlink(put_file(f, "secret", ""));
    f->logged_size = 0;
    memset(f->logged, 0, sizeof f->logged);
    login_sources_refused(sources, book, 0);
    wait_for_word(f, "the old one stays in use");
    assert_true(has_secret(book, 0, "one"));
    login_sources_free(sources);
    login_book_release(book);
}

/* However often brokers refuse, and whatever book that is about. */
static void refused_by_brokers(void **state)
{
    struct fixture *f = *state;
    struct login_book *book = make_book(f, 1, "cat secret");
    struct login_book *other = make_book(f, 1, "cat secret");

    put_file(f, "secret", "one\n");
    uint64_t began_us = clock_now_us();
    struct login_sources *sources = start_sources(f, book, NULL, true);
    wait_for_secret(f, book, 0, "one");
    put_file(f, "secret", "two\n");
    login_sources_refused(sources, other, 0);
    while (runs(f) < 2 && clock_now_us() - began_us < PATIENCE_US) {
        login_sources_refused(sources, book, 0);
        turn(f);
    }
    assert_true(clock_now_us() - began_us >= 1000 * 1000);
    for (int i = 0; i < 10; i++) {
        login_sources_refused(sources, book, 0);
        turn(f);
    }
    assert_int_equal(runs(f), 2);
    wait_for_secret(f, book, 0, "two");
    login_sources_free(sources);
    login_book_release(book);
    login_book_release(other);
}

/* Of many rules some ask at a time; a command that hangs keeps none from its turn for ever. */
static void many_at_a_time(void **state)
{
    struct fixture *f = *state;
    struct login_book *book =
        make_book(f, 30,
                  "n=$(ls -d run.* 2>/dev/null | wc -l); test $n -lt 8 || echo >>toomany; "
                  "mkdir run.$$; sleep 0.05; rmdir run.$$; echo one");
    struct login_sources *sources = start_sources(f, book, NULL, true);
    char path[100];

    for (size_t i = 0; i < 30; i++)
        wait_for_secret(f, book, i, "one");
    assert_int_equal(runs(f), 30);
    snprintf(path, sizeof path, "%s/toomany", f->directory);
    assert_int_equal(access(path, F_OK), -1);
    login_sources_free(sources);
    login_book_release(book);
}

static void let_in(struct login_wait *wait, enum login_leave leave)
{
    (void)wait, (void)leave;
}

/* An account is another one with another secret, but what is held against it is not forgotten. */
static void accounts(void **state)
{
    struct fixture *f = *state;
    struct login_book *book = make_book(f, 1, "cat secret");
    struct logins logins;
    struct login_wait wait = {.told = let_in};
    char why[LOGIN_OBSTACLE_MAX];

    list_init(&wait.node);
    logins_init(&logins, &f->worker, 1);
    logins_use(&logins, book);
    struct login_account *account = logins_find(&logins, "user0", "kafka", 0);
    assert_true(login_account_logs_in(account));
    assert_true(login_account_held_until(account, 1000) > 1000);
    assert_int_equal(login_account_ask(account, &wait), LOGIN_HELD);
    login_account_obstacle(account, 1000, why);
    assert_non_null(strstr(why, "tunnel-server has no password for it yet"));
    login_account_release(account);

    for (int i = 0; i < 3; i++) {
        char text[20];
        snprintf(text, sizeof text, "wrong %d", i);
        struct login_secret *secret = login_secret_new(strdup(text));
        login_book_put_secret(book, 0, secret);
        login_secret_release(secret);
        account = logins_find(&logins, "user0", "kafka", 0);
        assert_int_equal(login_account_ask(account, &wait), LOGIN_GIVEN);
        uint64_t now = clock_now_us();
        login_account_settle(account, LOGIN_DENIED, "it refused");
        assert_in_range(login_account_held_until(account, now), now + (1000000u << i),
                        clock_now_us() + (1000000u << i));
        login_account_obstacle(account, now, why);
        assert_non_null(strstr(why, "it refused; it is not tried again for"));
        login_account_release(account);
    }
    struct login_account *same = logins_find(&logins, "user0", "kafka", 0);
    assert_int_equal(login_account_ask(same, &wait), LOGIN_HELD);
    login_account_release(same);
    logins_clear(&logins);
    login_book_release(book);
}

/* A login that began with the secret before says nothing about the one that there is now. */
static void outcomes_of_old_secrets(void **state)
{
    struct fixture *f = *state;
    struct login_book *book = make_book(f, 1, "cat secret");
    struct login_account *account[2];
    struct login_wait wait = {.told = let_in};
    struct logins logins;

    list_init(&wait.node);
    logins_init(&logins, &f->worker, 1);
    logins_use(&logins, book);
    for (int i = 0; i < 2; i++) {
        struct login_secret *secret = login_secret_new(strdup(i ? "new" : "old"));
        login_book_put_secret(book, 0, secret);
        login_secret_release(secret);
        account[i] = logins_find(&logins, "user0", "kafka", 0);
        assert_int_equal(login_account_ask(account[i], &wait), i ? LOGIN_WAIT : LOGIN_GIVEN);
    }
    list_remove(&wait.node);
    account[0]->keys.known = true;
    login_account_settle(account[0], LOGIN_DENIED, "it refused");
    assert_int_equal(login_account_held_until(account[1], clock_now_us()), 0);
    assert_int_equal(login_account_ask(account[1], &wait), LOGIN_GIVEN);
    login_account_settle(account[1], LOGIN_TAKEN, "");
    for (int i = 0; i < 2; i++)
        login_account_release(account[i]);
    logins_clear(&logins);
    login_book_release(book);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(when),
        cmocka_unit_test_setup_teardown(from_book_to_book, set_up, tear_down),
        cmocka_unit_test_setup_teardown(failures, set_up, tear_down),
        cmocka_unit_test_setup_teardown(refused_by_brokers, set_up, tear_down),
        cmocka_unit_test_setup_teardown(many_at_a_time, set_up, tear_down),
        cmocka_unit_test_setup_teardown(accounts, set_up, tear_down),
        cmocka_unit_test_setup_teardown(outcomes_of_old_secrets, set_up, tear_down),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
