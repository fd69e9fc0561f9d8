/*
 * The room monitoring/ shows how a program fares: its figures, and the pages where they stand.
 *
 * A program's figures: joins the table of metrics (metrics/table.h) to the names that its labels
 * take, which the other rooms and the configuration know, and fills in what is known elsewhere when
 * somebody asks for the page.
 */
#pragma once

#include "base/json.h"
#include "io/worker.h"
#include "metrics/metrics.h"
#include "tunnel/link.h"
#include "tunnel/relay.h"

struct telemetry;

/* The names in an array of structs. */
struct telemetry_list {
    const char *first;
    size_t stride; /* bytes from one to the next */
    size_t count;
};

#define TELEMETRY_LIST(array, number)                                                              \
    {                                                                                              \
        .first = (number) > 0 ? (array)->name : NULL, .stride = sizeof *(array), .count = (number) \
    }

/* Names of the configuration; they must live as long as the worker. A cluster or target that is
 * there twice counts once. */
struct telemetry_names {
    struct telemetry_list clusters;
    struct telemetry_list targets; /* raw ones */
    const char *const *brokers;    /* bootstrap brokers, "cluster/host:port"; NULL: not shown */
    size_t broker_count;
    const char *const *broker_states;
    size_t broker_state_count;
};

/* From here on worker->metrics can be counted in. It ends with the worker. */
struct telemetry *telemetry_start(struct worker *worker, enum metric_place place,
                                  const struct telemetry_names *names);
/* The same for another worker, with the same names; the first one ends last. */
void telemetry_start_beside(struct worker *worker, const struct telemetry *first);
/* Adds to the first one's what another worker, which stands still, has counted. */
void telemetry_take(struct telemetry *first, const struct worker *worker);
/* Microseconds since the epoch. */
uint64_t telemetry_wall_clock_us(void);
/* When telemetry_start() was called, by that clock. */
uint64_t telemetry_started_us(const struct telemetry *telemetry);

/* Brings up to date what is not counted as it happens: process, log, memory. */
void telemetry_collect(struct telemetry *telemetry);

/* An array for /status.json: how often each of a metric's names, of that set, was counted; those
 * that never were are left out. */
void telemetry_put_counts(struct metrics *metrics, enum metric_id id, enum metrics_set set,
                          const char *key, struct json_writer *json);

/* Where a relay counts, by its target (in METRICS_TARGET) and by where its socket leads: METRICS_UP
 * or METRICS_DOWN. */
struct relay_counters telemetry_relay(const struct worker *worker, size_t target, size_t to_socket);

/* Where a link counts. */
struct link_counters telemetry_link(const struct worker *worker);
/* What REJECT with this code makes of an attempt to add a link. */
enum metrics_join telemetry_join(uint16_t code);

/* All sessions of a program, together. */
struct telemetry_sessions {
    uint64_t links;
    uint64_t by_role[LINK_ROLES];
    uint64_t links_wanted;
    uint64_t out_of_order; /* bytes */
};

/* Begin with zeros. Linear in the session's streams: for when somebody asks for the page. */
void telemetry_add_session(struct telemetry_sessions *sum, const struct mux_session *session);
void telemetry_collect_sessions(struct telemetry *telemetry, const struct telemetry_sessions *sum);
