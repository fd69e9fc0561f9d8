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

static uint64_t count_sessions(const struct server *server)
{
    uint64_t count = 0;

    for (size_t i = 0; i < crew_size(server->crew); i++)
        count += server->shards[i].host.session_count;
    return count;
}

/* What a page is made of while workers stand still. */
struct survey {
    const struct status *status;
    struct json_writer json;
    struct telemetry_sessions sum;
    uint64_t session_count;
};

static void write_workers(const struct server *server, struct json_writer *json)
{
    json_put_array(json, "workers");
    for (size_t i = 0; i < crew_size(server->crew); i++) {
        const struct tenants *tenants = &server->shards[i].tenants;
        json_put_object(json, NULL);
        json_put_u64(json, "sessions", share_used_of(&tenants->held[TENANT_SESSIONS]));
        json_put_u64(json, "links", share_used_of(&tenants->held[TENANT_LINKS]));
        json_put_u64(json, "connections", share_used_of(&tenants->held[TENANT_STREAMS]));
        json_put_end(json);
    }
    json_put_end(json);
}

/* Workers stand still: what each has counted is home's from now on. */
static void take_figures(const struct server *server)
{
    for (size_t i = 1; i < crew_size(server->crew); i++)
        telemetry_take(server->telemetry, server->shards[i].worker);
}

static void write_sessions(const struct server *server, struct json_writer *json)
{
    struct session_shown left = SESSION_SHOWN;

    json_put_u64(json, "session_count", count_sessions(server));
    json_put_array(json, "sessions");
    for (size_t i = 0; i < crew_size(server->crew); i++)
        session_write_all(&server->shards[i].host, json, &left);
    json_put_end(json);
}

static void write_server_status(void *context)
{
    struct survey *survey = context;
    const struct server *server = survey->status->server;
    const struct memory_budget *budget = memory_budget_whole(&server->worker->budget);
    struct metrics *metrics = server->worker->metrics;
    struct json_writer *json = &survey->json;

    take_figures(server);
    json_put_object(json, NULL);
    json_put_string(json, "program", "tunnel-server");
    json_put_string(json, "version", KAFKA_TUNNEL_VERSION);
    json_put_u64(json, "now_ms", telemetry_wall_clock_us() / 1000);
    json_put_u64(json, "started_ms", telemetry_started_us(server->telemetry) / 1000);
    json_put_bool(json, "ready", server_is_ready(server));
    json_put_bool(json, "draining", server->shards[0].host.draining);
    json_put_object(json, "memory");
    json_put_u64(json, "retained", share_used_of(&budget->send));
    json_put_u64(json, "granted", share_used_of(&budget->receive));
    json_put_u64(json, "limit", budget->send.total + budget->receive.total);
    json_put_end(json);
    confine_write(&survey->status->confined, json);
    put_server_totals(metrics, json);
    telemetry_put_counts(metrics, METRIC_HANDSHAKES_ENDED, METRICS_DOOR, "door", json);
    telemetry_put_counts(metrics, METRIC_LIMITED, METRICS_LIMIT, "limited", json);
    put_problems(&server->worker->log->counts, json);
    json_put_array(json, "clusters");
    for (size_t i = 0; i < server->options->cluster_count; i++)
        cluster_write(&server->shards[0].clusters[i], json);
    json_put_end(json);
    audit_write_status(server->audit, json);
    write_workers(server, json);
    write_sessions(server, json);
    json_put_end(json);
}

static void put_server_status(const struct status *status, struct pages_answer *answer)
{
    struct survey survey = {.status = status};

    json_writer_init(&survey.json, &answer->body);
    if (!server_survey(status->server, write_server_status, &survey)) {
        pages_say(answer, 503, "a worker of the server does not come to a stop: see the log\n");
        return;
    }
    answer->type = "application/json";
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

static void see_figures(void *context)
{
    struct survey *survey = context;

    take_figures(survey->status->server);
    survey->session_count = count_sessions(survey->status->server);
}

/* Only what is counted anyway: it must not cost more with more sessions. */
static void on_server_history(void *argument)
{
    struct status *status = argument;
    struct metrics *metrics = status->server->worker->metrics;
    struct survey survey = {.status = status};

    if (!server_survey(status->server, see_figures, &survey))
        return;
    const uint64_t values[HISTORY_COUNT] = {
        [HISTORY_BYTES_UP] = metrics_sum(metrics, METRIC_STREAM_BYTES, METRICS_UP),
        [HISTORY_BYTES_DOWN] = metrics_sum(metrics, METRIC_STREAM_BYTES, METRICS_DOWN),
        [HISTORY_SESSIONS] = survey.session_count,
        [HISTORY_STREAMS] = metrics_sum(metrics, METRIC_STREAMS, 0),
        [HISTORY_REFUSED] = count_refused(metrics),
    };

    history_add(status->history, clock_now_us(), values);
}

/* ---- the other pages */

static void sum_up_workers(void *context)
{
    struct survey *survey = context;
    const struct server *server = survey->status->server;

    survey->session_count = count_sessions(server);
    for (size_t i = 0; i < crew_size(server->crew); i++)
        session_sum_up(&server->shards[i].host, &survey->sum);
    take_figures(server);
    telemetry_collect(server->telemetry);
}

static void on_server_status_collect(void *context)
{
    const struct status *status = context;
    const struct server *server = status->server;
    struct metrics *metrics = server->worker->metrics;
    struct survey survey = {.status = status};

    if (server_survey(server, sum_up_workers, &survey)) {
        telemetry_collect_sessions(server->telemetry, &survey.sum);
        metrics_set(metrics, METRIC_SESSIONS, 0, 0, survey.session_count);
    }
    metrics_set(metrics, METRIC_HANDSHAKES, 0, 0, http_server_count(server->http));
    audit_collect(server->audit, metrics);
    size_t broker = 0; /* in METRICS_BROKER */
    for (size_t i = 0; i < server->options->cluster_count; i++) {
        const struct cluster *cluster = &server->shards[0].clusters[i];
        const struct health health = cluster_health(cluster);
        for (size_t at = 0; at < health.count; at++, broker++)
            for (size_t state = 0; state < BROKER_STATES; state++)
                metrics_set(metrics, METRIC_BOOTSTRAP_BROKER, broker, state,
                            health.brokers[at].state == state);
        metrics_set(metrics, METRIC_CLUSTER_REACHABLE, i, 0, cluster_is_reachable(cluster));
        metrics_set(metrics, METRIC_CLUSTER_NODES, i, 0, cluster_node_count(cluster));
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
        put_server_status(status, answer);
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

bool status_start(struct status *status, const struct server *server,
                  const struct confined *confined, char *error, size_t size)
{
    const struct options *options = server->options;

    *status = (struct status){.server = server, .confined = *confined};
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
