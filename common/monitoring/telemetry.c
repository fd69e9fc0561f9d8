#include "monitoring/telemetry.h"

#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <time.h>
#include <unistd.h>

#include "base/memory.h"
#include "http/client.h"
#include "http/server.h"
#include "kafka/catalog.h"
#include "tunnel/link.h"

enum {
    VERSIONS = 32,
    HOPS = HTTP_HOP_NONE + 1, /* the last is the tunnel's own */
    RESULTS = 1 + MUX_CODES,
    LEVELS = 4,
};

struct telemetry {
    struct worker_release kept;
    const struct worker *worker;
    struct metrics *metrics;
    uint64_t started_us;
    const char *release[1];
    const char *link_ends[LINK_ENDS];
    const char *link_roles[LINK_ROLES];
    const char *hops[HOPS];
    const char *door[HTTP_SERVER_ENDS];
    const char *results[RESULTS];
    char version_texts[VERSIONS][4];
    const char *versions[VERSIONS];
    const char *events[LOG_EVENTS_MAX]; /* filled in as they happen */
    const char **apis;
    const char **targets;
    const char **brokers;
    const char **broker_states;
};

uint64_t telemetry_wall_clock_us(void)
{
    struct timespec now;

    clock_gettime(CLOCK_REALTIME, &now);
    return (uint64_t)now.tv_sec * 1000000 + (uint64_t)now.tv_nsec / 1000;
}

uint64_t telemetry_started_us(const struct telemetry *telemetry)
{
    return telemetry->started_us;
}

static const char **allocate_names(size_t count)
{
    const char **names = memory_new_array(count + 1, sizeof *names);

    return names;
}

static const char **copy_names(const char *const *names, size_t count)
{
    const char **copy = allocate_names(count);

    for (size_t i = 0; i < count; i++)
        copy[i] = names[i];
    return copy;
}

static void add_unique(const char **names, size_t *count, const char *name)
{
    for (size_t i = 0; i < *count; i++)
        if (strcmp(names[i], name) == 0)
            return;
    names[(*count)++] = name;
}

static void add_list(const char **names, size_t *count, const struct telemetry_list *list)
{
    for (size_t i = 0; i < list->count; i++)
        add_unique(names, count, list->first + i * list->stride);
}

static void fill_fixed_names(struct telemetry *telemetry)
{
    telemetry->release[0] = KAFKA_TUNNEL_VERSION;
    for (size_t i = 0; i < LINK_ENDS; i++)
        telemetry->link_ends[i] = link_end_name((enum link_end)i);
    for (size_t i = 0; i < LINK_ROLES; i++)
        telemetry->link_roles[i] = link_role_name((enum link_role)i);
    for (size_t i = 0; i < HOPS - 1; i++)
        telemetry->hops[i] = http_hop_name((enum http_hop)i);
    telemetry->hops[HOPS - 1] = "tunnel";
    for (size_t i = 0; i < HTTP_SERVER_ENDS; i++)
        telemetry->door[i] = http_server_end_name((enum http_server_end)i);
    telemetry->results[0] = "complete";
    for (unsigned i = 0; i < MUX_CODES; i++)
        telemetry->results[1 + i] = mux_code_name(i);
    for (size_t i = 0; i < VERSIONS; i++) {
        snprintf(telemetry->version_texts[i], sizeof telemetry->version_texts[i], "%u",
                 (unsigned)i % 100);
        telemetry->versions[i] = telemetry->version_texts[i];
    }
    telemetry->apis = allocate_names(kafka_catalog_size());
    for (size_t i = 0; i < kafka_catalog_size(); i++)
        telemetry->apis[i] = kafka_catalog_name(i);
}

static void destroy_telemetry(struct worker_release *release)
{
    struct telemetry *telemetry = list_entry(release, struct telemetry, kept);

    metrics_free(telemetry->metrics);
    free(telemetry->apis);
    free(telemetry->targets);
    free(telemetry->brokers);
    free(telemetry->broker_states);
    free(telemetry);
}

/* ---- names that never change; the enums are in metrics/table.h */

static const char *const direction_names[] = {[METRICS_UP] = "up", [METRICS_DOWN] = "down"};
static const char *const latency_names[] = {
    [METRICS_LATENCY_PRODUCE] = "Produce", [METRICS_LATENCY_FETCH] = "Fetch"};
static const char *const login_names[METRICS_LOGINS] = {[METRICS_LOGIN_DONE] = "done",
                                                        [METRICS_LOGIN_AGAIN] = "again",
                                                        [METRICS_LOGIN_AGAIN_FAILED] =
                                                            "again_failed",
                                                        [METRICS_LOGIN_REFUSED] = "refused",
                                                        [METRICS_LOGIN_UNTRUSTED] = "untrusted",
                                                        [METRICS_LOGIN_BROKEN_OFF] = "broken_off",
                                                        [METRICS_LOGIN_SILENT] = "silent",
                                                        [METRICS_LOGIN_HELD] = "held"};
static const char *const limit_names[METRICS_LIMITS] = {
    [METRICS_LIMIT_SESSIONS] = "sessions",
    [METRICS_LIMIT_SESSIONS_OF] = "sessions_of_identity",
    [METRICS_LIMIT_STREAMS] = "connections",
    [METRICS_LIMIT_STREAMS_OF] = "connections_of_identity",
    [METRICS_LIMIT_STREAMS_EACH] = "connections_of_session",
    [METRICS_LIMIT_LINKS] = "links",
    [METRICS_LIMIT_DIALS] = "dials",
    [METRICS_LIMIT_MEMORY] = "memory",
    [METRICS_LIMIT_GAVE_WAY] = "gave_way",
    [METRICS_LIMIT_AUDIT] = "audit",
    [METRICS_LIMIT_LINKS_OF] = "links_of_identity",
    [METRICS_LIMIT_NEW_LINKS] = "new_links"};
static const char *const refusal_names[METRICS_REFUSALS] = {
    [METRICS_REFUSAL_PLAINTEXT] = "plaintext",
    [METRICS_REFUSAL_HANDSHAKE] = "handshake",
    [METRICS_REFUSAL_CLIENT_REFUSED] = "client_refused",
    [METRICS_REFUSAL_CERTIFICATE] = "certificate",
    [METRICS_REFUSAL_TIMEOUT] = "timeout",
    [METRICS_REFUSAL_SILENT] = "silent",
    [METRICS_REFUSAL_CROWDED] = "crowded",
    [METRICS_REFUSAL_USER] = "user",
    [METRICS_REFUSAL_LIMIT] = "limit",
    [METRICS_REFUSAL_NO_LINK] = "no_link"};
static const char *const join_names[METRICS_JOINS] = {[METRICS_JOIN_JOINED] = "joined",
                                                      [METRICS_JOIN_LIMIT] = "limit",
                                                      [METRICS_JOIN_UNKNOWN_SESSION] =
                                                          "unknown_session",
                                                      [METRICS_JOIN_REFUSED] = "refused",
                                                      [METRICS_JOIN_FAILED] = "failed"};
static const char *const level_names[LEVELS] = {"error", "warning", "info", "debug"};

struct telemetry *telemetry_start(struct worker *worker, enum metric_place place,
                                  const struct telemetry_names *names)
{
    struct telemetry *telemetry = memory_new(sizeof *telemetry);

    telemetry->started_us = telemetry_wall_clock_us();
    fill_fixed_names(telemetry);
    telemetry->targets = allocate_names(names->clusters.count + names->targets.count);
    size_t targets = 0;
    add_list(telemetry->targets, &targets, &names->clusters);
    size_t clusters = targets;
    add_list(telemetry->targets, &targets, &names->targets);
    telemetry->brokers = copy_names(names->brokers, names->broker_count);
    telemetry->broker_states = copy_names(names->broker_states, names->broker_state_count);
    const struct metrics_names sets[METRICS_SETS] = {
        [METRICS_RELEASE] = {telemetry->release, 1, false},
        [METRICS_LINK_END] = {telemetry->link_ends, LINK_ENDS, false},
        [METRICS_LINK_ROLE] = {telemetry->link_roles, LINK_ROLES, false},
        [METRICS_JOIN] = {join_names, METRICS_JOINS, false},
        [METRICS_LOGIN] = {login_names, METRICS_LOGINS, false},
        [METRICS_HOP] = {telemetry->hops, HOPS, true},
        [METRICS_DOOR] = {telemetry->door, HTTP_SERVER_ENDS, false},
        [METRICS_CLUSTER] = {telemetry->targets, clusters, false},
        [METRICS_BROKER] = {telemetry->brokers, names->broker_count, false},
        [METRICS_BROKER_STATE] = {telemetry->broker_states, names->broker_state_count, false},
        [METRICS_TARGET] = {telemetry->targets, targets, true},
        [METRICS_DIRECTION] = {direction_names, 2, false},
        [METRICS_RESULT] = {telemetry->results, RESULTS, true},
        [METRICS_API] = {telemetry->apis, kafka_catalog_size(), true},
        [METRICS_VERSION] = {telemetry->versions, VERSIONS, true},
        [METRICS_LATENCY] = {latency_names, 2, false},
        [METRICS_EVENT] = {telemetry->events, LOG_EVENTS_MAX, true},
        [METRICS_LEVEL] = {level_names, LEVELS, false},
        [METRICS_LIMIT] = {limit_names, METRICS_LIMITS, false},
        [METRICS_REFUSAL] = {refusal_names, METRICS_REFUSALS, false},
    };
    telemetry->metrics = metrics_new(place, sets);
    metrics_set(telemetry->metrics, METRIC_BUILD_INFO, 0, 0, 1);
    metrics_set(telemetry->metrics, METRIC_PROCESS_START, 0, 0, telemetry->started_us);
    telemetry->worker = worker;
    worker->metrics = telemetry->metrics;
    worker_keep(worker, &telemetry->kept, destroy_telemetry);
    return telemetry;
}

/* Where another worker than the first counts. */
struct telemetry_part {
    struct worker_release kept;
    struct metrics *metrics;
};

static void destroy_telemetry_part(struct worker_release *release)
{
    struct telemetry_part *part = list_entry(release, struct telemetry_part, kept);

    metrics_free(part->metrics);
    free(part);
}

void telemetry_start_beside(struct worker *worker, const struct telemetry *first)
{
    struct telemetry_part *part = memory_new(sizeof *part);

    part->metrics = metrics_new_beside(first->metrics);
    worker->metrics = part->metrics;
    worker_keep(worker, &part->kept, destroy_telemetry_part);
}

void telemetry_take(struct telemetry *first, const struct worker *worker)
{
    metrics_take(first->metrics, worker->metrics);
}

/* ---- the process */

static uint64_t resident_bytes(void)
{
#ifdef __linux__
    unsigned long long size = 0;
    unsigned long long resident = 0;
    FILE *file = fopen("/proc/self/statm", "re");

    if (!file)
        return 0;
    int found = fscanf(file, "%llu %llu", &size, &resident);
    fclose(file);
    return found == 2 ? resident * (uint64_t)sysconf(_SC_PAGESIZE) : 0;
#else
    return 0;
#endif
}

/* 0: the system does not say. */
static uint64_t open_descriptors(void)
{
    DIR *directory = opendir("/dev/fd");
    uint64_t count = 0;

    if (!directory)
        return 0;
    while (readdir(directory))
        count++;
    closedir(directory);
    /* Without "." and "..", and the descriptor that was used to look. */
    return count > 3 ? count - 3 : 0;
}

static uint64_t cpu_us(void)
{
    struct rusage usage;

    if (getrusage(RUSAGE_SELF, &usage) != 0)
        return 0;
    return (uint64_t)(usage.ru_utime.tv_sec + usage.ru_stime.tv_sec) * 1000000 +
           (uint64_t)(usage.ru_utime.tv_usec + usage.ru_stime.tv_usec);
}

static void collect_process(struct metrics *metrics)
{
    struct rlimit limit;

    metrics_set(metrics, METRIC_PROCESS_CPU, 0, 0, cpu_us());
    metrics_set(metrics, METRIC_PROCESS_MEMORY, 0, 0, resident_bytes());
    metrics_set(metrics, METRIC_PROCESS_FDS, 0, 0, open_descriptors());
    if (getrlimit(RLIMIT_NOFILE, &limit) == 0 && limit.rlim_cur != RLIM_INFINITY)
        metrics_set(metrics, METRIC_PROCESS_MAX_FDS, 0, 0, (uint64_t)limit.rlim_cur);
}

static void collect_log(struct telemetry *telemetry, const struct log *log)
{
    const struct log_counts *counts = &log->counts;
    struct metrics *metrics = telemetry->metrics;

    for (size_t i = 0; i < LEVELS; i++)
        metrics_set(metrics, METRIC_LOG_LINES, i, 0, counts->lines[i]);
    metrics_set(metrics, METRIC_LOG_SUPPRESSED, 0, 0, counts->suppressed);
    metrics_set(metrics, METRIC_LOG_LOST, 0, 0, counts->lost);
    for (size_t i = 0; i < counts->problem_count; i++) {
        telemetry->events[i] = counts->problems[i].event;
        metrics_set(metrics, METRIC_PROBLEMS, i, 0, counts->problems[i].count);
    }
    metrics_set(metrics, METRIC_PROBLEMS, LOG_EVENTS_MAX, 0, counts->other_problems);
}

void telemetry_collect(struct telemetry *telemetry)
{
    const struct worker *worker = telemetry->worker;
    struct metrics *metrics = telemetry->metrics;
    const struct memory_budget *budget = memory_budget_whole(&worker->budget);

    collect_process(metrics);
    collect_log(telemetry, worker->log);
    metrics_set(metrics, METRIC_RETAINED_BYTES, 0, 0, budget->send.used);
    metrics_set(metrics, METRIC_GRANTED_BYTES, 0, 0, budget->receive.used);
    metrics_set(metrics, METRIC_MEMORY_LIMIT, 0, 0, budget->receive.total + budget->send.total);
}

void telemetry_put_counts(struct metrics *metrics, enum metric_id id, enum metrics_set set,
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

struct relay_counters telemetry_relay(const struct worker *worker, size_t target, size_t to_socket)
{
    struct metrics *metrics = worker->metrics;
    size_t from_socket = to_socket == METRICS_UP ? METRICS_DOWN : METRICS_UP;

    return (struct relay_counters){
        .to_socket = metrics_at(metrics, METRIC_STREAM_BYTES, target, to_socket),
        .from_socket = metrics_at(metrics, METRIC_STREAM_BYTES, target, from_socket),
        .stalls = {[MUX_STALL_CREDIT] = metrics_at(metrics, METRIC_WINDOW_STALLS, 0, 0),
                   [MUX_STALL_MEMORY] = metrics_at(metrics, METRIC_MEMORY_STALLS, 0, 0)}};
}

struct link_counters telemetry_link(const struct worker *worker)
{
    struct metrics *metrics = worker->metrics;
    struct link_counters counters = {.sent_again = metrics_at(metrics, METRIC_RESENT_BYTES, 0, 0),
                                     .retransmitted =
                                         metrics_at(metrics, METRIC_RETRANSMITTED_SEGMENTS, 0, 0)};

    for (size_t i = 0; i < LINK_ROLES; i++)
        counters.sent[i] = metrics_at(metrics, METRIC_LINK_SENT_BYTES, i, 0);
    return counters;
}

enum metrics_join telemetry_join(uint16_t code)
{
    switch (code) {
    case MUX_CODE_LIMIT:
        return METRICS_JOIN_LIMIT;
    case MUX_CODE_UNKNOWN_SESSION:
        return METRICS_JOIN_UNKNOWN_SESSION;
    default:
        return METRICS_JOIN_REFUSED;
    }
}

/* ---- sessions */

void telemetry_add_session(struct telemetry_sessions *sum, const struct mux_session *session)
{
    const struct mux_link *link;

    sum->links_wanted += mux_session_links_wanted(session);
    sum->out_of_order += mux_session_held_out_of_order(session);
    for (unsigned at = 0; (link = mux_session_next_link(session, &at));) {
        sum->links++;
        sum->by_role[link_role(link)]++;
    }
}

void telemetry_collect_sessions(struct telemetry *telemetry, const struct telemetry_sessions *sum)
{
    struct metrics *metrics = telemetry->metrics;

    metrics_set(metrics, METRIC_LINKS, 0, 0, sum->links);
    metrics_set(metrics, METRIC_LINKS_WANTED, 0, 0, sum->links_wanted);
    metrics_set(metrics, METRIC_OUT_OF_ORDER_BYTES, 0, 0, sum->out_of_order);
    for (size_t i = 0; i < LINK_ROLES; i++)
        metrics_set(metrics, METRIC_LINKS_BY_ROLE, i, 0, sum->by_role[i]);
}
