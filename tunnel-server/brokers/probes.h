/*
 * Asks every bootstrap broker of every cluster, again and again, whether it answers: what
 * readiness, status and metrics say, and in which order clients' connections try them (health.h).
 * One that was doubted is asked at once.
 */
#pragma once

#include "brokers/cluster.h"

struct probes;

/* The clusters must outlive the probes. timeout_ms: as for broker_dial_bootstrap(). */
struct probes *probes_new(struct worker *worker, struct cluster *clusters, size_t count,
                          unsigned timeout_ms);
/* Asks all of them now, instead of when the next round is due; not after probes_stop(). */
void probes_begin_round(struct probes *probes);
/* No further rounds. */
void probes_stop(struct probes *probes);
/* NULL is fine. */
void probes_free(struct probes *probes);
