#include "status.h"

#include <string.h>

static void put_server_status(const struct server *server, struct pages_answer *answer)
{
    const struct memory_budget *budget = &server->worker->budget;
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
    json_put_array(&json, "clusters");
    for (size_t i = 0; i < server->options->cluster_count; i++)
        cluster_write(&server->clusters[i], &json);
    json_put_end(&json);
    json_put_u64(&json, "session_count", server->host.session_count);
    session_write_all(&server->host, &json);
    json_put_end(&json);
    text_bytes(&answer->body, "\n", 1);
}

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
        const struct health *health = &server->clusters[i].health;
        for (size_t at = 0; at < health->count; at++, broker++)
            for (size_t state = 0; state < BROKER_STATES; state++)
                metrics_set(metrics, METRIC_BOOTSTRAP_BROKER, broker, state,
                            health->brokers[at].state == state);
        metrics_set(metrics, METRIC_CLUSTER_REACHABLE, i, 0, server->clusters[i].reachable);
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
    if (strcmp(request->path, "/") == 0)
        pages_say(answer, 200, "tunnel-server: /status.json /metrics /healthz /readyz /startupz\n");
    else if (strcmp(request->path, "/status.json") == 0)
        put_server_status(status->server, answer);
    else if (strcmp(request->path, "/readyz") == 0)
        tell_readiness(status, answer);
    else if (strcmp(request->path, "/startupz") == 0)
        /* These pages are there when everything has started. */
        pages_say(answer, 200, "started\n");
    else
        return false;
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
    status->pages =
        pages_new(server->worker, &options->status_address, &pages_owner, status, error, size);
    return status->pages != NULL;
}

void status_stop(struct status *status)
{
    pages_free(status->pages);
}
