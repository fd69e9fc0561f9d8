#include "status.h"

#include <stdlib.h>
#include <string.h>

#include "base/memory.h"
#include "http/server.h"
#include "io/clock.h"
#include "status-files.h"

/* Those at the door that got neither a page nor a tunnel, and what limits have refused. */
static uint64_t count_refused(struct metrics *metrics)
{
    return metrics_sum(metrics, METRIC_HANDSHAKES_ENDED, 0) +
           metrics_sum(metrics, METRIC_LIMITED, 0) -
           *metrics_at(metrics, METRIC_HANDSHAKES_ENDED, HTTP_SERVER_UPGRADED, 0) -
           *metrics_at(metrics, METRIC_HANDSHAKES_ENDED, HTTP_SERVER_PAGE, 0) -
           *metrics_at(metrics, METRIC_HANDSHAKES_ENDED, HTTP_SERVER_HUNG_UP, 0);
}

/* How often each of a metric's names was counted; names that never were are left out. */
static void put_counts(struct metrics *metrics, enum metric_id id, enum metrics_set set,
                       const char *key, struct json_writer *json)
{
    const struct metrics_names *names = &metrics->sets[set];

    json_put_array(json, key);
    for (size_t i = 0; i < names->count; i++) {
        uint64_t count = *metrics_at(metrics, id, i, 0);
        if (count == 0)
            continue;
        json_put_object(json, NULL);
        json_put_string(json, "name", names->names[i]);
        json_put_u64(json, "count", count);
        json_put_end(json);
    }
    json_put_end(json);
}

static void put_problems(const struct log_counts *counts, struct json_writer *json)
{
    json_put_array(json, "problems");
    for (size_t i = 0; i < counts->problem_count; i++) {
        json_put_object(json, NULL);
        json_put_string(json, "event", counts->problems[i].event);
        json_put_u64(json, "count", counts->problems[i].count);
        json_put_end(json);
    }
    json_put_end(json);
}

static void put_server_totals(struct metrics *metrics, struct json_writer *json)
{
    json_put_object(json, "totals");
    json_put_u64(json, "bytes_up", metrics_sum(metrics, METRIC_STREAM_BYTES, METRICS_UP));
    json_put_u64(json, "bytes_down", metrics_sum(metrics, METRIC_STREAM_BYTES, METRICS_DOWN));
    json_put_u64(json, "streams", metrics_sum(metrics, METRIC_STREAMS, 0));
    json_put_u64(json, "streams_opened", metrics_sum(metrics, METRIC_STREAMS_OPENED, 0));
    json_put_u64(json, "refused", count_refused(metrics));
    json_put_end(json);
}

static void put_server_status(const struct server *server, struct pages_answer *answer)
{
    const struct memory_budget *budget = memory_budget_whole(&server->worker->budget);
    struct json_writer json;

    answer->type = "application/json";
    json_writer_init(&json, &answer->body);
    json_put_object(&json, NULL);
    json_put_string(&json, "program", "tunnel-server");
    json_put_string(&json, "version", KAFKA_TUNNEL_VERSION);
    json_put_u64(&json, "now_ms", telemetry_wall_clock_us() / 1000);
    json_put_u64(&json, "started_ms", telemetry_started_us(server->telemetry) / 1000);
    json_put_bool(&json, "ready", server_is_ready(server));
    json_put_bool(&json, "draining", server->host.draining);
    json_put_object(&json, "memory");
    json_put_u64(&json, "retained", budget->send.used);
    json_put_u64(&json, "granted", budget->receive.used);
    json_put_u64(&json, "limit", budget->send.total + budget->receive.total);
    json_put_end(&json);
    struct metrics *metrics = server->worker->metrics;
    put_server_totals(metrics, &json);
    put_counts(metrics, METRIC_HANDSHAKES_ENDED, METRICS_DOOR, "door", &json);
    put_counts(metrics, METRIC_LIMITED, METRICS_LIMIT, "limited", &json);
    put_problems(&server->worker->log->counts, &json);
    json_put_array(&json, "clusters");
    for (size_t i = 0; i < server->options->cluster_count; i++)
        cluster_write(&server->clusters[i], &json);
    json_put_end(&json);
    json_put_u64(&json, "session_count", server->host.session_count);
    session_write_all(&server->host, &json);
    json_put_end(&json);
    text_bytes(&answer->body, "\n", 1);
}

/* ---- /history.json */

enum {
    HISTORY_BYTES_UP,
    HISTORY_BYTES_DOWN,
    HISTORY_SESSIONS,
    HISTORY_STREAMS,
    HISTORY_REFUSED,
    HISTORY_COUNT
};

static const struct history_field history_fields[HISTORY_COUNT] = {
    [HISTORY_BYTES_UP] = {"bytes_up", true},  [HISTORY_BYTES_DOWN] = {"bytes_down", true},
    [HISTORY_SESSIONS] = {"sessions", false}, [HISTORY_STREAMS] = {"streams", false},
    [HISTORY_REFUSED] = {"refused", true},
};

/* Only what is counted anyway: it must not cost more with more sessions. */
static void on_server_history(void *argument)
{
    struct status *status = argument;
    struct metrics *metrics = status->server->worker->metrics;
    const uint64_t values[HISTORY_COUNT] = {
        [HISTORY_BYTES_UP] = metrics_sum(metrics, METRIC_STREAM_BYTES, METRICS_UP),
        [HISTORY_BYTES_DOWN] = metrics_sum(metrics, METRIC_STREAM_BYTES, METRICS_DOWN),
        [HISTORY_SESSIONS] = status->server->host.session_count,
        [HISTORY_STREAMS] = metrics_sum(metrics, METRIC_STREAMS, 0),
        [HISTORY_REFUSED] = count_refused(metrics),
    };

    history_add(status->history, clock_now_us(), values);
}

/* ---- the other pages */

static void on_server_status_collect(void *context)
{
    const struct status *status = context;
    const struct server *server = status->server;
    struct metrics *metrics = server->worker->metrics;
    struct telemetry_sessions sum = {0};

    telemetry_collect(server->telemetry);
    session_sum_up(&server->host, &sum);
    telemetry_collect_sessions(server->telemetry, &sum);
    metrics_set(metrics, METRIC_HANDSHAKES, 0, 0, http_server_count(server->http));
    metrics_set(metrics, METRIC_SESSIONS, 0, 0, server->host.session_count);
    size_t broker = 0; /* in METRICS_BROKER */
    for (size_t i = 0; i < server->options->cluster_count; i++) {
        const struct health health = cluster_health(&server->clusters[i]);
        for (size_t at = 0; at < health.count; at++, broker++)
            for (size_t state = 0; state < BROKER_STATES; state++)
                metrics_set(metrics, METRIC_BOOTSTRAP_BROKER, broker, state,
                            health.brokers[at].state == state);
        metrics_set(metrics, METRIC_CLUSTER_REACHABLE, i, 0,
                    cluster_is_reachable(&server->clusters[i]));
        metrics_set(metrics, METRIC_CLUSTER_NODES, i, 0, cluster_node_count(&server->clusters[i]));
    }
}

static void tell_readiness(struct status *status, struct pages_answer *answer)
{
    bool ready =
        server_tell_readiness(status->server, false, status->readiness, sizeof status->readiness);

    pages_say(answer, ready ? 200 : 503, status->readiness);
}

static bool on_server_status_page(void *context, const struct pages_request *request,
                                  struct pages_answer *answer)
{
    struct status *status = context;

    if (request->post)
        return false;
    if (strcmp(request->path, "/status.json") == 0)
        put_server_status(status->server, answer);
    else if (strcmp(request->path, "/history.json") == 0)
        history_put_page(status->history, answer);
    else if (strcmp(request->path, "/readyz") == 0)
        tell_readiness(status, answer);
    else if (strcmp(request->path, "/startupz") == 0)
        /* These pages are there when everything has started. */
        pages_say(answer, 200, "started\n");
    else
        return pages_put_file(answer, status_files, sizeof status_files / sizeof *status_files,
                              request->path);
    return true;
}

static const struct pages_owner pages_owner = {.collect = on_server_status_collect,
                                               .page = on_server_status_page};

bool status_start(struct status *status, const struct server *server, char *error, size_t size)
{
    const struct options *options = server->options;

    *status = (struct status){.server = server};
    if (!options->shared.status)
        return true;
    status->history = memory_new(sizeof *status->history);
    history_init(status->history, history_fields, HISTORY_COUNT);
    status->sample = timer_new(server->worker, on_server_history, status);
    timer_repeat_ms(status->sample, HISTORY_PERIOD_MS);
    status->pages =
        pages_new(server->worker, &options->status_address, &pages_owner, status, error, size);
    return status->pages != NULL;
}

void status_stop(struct status *status)
{
    pages_free(status->pages);
    timer_free(status->sample);
    free(status->history);
}
