#include "brokers/probes.h"

#include <stdlib.h>

#include "base/memory.h"
#include "brokers/broker_dial.h"
#include "io/timer.h"

enum { ROUND_S = 10 };

struct probe {
    struct probes *probes;
    struct cluster *cluster;
    size_t broker;
    struct broker_dial *dial; /* NULL: none runs */
};

struct probes {
    struct cluster *clusters;
    size_t cluster_count;
    unsigned timeout_ms;
    struct timer *round;
    bool stopped;
    size_t count;
    struct probe each[]; /* cluster by cluster */
};

/* The cluster has been told what there is to know. */
static void on_probed(void *context, const struct broker_dial_result *result)
{
    struct probe *probe = context;

    probe->dial = NULL;
    transport_free(result->transport);
}

static void start_probe(struct probe *probe)
{
    if (!probe->dial && !probe->probes->stopped)
        probe->dial = broker_dial_bootstrap(probe->cluster, probe->broker, NULL,
                                            probe->probes->timeout_ms, on_probed, probe);
}

static void on_round(void *argument)
{
    struct probes *probes = argument;

    for (size_t i = 0; i < probes->count; i++)
        start_probe(&probes->each[i]);
    timer_start_ms(probes->round, ROUND_S * 1000);
}

/* context: the probe of the cluster's first broker. */
static void on_doubted(void *context, size_t broker)
{
    struct probe *first = context;

    start_probe(first + broker);
}

struct probes *probes_new(struct worker *worker, struct cluster *clusters, size_t count,
                          unsigned timeout_ms)
{
    size_t brokers = 0;

    for (size_t i = 0; i < count; i++)
        brokers += clusters[i].settings->count;
    struct probes *probes = memory_new(sizeof *probes + brokers * sizeof probes->each[0]);
    probes->clusters = clusters;
    probes->cluster_count = count;
    probes->timeout_ms = timeout_ms;
    for (size_t i = 0; i < count; i++) {
        clusters[i].doubted = on_doubted;
        clusters[i].context = &probes->each[probes->count];
        for (size_t broker = 0; broker < clusters[i].settings->count; broker++)
            probes->each[probes->count++] =
                (struct probe){.probes = probes, .cluster = &clusters[i], .broker = broker};
    }
    probes->round = timer_new(worker, on_round, probes);
    probes_begin_round(probes);
    return probes;
}

void probes_begin_round(struct probes *probes)
{
    if (!probes->stopped)
        timer_fire(probes->round);
}

void probes_stop(struct probes *probes)
{
    probes->stopped = true;
    timer_stop(probes->round);
}

void probes_free(struct probes *probes)
{
    if (!probes)
        return;
    for (size_t i = 0; i < probes->count; i++)
        broker_dial_cancel(probes->each[i].dial);
    for (size_t i = 0; i < probes->cluster_count; i++)
        probes->clusters[i].doubted = NULL;
    timer_free(probes->round);
    free(probes);
}
