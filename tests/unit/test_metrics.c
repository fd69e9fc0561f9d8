#include "../lib/cmocka.h"

#include <stdlib.h>
#include <string.h>

#include "metrics/metrics.h"

static const char *const one[] = {"1.2"};
static const char *const ends[] = {"closed", "lost"};
static const char *const targets[] = {"kafka", "we\"ird\\na\nme"};
static const char *const directions[] = {"up", "down"};
static const char *const results[] = {"complete", "reset"};
static const char *const apis[] = {"Produce", "Fetch"};
static const char *const versions[] = {"0", "1", "2"};
static const char *events[4];

static struct metrics *start(enum metric_place place)
{
    const struct metrics_names sets[METRICS_SETS] = {
        [METRICS_RELEASE] = {one, 1, false},     [METRICS_LINK_END] = {ends, 2, false},
        [METRICS_HOP] = {ends, 2, true},         [METRICS_CLUSTER] = {targets, 0, false},
        [METRICS_TARGET] = {targets, 2, true},   [METRICS_DIRECTION] = {directions, 2, false},
        [METRICS_RESULT] = {results, 2, true},   [METRICS_API] = {apis, 2, true},
        [METRICS_VERSION] = {versions, 3, true}, [METRICS_LATENCY] = {apis, 2, false},
        [METRICS_EVENT] = {events, 4, true},     [METRICS_LEVEL] = {ends, 2, false},
        [METRICS_LIMIT] = {ends, 2, false},      [METRICS_LINK_ROLE] = {ends, 2, false},
        [METRICS_JOIN] = {ends, 2, false},       [METRICS_REFUSAL] = {ends, 2, false},
    };

    return metrics_new(place, sets);
}

/* The page, to be freed. */
static char *page(struct metrics *metrics)
{
    struct text text;

    text_init(&text, 1 << 20);
    metrics_write(metrics, &text);
    assert_false(text.failed);
    text_bytes(&text, "", 1);
    return text.bytes;
}

static bool has_line(const char *page, const char *line)
{
    size_t size = strlen(line);

    for (const char *at = page; (at = strstr(at, line)); at++)
        if ((at == page || at[-1] == '\n') && at[size] == '\n')
            return true;
    return false;
}

static size_t count_of(const char *page, const char *what)
{
    size_t count = 0;

    for (const char *at = page; (at = strstr(at, what)); at++)
        count++;
    return count;
}

#define assert_line(page, line)                                                                    \
    do {                                                                                           \
        if (!has_line(page, line))                                                                 \
            fail_msg("no line '%s' in\n%s", line, page);                                           \
    } while (0)

static void counters_gauges_and_labels(void **state)
{
    (void)state;
    struct metrics *m = start(METRIC_SERVER);

    metrics_add(m, METRIC_STREAM_BYTES, 0, METRICS_UP, 5);
    metrics_add(m, METRIC_STREAM_BYTES, 0, METRICS_UP, 6);
    metrics_add(m, METRIC_STREAM_BYTES, 1, METRICS_DOWN, 7);
    metrics_set(m, METRIC_LINKS, 0, 0, 3);
    metrics_set(m, METRIC_PROCESS_START, 0, 0, 1234567);
    metrics_add(m, METRIC_LINK_ENDS, 1, 0, 2);
    char *text = page(m);
    assert_line(text, "# TYPE kafka_tunnel_stream_bytes_total counter");
    assert_line(text, "kafka_tunnel_stream_bytes_total{target=\"kafka\",direction=\"up\"} 11");
    assert_line(text, "kafka_tunnel_stream_bytes_total{target=\"kafka\",direction=\"down\"} 0");
    assert_line(text, "kafka_tunnel_stream_bytes_total{target=\"we\\\"ird\\\\na\\nme\",direction="
                      "\"down\"} 7");
    assert_line(text, "# TYPE kafka_tunnel_links gauge");
    assert_line(text, "kafka_tunnel_links 3");
    assert_line(text, "kafka_tunnel_link_ends_total{reason=\"closed\"} 0");
    assert_line(text, "kafka_tunnel_link_ends_total{reason=\"lost\"} 2");
    assert_line(text, "process_start_time_seconds 1.234567");
    free(text);
    metrics_free(m);
}

static void each_program_has_its_own(void **state)
{
    (void)state;
    struct metrics *client = start(METRIC_CLIENT);
    struct metrics *server = start(METRIC_SERVER);
    char *text = page(client);

    assert_non_null(strstr(text, "kafka_tunnel_dials_total"));
    assert_null(strstr(text, "kafka_tunnel_kafka_requests_total"));
    free(text);
    text = page(server);
    assert_null(strstr(text, "kafka_tunnel_dials_total"));
    assert_non_null(strstr(text, "# HELP kafka_tunnel_kafka_requests_total "));
    free(text);
    metrics_free(client);
    metrics_free(server);
}

/* Buckets hold what is up to their bound, bounds included, and add up. */
static void histograms(void **state)
{
    (void)state;
    struct metrics *m = start(METRIC_SERVER);

    metrics_observe(m, METRIC_KAFKA_LATENCY, METRICS_LATENCY_FETCH, 100);
    metrics_observe(m, METRIC_KAFKA_LATENCY, METRICS_LATENCY_FETCH, 101);
    metrics_observe(m, METRIC_KAFKA_LATENCY, METRICS_LATENCY_FETCH, 0);
    metrics_observe(m, METRIC_KAFKA_LATENCY, METRICS_LATENCY_FETCH, UINT32_MAX);
    metrics_observe(m, METRIC_RTT, 0, 2000000);
    char *text = page(m);
#define FETCH "kafka_tunnel_kafka_latency_seconds_bucket{api=\"Fetch\",le="
    assert_line(text, "# TYPE kafka_tunnel_kafka_latency_seconds histogram");
    assert_line(text, FETCH "\"0.0001\"} 2");
    assert_line(text, FETCH "\"0.00025\"} 3");
    assert_line(text, FETCH "\"30\"} 3");
    assert_line(text, FETCH "\"+Inf\"} 4");
    assert_line(text, "kafka_tunnel_kafka_latency_seconds_sum{api=\"Fetch\"} 4294.967496");
    assert_line(text, "kafka_tunnel_kafka_latency_seconds_count{api=\"Fetch\"} 4");
    assert_line(text, "kafka_tunnel_kafka_latency_seconds_count{api=\"Produce\"} 0");
    assert_line(text, "kafka_tunnel_rtt_seconds_bucket{le=\"1\"} 0");
    assert_line(text, "kafka_tunnel_rtt_seconds_bucket{le=\"2.5\"} 1");
    assert_line(text, "kafka_tunnel_rtt_seconds_sum 2.000000");
    free(text);
    metrics_free(m);
}

/* Whatever index comes, there are no more series than the sets have room for. */
static void cardinality_is_bounded(void **state)
{
    (void)state;
    struct metrics *m = start(METRIC_SERVER);

    char *text = page(m);
    assert_int_equal(count_of(text, "kafka_requests_total{"), 0);
    assert_null(strstr(text, "\"other\""));
    free(text);
    for (size_t api = 0; api < 1000; api++)
        for (size_t version = 0; version < 300; version++)
            metrics_add(m, METRIC_KAFKA_REQUESTS, api, version, 1);
    metrics_add(m, METRIC_KAFKA_REQUESTS, SIZE_MAX, SIZE_MAX, 1);
    metrics_add(m, METRIC_STREAMS_ENDED, SIZE_MAX, 1 + 65535, 1);
    text = page(m);
    assert_int_equal(count_of(text, "kafka_requests_total{"), 3 * 4);
    assert_line(text, "kafka_tunnel_kafka_requests_total{api=\"Produce\",version=\"1\"} 1");
    assert_line(text, "kafka_tunnel_kafka_requests_total{api=\"Produce\",version=\"other\"} 297");
    assert_line(text, "kafka_tunnel_kafka_requests_total{api=\"other\",version=\"other\"} 296407");
    assert_line(text, "kafka_tunnel_streams_ended_total{target=\"other\",result=\"other\"} 1");
    free(text);
    metrics_free(m);
}

/* Names that are not known yet have no series; an empty set has none at all. */
static void names_may_come_later(void **state)
{
    (void)state;
    struct metrics *m = start(METRIC_SERVER);

    metrics_set(m, METRIC_PROBLEMS, 0, 0, 4);
    char *text = page(m);
    assert_int_equal(count_of(text, "problems_total{"), 0);
    assert_int_equal(count_of(text, "cluster_reachable{"), 0);
    free(text);
    events[0] = "nodes_full";
    text = page(m);
    assert_line(text, "kafka_tunnel_problems_total{event=\"nodes_full\"} 4");
    free(text);
    events[0] = NULL;
    assert_int_equal(metrics_find(m, METRICS_API, "Fetch"), 1);
    assert_int_equal(metrics_find(m, METRICS_API, "Vote"), 2);
    metrics_free(m);
}

/* The rules of Prometheus: names, units, types; and whole sentences without line ends. */
static void the_table_keeps_the_rules(void **state)
{
    (void)state;
    for (size_t i = 0; i < METRICS; i++) {
        const struct metric *metric = &metrics_table[i];
        assert_non_null(metric->name);
        size_t size = strlen(metric->name);
        bool total = size > 6 && strcmp(metric->name + size - 6, "_total") == 0;
        assert_true(strspn(metric->name, "abcdefghijklmnopqrstuvwxyz_") == size);
        assert_true(total == (metric->kind == METRIC_COUNTER));
        if (metric->unit == METRIC_SECONDS)
            assert_non_null(strstr(metric->name, "_seconds"));
        if (metric->unit == METRIC_BYTES)
            assert_non_null(strstr(metric->name, "_bytes"));
        assert_non_null(metric->help);
        assert_null(strpbrk(metric->help, "\n\\|"));
        assert_false(metric->help[strlen(metric->help) - 1] == '.');
        assert_true(metric->place != 0);
        for (size_t j = 0; j < i; j++)
            assert_string_not_equal(metrics_table[j].name, metric->name);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(counters_gauges_and_labels),
        cmocka_unit_test(each_program_has_its_own),
        cmocka_unit_test(histograms),
        cmocka_unit_test(cardinality_is_bounded),
        cmocka_unit_test(names_may_come_later),
        cmocka_unit_test(the_table_keeps_the_rules),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
