#include "metrics/metrics.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/memory.h"

/* The upper bounds of all histograms' buckets, microseconds; one more bucket has none. From
 * loopback to a sleeping laptop, in steps of 2 to 2.5. */
static const uint64_t bucket_bounds[] = {
    100,    250,    500,    1000,    2500,    5000,    10000,    25000,    50000,
    100000, 250000, 500000, 1000000, 2500000, 5000000, 10000000, 30000000,
};

#define BUCKET_BOUNDS (sizeof bucket_bounds / sizeof bucket_bounds[0])

/* A histogram's values: a count for each bucket, then the sum. */
enum { HISTOGRAM_SUM = BUCKET_BOUNDS + 1, HISTOGRAM_VALUES = BUCKET_BOUNDS + 2 };

static size_t set_count(const struct metrics *metrics, enum metrics_set set)
{
    const struct metrics_names *names = &metrics->sets[set];

    return set == METRICS_NO_SET ? 1 : names->count + names->other;
}

struct metrics *metrics_new(enum metric_place place, const struct metrics_names *names)
{
    struct metrics *metrics = memory_new(sizeof *metrics);
    size_t total = 0;

    metrics->place = place;
    memcpy(metrics->sets, names, sizeof metrics->sets);
    for (size_t id = 0; id < METRICS; id++) {
        const struct metric *metric = &metrics_table[id];
        struct metrics_row *row = &metrics->rows[id];
        row->start = total;
        row->stride = metric->kind == METRIC_HISTOGRAM ? HISTOGRAM_VALUES : 1;
        size_t series = 1;
        for (size_t i = 0; i < METRIC_LABELS_MAX; i++) {
            /* What the program does not have is one place that nobody sees. */
            size_t count = metric->place & place ? set_count(metrics, metric->labels[i].set) : 1;
            /* An empty set has one, too. */
            row->counts[i] = count > 0 ? count : 1;
            series *= row->counts[i];
        }
        total += series * row->stride;
    }
    metrics->values = memory_new_array(total, sizeof *metrics->values);
    metrics->value_count = total;
    return metrics;
}

struct metrics *metrics_new_beside(const struct metrics *metrics)
{
    struct metrics *beside = memory_new(sizeof *beside);

    *beside = *metrics;
    beside->values = memory_new_array(metrics->value_count, sizeof *beside->values);
    return beside;
}

void metrics_take(struct metrics *metrics, struct metrics *from)
{
    for (size_t i = 0; i < metrics->value_count; i++) {
        metrics->values[i] += from->values[i];
        from->values[i] = 0;
    }
}

void metrics_free(struct metrics *metrics)
{
    if (!metrics)
        return;
    free(metrics->values);
    free(metrics);
}

uint64_t metrics_sum(struct metrics *metrics, enum metric_id id, size_t j)
{
    uint64_t sum = 0;

    for (size_t i = 0; i < metrics->rows[id].counts[0]; i++)
        sum += *metrics_at(metrics, id, i, j);
    return sum;
}

void metrics_observe(struct metrics *metrics, enum metric_id id, size_t i, uint64_t microseconds)
{
    uint64_t *values = metrics_at(metrics, id, i, 0);
    size_t bucket = 0;

    while (bucket < BUCKET_BOUNDS && microseconds > bucket_bounds[bucket])
        bucket++;
    values[bucket]++;
    values[HISTOGRAM_SUM] += microseconds;
}

size_t metrics_find(const struct metrics *metrics, enum metrics_set set, const char *name)
{
    const struct metrics_names *names = &metrics->sets[set];

    for (size_t i = 0; i < names->count; i++)
        if (names->names[i] && strcmp(names->names[i], name) == 0)
            return i;
    return names->count;
}

/* ---- the page */

static const char *prefix_of(const struct metric *metric)
{
    return strncmp(metric->name, "process_", 8) == 0 ? "" : METRICS_PREFIX;
}

static const char *kind_name(enum metric_kind kind)
{
    static const char *const names[] = {"counter", "gauge", "histogram"};

    return names[kind];
}

/* Label values: backslash, double quote and line feed are escaped. */
static void put_label_value(struct text *out, const char *value)
{
    for (; *value != '\0'; value++) {
        if (*value == '\n')
            text_string(out, "\\n");
        else if (*value == '"' || *value == '\\')
            text_format(out, "\\%c", *value);
        else
            text_bytes(out, value, 1);
    }
}

/* NULL: there is no such label, or not yet. */
static const char *label_value(const struct metrics *metrics, enum metrics_set set, size_t index)
{
    const struct metrics_names *names = &metrics->sets[set];

    if (index < names->count)
        return names->names[index];
    return names->other && index == names->count ? "other" : NULL;
}

/* The labels without their braces: api="Fetch",version="12" */
static void put_labels(const struct metrics *metrics, const struct metric *metric, struct text *out,
                       const size_t index[METRIC_LABELS_MAX])
{
    for (size_t i = 0; i < METRIC_LABELS_MAX && metric->labels[i].name; i++) {
        text_format(out, "%s%s=\"", i > 0 ? "," : "", metric->labels[i].name);
        put_label_value(out, label_value(metrics, metric->labels[i].set, index[i]));
        text_string(out, "\"");
    }
}

static void put_number(struct text *out, enum metric_unit unit, uint64_t value)
{
    if (unit == METRIC_SECONDS)
        text_format(out, "%" PRIu64 ".%06" PRIu64, value / 1000000, value % 1000000);
    else
        text_format(out, "%" PRIu64, value);
}

static void put_value(const struct metrics *metrics, const struct metric *metric, struct text *out,
                      const size_t index[METRIC_LABELS_MAX], uint64_t value)
{
    text_format(out, "%s%s", prefix_of(metric), metric->name);
    if (metric->labels[0].name) {
        text_string(out, "{");
        put_labels(metrics, metric, out, index);
        text_string(out, "}");
    }
    text_string(out, " ");
    put_number(out, metric->unit, value);
    text_string(out, "\n");
}

/* One line of a histogram, up to its value. */
static void put_part(const struct metrics *metrics, const struct metric *metric, struct text *out,
                     const size_t index[METRIC_LABELS_MAX], const char *part, const char *bound)
{
    bool labels = metric->labels[0].name != NULL;

    text_format(out, "%s%s_%s", prefix_of(metric), metric->name, part);
    if (labels || bound)
        text_string(out, "{");
    put_labels(metrics, metric, out, index);
    if (bound)
        text_format(out, "%sle=\"%s\"", labels ? "," : "", bound);
    text_string(out, labels || bound ? "} " : " ");
}

/* "0.0001", "2.5", "30" */
static void format_bound(uint64_t microseconds, char text[32])
{
    int size = snprintf(text, 32, "%" PRIu64 ".%06" PRIu64, microseconds / 1000000,
                        microseconds % 1000000);

    while (text[size - 1] == '0')
        text[--size] = '\0';
    if (text[size - 1] == '.')
        text[size - 1] = '\0';
}

static void put_histogram(const struct metrics *metrics, const struct metric *metric,
                          struct text *out, const size_t index[METRIC_LABELS_MAX],
                          const uint64_t *values)
{
    uint64_t count = 0;
    char bound[32] = "+Inf";

    for (size_t i = 0; i <= BUCKET_BOUNDS; i++) {
        count += values[i];
        if (i < BUCKET_BOUNDS)
            format_bound(bucket_bounds[i], bound);
        put_part(metrics, metric, out, index, "bucket", i < BUCKET_BOUNDS ? bound : "+Inf");
        text_format(out, "%" PRIu64 "\n", count);
    }
    put_part(metrics, metric, out, index, "sum", NULL);
    put_number(out, metric->unit, values[HISTOGRAM_SUM]);
    text_string(out, "\n");
    put_part(metrics, metric, out, index, "count", NULL);
    text_format(out, "%" PRIu64 "\n", count);
}

/* Whether a series is shown: its labels have names, and it is not an empty one of many. */
static bool is_shown(const struct metrics *metrics, const struct metric *metric,
                     const size_t index[METRIC_LABELS_MAX], uint64_t value)
{
    bool other = false;

    for (size_t i = 0; i < METRIC_LABELS_MAX && metric->labels[i].name; i++) {
        if (!label_value(metrics, metric->labels[i].set, index[i]))
            return false;
        other |= index[i] >= metrics->sets[metric->labels[i].set].count;
    }
    return value != 0 || !(metric->sparse || other);
}

void metrics_write(struct metrics *metrics, struct text *out)
{
    for (size_t id = 0; id < METRICS; id++) {
        const struct metric *metric = &metrics_table[id];
        const struct metrics_row *row = &metrics->rows[id];
        size_t at[METRIC_LABELS_MAX];
        if (!(metric->place & metrics->place))
            continue;
        text_format(out, "# HELP %s%s %s.\n", prefix_of(metric), metric->name, metric->help);
        text_format(out, "# TYPE %s%s %s\n", prefix_of(metric), metric->name,
                    kind_name(metric->kind));
        for (at[0] = 0; at[0] < row->counts[0]; at[0]++) {
            for (at[1] = 0; at[1] < row->counts[1]; at[1]++) {
                const uint64_t *values = metrics_at(metrics, (enum metric_id)id, at[0], at[1]);
                if (metric->kind == METRIC_HISTOGRAM)
                    put_histogram(metrics, metric, out, at, values);
                else if (is_shown(metrics, metric, at, *values))
                    put_value(metrics, metric, out, at, *values);
            }
        }
    }
}

/* ---- the document */

static void put_markdown_labels(const struct metric *metric, struct text *out)
{
    for (size_t i = 0; i < METRIC_LABELS_MAX && metric->labels[i].name; i++)
        text_format(out, "%s`%s`", i > 0 ? ", " : "", metric->labels[i].name);
}

void metrics_write_markdown(struct text *out)
{
    static const char *const units[] = {"", "bytes", "seconds"};
    static const char *const places[] = {"", "client", "server", "both"};

    text_string(out, "| metric | type | unit | labels | at | meaning |\n"
                     "|---|---|---|---|---|---|\n");
    for (size_t id = 0; id < METRICS; id++) {
        const struct metric *metric = &metrics_table[id];
        text_format(out, "| `%s%s` | %s | %s | ", prefix_of(metric), metric->name,
                    kind_name(metric->kind), units[metric->unit]);
        put_markdown_labels(metric, out);
        text_format(out, " | %s | ", places[metric->place]);
        text_format(out, "%s. |\n", metric->help);
    }
}
