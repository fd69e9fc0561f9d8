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

static void free_broker_login(struct broker_login *login)
{
    login_exchange_wipe(&login->exchange);
    byte_wipe(login->answer, login->size);
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
    uint64_t now_us = clock_now_us();
    uint64_t expires_us = broker_login_expiry(login->exchange.lifetime_ms, now_us);
    char text[LOGIN_REASON_MAX];

    snprintf(text, sizeof text, "%s", why);
    if (result == BROKER_LOGIN_DONE) {
        login_account_taken(login->account);
        transport_relax(login->transport);
        free_broker_login(login);
    } else {
        if (result == BROKER_LOGIN_REFUSED)
            login_account_refused(login->account, text, now_us);
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
    finish_broker_login(argument, BROKER_LOGIN_SILENT, "it did not answer in time");
}

/* Later than the call that starts it, which may not call back yet. */
static void begin_login(struct worker_later *begins)
{
    struct broker_login *login = list_entry(begins, struct broker_login, begins);
    const struct sasl_credentials credentials = login_account_credentials(login->account);
    uint8_t random[SASL_NONCE_RANDOM + 4];

    if (RAND_bytes(random, sizeof random) != 1)
        abort();
    if (take_login_step(login, login_exchange_begin(&login->exchange, &credentials, random)))
        watch_want(login->readable, true);
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
    timer_start_ms(login->deadline, timeout_ms);
    list_init(&login->begins.node);
    worker_later(worker, &login->begins, begin_login);
    return login;
}
