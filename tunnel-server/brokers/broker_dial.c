#include "brokers/broker_dial.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include "base/memory.h"
#include "base/printable.h"
#include "brokers/proof.h"
#include "io/clock.h"
#include "io/timer.h"
#include "metrics/metrics.h"

/* A name may stand for several machines, a headless service's for example: another one is tried
 * when the proof takes longer than a way to the other side of the world and back. */
enum { NEXT_ADDRESS_US = 250 * 1000, ATTEMPTS_MAX = 4 };

struct broker_attempt {
    struct broker_dial *owner;
    struct dial *dial;
    struct proof *proof;
    struct broker_login *login;
    struct transport *transport; /* while it is proven, and logged in on */
    struct socket_address peer;  /* connected to; size 0: not yet */
};

struct broker_dial {
    struct cluster *cluster;
    struct login_account *account; /* NULL: nobody logs in */
    broker_dial_callback callback;
    void (*logs_in)(void *context); /* NULL: nobody wants to know */
    void *context;
    struct address address;
    bool announced;
    bool held;        /* the account was refused a moment ago: nothing is tried */
    bool judged;      /* by the cluster's rules */
    size_t bootstrap; /* not announced: its index */
    unsigned timeout_ms;
    struct timer *next;
    struct broker_attempt attempts[ATTEMPTS_MAX];
    size_t begun;
    size_t ended;
    enum address_verdict verdict; /* about the last address that was forbidden */
    const char *rule;
    struct broker_dial_result failure;   /* of the earliest attempt that has failed */
    const struct broker_attempt *failed; /* that one; NULL: none yet */
    char why[CLUSTER_FAILURE_MAX];
};

void broker_dial_cancel(struct broker_dial *dial)
{
    if (!dial)
        return;
    for (size_t i = 0; i < dial->begun; i++) {
        dial_cancel(dial->attempts[i].dial);
        proof_cancel(dial->attempts[i].proof);
        broker_login_cancel(dial->attempts[i].login);
    }
    timer_free(dial->next);
    free(dial);
}

static void answer_broker_dial(struct broker_dial *dial, const struct broker_dial_result *result)
{
    if (!dial->announced) {
        if (result->state == BROKER_UP)
            cluster_broker_answered(dial->cluster, dial->bootstrap);
        else if (!result->login)
            cluster_broker_failed(dial->cluster, dial->bootstrap, result->state, result->why);
    }
    broker_dial_callback callback = dial->callback;
    callback(dial->context, result);
    broker_dial_cancel(dial);
}

static void succeed_with_attempt(struct broker_attempt *attempt, uint64_t expires_us)
{
    answer_broker_dial(attempt->owner, &(struct broker_dial_result){.transport = attempt->transport,
                                                                    .state = BROKER_UP,
                                                                    .why = "",
                                                                    .expires_us = expires_us});
}

static void begin_broker_attempt(struct broker_dial *dial);

/* What is told is what became of the first attempt; the others are to addresses beside it. */
static void note_attempt_failure(const struct broker_attempt *attempt, enum broker_state state,
                                 bool timed_out, const char *why)
{
    struct broker_dial *dial = attempt->owner;

    if (dial->failed && dial->failed < attempt)
        return;
    dial->failed = attempt;
    snprintf(dial->why, sizeof dial->why, "%s", why);
    dial->failure =
        (struct broker_dial_result){.state = state, .timed_out = timed_out, .why = dial->why};
}

/* next: there may be another address. */
static void end_attempt(struct broker_dial *dial, bool next)
{
    dial->ended++;
    if (next && dial->begun < ATTEMPTS_MAX)
        begin_broker_attempt(dial);
    else if (dial->ended == dial->begun)
        answer_broker_dial(dial, &dial->failure);
}

/* ---- the login */

static void describe_login_failure(const struct broker_dial *dial, const char *why,
                                   char text[CLUSTER_FAILURE_MAX])
{
    const char *user = login_account_user(dial->account);

    snprintf(text, CLUSTER_FAILURE_MAX, "logging in%s%.80s (%s) failed: %.190s",
             *user ? " as " : "", user, login_account_mechanism(dial->account), why);
    printable_columns(text);
}

static void note_login_failure(const struct broker_dial *dial, const char *why)
{
    const struct login_account *account = dial->account;
    char address[ADDRESS_TEXT_MAX];

    address_format(dial->address.host, dial->address.port, address);
    log_warning(dial->cluster->worker->log, "login_failed",
                "The server could not log in at a broker for a client; nothing of the client's was "
                "sent there",
                log_str("cluster", dial->cluster->settings->name), log_str("address", address),
                log_str("rule", account->rule->head.name),
                log_str("user", login_account_user(account)),
                log_str("mechanism", login_account_mechanism(account)), log_str("reason", why));
}

static void count_login(const struct broker_dial *dial, enum metrics_login result)
{
    metrics_add(dial->cluster->worker->metrics, METRIC_BROKER_LOGINS, result, 0, 1);
}

static enum metrics_login metric_of(enum broker_login_result result)
{
    switch (result) {
    case BROKER_LOGIN_DONE:
        return METRICS_LOGIN_DONE;
    case BROKER_LOGIN_SILENT:
        return METRICS_LOGIN_SILENT;
    case BROKER_LOGIN_CLOSED:
        return METRICS_LOGIN_BROKEN_OFF;
    case BROKER_LOGIN_REFUSED:
        return METRICS_LOGIN_REFUSED;
    case BROKER_LOGIN_HELD:
        return METRICS_LOGIN_HELD;
    default:
        return METRICS_LOGIN_UNTRUSTED;
    }
}

/* All brokers of the cluster would say the same. */
static void give_up_login(struct broker_dial *dial, const char *why)
{
    answer_broker_dial(
        dial, &(struct broker_dial_result){
                  .state = BROKER_UNREACHABLE, .login = true, .refused = true, .why = why});
}

static void on_attempt_logged_in(void *context, enum broker_login_result result, const char *why,
                                 uint64_t expires_us)
{
    struct broker_attempt *attempt = context;
    struct broker_dial *dial = attempt->owner;
    char text[CLUSTER_FAILURE_MAX];

    attempt->login = NULL;
    count_login(dial, metric_of(result));
    if (result == BROKER_LOGIN_DONE) {
        succeed_with_attempt(attempt, expires_us);
        return;
    }
    /* What is held the log has said once. */
    if (result != BROKER_LOGIN_HELD)
        note_login_failure(dial, why);
    describe_login_failure(dial, why, text);
    if (result == BROKER_LOGIN_REFUSED || result == BROKER_LOGIN_HELD) {
        give_up_login(dial, text);
        return;
    }
    note_attempt_failure(attempt,
                         result == BROKER_LOGIN_SILENT ? BROKER_HANGING : BROKER_UNREACHABLE,
                         result == BROKER_LOGIN_SILENT, text);
    /* It may be this account's trouble alone: without the proof, a broker that takes connections
     * is up (--no-check-brokers). */
    dial->failure.login = true;
    end_attempt(dial, true);
}

/* The other end speaks Kafka, as far as that was asked. */
static void log_in_attempt(struct broker_attempt *attempt)
{
    struct broker_dial *dial = attempt->owner;

    if (!login_account_logs_in(dial->account)) {
        succeed_with_attempt(attempt, 0);
        return;
    }
    /* Each attempt more would be a login more. */
    timer_stop(dial->next);
    if (dial->logs_in)
        dial->logs_in(dial->context);
    attempt->login = broker_login_start(dial->cluster->worker, attempt->transport, dial->account,
                                        dial->timeout_ms, on_attempt_logged_in, attempt);
}

/* A client that tries again and again must not lock the account; or there is nothing to try. */
static void refuse_held(struct broker_dial *dial)
{
    char why[LOGIN_OBSTACLE_MAX];
    char text[CLUSTER_FAILURE_MAX];

    login_account_obstacle(dial->account, clock_now_us(), why);
    describe_login_failure(dial, why, text);
    count_login(dial, METRICS_LOGIN_HELD);
    give_up_login(dial, text);
}

/* ---- the proof */

static void on_attempt_proven(void *context, enum proof_result result, const char *why)
{
    struct broker_attempt *attempt = context;
    struct broker_dial *dial = attempt->owner;
    char text[CLUSTER_FAILURE_MAX];

    attempt->proof = NULL;
    switch (result) {
    case PROOF_GIVEN:
        if (!dial->announced)
            cluster_broker_answered(dial->cluster, dial->bootstrap);
        log_in_attempt(attempt);
        return;
    case PROOF_SILENT:
        snprintf(text, sizeof text,
                 "the broker hangs: it accepts connections but did not answer an ApiVersions "
                 "request within %u ms",
                 dial->timeout_ms);
        note_attempt_failure(attempt, BROKER_HANGING, true, text);
        break;
    case PROOF_ALERT:
        snprintf(text, sizeof text, "TLS: %s; %s", why, cluster_tls_advice(TLS_FAILURE_ALERT));
        note_attempt_failure(attempt, BROKER_UNREACHABLE, false, text);
        break;
    case PROOF_CLOSED:
        snprintf(text, sizeof text, "%s after an ApiVersions request%s", why,
                 dial->cluster->access.tls.context
                     ? ""
                     : "; a broker that requires TLS (--kafka-tls) or is older than Kafka 0.10 "
                       "(--no-check-brokers) does this");
        note_attempt_failure(attempt, BROKER_FOREIGN, false, text);
        break;
    default:
        snprintf(text, sizeof text, "no Kafka broker answers there: %s", why);
        note_attempt_failure(attempt, BROKER_FOREIGN, false, text);
    }
    end_attempt(dial, true);
}

static void note_attempt_forbidden(const struct broker_attempt *attempt)
{
    struct broker_dial *dial = attempt->owner;
    char why[CLUSTER_FAILURE_MAX];

    if (dial->verdict == ADDRESS_UNLISTED)
        snprintf(why, sizeof why, "--allow-brokers of tunnel-server does not name it");
    else if (dial->verdict == ADDRESS_DENIED)
        snprintf(why, sizeof why, "--deny-brokers %.100s of tunnel-server forbids it", dial->rule);
    else
        snprintf(why, sizeof why,
                 "it is a %s address, where no broker is expected; to allow it, give its network "
                 "to --allow-brokers of tunnel-server",
                 dial->rule);
    note_attempt_failure(attempt, BROKER_UNREACHABLE, false, why);
    dial->failure.forbidden = true;
    dial->failure.rule = dial->verdict == ADDRESS_UNLISTED ? "--allow-brokers" : dial->rule;
}

static void prove_attempt(struct broker_attempt *attempt, const struct dial_result *result)
{
    struct broker_dial *dial = attempt->owner;
    struct cluster *cluster = dial->cluster;
    int fd = transport_fd(result->transport);

    attempt->transport = result->transport;
    attempt->peer.size = sizeof attempt->peer.storage;
    if (getpeername(fd, (struct sockaddr *)&attempt->peer.storage, &attempt->peer.size) != 0)
        attempt->peer.size = 0;
    else if (!dial->announced && socket_is_loopback(&attempt->peer))
        cluster_broker_on_loopback(cluster);
    if (!cluster->access.check) {
        log_in_attempt(attempt);
        return;
    }
    attempt->proof = proof_start(cluster->worker, result->transport, dial->timeout_ms,
                                 on_attempt_proven, attempt);
    if (dial->begun < ATTEMPTS_MAX)
        timer_start_us(dial->next, NEXT_ADDRESS_US);
}

static void on_attempt_dialled(void *context, const struct dial_result *result)
{
    struct broker_attempt *attempt = context;
    struct broker_dial *dial = attempt->owner;
    char why[CLUSTER_FAILURE_MAX];

    attempt->dial = NULL;
    switch (result->failure) {
    case DIAL_FAILURE_NONE:
        prove_attempt(attempt, result);
        return;
    case DIAL_FAILURE_FORBIDDEN:
        /* Or all its addresses are taken by attempts before this one. */
        if (attempt == dial->attempts)
            note_attempt_forbidden(attempt);
        break;
    default:
        cluster_describe_failure(result, why);
        /* Who takes the connection and is silent in TLS hangs as well. */
        note_attempt_failure(attempt,
                             result->timed_out && result->failure == DIAL_FAILURE_TLS
                                 ? BROKER_HANGING
                                 : BROKER_UNREACHABLE,
                             result->timed_out, why);
    }
    end_attempt(dial, false);
}

static struct address_ip ip_of_socket(const struct socket_address *address)
{
    struct address_ip ip;

    socket_ip(address, ip.bytes);
    return ip;
}

static bool permit_address(void *context, const struct socket_address *address)
{
    const struct broker_attempt *attempt = context;
    struct broker_dial *dial = attempt->owner;
    const struct address_ip ip = ip_of_socket(address);
    const char *rule = "";

    for (size_t i = 0; i < dial->begun; i++) {
        const struct broker_attempt *other = &dial->attempts[i];
        const struct address_ip taken = ip_of_socket(&other->peer);
        if (other->peer.size > 0 && memcmp(&taken, &ip, sizeof ip) == 0)
            return false;
    }
    if (!dial->judged)
        return true;
    enum address_verdict verdict =
        address_rules_judge(dial->cluster->access.rules, dial->address.host, &ip,
                            cluster_is_on_loopback(dial->cluster), &rule);
    if (verdict == ADDRESS_ALLOWED)
        return true;
    dial->verdict = verdict;
    dial->rule = rule;
    return false;
}

static void begin_broker_attempt(struct broker_dial *dial)
{
    struct broker_attempt *attempt = &dial->attempts[dial->begun++];
    struct dial_tls tls = dial->cluster->access.tls;

    if (dial->account && dial->account->tls)
        tls.context = dial->account->tls;
    timer_stop(dial->next);
    *attempt = (struct broker_attempt){.owner = dial};
    attempt->dial = dial_start(dial->cluster->worker, dial->address.host, dial->address.port, &tls,
                               dial->timeout_ms, on_attempt_dialled, attempt);
    dial_guard(attempt->dial, permit_address);
}

static void on_next_attempt(void *argument)
{
    struct broker_dial *dial = argument;

    if (dial->held)
        refuse_held(dial);
    else
        begin_broker_attempt(dial);
}

static struct broker_dial *start_broker_dial(struct cluster *cluster, const struct address *address,
                                             struct login_account *account, unsigned timeout_ms,
                                             broker_dial_callback callback, void *context)
{
    struct broker_dial *dial = memory_new(sizeof *dial);

    dial->cluster = cluster;
    dial->account = account;
    dial->address = *address;
    dial->timeout_ms = timeout_ms;
    dial->callback = callback;
    dial->context = context;
    dial->next = timer_new(cluster->worker, on_next_attempt, dial);
    dial->held = login_account_held_until(account, clock_now_us()) > 0;
    if (dial->held)
        timer_fire(dial->next);
    else
        begin_broker_attempt(dial);
    return dial;
}

struct broker_dial *broker_dial_bootstrap(struct cluster *cluster, size_t broker,
                                          struct login_account *account, unsigned timeout_ms,
                                          broker_dial_callback callback, void *context)
{
    struct broker_dial *dial = start_broker_dial(cluster, &cluster->settings->brokers[broker],
                                                 account, timeout_ms, callback, context);

    dial->bootstrap = broker;
    return dial;
}

void broker_dial_on_login(struct broker_dial *dial, void (*logs_in)(void *context))
{
    dial->logs_in = logs_in;
}

struct broker_dial *broker_dial_announced(struct cluster *cluster, const struct address *address,
                                          struct login_account *account, unsigned timeout_ms,
                                          broker_dial_callback callback, void *context)
{
    struct broker_dial *dial =
        start_broker_dial(cluster, address, account, timeout_ms, callback, context);

    dial->announced = true;
    /* What is configured needs no rule. */
    dial->judged = !cluster_is_bootstrap(cluster, address);
    return dial;
}
