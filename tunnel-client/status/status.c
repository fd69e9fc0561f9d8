#include "status/status.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/json.h"
#include "base/memory.h"
#include "io/clock.h"
#include "monitoring/link_status.h"
#include "status-files.h"

enum {
    STREAMS_SHOWN = 500,
    LISTENERS_SHOWN = 1000,
    QUIT_DELAY_MS = 100, /* so that the answer is out before the program stops */
};

/* ---- /status.json */

static void put_link(const struct client *client, const struct uplink_view *view,
                     struct json_writer *json)
{
    const struct url *url = &client->options->url;
    char server[URL_PATH_MAX + ADDRESS_TEXT_MAX + 16];
    char address[ADDRESS_TEXT_MAX];

    /* Not the option's text: who knows what is in there. */
    address_format(url->host, url->port, address);
    snprintf(server, sizeof server, "%s://%s%s", url->tls ? "https" : "http", address, url->path);
    json_put_object(json, "link");
    json_put_string(json, "state", view->state);
    json_put_u64(json, "since_ms", view->since_us / 1000);
    json_put_string(json, "server", server);
    json_put_string(json, "protection", view->protection);
    json_put_string(json, "software", view->software);
    json_put_u64(json, "rtt_us", view->rtt_us);
    json_put_u64(json, "rtt_age_ms", view->rtt_age_us / 1000);
    json_put_u64(json, "failed_dials", view->failures);
    json_put_u64(json, "retry_ms", view->retry_ms);
    json_put_u64(json, "max_frame", view->frame_max);
    json_put_end(json);
}

static void put_link_list(const struct carrier *carrier, bool leaving, uint64_t now_us,
                          struct json_writer *json)
{
    list_each(node, &carrier->links) {
        const struct carrier_link *at = list_entry(node, struct carrier_link, node);
        if (at->dismissed)
            continue;
        json_put_object(json, NULL);
        json_put_bool(json, "leaving", leaving);
        json_put_string(json, "cause", link_cause_name(at->cause));
        link_status_put(at->link, now_us, json);
        json_put_end(json);
    }
}

static void put_ended_links(const struct link_history *history, struct json_writer *json)
{
    const struct link_history_entry *entry;

    json_put_array(json, "links_ended");
    for (size_t i = 0; (entry = link_history_get(history, i)); i++) {
        json_put_object(json, NULL);
        json_put_u64(json, "number", entry->number);
        json_put_string(json, "cause", link_cause_name(entry->cause));
        json_put_u64(json, "time_ms", entry->time_us / 1000);
        json_put_u64(json, "lived_ms", entry->lived_ms);
        json_put_string(json, "end", entry->end);
        json_put_string(json, "reason", entry->reason);
        json_put_end(json);
    }
    json_put_end(json);
}

/* A session has few, and a second session at most ends with its streams, as a rule. */
static void put_links(const struct client *client, const struct uplink_view *view,
                      struct json_writer *json)
{
    uint64_t now_us = clock_now_us();

    json_put_array(json, "links");
    put_link_list(view->current, false, now_us, json);
    list_each(node, view->leaving)
        put_link_list(list_entry(node, struct carrier, node), true, now_us, json);
    json_put_end(json);
    put_ended_links(view->history, json);
    json_put_object(json, "more_links");
    json_put_u64(json, "wanted", view->links_wanted);
    json_put_u64(json, "most", (uint64_t)client->options->links);
    json_put_string(json, "failure", view->join_failure);
    json_put_bool(json, "spread_over_instances", view->is_spread);
    json_put_u64(json, "retry_ms", view->join_retry_ms);
    json_put_end(json);
}

static void put_totals(const struct client *client, struct json_writer *json)
{
    struct metrics *metrics = client->worker->metrics;
    const struct memory_budget *budget = &client->worker->budget;

    json_put_object(json, "totals");
    json_put_u64(json, "bytes_up", metrics_sum(metrics, METRIC_STREAM_BYTES, METRICS_UP));
    json_put_u64(json, "bytes_down", metrics_sum(metrics, METRIC_STREAM_BYTES, METRICS_DOWN));
    json_put_u64(json, "streams", metrics_sum(metrics, METRIC_STREAMS, 0));
    json_put_u64(json, "streams_opened", metrics_sum(metrics, METRIC_STREAMS_OPENED, 0));
    json_put_u64(json, "links_opened", *metrics_at(metrics, METRIC_LINKS_OPENED, 0, 0));
    json_put_u64(json, "resumes", *metrics_at(metrics, METRIC_SESSION_RESUMES, 0, 0));
    json_put_u64(json, "sessions_lost", *metrics_at(metrics, METRIC_SESSIONS_LOST, 0, 0));
    json_put_u64(json, "window_stalls", *metrics_at(metrics, METRIC_WINDOW_STALLS, 0, 0));
    json_put_end(json);
    json_put_object(json, "memory");
    json_put_u64(json, "retained", budget->send.used);
    json_put_u64(json, "granted", budget->receive.used);
    json_put_u64(json, "limit", budget->send.total + budget->receive.total);
    json_put_end(json);
}

static void put_listener(const struct client *client, const struct port *port,
                         struct json_writer *json)
{
    static const char *const securities[] = {
        [LISTENER_PLAIN] = "plain", [LISTENER_EITHER] = "either", [LISTENER_SECURE] = "tls"};
    static const char *const kinds[] = {[MUX_TARGET_CLUSTER] = "bootstrap",
                                        [MUX_TARGET_BROKER] = "broker",
                                        [MUX_TARGET_TCP] = "tcp",
                                        [MUX_TARGET_CONTROLLER] = "controller",
                                        [MUX_TARGET_BOOTSTRAP] = "bootstrap"};
    char listen[ADDRESS_TEXT_MAX];

    address_format(port->host, port->number, listen);
    json_put_object(json, NULL);
    json_put_string(json, "name", port->label);
    json_put_string(json, "kind", kinds[port->kind]);
    json_put_string(json, "target", port->name);
    if (mux_target_is_node(port->kind))
        json_put_i64(json, "node", port->node_id);
    if (port->broker[0])
        json_put_string(json, "broker", port->broker);
    json_put_string(json, "listen", listen);
    json_put_string(json, "advertised", port_advertised_host(port));
    json_put_string(json, "security", securities[client_security_of(client, port)]);
    json_put_u64(json, "connections", port->connections - port->waiting);
    json_put_u64(json, "waiting", port->waiting);
    json_put_end(json);
}

/* Of each listener. */
static void count_waiting(const struct client *client)
{
    list_each(at, &client->ports.all)
        list_entry(at, struct port, node)->waiting = 0;
    list_each(at, &client->waiting)
        list_entry(at, struct local_connection, node)->port->waiting++;
}

static size_t put_listeners(const struct client *client, struct json_writer *json)
{
    const struct list *all = &client->ports.all;
    size_t count = 0;

    count_waiting(client);
    json_put_array(json, "listeners");
    list_each(at, all)
        if (count++ < LISTENERS_SHOWN)
            put_listener(client, list_entry(at, struct port, node), json);
    json_put_end(json);
    return count;
}

/* What listeners with TLS show to clients. */
static void put_listener_tls(const struct listener_tls *tls, struct json_writer *json)
{
    const X509 *certificate = listener_tls_certificate(tls);
    struct tls_certificate_text text;

    tls_certificate_describe(certificate, &text);
    json_put_object(json, "listener_tls");
    json_put_string(json, "certificate", text.subject);
    json_put_string(json, "issuer", text.issuer);
    json_put_string(json, "valid_until", text.until);
    json_put_bool(json, "current", tls_certificate_is_current(certificate));
    json_put_bool(json, "local_ca", listener_tls_is_issued(tls));
    json_put_end(json);
}

static void put_stream(const struct local_connection *connection, uint64_t now_us,
                       struct json_writer *json)
{
    const struct kafka_peek *peek = &connection->peek;

    json_put_object(json, NULL);
    json_put_u64(json, "stream", connection->id);
    json_put_string(json, "listener", connection->port->label);
    json_put_string(json, "peer", connection->peer);
    json_put_string(json, "client_id", peek->client_id);
    json_put_string(json, "software", peek->software);
    json_put_string(json, "software_version", peek->software_version);
    json_put_string(json, "kafka_user", peek->user);
    json_put_string(json, "login", connection->login ? connection->login : "");
    json_put_string(json, "security", connection->protection ? connection->protection : "plain");
    json_put_string(json, "certificate", connection->certificate ? connection->certificate : "");
    json_put_u64(json, "age_ms", (now_us - connection->accepted_us) / 1000);
    json_put_u64(json, "bytes_up", relay_bytes_from_socket(connection->relay));
    json_put_u64(json, "bytes_down", relay_bytes_to_socket(connection->relay));
    json_put_end(json);
}

static size_t list_length(const struct list *list)
{
    size_t count = 0;

    list_each(at, list)
        count++;
    return count;
}

static void put_stream_list(const struct client *client, struct json_writer *json)
{
    const struct list *all = &client->connections;
    uint64_t now_us = clock_now_us();
    size_t count = 0;

    json_put_array(json, "streams");
    list_each(at, all)
        if (count++ < STREAMS_SHOWN)
            put_stream(list_entry(at, struct local_connection, node), now_us, json);
    json_put_end(json);
    json_put_u64(json, "streams_not_shown", count > STREAMS_SHOWN ? count - STREAMS_SHOWN : 0);
    json_put_u64(json, "waiting", list_length(&client->waiting));
}

static void put_journal(const struct journal *journal, struct json_writer *json)
{
    const struct journal_entry *entry;

    json_put_array(json, "events");
    for (size_t i = 0; (entry = journal_get(journal, i)); i++) {
        json_put_object(json, NULL);
        json_put_u64(json, "time_ms", entry->time_us / 1000);
        json_put_string(json, "event", journal_kind_name(entry->kind));
        json_put_string(json, "reason", entry->reason);
        json_put_u64(json, "ms", entry->ms);
        json_put_u64(json, "times", entry->times);
        json_put_end(json);
    }
    json_put_end(json);
}

/* NULL, or why it is not ready. */
static const char *not_ready(const struct client *client, const struct uplink_view *view)
{
    if (client->leaving)
        return "tunnel-client stops\n";
    return strcmp(view->state, "up") == 0 ? NULL : "there is no link to the server\n";
}

static void put_client_status(struct client *client, struct pages_answer *answer)
{
    struct json_writer json;
    struct uplink_view view;

    uplink_measure(client->uplink);
    uplink_view(client->uplink, &view);
    answer->type = "application/json";
    json_writer_init(&json, &answer->body);
    json_put_object(&json, NULL);
    json_put_string(&json, "program", "tunnel-client");
    json_put_string(&json, "version", KAFKA_TUNNEL_VERSION);
    json_put_u64(&json, "now_ms", telemetry_wall_clock_us() / 1000);
    json_put_u64(&json, "started_ms", telemetry_started_us(client->telemetry) / 1000);
    json_put_bool(&json, "ready", !not_ready(client, &view));
    confine_write(&client->confined, &json);
    put_link(client, &view, &json);
    put_links(client, &view, &json);
    put_totals(client, &json);
    size_t listeners = put_listeners(client, &json);
    json_put_u64(&json, "listeners_not_shown",
                 listeners > LISTENERS_SHOWN ? listeners - LISTENERS_SHOWN : 0);
    if (client->listener_tls)
        put_listener_tls(client->listener_tls, &json);
    telemetry_put_counts(client->worker->metrics, METRIC_LISTENER_REFUSALS, METRICS_REFUSAL,
                         "refused", &json);
    put_stream_list(client, &json);
    put_journal(view.journal, &json);
    json_put_end(&json);
    text_bytes(&answer->body, "\n", 1);
}

/* ---- /history.json */

enum {
    HISTORY_BYTES_UP,
    HISTORY_BYTES_DOWN,
    HISTORY_RTT_US, /* 0: there is no link, or it was not measured yet */
    HISTORY_STREAMS,
    HISTORY_WAITING,
    HISTORY_LINKS,
    HISTORY_COUNT
};

static const struct history_field history_fields[HISTORY_COUNT] = {
    [HISTORY_BYTES_UP] = {"bytes_up", true}, [HISTORY_BYTES_DOWN] = {"bytes_down", true},
    [HISTORY_RTT_US] = {"rtt_us", false},    [HISTORY_STREAMS] = {"streams", false},
    [HISTORY_WAITING] = {"waiting", false},  [HISTORY_LINKS] = {"links", false},
};

/* Nothing is sent for it: the round trip is the one that was measured last. */
static void on_client_history(void *argument)
{
    struct status *status = argument;
    const struct client *client = status->client;
    struct metrics *metrics = client->worker->metrics;
    struct uplink_view view;

    uplink_view(client->uplink, &view);
    const uint64_t values[HISTORY_COUNT] = {
        [HISTORY_BYTES_UP] = metrics_sum(metrics, METRIC_STREAM_BYTES, METRICS_UP),
        [HISTORY_BYTES_DOWN] = metrics_sum(metrics, METRIC_STREAM_BYTES, METRICS_DOWN),
        [HISTORY_RTT_US] = view.rtt_us,
        [HISTORY_STREAMS] = metrics_sum(metrics, METRIC_STREAMS, 0),
        [HISTORY_WAITING] = list_length(&client->waiting),
        [HISTORY_LINKS] = view.links,
    };
    history_add(status->history, clock_now_us(), values);
}

/* ---- the other pages */

static void on_client_status_collect(void *context)
{
    const struct status *status = context;
    struct client *client = status->client;
    struct metrics *metrics = client->worker->metrics;
    struct telemetry_sessions sum = {0};
    struct uplink_view view;

    telemetry_collect(client->telemetry);
    uplink_measure(client->uplink);
    uplink_view(client->uplink, &view);
    uplink_sum_up(client->uplink, &sum);
    telemetry_collect_sessions(client->telemetry, &sum);
    metrics_set(metrics, METRIC_SESSIONS, 0, 0, view.sessions);
    metrics_set(metrics, METRIC_LISTENERS, 0, 0, list_length(&client->ports.all));
    metrics_set(metrics, METRIC_WAITING_CONNECTIONS, 0, 0, list_length(&client->waiting));
}

static void on_quit(void *argument)
{
    const struct status *status = argument;

    worker_end(status->client->worker);
}

static void quit(struct status *status, struct pages_answer *answer)
{
    const struct client *client = status->client;

    if (!client->options->allow_quit) {
        pages_say(answer, 403, "Quitting over HTTP is off: start with --allow-quit.\n");
        return;
    }
    log_info(client->worker->log, "quit_requested", "POST /quitquitquit asked the program to stop");
    timer_start_ms(status->quit, QUIT_DELAY_MS);
    pages_say(answer, 200, "stopping\n");
}

static void put_probe(struct pages_answer *answer, bool good, const char *yes, const char *no)
{
    pages_say(answer, good ? 200 : 503, good ? yes : no);
}

static bool on_client_status_page(void *context, const struct pages_request *request,
                                  struct pages_answer *answer)
{
    struct status *status = context;
    struct client *client = status->client;
    struct uplink_view view;

    if (strcmp(request->path, "/quitquitquit") == 0) {
        if (request->post) {
            quit(status, answer);
        } else {
            pages_say(answer, 405, "Use POST.\n");
            answer->allow = "POST";
        }
        return true;
    }
    if (request->post)
        return false;
    uplink_view(client->uplink, &view);
    if (strcmp(request->path, "/status.json") == 0)
        put_client_status(client, answer);
    else if (strcmp(request->path, "/history.json") == 0)
        history_put_page(status->history, answer);
    else if (strcmp(request->path, "/readyz") == 0)
        put_probe(answer, !not_ready(client, &view), "ready\n", not_ready(client, &view));
    else if (strcmp(request->path, "/startupz") == 0)
        put_probe(answer, client->ready, "started\n", "the link has not been up yet\n");
    else
        return pages_put_file(answer, status_files, sizeof status_files / sizeof *status_files,
                              request->path);
    return true;
}

static const struct pages_owner pages_owner = {.collect = on_client_status_collect,
                                               .page = on_client_status_page};

bool status_start(struct status *status, struct client *client, char *error, size_t size)
{
    const struct options *options = client->options;

    *status = (struct status){.client = client};
    if (!options->shared.status)
        return true;
    status->quit = timer_new(client->worker, on_quit, status);
    status->history = memory_new(sizeof *status->history);
    history_init(status->history, history_fields, HISTORY_COUNT);
    status->sample = timer_new(client->worker, on_client_history, status);
    timer_repeat_ms(status->sample, HISTORY_PERIOD_MS);
    status->pages =
        pages_new(client->worker, &options->status_address, &pages_owner, status, error, size);
    return status->pages != NULL;
}

void status_stop(struct status *status)
{
    pages_free(status->pages);
    timer_free(status->quit);
    timer_free(status->sample);
    free(status->history);
}
