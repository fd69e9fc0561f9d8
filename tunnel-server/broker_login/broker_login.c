#include "broker_login/broker_login.h"

#include <openssl/rand.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/bytes.h"
#include "base/memory.h"
#include "io/clock.h"
#include "io/timer.h"
#include "io/watch.h"

struct broker_login {
    struct worker_later begins;
    struct login_wait wait;
    bool is_given; /* leave to log in, which must be settled */
    unsigned timeout_ms;
    broker_login_callback callback;
    void *context;
    struct transport *transport;
    struct login_account *account;
    struct watch *readable;
    struct watch *writable; /* wanted while a request has not left yet */
    struct timer *deadline;
    struct login_exchange exchange;
    size_t size;
    uint8_t answer[KAFKA_LOGIN_RESPONSE_MAX]; /* to the request that was sent last */
};

uint64_t broker_login_expiry(int64_t lifetime_ms, uint64_t now_us)
{
    /* A broker may say any number. */
    const int64_t most_ms = INT64_C(366) * 24 * 3600 * 1000;

    if (lifetime_ms <= 0 || lifetime_ms > most_ms)
        return 0;
    return now_us + (uint64_t)lifetime_ms * 1000;
}

static void settle_login(struct broker_login *login, enum login_outcome outcome, const char *why)
{
    if (login->is_given)
        login_account_settle(login->account, outcome, why);
    login->is_given = false;
}

static void free_broker_login(struct broker_login *login)
{
    login_exchange_wipe(&login->exchange);
    byte_wipe(login->answer, login->size);
    list_remove(&login->wait.node);
    settle_login(login, LOGIN_UNSETTLED, "");
    login_account_release(login->account);
    list_remove(&login->begins.node);
    watch_free(login->readable);
    watch_free(login->writable);
    timer_free(login->deadline);
    free(login);
}

void broker_login_cancel(struct broker_login *login)
{
    if (!login)
        return;
    transport_free(login->transport);
    free_broker_login(login);
}

static void finish_broker_login(struct broker_login *login, enum broker_login_result result,
                                const char *why)
{
    broker_login_callback callback = login->callback;
    void *context = login->context;
    uint64_t expires_us = broker_login_expiry(login->exchange.lifetime_ms, clock_now_us());
    char text[LOGIN_REASON_MAX];

    snprintf(text, sizeof text, "%s", why);
    if (result == BROKER_LOGIN_DONE) {
        settle_login(login, LOGIN_TAKEN, "");
        transport_relax(login->transport);
        free_broker_login(login);
    } else {
        if (result == BROKER_LOGIN_REFUSED)
            settle_login(login, LOGIN_DENIED, text);
        broker_login_cancel(login);
    }
    callback(context, result, text, expires_us);
}

static void fail_broker_login(struct broker_login *login, bool broken)
{
    finish_broker_login(login, BROKER_LOGIN_CLOSED,
                        broken ? transport_error(login->transport) : "it closed the connection");
}

/* ---- what goes out */

/* false: it is broken, and the login has ended. */
static bool flush_login(struct broker_login *login)
{
    int sent = transport_flush(login->transport);

    if (sent < 0) {
        fail_broker_login(login, true);
        return false;
    }
    watch_want(login->writable, sent == TRANSPORT_BLOCKED);
    return true;
}

/* The request before has been answered, so that there is room. */
static bool send_request(struct broker_login *login)
{
    uint8_t request[LOGIN_REQUEST_MAX];
    size_t size = login_exchange_request(&login->exchange, request);

    login->size = 0;
    int sent = transport_commit(login->transport, request, size);
    byte_wipe(request, size);
    if (sent < 0) {
        fail_broker_login(login, true);
        return false;
    }
    return flush_login(login);
}

static void on_login_writable(void *argument)
{
    flush_login(argument);
}

/* ---- what comes */

/* false: the login has ended. */
static bool take_login_step(struct broker_login *login, enum login_step step)
{
    const struct login_exchange *exchange = &login->exchange;

    switch (step) {
    case LOGIN_SEND:
        return send_request(login);
    case LOGIN_MORE:
        return true;
    case LOGIN_DONE:
        finish_broker_login(login, BROKER_LOGIN_DONE, "");
        return false;
    default:
        finish_broker_login(login,
                            exchange->failure == LOGIN_REFUSED ? BROKER_LOGIN_REFUSED
                                                               : BROKER_LOGIN_IMPOSSIBLE,
                            exchange->reason);
        return false;
    }
}

static void on_login_readable(void *argument)
{
    struct broker_login *login = argument;

    /* There is always room: the answer that would fill it is refused by its length. */
    long got = transport_read(login->transport, login->answer + login->size,
                              sizeof login->answer - login->size);
    if (got == TRANSPORT_BLOCKED)
        return;
    if (got < 0) {
        fail_broker_login(login, got == TRANSPORT_ERROR);
        return;
    }
    login->size += (size_t)got;
    if (take_login_step(login,
                        login_exchange_answer(&login->exchange, login->answer, login->size)) &&
        transport_pending(login->transport))
        watch_fire(login->readable);
}

static void on_login_overdue(void *argument)
{
    struct broker_login *login = argument;

    finish_broker_login(login, BROKER_LOGIN_SILENT,
                        login->is_given ? "it did not answer in time"
                                        : "other logins with the same account took too long");
}

static void begin_login(struct broker_login *login)
{
    const struct sasl_credentials credentials = login_account_credentials(login->account);
    uint8_t random[SASL_NONCE_RANDOM + 4];

    login->is_given = true;
    timer_start_ms(login->deadline, login->timeout_ms);
    if (RAND_bytes(random, sizeof random) != 1)
        abort();
    if (take_login_step(login, login_exchange_begin(&login->exchange, &credentials, random)))
        watch_want(login->readable, true);
}

static void take_leave(struct broker_login *login, enum login_leave leave)
{
    char why[LOGIN_OBSTACLE_MAX];

    if (leave == LOGIN_GIVEN) {
        begin_login(login);
    } else if (leave == LOGIN_HELD) {
        login_account_obstacle(login->account, clock_now_us(), why);
        finish_broker_login(login, BROKER_LOGIN_HELD, why);
    }
}

static void on_told(struct login_wait *wait, enum login_leave leave)
{
    take_leave(list_entry(wait, struct broker_login, wait), leave);
}

/* Later than the call that starts it, which may not call back yet. */
static void ask_for_leave(struct worker_later *begins)
{
    struct broker_login *login = list_entry(begins, struct broker_login, begins);

    take_leave(login, login_account_ask(login->account, &login->wait));
}

struct broker_login *broker_login_start(struct worker *worker, struct transport *transport,
                                        struct login_account *account, unsigned timeout_ms,
                                        broker_login_callback callback, void *context)
{
    struct broker_login *login = memory_new(sizeof *login);
    int fd = transport_fd(transport);

    login->transport = transport;
    transport_guard(transport);
    login->account = login_account_reference(account);
    login->callback = callback;
    login->context = context;
    login->readable = watch_new(worker, fd, WATCH_READ, on_login_readable, login);
    login->writable = watch_new(worker, fd, WATCH_WRITE, on_login_writable, login);
    login->deadline = timer_new(worker, on_login_overdue, login);
    login->timeout_ms = timeout_ms;
    timer_start_ms(login->deadline, timeout_ms);
    login->wait.told = on_told;
    list_init(&login->wait.node);
    list_init(&login->begins.node);
    worker_later(worker, &login->begins, ask_for_leave);
    return login;
}
