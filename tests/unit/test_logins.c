/* Wrong passwords must not lock anybody's account at the brokers: who may log in when, on one
 * worker and on several, and from one book to the next. */
#include "../lib/cmocka.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "../../tunnel-server/broker_login/logins.h"
#include "../../tunnel-server/broker_login/relogin.h"
#include "io/clock.h"

enum { CROWD = 60, SECOND = 1000 * 1000 };

static const char RULES[] = "orders.identity=orders\n"
                            "orders.mechanism=SCRAM-SHA-256\n"
                            "orders.user=svc-orders\n"
                            "orders.password-file=%s/orders\n"
                            "rest.mechanism=PLAIN\n"
                            "rest.user=svc-rest\n"
                            "rest.password-file=%s/rest\n";

struct told {
    struct login_wait wait;
    enum login_leave leave; /* LOGIN_WAIT: nothing was told */
    unsigned *order;        /* counts who was told */
    unsigned place;
};

struct fixture {
    struct log log;
    struct worker worker;
    char directory[64];
    char path[100];
    struct address_cluster clusters[2];
    struct login_book *book;
    struct logins logins[2]; /* of two workers */
    struct told crowd[CROWD];
    unsigned told;
    char why[LOGIN_REASON_MAX];
    unsigned failed;
    unsigned found;
    struct login_account *account;
};

static void write_file(const struct fixture *f, const char *name, const char *text)
{
    char path[200];

    snprintf(path, sizeof path, "%s/%s", f->directory, name);
    FILE *file = fopen(path, "w");
    assert_non_null(file);
    assert_true(fputs(text, file) >= 0);
    assert_int_equal(fclose(file), 0);
}

static void read_book_again(struct fixture *f)
{
    const struct login_clusters clusters = {f->clusters, 2, NULL};
    char error[500];
    struct login_book *book = login_book_read(f->path, &clusters, f->book, error, sizeof error);

    if (!book)
        fail_msg("%s", error);
    login_book_release(f->book);
    f->book = book;
    logins_use(&f->logins[0], book);
    logins_use(&f->logins[1], book);
}

static void ignore_line(void *context, const char *line, size_t size)
{
    (void)context, (void)line, (void)size;
}

static int set_up(void **state)
{
    struct fixture *f = calloc(1, sizeof *f);
    const struct log_settings settings = {.level = LOG_LEVEL_ERROR, .sink = ignore_line};
    char rules[1000];

    log_init(&f->log, &settings);
    assert_true(worker_init(&f->worker, &f->log, 16 << 20));
    snprintf(f->directory, sizeof f->directory, "/tmp/logins-XXXXXX");
    assert_non_null(mkdtemp(f->directory));
    snprintf(f->path, sizeof f->path, "%s/rules", f->directory);
    snprintf(rules, sizeof rules, RULES, f->directory, f->directory);
    write_file(f, "rules", rules);
    write_file(f, "orders", "a guess\n");
    write_file(f, "rest", "right\n");
    snprintf(f->clusters[0].name, sizeof f->clusters[0].name, "main");
    snprintf(f->clusters[1].name, sizeof f->clusters[1].name, "other");
    for (size_t i = 0; i < 2; i++)
        logins_init(&f->logins[i], &f->worker, 2);
    read_book_again(f);
    *state = f;
    return 0;
}

static int tear_down(void **state)
{
    struct fixture *f = *state;
    const char *const names[] = {"rules", "orders", "rest"};
    char path[200];

    login_account_release(f->account);
    logins_clear(&f->logins[0]);
    logins_clear(&f->logins[1]);
    login_book_release(f->book);
    worker_clear(&f->worker);
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        snprintf(path, sizeof path, "%s/%s", f->directory, names[i]);
        unlink(path);
    }
    rmdir(f->directory);
    free(f);
    return 0;
}

static struct login_account *find(struct fixture *f, size_t worker, const char *identity)
{
    struct login_account *account = logins_find(&f->logins[worker], identity, "main", 0);

    assert_non_null(account);
    return account;
}

static void on_told(struct login_wait *wait, enum login_leave leave)
{
    struct told *told = list_entry(wait, struct told, wait);

    told->leave = leave;
    told->place = ++*told->order;
}

static enum login_leave ask(struct fixture *f, struct login_account *account, size_t who)
{
    struct told *told = &f->crowd[who];

    *told = (struct told){.wait.told = on_told, .leave = LOGIN_WAIT, .order = &f->told};
    list_init(&told->wait.node);
    return login_account_ask(account, &told->wait);
}

static size_t count(const struct fixture *f, enum login_leave leave)
{
    size_t n = 0;

    for (size_t i = 0; i < CROWD; i++)
        n += f->crowd[i].wait.told && f->crowd[i].leave == leave;
    return n;
}

static void wait_until_told(struct fixture *f, unsigned told)
{
    uint64_t end = clock_now_us() + 20 * SECOND;

    while (f->told < told && clock_now_us() < end)
        worker_run_once_us(&f->worker, SECOND);
    assert_int_equal(f->told, told);
}

/* A crowd of both workers' asks for one account. */
static void one_of_a_crowd_asks(void **state)
{
    struct fixture *f = *state;
    struct login_account *accounts[2] = {find(f, 0, "orders"), find(f, 1, "orders")};
    struct login_wait first = {.told = on_told};

    list_init(&first.node);
    assert_int_equal(login_account_ask(accounts[0], &first), LOGIN_GIVEN);
    for (size_t i = 0; i < CROWD; i++)
        assert_int_equal(ask(f, accounts[i % 2], i), LOGIN_WAIT);
    login_account_settle(accounts[0], LOGIN_DENIED, "it refused");
    wait_until_told(f, CROWD);
    assert_int_equal(count(f, LOGIN_HELD), CROWD);
    assert_true(login_account_held_until(accounts[1], clock_now_us()) > 0);
    /* Another cluster's brokers, and another rule, have refused nothing. */
    struct login_account *other = logins_find(&f->logins[0], "orders", "other", 1);
    struct login_account *rest = find(f, 0, "eve");
    assert_int_equal(login_account_held_until(other, clock_now_us()), 0);
    assert_int_equal(login_account_held_until(rest, clock_now_us()), 0);
    login_account_release(other);
    login_account_release(rest);
    login_account_release(accounts[0]);
    login_account_release(accounts[1]);
}

/* When the pause is over it is the same again, and the pause is twice as long. */
static void one_after_each_pause(void **state)
{
    (void)state;
    struct login_standing *standing = login_standing_new();
    char why[LOGIN_HOLD_MAX];
    uint64_t now = SECOND;

    for (uint64_t pause = 1; pause <= 64; pause *= 2) {
        uint64_t most = pause < 32 ? pause : 32;
        assert_int_equal(login_standing_ask(standing, now), LOGIN_GIVEN);
        for (size_t i = 0; i < CROWD; i++)
            assert_int_equal(login_standing_ask(standing, now + i), LOGIN_WAIT);
        assert_true(login_standing_settle(standing, 0, LOGIN_DENIED, "it refused", now));
        assert_int_equal(login_standing_hold(standing, now, why), now + most * SECOND);
        assert_string_equal(why, "it refused");
        assert_int_equal(login_standing_ask(standing, now + most * SECOND - 1), LOGIN_HELD);
        now += most * SECOND;
    }
    login_standing_release(standing);
}

static void a_crowd_whose_password_is_right(void **state)
{
    struct fixture *f = *state;
    struct login_account *account = find(f, 0, "eve");
    struct login_account *beside = find(f, 1, "eve");
    struct login_wait first = {.told = on_told};

    list_init(&first.node);
    assert_int_equal(login_account_ask(account, &first), LOGIN_GIVEN);
    for (size_t i = 0; i < CROWD; i++)
        assert_int_equal(ask(f, i % 2 ? beside : account, i), LOGIN_WAIT);
    login_account_settle(account, LOGIN_TAKEN, "");
    wait_until_told(f, CROWD);
    assert_int_equal(count(f, LOGIN_GIVEN), CROWD);
    for (size_t i = 2; i < CROWD; i += 2)
        assert_int_equal(f->crowd[i].place, f->crowd[i - 2].place + 1);
    for (size_t i = 0; i < CROWD; i++)
        login_account_settle(i % 2 ? beside : account, LOGIN_TAKEN, "");
    login_account_release(account);
    login_account_release(beside);
}

/* A broker that breaks off, and one that does not answer: the next one has its turn. */
static void no_outcome_is_none(void **state)
{
    struct fixture *f = *state;
    struct login_account *account = find(f, 0, "orders");
    uint64_t began = clock_now_us();

    assert_int_equal(ask(f, account, 0), LOGIN_GIVEN);
    for (size_t i = 1; i < 4; i++)
        assert_int_equal(ask(f, account, i), LOGIN_WAIT);
    login_account_settle(account, LOGIN_UNSETTLED, "");
    wait_until_told(f, 1);
    assert_int_equal(f->crowd[1].leave, LOGIN_GIVEN);
    assert_true(clock_now_us() - began < SECOND);
    wait_until_told(f, 2);
    assert_true(clock_now_us() - began >= SECOND);
    assert_int_equal(f->crowd[2].leave, LOGIN_GIVEN);
    /* Who gives up is not told any more. */
    list_remove(&f->crowd[3].wait.node);
    login_account_settle(account, LOGIN_DENIED, "it refused");
    login_account_settle(account, LOGIN_DENIED, "it refused");
    worker_run_once_us(&f->worker, SECOND / 20);
    assert_int_equal(f->told, 2);
    login_account_release(account);
}

/* Somebody else's secret is renewed, and the rules are read again. */
static void holds_and_keys_outlive_the_book(void **state)
{
    struct fixture *f = *state;
    struct login_account *orders = find(f, 0, "orders");
    struct login_wait wait = {.told = on_told};

    list_init(&wait.node);
    assert_int_equal(login_account_ask(orders, &wait), LOGIN_GIVEN);
    orders->keys = (struct sasl_scram_keys){.known = true, .iterations = 4096};
    login_account_settle(orders, LOGIN_TAKEN, "");
    assert_int_equal(login_account_ask(orders, &wait), LOGIN_GIVEN);
    login_account_settle(orders, LOGIN_DENIED, "it refused");
    login_account_release(orders);

    write_file(f, "rest", "renewed\n");
    read_book_again(f);
    for (size_t worker = 0; worker < 2; worker++) {
        orders = find(f, worker, "orders");
        assert_true(login_account_held_until(orders, clock_now_us()) > 0);
        assert_true(orders->keys.known);
        login_account_release(orders);
    }

    /* Its own: a new password counts at once, and has keys of its own. */
    write_file(f, "orders", "orders' secret\n");
    read_book_again(f);
    orders = find(f, 0, "orders");
    assert_int_equal(login_account_held_until(orders, clock_now_us()), 0);
    assert_false(orders->keys.known);
    login_account_release(orders);
}

/* ---- logging in again */

static struct login_account *find_account(void *context)
{
    struct fixture *f = context;

    f->found++;
    return login_account_reference(f->account);
}

static void on_failed(void *context, const char *why)
{
    struct fixture *f = context;

    f->failed++;
    snprintf(f->why, sizeof f->why, "%s", why);
}

static const struct relogin_owner owner = {.find_account = find_account, .failed = on_failed};

/* The account is refused from now on for so long. */
static void deny(struct login_account *account, uint64_t us)
{
    uint64_t now = clock_now_us() + us - SECOND;

    assert_int_equal(login_standing_ask(account->standing, now), LOGIN_GIVEN);
    login_standing_settle(account->standing, 0, LOGIN_DENIED, "it refused", now);
}

static void again_not_while_it_is_refused(void **state)
{
    struct fixture *f = *state;

    f->account = find(f, 0, "eve");
    deny(f->account, 30 * SECOND);
    struct login_principal *principal = login_account_principal(f->account);
    /* There is no relay that could ask anybody. */
    struct relogin *relogin =
        relogin_new(&f->worker, NULL, principal, clock_now_us() + 1200 * 1000, 1000, &owner, f);
    login_principal_release(principal);
    uint64_t end = clock_now_us() + 20 * SECOND;
    while (!f->failed && clock_now_us() < end)
        worker_run_once_us(&f->worker, SECOND);
    assert_int_equal(f->failed, 1);
    assert_int_equal(f->found, 1);
    assert_non_null(strstr(f->why, "it refused; it is not tried again for "));
    relogin_free(relogin);
}

/* The session lasts longer than the pause: there is time to try later. */
static void again_when_the_pause_is_over(void **state)
{
    struct fixture *f = *state;

    f->account = find(f, 0, "eve");
    struct login_principal *principal = login_account_principal(f->account);
    /* Due after a second and a half, at least. */
    struct relogin *relogin =
        relogin_new(&f->worker, NULL, principal, clock_now_us() + 2 * SECOND, 1000, &owner, f);
    login_principal_release(principal);
    deny(f->account, 1950 * 1000);
    uint64_t end = clock_now_us() + 20 * SECOND;
    while (f->found < 1 && clock_now_us() < end)
        worker_run_once_us(&f->worker, SECOND);
    assert_int_equal(f->failed, 0);
    /* Still refused when it looks again: now it is too late. */
    deny(f->account, 30 * SECOND);
    while (!f->failed && clock_now_us() < end)
        worker_run_once_us(&f->worker, SECOND);
    assert_int_equal(f->found, 2);
    relogin_free(relogin);
}

static void who_is_whom(void **state)
{
    (void)state;
    struct login_principal a = {
        .mechanism = SASL_PLAIN, .rule = (char[]){"a"}, .user = (char[]){"u"}};
    struct login_principal b = {
        .mechanism = SASL_PLAIN, .rule = (char[]){"b"}, .user = (char[]){"u"}};

    assert_true(login_principal_is_same(&a, &b));
    b.user = (char[]){"v"};
    assert_false(login_principal_is_same(&a, &b));
    /* Tokens have no user: two rules may have tokens of two. */
    a.mechanism = b.mechanism = SASL_OAUTHBEARER;
    a.user = b.user = (char[]){""};
    assert_false(login_principal_is_same(&a, &b));
    b.rule = (char[]){"a"};
    assert_true(login_principal_is_same(&a, &b));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(one_of_a_crowd_asks, set_up, tear_down),
        cmocka_unit_test(one_after_each_pause),
        cmocka_unit_test_setup_teardown(a_crowd_whose_password_is_right, set_up, tear_down),
        cmocka_unit_test_setup_teardown(no_outcome_is_none, set_up, tear_down),
        cmocka_unit_test_setup_teardown(holds_and_keys_outlive_the_book, set_up, tear_down),
        cmocka_unit_test_setup_teardown(again_not_while_it_is_refused, set_up, tear_down),
        cmocka_unit_test_setup_teardown(again_when_the_pause_is_over, set_up, tear_down),
        cmocka_unit_test(who_is_whom),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
