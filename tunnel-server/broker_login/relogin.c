#include "broker_login/relogin.h"

#include <openssl/rand.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/bytes.h"
#include "base/memory.h"
#include "broker_login/broker_login.h"
#include "broker_login/login_exchange.h"
#include "io/clock.h"
#include "io/timer.h"
#include "tunnel/relay_kafka.h"

struct relogin {
    struct relay *relay;
    struct login_principal *principal; /* of the session that lasts */
    struct login_account *next;        /* of the one that is begun; NULL: none is */
    struct login_wait wait;
    bool is_given; /* leave to log in with next, which must be settled */
    struct login_exchange *exchange;
    uint64_t expires_us;
    unsigned timeout_ms;
    struct timer *due;
    struct timer *deadline;
    const struct relogin_owner *owner;
    void *context;
};

static void settle_relogin(struct relogin *relogin, enum login_outcome outcome, const char *why)
{
    if (relogin->is_given)
        login_account_settle(relogin->next, outcome, why);
    relogin->is_given = false;
}

static void end_exchange(struct relogin *relogin)
{
    if (relogin->exchange)
        login_exchange_wipe(relogin->exchange);
    free(relogin->exchange);
    relogin->exchange = NULL;
    list_remove(&relogin->wait.node);
    settle_relogin(relogin, LOGIN_UNSETTLED, "");
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
    login_principal_release(relogin->principal);
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
    struct relay *relay = relogin->relay;

    login_principal_release(relogin->principal);
    relogin->principal = login_account_principal(relogin->next);
    settle_relogin(relogin, LOGIN_TAKEN, "");
    arm_relogin(relogin, broker_login_expiry(relogin->exchange->lifetime_ms, clock_now_us()));
    end_exchange(relogin);
    relogin->owner->renewed(relogin->context, relogin->principal);
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
            settle_relogin(relogin, LOGIN_DENIED, exchange->reason);
        fail_relogin(relogin, exchange->reason);
    }
}

void relogin_answered(struct relogin *relogin, const uint8_t *bytes, size_t size)
{
    if (relogin->exchange)
        take_relogin_step(relogin, login_exchange_answer(relogin->exchange, bytes, size));
}

static void begin_relogin(struct relogin *relogin)
{
    struct sasl_credentials credentials;
    uint8_t random[SASL_NONCE_RANDOM + 4];

    relogin->is_given = true;
    if (RAND_bytes(random, sizeof random) != 1)
        abort();
    credentials = login_account_credentials(relogin->next);
    relogin->exchange = memory_new(sizeof *relogin->exchange);
    take_relogin_step(relogin, login_exchange_begin(relogin->exchange, &credentials, random));
}

static void take_relogin_leave(struct relogin *relogin, enum login_leave leave)
{
    char why[LOGIN_OBSTACLE_MAX];

    if (leave == LOGIN_GIVEN) {
        begin_relogin(relogin);
    } else if (leave == LOGIN_HELD) {
        login_account_obstacle(relogin->next, clock_now_us(), why);
        fail_relogin(relogin, why);
    }
}

static void on_relogin_told(struct login_wait *wait, enum login_leave leave)
{
    take_relogin_leave(list_entry(wait, struct relogin, wait), leave);
}

void relogin_paused(struct relogin *relogin)
{
    if (relogin->next)
        take_relogin_leave(relogin, login_account_ask(relogin->next, &relogin->wait));
}

/* ---- when */

uint64_t relogin_due(uint64_t now_us, uint64_t expires_us, uint16_t random)
{
    uint64_t left_us = expires_us > now_us ? expires_us - now_us : 0;
    uint64_t wait_us = left_us / 100 * 75 + left_us / 1000 * random / 437;

    return now_us + (wait_us > RELOGIN_WAIT_MIN_US ? wait_us : RELOGIN_WAIT_MIN_US);
}

/* What brokers refuse on one connection they refuse on all the others: nobody asks meanwhile. */
static void put_off_relogin(struct relogin *relogin, uint64_t held_until_us, uint64_t now_us)
{
    char why[LOGIN_OBSTACLE_MAX];

    if (held_until_us < relogin->expires_us) {
        end_exchange(relogin);
        timer_start_us(relogin->due, held_until_us - now_us);
        return;
    }
    login_account_obstacle(relogin->next, now_us, why);
    fail_relogin(relogin, why);
}

static void on_relogin_due(void *argument)
{
    struct relogin *relogin = argument;
    uint64_t now_us = clock_now_us();
    uint64_t left_ms = relogin->expires_us > now_us ? (relogin->expires_us - now_us) / 1000 : 0;

    relogin->next = relogin->owner->find_account(relogin->context);
    struct login_principal *principal = login_account_principal(relogin->next);
    bool is_same = principal && login_principal_is_same(relogin->principal, principal);
    login_principal_release(principal);
    if (!is_same) {
        fail_relogin(relogin, "the rules have another login for this client now: connect again");
        return;
    }
    uint64_t held_until_us = login_account_held_until(relogin->next, now_us);
    if (held_until_us > 0) {
        put_off_relogin(relogin, held_until_us, now_us);
        return;
    }
    /* A request that is under way, and answers that the client does not read, may take as long as
     * the session lasts: what comes later the broker does not take. */
    timer_start_ms(relogin->deadline, left_ms + relogin->timeout_ms);
    relay_kafka_pause(relogin->relay);
}

static void on_relogin_overdue(void *argument)
{
    struct relogin *relogin = argument;

    fail_relogin(relogin, list_empty(&relogin->wait.node)
                              ? "it did not answer in time"
                              : "other logins with the same account took too long");
}

struct relogin *relogin_new(struct worker *worker, struct relay *relay,
                            struct login_principal *principal, uint64_t expires_us,
                            unsigned timeout_ms, const struct relogin_owner *owner, void *context)
{
    struct relogin *relogin = memory_new(sizeof *relogin);

    *relogin = (struct relogin){.relay = relay,
                                .principal = login_principal_reference(principal),
                                .timeout_ms = timeout_ms,
                                .owner = owner,
                                .context = context};
    relogin->wait.told = on_relogin_told;
    list_init(&relogin->wait.node);
    relogin->due = timer_new(worker, on_relogin_due, relogin);
    relogin->deadline = timer_new(worker, on_relogin_overdue, relogin);
    arm_relogin(relogin, expires_us);
    return relogin;
}
