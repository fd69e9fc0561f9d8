/*
 * Figures for monitoring: counters, gauges and histograms, and their page in the Prometheus text
 * exposition format 0.0.4 (prometheus.io/docs/instrumenting/exposition_formats).
 *
 * The room metrics/ is for what is measured and how it is shown. It is sans-I/O and may use base/
 * and libc: it knows no sockets, no clock, no log and no other room; the names that labels take
 * (of Kafka APIs, reasons, clusters) are given to it.
 *
 * One table (table.c) says which metrics there are; the page and docs/metrics.md come from it. All
 * values are in one array that metrics_new() allocates, so counting is an addition: no allocation,
 * no lock, no search. One object belongs to one thread.
 *
 * Labels come from closed sets only, known at the start: what peers send never makes a new series.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/text.h"
#include "metrics/table.h"

/* The values that a label may have. */
struct metrics_names {
    const char *const *names; /* NULL in it: not known yet, its series are left out */
    size_t count;
    bool other; /* an index beyond count counts as "other" */
};

/* Where a metric's series are: counts[0] x counts[1] of them, each stride values. */
struct metrics_row {
    size_t start;
    size_t counts[METRIC_LABELS_MAX];
    size_t stride;
};

struct metrics {
    enum metric_place place; /* which program it is */
    struct metrics_names sets[METRICS_SETS];
    struct metrics_row rows[METRICS];
    uint64_t *values;
    size_t value_count;
};

/* names: one a set, by enum metrics_set; what they point at lives as long. Aborts without memory.
 */
struct metrics *metrics_new(enum metric_place place, const struct metrics_names *names);
/* The same series for another thread, all 0. */
struct metrics *metrics_new_beside(const struct metrics *metrics);
void metrics_free(struct metrics *metrics);
/* Adds what from, of metrics_new_beside(), has counted, which counts from 0 again. Its thread
 * stands still meanwhile. Gauges that are counted up and down go to the sum as well: a part of it
 * may be less than 0, in arithmetic modulo 2^64. */
void metrics_take(struct metrics *metrics, struct metrics *from);

/* The series of a metric with the labels' indices i and j; 0 for a label that it does not have. An
 * index that the set does not have stands for the last one: "other", where there is that. */
static inline uint64_t *metrics_at(struct metrics *metrics, enum metric_id id, size_t i, size_t j)
{
    const struct metrics_row *row = &metrics->rows[id];

    if (i >= row->counts[0])
        i = row->counts[0] - 1;
    if (j >= row->counts[1])
        j = row->counts[1] - 1;
    return &metrics->values[row->start + (i * row->counts[1] + j) * row->stride];
}

static inline void metrics_add(struct metrics *metrics, enum metric_id id, size_t i, size_t j,
                               uint64_t value)
{
    *metrics_at(metrics, id, i, j) += value;
}

/* For gauges, and for counters that are kept elsewhere. */
static inline void metrics_set(struct metrics *metrics, enum metric_id id, size_t i, size_t j,
                               uint64_t value)
{
    *metrics_at(metrics, id, i, j) = value;
}

/* Of all values of the first label. */
uint64_t metrics_sum(struct metrics *metrics, enum metric_id id, size_t j);

/* Adds a duration to a histogram. */
void metrics_observe(struct metrics *metrics, enum metric_id id, size_t i, uint64_t microseconds);

/* The index of a name in a set; the set's count if it is not there. For rare events only. */
size_t metrics_find(const struct metrics *metrics, enum metrics_set set, const char *name);

/* Writes the page. */
void metrics_write(struct metrics *metrics, struct text *out);
/* Writes the table of metrics as Markdown, for docs/metrics.md. */
void metrics_write_markdown(struct text *out);
