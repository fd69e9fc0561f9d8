#include "brokers/bootstrap.h"

#include <assert.h>
#include <stdlib.h>

#include "base/memory.h"
#include "brokers/broker_dial.h"
#include "brokers/failures.h"
#include "io/timer.h"

enum { NEXT_BROKER_US = 250 * 1000 };

static_assert(ADDRESS_BROKERS_MAX <= 64, "a bit for each broker");

struct runner {
    struct bootstrap *bootstrap;
    size_t broker;
    struct broker_dial *dial; /* NULL: has failed */
};

struct bootstrap {
    struct cluster *cluster;
    struct login_account *account;
    bootstrap_callback callback;
    void *context;
    unsigned timeout_ms;
    struct timer *next;
    struct failures failures;
    size_t count;
    size_t begun;
    size_t failed;
    struct runner runners[]; /* count, in the order in which they begin */
};

void bootstrap_cancel(struct bootstrap *bootstrap)
{
    if (!bootstrap)
        return;
    for (size_t i = 0; i < bootstrap->begun; i++)
        broker_dial_cancel(bootstrap->runners[i].dial);
    timer_free(bootstrap->next);
    free(bootstrap);
}

static void on_runner_dialled(void *context, const struct broker_dial_result *result);

/* Each broker more that is asked meanwhile would be a login more. The next one has its turn when
 * this one has failed. */
static void on_runner_logs_in(void *context)
{
    const struct runner *runner = context;

    timer_stop(runner->bootstrap->next);
}

static void begin_next_runner(struct bootstrap *bootstrap)
{
    struct runner *runner = &bootstrap->runners[bootstrap->begun++];

    runner->dial = broker_dial_bootstrap(bootstrap->cluster, runner->broker, bootstrap->account,
                                         bootstrap->timeout_ms, on_runner_dialled, runner);
    broker_dial_on_login(runner->dial, on_runner_logs_in);
    if (bootstrap->begun < bootstrap->count)
        timer_start_us(bootstrap->next, NEXT_BROKER_US);
    else
        timer_stop(bootstrap->next);
}

static void on_next_runner(void *argument)
{
    begin_next_runner(argument);
}

static void runner_won(const struct runner *winner, const struct broker_dial_result *result)
{
    struct bootstrap *bootstrap = winner->bootstrap;
    struct cluster *cluster = bootstrap->cluster;
    bootstrap_callback callback = bootstrap->callback;
    void *context = bootstrap->context;
    const struct bootstrap_result won = {
        .transport = result->transport, .broker = winner->broker, .expires_us = result->expires_us};

    cluster_broker_preferred(cluster, winner->broker);
    for (const struct runner *one = bootstrap->runners; one < winner; one++)
        if (one->dial)
            cluster_broker_doubted(cluster, one->broker);
    bootstrap_cancel(bootstrap);
    callback(context, &won);
}

static void all_runners_failed(struct bootstrap *bootstrap, const struct broker_dial_result *last)
{
    bootstrap->callback(bootstrap->context,
                        &(struct bootstrap_result){.state = last->state,
                                                   .timed_out = last->timed_out,
                                                   .login = last->login,
                                                   .reason = bootstrap->failures.text});
    bootstrap_cancel(bootstrap);
}

static void on_runner_dialled(void *context, const struct broker_dial_result *result)
{
    struct runner *runner = context;
    struct bootstrap *bootstrap = runner->bootstrap;

    runner->dial = NULL;
    if (result->state == BROKER_UP) {
        runner_won(runner, result);
        return;
    }
    failures_add(&bootstrap->failures, &bootstrap->cluster->settings->brokers[runner->broker],
                 result->why);
    bootstrap->failed++;
    if (result->refused)
        all_runners_failed(bootstrap, result);
    else if (bootstrap->begun < bootstrap->count)
        begin_next_runner(bootstrap);
    else if (bootstrap->failed == bootstrap->count)
        all_runners_failed(bootstrap, result);
}

struct bootstrap *bootstrap_start(struct cluster *cluster, struct login_account *account,
                                  uint64_t without, unsigned timeout_ms,
                                  bootstrap_callback callback, void *context)
{
    const struct health health = cluster_health(cluster);
    size_t all = health.count;
    struct bootstrap *bootstrap =
        memory_new(sizeof *bootstrap + all * sizeof bootstrap->runners[0]);
    uint8_t order[ADDRESS_BROKERS_MAX];

    bootstrap->cluster = cluster;
    bootstrap->account = account;
    bootstrap->timeout_ms = timeout_ms;
    bootstrap->callback = callback;
    bootstrap->context = context;
    bootstrap->next = timer_new(cluster->worker, on_next_runner, bootstrap);
    health_order(&health, order);
    for (size_t i = 0; i < all; i++)
        if (!(without >> order[i] & 1))
            bootstrap->runners[bootstrap->count++] =
                (struct runner){.bootstrap = bootstrap, .broker = order[i]};
    begin_next_runner(bootstrap);
    return bootstrap;
}
