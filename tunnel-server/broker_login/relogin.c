#include "broker_login/relogin.h"

#include <openssl/rand.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/bytes.h"
#include "base/memory.h"
#include "broker_login/broker_login.h"
#include "broker_login/login_exchange.h"
#include "io/clock.h"
#include "io/timer.h"
#include "tunnel/relay_kafka.h"

struct relogin {
    struct relay *relay;
    struct login_account *account; /* of the session that lasts */
    struct login_account *next;    /* of the one that is begun; NULL: none is */
    struct login_exchange *exchange;
    uint64_t expires_us;
    unsigned timeout_ms;
    struct timer *due;
    struct timer *deadline;
    const struct relogin_owner *owner;
    void *context;
};

static void end_exchange(struct relogin *relogin)
{
    if (relogin->exchange)
        login_exchange_wipe(relogin->exchange);
    free(relogin->exchange);
    relogin->exchange = NULL;
    login_account_release(relogin->next);
    relogin->next = NULL;
    timer_stop(relogin->deadline);
}

void relogin_free(struct relogin *relogin)
{
    if (!relogin)
        return;
    end_exchange(relogin);
    timer_free(relogin->due);
    timer_free(relogin->deadline);
    login_account_release(relogin->account);
    free(relogin);
}

bool relogin_is_under_way(const struct relogin *relogin)
{
    return relogin && relogin->exchange;
}

void relogin_abandon(struct relogin *relogin)
{
    end_exchange(relogin);
    timer_stop(relogin->due);
}

/* The reason outlives what it comes from, and nothing is under way any more. */
static void fail_relogin(struct relogin *relogin, const char *why)
{
    char text[LOGIN_REASON_MAX];

    snprintf(text, sizeof text, "%s", why);
    end_exchange(relogin);
    relogin->owner->failed(relogin->context, text);
}

/* ---- the exchange */

/* The relay, and with it the relogin, may be gone afterwards. */
static void send_relogin(struct relogin *relogin)
{
    uint8_t request[LOGIN_REQUEST_MAX];
    struct login_exchange *exchange = relogin->exchange;
    size_t size = login_exchange_request(exchange, request);

    relay_kafka_ask(relogin->relay, request, size, exchange->correlation_id);
    byte_wipe(request, size);
}

static void arm_relogin(struct relogin *relogin, uint64_t expires_us)
{
    uint64_t now_us = clock_now_us();
    uint16_t random;

    relogin->expires_us = expires_us;
    if (expires_us == 0)
        return;
    if (RAND_bytes((unsigned char *)&random, sizeof random) != 1)
        abort();
    timer_start_us(relogin->due, relogin_due(now_us, expires_us, random) - now_us);
}

static void succeed_relogin(struct relogin *relogin)
{
    struct login_account *account = relogin->next;
    struct relay *relay = relogin->relay;

    login_account_release(relogin->account);
    relogin->account = account;
    relogin->next = NULL;
    login_account_taken(account);
    arm_relogin(relogin, broker_login_expiry(relogin->exchange->lifetime_ms, clock_now_us()));
    end_exchange(relogin);
    relogin->owner->renewed(relogin->context, account);
    relay_kafka_resume(relay);
}

static void take_relogin_step(struct relogin *relogin, enum login_step step)
{
    struct login_exchange *exchange = relogin->exchange;

    switch (step) {
    case LOGIN_SEND:
        send_relogin(relogin);
        return;
    case LOGIN_DONE:
        succeed_relogin(relogin);
        return;
    case LOGIN_MORE:
        /* The relay gives whole answers: this one is shorter than it says. */
        fail_relogin(relogin, "its answer to the login has an invalid length");
        return;
    default:
        if (exchange->failure == LOGIN_REFUSED)
            login_account_refused(relogin->next, exchange->reason, clock_now_us());
        fail_relogin(relogin, exchange->reason);
    }
}

void relogin_answered(struct relogin *relogin, const uint8_t *bytes, size_t size)
{
    if (relogin->exchange)
        take_relogin_step(relogin, login_exchange_answer(relogin->exchange, bytes, size));
}

void relogin_paused(struct relogin *relogin)
{
    struct sasl_credentials credentials;
    uint8_t random[SASL_NONCE_RANDOM + 4];

    if (!relogin->next)
        return;
    if (RAND_bytes(random, sizeof random) != 1)
        abort();
    credentials = login_account_credentials(relogin->next);
    relogin->exchange = memory_new(sizeof *relogin->exchange);
    take_relogin_step(relogin, login_exchange_begin(relogin->exchange, &credentials, random));
}

/* ---- when */

uint64_t relogin_due(uint64_t now_us, uint64_t expires_us, uint16_t random)
{
    uint64_t left_us = expires_us > now_us ? expires_us - now_us : 0;
    uint64_t wait_us = left_us / 100 * 75 + left_us / 1000 * random / 437;

    return now_us + (wait_us > RELOGIN_WAIT_MIN_US ? wait_us : RELOGIN_WAIT_MIN_US);
}

static bool is_same_user(const struct login_account *a, const struct login_account *b)
{
    return a->rule->mechanism == b->rule->mechanism &&
           strcmp(login_account_user(a), login_account_user(b)) == 0;
}

static void on_relogin_due(void *argument)
{
    struct relogin *relogin = argument;
    uint64_t now_us = clock_now_us();
    uint64_t left_ms = relogin->expires_us > now_us ? (relogin->expires_us - now_us) / 1000 : 0;

    relogin->next = relogin->owner->find_account(relogin->context);
    if (!relogin->next || !is_same_user(relogin->account, relogin->next)) {
        fail_relogin(relogin, "the rules have another login for this client now: connect again");
        return;
    }
    /* What brokers refuse on one connection they refuse on all the others. */
    if (!login_account_may_try(relogin->next, now_us)) {
        char why[LOGIN_OBSTACLE_MAX];
        login_account_obstacle(relogin->next, now_us, why);
        fail_relogin(relogin, why);
        return;
    }
    /* A request that is under way, and answers that the client does not read, may take as long as
     * the session lasts: what comes later the broker does not take. */
    timer_start_ms(relogin->deadline, left_ms + relogin->timeout_ms);
    relay_kafka_pause(relogin->relay);
}

static void on_relogin_overdue(void *argument)
{
    fail_relogin(argument, "it did not answer in time");
}

struct relogin *relogin_new(struct worker *worker, struct relay *relay,
                            struct login_account *account, uint64_t expires_us, unsigned timeout_ms,
                            const struct relogin_owner *owner, void *context)
{
    struct relogin *relogin = memory_new(sizeof *relogin);

    *relogin = (struct relogin){.relay = relay,
                                .account = login_account_reference(account),
                                .timeout_ms = timeout_ms,
                                .owner = owner,
                                .context = context};
    relogin->due = timer_new(worker, on_relogin_due, relogin);
    relogin->deadline = timer_new(worker, on_relogin_overdue, relogin);
    arm_relogin(relogin, expires_us);
    return relogin;
}
