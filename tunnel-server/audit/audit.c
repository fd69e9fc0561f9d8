#include "audit/audit.h"

#include <inttypes.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "audit/audit_repeats.h"
#include "audit/audit_sink.h"
#include "base/json.h"
#include "base/memory.h"
#include "io/clock.h"
#include "io/timer.h"
#include "monitoring/telemetry.h"

enum {
    LOOK_MS = 500,
    CLOSE_LIMIT_MS = 3000,
    HEAD_S = 60 * 60, /* how often the log says where the chain stands */
    HEAD_MAX = 100,
};

struct audit {
    struct worker *worker;
    const struct options *options;
    struct audit_sink *sink; /* NULL: without --audit-log */
    struct timer *look;
    uint64_t head_us;              /* when the log said it last; 0: not yet */
    bool down;                     /* the log has said so */
    struct audit_sink_state state; /* at the last look */
    pthread_mutex_t lock;          /* of repeats */
    struct audit_repeats repeats;
};

/* What each is called in the record. */
static const char *const kind_names[AUDIT_KINDS] = {
    [AUDIT_LOGIN_REFUSED] = "login_refused",
    [AUDIT_LINK_REFUSED] = "link_refused",
    [AUDIT_SESSION_OPENED] = "session_opened",
    [AUDIT_SESSION_RESUMED] = "session_resumed",
    [AUDIT_LINK_JOINED] = "link_joined",
    [AUDIT_SESSION_REFUSED] = "session_refused",
    [AUDIT_SESSION_ENDED] = "session_ended",
    [AUDIT_CONNECTION_OPENED] = "connection_opened",
    [AUDIT_CONNECTION_REFUSED] = "connection_refused",
    [AUDIT_CONNECTION_ENDED] = "connection_ended",
    [AUDIT_DENIED] = "request_denied",
};

/* ---- records */

static void put_record(const struct audit *audit, const char *event, const struct log_field *fields,
                       size_t count)
{
    char body[AUDIT_BODY_MAX];

    if (!audit->sink)
        return;
    size_t size = audit_body_write(body, telemetry_wall_clock_us(), event, fields, count);
    audit_sink_put(audit->sink, body, size);
}

/* Of what has ended, and was refused: the last field of those is the reason. */
static void put_log_line(const struct audit *audit, enum audit_kind kind,
                         const struct log_field *fields, size_t count)
{
    struct log *log = audit->worker->log;

    if (kind == AUDIT_SESSION_ENDED)
        log_always(log, "audit_session", "Audit: a session has ended", fields, count);
    else if (kind == AUDIT_CONNECTION_REFUSED) /* why, stream_refused says */
        log_always(log, "audit_stream", "Audit: a connection was refused", fields, count - 1);
    else if (kind == AUDIT_CONNECTION_ENDED)
        log_always(log, "audit_stream", "Audit: a connection has ended", fields, count);
}

void audit_note(struct audit *audit, enum audit_kind kind, const struct log_field *fields,
                size_t count)
{
    if (audit->options->audit)
        put_log_line(audit, kind, fields, count);
    put_record(audit, kind_names[kind], fields, count);
}

void audit_note_refusal(struct audit *audit, enum audit_kind kind, const char *who, const char *why,
                        const struct log_field *fields, size_t count)
{
    if (!audit->sink)
        return;
    pthread_mutex_lock(&audit->lock);
    bool told = audit_repeats_admit(&audit->repeats, clock_now_us(), kind_names[kind], who, why);
    pthread_mutex_unlock(&audit->lock);
    if (told)
        put_record(audit, kind_names[kind], fields, count);
}

void audit_note_denial(struct audit *audit, const struct audit_denial *denial)
{
    char what[AUDIT_WHAT_MAX];
    struct log_field fields[AUDIT_FIELDS_MAX] = {
        log_str("session", denial->session),   log_u64("stream", denial->stream),
        log_str("identity", denial->identity), log_str("peer", denial->peer),
        log_str("target", denial->target),     log_str("client_id", denial->client_id),
        log_str("api", denial->api),           log_i64("api_key", denial->api_key),
        log_i64("version", denial->version),
    };
    size_t count = 9;

    if (denial->resource)
        fields[count++] = log_str("resource", denial->resource);
    if (denial->name)
        fields[count++] = log_bytes("name", denial->name, denial->name_size);
    snprintf(what, sizeof what, "%s%s%s %s%.*s", denial->target, denial->api ? " " : "",
             denial->api ? denial->api : "", denial->resource ? denial->resource : "",
             denial->name ? (int)denial->name_size : 0, denial->name ? denial->name : "");
    audit_note_refusal(audit, AUDIT_DENIED, denial->identity, what, fields, count);
}

/* audit_repeats_settle()'s. */
static void put_repeat(void *context, const struct audit_repeat *repeat)
{
    const struct log_field fields[] = {
        log_str("of", repeat->event),
        log_str("who", repeat->who[0] ? repeat->who : NULL),
        log_str("what", repeat->what[0] ? repeat->what : NULL),
        log_u64("more", repeat->count),
        log_ms("during", (clock_now_us() - repeat->since_us) / 1000),
    };

    put_record(context, "refusals_repeated", fields, sizeof fields / sizeof fields[0]);
}

static void settle_repeats(struct audit *audit, bool all)
{
    pthread_mutex_lock(&audit->lock);
    audit_repeats_settle(&audit->repeats, clock_now_us(), all, put_repeat, audit);
    pthread_mutex_unlock(&audit->lock);
}

/* ---- how the sink fares; at home */

static const char *describe_trouble(const struct audit_sink_state *state)
{
    return state->failed ? state->error : "writing takes too long";
}

static void say_head(struct audit *audit)
{
    const struct audit_chain *chain = &audit->state.chain;
    char record[HEAD_MAX];

    audit->head_us = clock_now_us();
    snprintf(record, sizeof record, "%" PRIu64 ":%s", chain->sequence, chain->hash);
    log_info(audit->worker->log, "audit_head",
             "The chain of audit records stands here: keep this line where nobody can change both",
             log_str("to", audit->options->audit_log), log_str("chain", chain->id),
             log_str("record", record));
}

static void say_down(struct audit *audit, const struct audit_sink_state *state)
{
    log_error(audit->worker->log, "audit_failed",
              audit->options->audit_required
                  ? "Audit records cannot be written; no new session and no new connection is "
                    "accepted until they can"
                  : "Audit records cannot be written",
              log_str("reason", describe_trouble(state)), log_u64("waiting", state->waiting));
}

static void say_changes(struct audit *audit, const struct audit_sink_state *now)
{
    const struct audit_sink_state *before = &audit->state;
    struct log *log = audit->worker->log;
    bool down = now->failed || now->stalled;

    if (down && !audit->down)
        say_down(audit, now);
    else if (!down && audit->down)
        log_info(log, "audit_works", "Audit records are written again", log_u64("lost", now->lost));
    audit->down = down;
    if (now->lost > before->lost)
        log_error(log, "audit_lost", "Audit records are lost: too many could not be written",
                  log_u64("records", now->lost - before->lost), log_u64("lost", now->lost));
    if (now->refused > before->refused)
        log_error(log, "audit_unusable",
                  "Audit records cannot go on in a new file; they go on in the old one",
                  log_str("reason", now->refused_error));
    if (now->reopened > before->reopened)
        log_info(log, "audit_reopened", "Audit records go on in a new file",
                 log_str("file", audit->options->audit_log));
}

static void look_at_sink(struct audit *audit)
{
    struct audit_sink_state now;

    audit_sink_look(audit->sink, &now);
    say_changes(audit, &now);
    audit->state = now;
}

static void on_audit_look(void *argument)
{
    struct audit *audit = argument;

    settle_repeats(audit, false);
    look_at_sink(audit);
    if (audit->head_us == 0 ? audit->state.written > 0
                            : clock_now_us() - audit->head_us >= UINT64_C(1000000) * HEAD_S)
        say_head(audit);
}

const char *audit_obstacle(struct audit *audit)
{
    if (!audit->sink || !audit->options->audit_required || audit_sink_works(audit->sink))
        return NULL;
    return "the server cannot write its audit records, without which it accepts nothing new "
           "(--audit-required)";
}

/* ---- pages */

void audit_collect(struct audit *audit, struct metrics *metrics)
{
    struct audit_sink_state now = {0};

    if (audit->sink)
        audit_sink_look(audit->sink, &now);
    metrics_set(metrics, METRIC_AUDIT_WORKING, 0, 0, !now.failed && !now.stalled);
    metrics_set(metrics, METRIC_AUDIT_RECORDS, 0, 0, now.written);
    metrics_set(metrics, METRIC_AUDIT_LOST, 0, 0, now.lost);
    metrics_set(metrics, METRIC_AUDIT_FAILURES, 0, 0, now.failures);
    metrics_set(metrics, METRIC_AUDIT_WAITING, 0, 0, now.waiting);
}

void audit_write_status(struct audit *audit, struct json_writer *json)
{
    struct audit_sink_state now;

    if (!audit->sink)
        return;
    audit_sink_look(audit->sink, &now);
    bool works = !now.failed && !now.stalled;
    json_put_object(json, "audit");
    json_put_bool(json, "working", works);
    json_put_string(json, "problem", works ? NULL : describe_trouble(&now));
    json_put_u64(json, "written", now.written);
    json_put_u64(json, "waiting", now.waiting);
    json_put_u64(json, "lost", now.lost);
    json_put_string(json, "chain", now.chain.id);
    json_put_u64(json, "sequence", now.chain.sequence);
    json_put_string(json, "hash", now.chain.hash);
    json_put_end(json);
}

/* ---- life */

struct audit *audit_new(struct worker *worker, const struct options *options, char *error,
                        size_t size)
{
    struct audit *audit = memory_new(sizeof *audit);
    char why[256];

    audit->worker = worker;
    audit->options = options;
    pthread_mutex_init(&audit->lock, NULL);
    if (!options->audit_log)
        return audit;
    audit->sink = audit_sink_open(options->audit_log, why, sizeof why);
    if (audit->sink)
        return audit;
    snprintf(error, size, "--audit-log: %s", why);
    audit_free(audit);
    return NULL;
}

bool audit_start(struct audit *audit)
{
    if (!audit->sink)
        return true;
    if (!audit_sink_start(audit->sink))
        return false;
    audit->look = timer_new(audit->worker, on_audit_look, audit);
    timer_repeat_ms(audit->look, LOOK_MS);
    return true;
}

void audit_reload(struct audit *audit)
{
    if (audit->sink)
        audit_sink_reopen(audit->sink);
}

static void close_sink(struct audit *audit)
{
    struct log *log = audit->worker->log;

    settle_repeats(audit, true);
    put_record(audit, "audit_closed", NULL, 0);
    struct audit_sink_state last;
    bool written = audit_sink_close(audit->sink, CLOSE_LIMIT_MS, &last);
    say_changes(audit, &last);
    audit->state = last;
    if (!written)
        log_error(log, "audit_unwritten", "The program ends, and audit records are not written",
                  log_u64("records", last.waiting));
    say_head(audit);
}

void audit_free(struct audit *audit)
{
    if (!audit)
        return;
    timer_free(audit->look);
    /* Without its timer it was never started, and nobody has come. */
    if (audit->look)
        close_sink(audit);
    else
        audit_sink_close(audit->sink, 0, NULL);
    pthread_mutex_destroy(&audit->lock);
    free(audit);
}
