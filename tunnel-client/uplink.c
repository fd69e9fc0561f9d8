#include "uplink.h"

#include <openssl/rand.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "backoff.h"
#include "base/bytes.h"
#include "base/memory.h"
#include "carrier.h"
#include "credentials/credentials.h"
#include "http/client.h"
#include "io/clock.h"
#include "io/timer.h"
#include "io/wake.h"
#include "monitoring/telemetry.h"
#include "uplink_core.h"
#include "uplink_join.h"

enum {
    /* What a link must have carried for sure (struct link_record) to have worked: so much, or
     * something and for so long, or nothing, for nobody wanted anything, and for longer. */
    LINK_PROVEN_BYTES = 64 * 1024,
    LINK_PROVEN_US = 1000 * 1000,
    LINK_PROVEN_IDLE_US = 10 * 1000 * 1000,
    SAY_AGAIN_US = 60 * 1000 * 1000,
    /* So long a server that has said that it stops is thought to be on its way back. */
    RESTART_US = 60 * 1000 * 1000,
    /* How often files are looked at while a dial waits after a refusal. */
    LOOK_MS = 1000,
};

static const char STOPPING[] = "tunnel-client stops";

/* ---- the session */

static const struct mux_session_callbacks session_callbacks;
static void on_resume_expired(void *argument);
static void on_sweep(void *argument);

static void new_session(struct carrier *carrier)
{
    struct uplink *uplink = carrier->uplink;
    struct mux_settings settings;
    /* The server makes the key and tells it in WELCOME. */
    const struct mux_session_key none = {0};

    mux_settings_default(&settings);
    settings.role = MUX_CLIENT;
    settings.hash_key = uplink->worker->hash_key;
    settings.max_streams = (uint32_t)uplink->options->shared.max_streams;
    settings.ping_interval_us = uplink->options->shared.ping_interval_ms * 1000;
    settings.links_max = (unsigned)uplink->options->links;
    settings.software = (struct mux_text){"kafka-tunnel/" KAFKA_TUNNEL_VERSION,
                                          sizeof "kafka-tunnel/" KAFKA_TUNNEL_VERSION - 1};
    carrier->session = mux_session_new(&settings, &session_callbacks, carrier, &none,
                                       &uplink->worker->pool, &uplink->worker->share);
    carrier->known = carrier->worked = false;
    carrier->wanted = 1;
}

static struct carrier *carrier_new(struct uplink *uplink)
{
    struct carrier *carrier = memory_new(sizeof *carrier);

    carrier->uplink = uplink;
    list_init(&carrier->node);
    list_init(&carrier->links);
    carrier->resume = timer_new(uplink->worker, on_resume_expired, carrier);
    carrier->sweep = timer_new(uplink->worker, on_sweep, carrier);
    new_session(carrier);
    return carrier;
}

/* Resets what streams there are. */
static void carrier_free(struct carrier *carrier, enum mux_code code, const char *reason)
{
    mux_session_reset_streams(carrier->session, code, reason);
    carrier_abort_links(carrier);
    mux_session_free(carrier->session);
    timer_free(carrier->resume);
    timer_free(carrier->sweep);
    list_remove(&carrier->node);
    free(carrier);
}

void uplink_note(struct uplink *uplink, enum journal_kind kind, const char *reason, uint64_t ms)
{
    journal_add(&uplink->journal, telemetry_wall_clock_us(), kind, reason, ms);
}

static void lose_session(struct carrier *carrier, const char *reason)
{
    size_t streams = mux_session_stream_count(carrier->session);

    if (carrier->known) {
        metrics_add(carrier->uplink->worker->metrics, METRIC_SESSIONS_LOST, 0, 0, 1);
        uplink_note(carrier->uplink, JOURNAL_SESSION_LOST, reason, 0);
        log_warning(carrier->uplink->worker->log, "session_lost",
                    "The session could not be resumed: its connections are reset",
                    log_str("reason", reason), log_u64("connections", streams));
    }
    carrier_dismiss_all(carrier, 1000, "the session has ended");
    mux_session_reset_streams(carrier->session, MUX_CODE_SESSION_LOST, reason);
    mux_session_free(carrier->session);
    timer_stop(carrier->resume);
    new_session(carrier);
}

struct mux_session *uplink_session(struct uplink *uplink)
{
    const struct carrier *carrier = uplink->current;

    return carrier->known && carrier_is_linked(carrier) && !mux_session_is_broken(carrier->session)
               ? carrier->session
               : NULL;
}

void uplink_tell_all(struct uplink *uplink, uint8_t type, const uint8_t *payload, size_t size)
{
    if (uplink->current->known)
        mux_session_send_message(uplink->current->session, type, payload, size);
    list_each(at, &uplink->leaving)
        mux_session_send_message(list_entry(at, struct carrier, node)->session, type, payload,
                                 size);
}

/* A session that ends with its last stream: is it time? */
static void on_sweep(void *argument)
{
    struct carrier *carrier = argument;
    struct uplink *uplink = carrier->uplink;

    if (mux_session_stream_count(carrier->session) > 0)
        return;
    if (carrier_is_linked(carrier)) {
        /* So that the server does not keep the session for a link that will not come. */
        mux_session_goaway(carrier->session, MUX_CODE_GOING_AWAY, "no connections are left");
        carrier_dismiss_all(carrier, 1000, "no connections are left");
    } else if (!list_empty(&carrier->links)) {
        return; /* they are being closed */
    } else if (carrier != uplink->current) {
        carrier_free(carrier, MUX_CODE_GOING_AWAY, "the server stops");
    } else {
        timer_stop(uplink->redial);
    }
}

static void sweep_soon(struct carrier *carrier)
{
    if (carrier->leaving)
        timer_fire(carrier->sweep);
}

/* ---- redialling */

unsigned uplink_random_below(unsigned bound)
{
    uint32_t number = 0;

    if (RAND_bytes((unsigned char *)&number, sizeof number) != 1)
        abort();
    return number % bound;
}

/* Before the next dial. */
static unsigned uplink_pause_ms(const struct uplink *uplink, enum backoff_patience patience,
                                unsigned asked_ms)
{
    const struct backoff_facts facts = {.failures = uplink->failures,
                                        .patience = patience,
                                        .dialled_us = clock_now_us() - uplink->asked_us,
                                        .asked_ms = asked_ms};

    return backoff_ms(&facts, uplink_random_below(UINT32_MAX));
}

static void cancel_dial(struct uplink *uplink)
{
    uplink->dialling = false;
    credentials_cancel(uplink->credentials);
    http_client_cancel(uplink->http);
}

/* A dial that has just begun, for one more link, is as good as another one. */
static bool has_just_dialled(const struct uplink *uplink)
{
    return uplink->dialling && clock_now_us() - uplink->asked_us < BACKOFF_PACE_US;
}

static void redial_in(struct uplink *uplink, unsigned wait_ms)
{
    /* One for one more link of a session that is gone, or has none. */
    if (uplink->dialling)
        cancel_dial(uplink);
    uplink->pause_ms = wait_ms;
    uplink->pause_stays = false;
    if (!uplink->stopping) {
        uplink->redial_us = clock_now_us() + wait_ms * UINT64_C(1000);
        timer_start_ms(uplink->redial, wait_ms);
    }
}

static void on_redial(void *argument)
{
    uplink_dial(argument);
}

/* Is what we say of who we are still what was refused? */
static void on_credentials_look(void *argument)
{
    struct uplink *uplink = argument;
    bool waiting = timer_is_running(uplink->redial);

    if (waiting && !credentials_changed(uplink->credentials))
        return;
    timer_stop(uplink->look);
    if (!waiting)
        return;
    log_info(uplink->worker->log, "credentials_changed",
             "The file with the token or the key has changed; connecting at once");
    redial_in(uplink, 0);
}

/* The same failure again is worth a line only now and then. */
static bool worth_a_line(struct uplink *uplink, const char *hop, const char *reason)
{
    char text[sizeof uplink->said];
    uint64_t now = clock_now_us();

    snprintf(text, sizeof text, "%.16s: %.170s", hop, reason);
    if (strcmp(text, uplink->said) == 0 && now - uplink->said_us < SAY_AGAIN_US)
        return false;
    memcpy(uplink->said, text, sizeof text);
    uplink->said_us = now;
    return true;
}

/* The server has said that it stops: whatever fails now is no news, and its successor is near. */
static bool is_restarting(const struct uplink *uplink)
{
    return uplink->stops_us != 0 && clock_now_us() - uplink->stops_us < RESTART_US;
}

/* Advice is for what nobody expects; it stands behind the semicolon. */
static void explain_restart(const char *reason, char *text, size_t size)
{
    snprintf(text, size, "the server is restarting (it said so): %.*s", (int)strcspn(reason, ";"),
             reason);
}

static void dial_failed(struct uplink *uplink, const char *hop, int status, const char *reason,
                        enum backoff_patience patience, unsigned asked_ms)
{
    bool restarting = patience != BACKOFF_REFUSED && is_restarting(uplink);
    char restart[HTTP_REASON_MAX];

    uplink->failures++;
    /* A server that answers says what it does itself. */
    if (restarting && status != 503) {
        explain_restart(reason, restart, sizeof restart);
        reason = restart;
    }
    /* It is the server that says how long. */
    if (restarting || (asked_ms > 0 && patience == BACKOFF_USUAL))
        patience = BACKOFF_SHORT;
    unsigned wait_ms = uplink_pause_ms(uplink, patience, asked_ms);
    bool said = uplink->owner->failed(uplink->context, hop, reason, patience == BACKOFF_REFUSED);
    /* An event's fields keep their names in both formats: retry_ms is a plain number. */
    log_event(uplink->worker->log,
              !worth_a_line(uplink, hop, reason) ? LOG_LEVEL_DEBUG
              : said || restarting               ? LOG_LEVEL_INFO
                                                 : LOG_LEVEL_WARNING,
              "dial_failed", "The server could not be reached",
              (const struct log_field[]){log_str("hop", hop), log_str("reason", reason),
                                         log_u64("status", (uint64_t)status),
                                         log_u64("attempt", uplink->failures),
                                         log_u64("retry_ms", wait_ms)},
              5);
    metrics_add(uplink->worker->metrics, METRIC_DIAL_FAILURES,
                metrics_find(uplink->worker->metrics, METRICS_HOP, hop), 0, 1);
    char text[JOURNAL_REASON_MAX];
    snprintf(text, sizeof text, "%s: %s", hop, reason);
    uplink_note(uplink, JOURNAL_DIAL_FAILED, text, wait_ms);
    redial_in(uplink, wait_ms);
    uplink->pause_stays = patience == BACKOFF_REFUSED || asked_ms > 0;
    if (strcmp(hop, "auth") == 0)
        timer_repeat_ms(uplink->look, LOOK_MS);
}

/* ---- the link */

/* Whether it was worth the dial; only what the server has acknowledged or sent tells. */
static bool has_worked(const struct carrier_link *at, const struct link_record *record)
{
    uint64_t lived_us = clock_now_us() - at->since_us;

    return record->progress >= LINK_PROVEN_BYTES ||
           (record->progress > 0 && lived_us >= LINK_PROVEN_US) ||
           (record->answered && lived_us >= LINK_PROVEN_IDLE_US);
}

static void note_work(const struct carrier_link *at)
{
    const struct link_record record = link_record(at->link);

    if (has_worked(at, &record))
        at->carrier->worked = true;
}

/* The session's links are lost or left: they count as a failure if none of them did anything. */
static void count_links(const struct carrier *carrier)
{
    list_each(node, &carrier->links)
        note_work(list_entry(node, struct carrier_link, node));
    if (carrier->worked)
        carrier->uplink->failures = 0;
    else
        carrier->uplink->failures++;
}

/* The server gets to know with the next HELLO. */
static void learn_frames(struct uplink *uplink, const struct link_record *record)
{
    bool first = uplink->frames.max == uplink->options->shared.max_frame;
    char text[JOURNAL_REASON_MAX];

    if (!frame_limit_learn(&uplink->frames, &record->frames))
        return;
    snprintf(text, sizeof text,
             "something in between cuts large messages; trying frames of %zu KiB",
             uplink->frames.max / 1024);
    uplink_note(uplink, JOURNAL_SMALLER_FRAMES, text, 0);
    log_event(uplink->worker->log, first ? LOG_LEVEL_WARNING : LOG_LEVEL_INFO, "smaller_frames",
              "Something in between cuts large WebSocket messages; trying smaller frames",
              (const struct log_field[]){log_u64("was_sent", record->frames.largest_sent),
                                         log_u64("max_frame", uplink->frames.max)},
              2);
}

static void on_rejected(struct carrier *carrier, const struct mux_reject *rejection)
{
    struct uplink *uplink = carrier->uplink;
    enum mux_code code = (enum mux_code)rejection->code;
    unsigned retry_after_ms = rejection->retry_after_ms;
    bool resumed = carrier->known;
    char text[300];

    if (code == MUX_CODE_GOING_AWAY)
        uplink->stops_us = clock_now_us();
    snprintf(text, sizeof text, "the server refused the session: %.*s", (int)rejection->reason.size,
             rejection->reason.bytes);
    lose_session(carrier, text);
    if (code == MUX_CODE_UNKNOWN_SESSION && resumed)
        redial_in(uplink, 0);
    else
        /* Where one instance stops there is often another, or its successor soon. */
        dial_failed(uplink, "tunnel", 101, text,
                    code == MUX_CODE_GOING_AWAY ? BACKOFF_SHORT : BACKOFF_USUAL, retry_after_ms);
}

/* The link of a session whose server has said that it stops. */
static void on_left(struct carrier *carrier, const char *reason)
{
    size_t streams = mux_session_stream_count(carrier->session);

    log_event(carrier->uplink->worker->log, streams > 0 ? LOG_LEVEL_WARNING : LOG_LEVEL_INFO,
              "server_left", "The server that was about to stop is gone",
              (const struct log_field[]){log_u64("connections_reset", streams),
                                         log_str("reason", reason)},
              2);
    carrier_free(carrier, MUX_CODE_GOING_AWAY, "the server stops");
}

/* The last one. */
static void on_link_lost(const struct carrier_link *at, const char *reason)
{
    struct carrier *carrier = at->carrier;
    struct uplink *uplink = carrier->uplink;
    const struct link_record record = link_record(at->link);
    uint64_t lived_us = clock_now_us() - at->since_us;

    count_links(carrier);
    learn_frames(uplink, &record);
    if (record.going_away)
        uplink->stops_us = clock_now_us();
    bool dials = has_just_dialled(uplink);
    unsigned wait_ms = dials ? 0 : uplink_pause_ms(uplink, BACKOFF_SHORT, 0);
    uplink_note(uplink, JOURNAL_LINK_LOST, reason, lived_us / 1000);
    log_warning(uplink->worker->log, "link_lost",
                "The link to the server is lost; connecting again", log_str("reason", reason),
                log_u64("lived_ms", lived_us / 1000),
                log_u64("connections", mux_session_stream_count(carrier->session)),
                log_u64("retry_ms", wait_ms));
    uplink->owner->lost(uplink->context, false);
    if (uplink->resume_window_ms == 0) {
        lose_session(carrier, reason);
    } else {
        timer_start_ms(carrier->resume, uplink->resume_window_ms);
    }
    if (!dials)
        redial_in(uplink, wait_ms);
}

/* One of several. */
static void on_link_left(const struct carrier_link *at, enum link_end end, const char *reason)
{
    struct carrier *carrier = at->carrier;
    struct uplink *uplink = carrier->uplink;
    const struct link_record record = link_record(at->link);
    unsigned links = carrier_welcomed(carrier);

    note_work(at);
    learn_frames(uplink, &record);
    log_info(uplink->worker->log, "link_left",
             "One of the links to the server is lost; connections go on over the others",
             log_str("end", link_end_name(end)), log_str("reason", reason),
             log_u64("lived_ms", (clock_now_us() - at->since_us) / 1000), log_u64("links", links));
    uplink_note(uplink, JOURNAL_LINK_LEFT, reason, (clock_now_us() - at->since_us) / 1000);
    if (carrier != uplink->current)
        return;
    uplink->replaces = true;
    if (!joining_lost(&uplink->joining, links, has_worked(at, &record), uplink->asked_us,
                      uplink_random_below(UINT32_MAX), clock_now_us()) &&
        uplink->dialling && links > 0)
        cancel_dial(uplink);
    uplink_look_at_links(uplink);
}

/* Nothing carries the session that new streams are opened on. */
static void on_unlinked(const struct carrier_link *at, enum link_end end, const char *reason)
{
    struct carrier *carrier = at->carrier;
    struct uplink *uplink = carrier->uplink;
    struct carrier_link *greeting = carrier_greeting(carrier);

    /* What it has said is no longer so. */
    if (greeting)
        carrier_dismiss(greeting, 1000, "the links that it was to join are gone");
    if (at->welcomed)
        uplink->since_us = telemetry_wall_clock_us();
    if (uplink->stopping || (uplink->draining && mux_session_stream_count(carrier->session) == 0))
        return;
    if (end == LINK_END_REJECTED) {
        on_rejected(carrier, link_rejection(at->link));
    } else if (!carrier->known || mux_session_is_broken(carrier->session)) {
        dial_failed(uplink, "tunnel", 101, reason, BACKOFF_USUAL, 0);
        /* No link can carry a broken session on, also if it broke before it ever was up. */
        if (mux_session_is_broken(carrier->session))
            lose_session(carrier, reason);
    } else {
        on_link_lost(at, reason);
    }
}

static void on_carrier_link_ended(struct carrier_link *at, enum link_end end, const char *reason)
{
    struct carrier *carrier = at->carrier;
    struct uplink *uplink = carrier->uplink;
    bool broken = mux_session_is_broken(carrier->session);
    bool dismissed = at->dismissed;

    at->dismissed = true;
    if (dismissed)
        uplink_look_at_links(uplink);
    else if (carrier_welcomed(carrier) > 0 && !broken && at->welcomed)
        on_link_left(at, end, reason);
    else if (carrier != uplink->current)
        return;
    else if (carrier_welcomed(carrier) > 0 && !broken)
        uplink_join_ended(uplink, at, end, reason);
    else
        on_unlinked(at, end, reason);
}

static void record_end(struct uplink *uplink, const struct carrier_link *at, enum link_end end,
                       const char *reason)
{
    const struct link_history_entry entry = {
        .number = at->number,
        .cause = at->cause,
        .time_us = telemetry_wall_clock_us(),
        .lived_ms = (clock_now_us() - at->since_us) / 1000,
        .end = link_end_name(end),
    };

    link_history_add(&uplink->history, &entry, reason);
}

static void on_uplink_link_ended(void *context, struct link *link, enum link_end end,
                                 const char *reason)
{
    struct carrier_link *at = context;
    struct carrier *carrier = at->carrier;
    struct uplink *uplink = carrier->uplink;

    (void)link;
    metrics_add(uplink->worker->metrics, METRIC_LINK_ENDS, end, 0, 1);
    if (at->welcomed)
        record_end(uplink, at, end, reason);
    on_carrier_link_ended(at, end, reason);
    carrier_link_free(at);
    if (carrier != uplink->current && list_empty(&carrier->links))
        on_left(carrier, reason);
}

static const struct link_owner link_owner = {.ended = on_uplink_link_ended};

static void on_resume_expired(void *argument)
{
    struct carrier *carrier = argument;

    if (!carrier_is_linked(carrier))
        lose_session(carrier, "there was no link for longer than the server keeps a session");
}

static void on_dial_failed(struct uplink *uplink, const struct http_dial_result *result)
{
    const char *hop = http_hop_name(result->hop);
    bool who = result->hop == HTTP_HOP_AUTH || result->login_refused;

    if (result->hop == HTTP_HOP_AUTH)
        credentials_refused(uplink->credentials);
    if (carrier_welcomed(uplink->current) > 0)
        uplink_join_failed(uplink, hop, result->status, NULL, result->reason,
                           result->retry_after_ms);
    else
        dial_failed(uplink, hop, result->status, result->reason,
                    who ? BACKOFF_REFUSED : BACKOFF_USUAL, result->retry_after_ms);
}

static void on_uplink_dialled(void *context, const struct http_dial_result *result)
{
    struct uplink *uplink = context;
    struct carrier *carrier = uplink->current;
    bool joins = carrier_welcomed(carrier) > 0;

    uplink->dialling = false;
    if (uplink->owner->dialled && !joins)
        uplink->owner->dialled(uplink->context, result);
    wake_watch(uplink->wake, &result->trace->tried);
    if (result->hop != HTTP_HOP_NONE) {
        on_dial_failed(uplink, result);
        return;
    }
    metrics_observe(uplink->worker->metrics, METRIC_DIAL_DURATION, 0,
                    clock_now_us() - uplink->dial_us);
    /* So many are not wanted any more. */
    if (joins && !uplink_may_join(uplink)) {
        transport_free(result->transport);
        return;
    }
    carrier_add(carrier, uplink->worker, result->transport, &link_owner, uplink->frames.max,
                uplink->join_cause);
}

/* ---- dialling */

static void on_credentials(void *context, const struct credentials_result *result)
{
    struct uplink *uplink = context;

    if (!result->headers) {
        uplink->dialling = false;
        if (carrier_welcomed(uplink->current) > 0)
            uplink_join_failed(uplink, result->hop, result->status, NULL, result->reason,
                               result->refused ? (unsigned)BACKOFF_REFUSED_MS : 0);
        else
            dial_failed(uplink, result->hop, result->status, result->reason,
                        result->refused ? BACKOFF_REFUSED : BACKOFF_USUAL, 0);
        return;
    }
    log_debug(uplink->worker->log, "dialling", "Connecting to the server",
              log_str("server", uplink->options->server));
    uplink->dial_us = clock_now_us();
    http_client_dial(uplink->http, result->headers, (unsigned)uplink->options->dial_timeout_ms,
                     on_uplink_dialled, uplink);
}

void uplink_dial(struct uplink *uplink)
{
    timer_stop(uplink->look);
    uplink->dialling = true;
    metrics_add(uplink->worker->metrics, METRIC_DIALS, 0, 0, 1);
    uplink->asked_us = clock_now_us();
    credentials_ask(uplink->credentials, on_credentials, uplink);
}

/* ---- the session's callbacks, with the carrier as context */

static void note_welcome(struct carrier_link *at)
{
    struct metrics *metrics = at->carrier->uplink->worker->metrics;

    at->welcomed = true;
    metrics_observe(metrics, METRIC_HANDSHAKE_DURATION, 0, clock_now_us() - at->since_us);
    metrics_add(metrics, METRIC_LINKS_OPENED, 0, 0, 1);
}

static void note_up(struct carrier *carrier, const struct mux_welcome *welcome)
{
    struct uplink *uplink = carrier->uplink;
    struct metrics *metrics = uplink->worker->metrics;

    metrics_add(metrics, welcome->resumed ? METRIC_SESSION_RESUMES : METRIC_SESSIONS_OPENED, 0, 0,
                1);
    snprintf(uplink->software, sizeof uplink->software, "%.*s", (int)welcome->software.size,
             welcome->software.size > 0 ? welcome->software.bytes : "");
    if (carrier == uplink->current)
        uplink->since_us = telemetry_wall_clock_us();
    uplink_note(uplink, welcome->resumed ? JOURNAL_RESUMED : JOURNAL_UP, "", 0);
}

static void on_uplink_measured(void *context, struct mux_link *link, uint64_t rtt_us)
{
    struct carrier *carrier = context;

    (void)link;
    metrics_observe(carrier->uplink->worker->metrics, METRIC_RTT, 0, rtt_us);
    /* After a resume others may join as soon as the positions have come. */
    if (carrier == carrier->uplink->current && carrier_welcomed(carrier) < carrier->wanted)
        uplink_look_at_links(carrier->uplink);
}

/* The server has its own experience with what is in between, and its --max-frame. */
static void obey_frames(struct carrier *carrier, uint32_t message_max)
{
    struct uplink *uplink = carrier->uplink;
    char text[JOURNAL_REASON_MAX];

    if (frame_limit_lower(&uplink->frames, message_max)) {
        snprintf(text, sizeof text, "the server requires frames of at most %zu KiB",
                 uplink->frames.max / 1024);
        uplink_note(uplink, JOURNAL_SMALLER_FRAMES, text, 0);
        log_info(uplink->worker->log, "smaller_frames",
                 "The server requires smaller WebSocket frames",
                 log_u64("max_frame", uplink->frames.max));
    }
    carrier_limit_frames(carrier, uplink->frames.max);
}

static void on_established(void *context, struct mux_link *link, const struct mux_welcome *welcome)
{
    struct carrier *carrier = context;
    struct uplink *uplink = carrier->uplink;
    struct carrier_link *at = carrier_find(carrier, link);
    char congestion_control[CONGESTION_NAME_SIZE];

    timer_stop(carrier->resume);
    carrier->known = true;
    carrier->worked = false;
    note_welcome(at);
    joining_succeeded(&uplink->joining, 1, clock_now_us());
    uplink->replaces = false;
    uplink->stops_us = 0;
    uplink->said[0] = '\0';
    uplink->resume_window_ms = welcome->resume_window_ms;
    if (uplink->options->shared.resume_window_ms < uplink->resume_window_ms)
        uplink->resume_window_ms = (uint32_t)uplink->options->shared.resume_window_ms;
    note_up(carrier, welcome);
    obey_frames(carrier, welcome->message_max);
    link_congestion_control(at->link, congestion_control);
    log_info(uplink->worker->log, welcome->resumed ? "link_resumed" : "link_up",
             welcome->resumed ? "The link to the server is back; connections continue"
                              : "The link to the server is up",
             log_str("server", uplink->options->server),
             log_str("protection", link_protection(at->link)),
             log_str("congestion_control", congestion_control),
             log_bytes("software", welcome->software.bytes, welcome->software.size));
    if (uplink->draining) {
        mux_session_goaway(carrier->session, MUX_CODE_GOING_AWAY, STOPPING);
        sweep_soon(carrier);
        return;
    }
    uplink->owner->up(uplink->context, welcome);
    uplink_look_at_links(uplink);
}

/* One more link is up. */
static void on_joined(void *context, struct mux_link *link, const struct mux_welcome *welcome)
{
    struct carrier *carrier = context;
    struct uplink *uplink = carrier->uplink;
    struct carrier_link *at = carrier_find(carrier, link);

    note_welcome(at);
    uplink_count_join(uplink, METRICS_JOIN_JOINED);
    obey_frames(carrier, welcome->message_max);
    log_info(uplink->worker->log, "link_joined", "One more link to the server is up",
             log_str("protection", link_protection(at->link)),
             log_u64("links", carrier_welcomed(carrier)));
    uplink_note(uplink, JOURNAL_LINK_JOINED, "", 0);
    if (carrier != uplink->current)
        return;
    uplink->replaces = carrier_welcomed(carrier) < carrier->wanted && uplink->replaces;
    joining_succeeded(&uplink->joining, carrier_welcomed(carrier), clock_now_us());
    uplink_look_at_links(uplink);
}

static void on_links_wanted(void *context, unsigned links)
{
    struct carrier *carrier = context;

    carrier->wanted = links;
    if (carrier == carrier->uplink->current)
        uplink_look_at_links(carrier->uplink);
}

/* The server stops, or this session has used up all numbers of streams: new ones go over a new
 * session, which with luck another instance of the server takes on. */
static void on_uplink_goaway(void *context, enum mux_code code, struct mux_text reason)
{
    struct carrier *carrier = context;
    struct uplink *uplink = carrier->uplink;

    if (carrier != uplink->current || uplink->draining)
        return;
    log_info(
        uplink->worker->log, code == MUX_CODE_LIMIT ? "session_used_up" : "server_going_away",
        code == MUX_CODE_LIMIT
            ? "The session can open no more connections; starting another one"
            : "The server is about to stop; starting a new session, while the old connections end",
        log_bytes("reason", reason.bytes, reason.size),
        log_u64("connections", mux_session_stream_count(carrier->session)));
    char text[JOURNAL_REASON_MAX];
    snprintf(text, sizeof text, "%.*s", (int)reason.size, reason.size > 0 ? reason.bytes : "");
    uplink_note(uplink, JOURNAL_GOING_AWAY, text, 0);
    uplink->since_us = telemetry_wall_clock_us();
    if (code == MUX_CODE_GOING_AWAY)
        uplink->stops_us = clock_now_us();
    carrier->leaving = true;
    list_append(&uplink->leaving, &carrier->node);
    count_links(carrier);
    uplink->current = carrier_new(uplink);
    uplink->owner->lost(uplink->context, true);
    redial_in(uplink, uplink_pause_ms(uplink, BACKOFF_SHORT, 0));
    sweep_soon(carrier);
}

static void on_uplink_message(void *context, uint8_t type, const uint8_t *payload, size_t size)
{
    struct carrier *carrier = context;
    struct uplink *uplink = carrier->uplink;

    uplink->owner->message(uplink->context, carrier->session, type, payload, size);
}

static void on_idle(void *context)
{
    sweep_soon(context);
}

static const struct mux_session_callbacks session_callbacks = {
    .established = on_established,
    .joined = on_joined,
    .links_wanted = on_links_wanted,
    .idle = on_idle,
    .message = on_uplink_message,
    .goaway = on_uplink_goaway,
    .measured = on_uplink_measured,
};

/* ---- life */

static struct http_way *new_uplink_way(struct worker *worker, const struct options *options,
                                       char *error, size_t size)
{
    const struct http_way_settings settings = {
        .files = {.cert_option = "cert",
                  .cert_file = options->cert,
                  .key_option = "key",
                  .key_file = options->key,
                  .passphrase_file = options->key_passphrase_file,
                  .passphrase = options->key_passphrase,
                  .ca_option = "ca",
                  .ca_file = options->ca,
                  .crl_option = "crl",
                  .crl_file = options->crl,
                  .policy = &options->tls_policy,
                  .strict = options->shared.strict_files},
        .proxy = options->proxy,
        .overrides = &options->resolve,
        .congestion_control = options->shared.congestion_control,
    };

    return http_way_new(worker, &settings, error, size);
}

struct uplink *uplink_new(struct worker *worker, const struct options *options,
                          const struct uplink_owner *owner, void *context, char *error, size_t size)
{
    struct uplink *uplink = memory_new(sizeof *uplink);
    const struct http_client_settings settings = {
        .host = options->url.host,
        .port = options->url.port,
        .path = options->url.path,
        .tls = options->url.tls,
        .certificate = options->cert != NULL,
    };

    uplink->worker = worker;
    uplink->options = options;
    uplink->owner = owner;
    uplink->context = context;
    list_init(&uplink->leaving);
    frame_limit_init(&uplink->frames, options->shared.max_frame);
    uplink->since_us = telemetry_wall_clock_us();
    uplink->way = new_uplink_way(worker, options, error, size);
    if (!uplink->way) {
        free(uplink);
        return NULL;
    }
    uplink->credentials = credentials_new(worker, uplink->way, options, error, size);
    if (!uplink->credentials) {
        http_way_free(uplink->way);
        free(uplink);
        return NULL;
    }
    uplink->http = http_client_new(uplink->way, &settings);
    uplink->redial = timer_new(worker, on_redial, uplink);
    uplink->look = timer_new(worker, on_credentials_look, uplink);
    uplink->join = timer_new(worker, uplink_join, uplink);
    uplink->current = carrier_new(uplink);
    return uplink;
}

/* Does the pause before the next dial make no sense any more? A long sleep was a pause as well. */
static bool is_over_with(const struct uplink *uplink, enum wake_reason reason, uint64_t slept_ms)
{
    return timer_is_running(uplink->redial) &&
           (!uplink->pause_stays || (reason == WAKE_SLEPT && slept_ms >= uplink->pause_ms));
}

/* However often a network comes and goes. */
static unsigned pace_ms(const struct uplink *uplink)
{
    uint64_t passed_us = clock_now_us() - uplink->asked_us;

    return passed_us < BACKOFF_PACE_US ? (unsigned)((BACKOFF_PACE_US - passed_us) / 1000) : 0;
}

/* What kept more links from coming may be over. */
static void forget_refusals(struct uplink *uplink)
{
    joining_forget(&uplink->joining);
    uplink_look_at_links(uplink);
}

/* A link may have died unnoticed; and what kept the last dial from working may be over. */
static void on_wake(void *context, enum wake_reason reason, uint64_t slept_ms)
{
    struct uplink *uplink = context;

    log_info(uplink->worker->log, reason == WAKE_SLEPT ? "woke_up" : "network_changed",
             reason == WAKE_SLEPT ? "The machine has slept; checking the link"
                                  : "The network has changed; checking the link",
             log_ms("slept", slept_ms));
    list_each(at, &uplink->leaving)
        carrier_probe(list_entry(at, struct carrier, node));
    carrier_probe(uplink->current);
    if (reason == WAKE_NETWORK)
        forget_refusals(uplink);
    if (!carrier_is_linked(uplink->current) && is_over_with(uplink, reason, slept_ms))
        redial_in(uplink, pace_ms(uplink));
}

void uplink_want_links(struct uplink *uplink, unsigned links)
{
    if (uplink->current->wanted >= links)
        return;
    uplink->current->wanted = links;
    uplink_look_at_links(uplink);
}

void uplink_start(struct uplink *uplink)
{
    uplink->wake = wake_new(uplink->worker, on_wake, uplink);
    redial_in(uplink, 0);
}

void uplink_reload(struct uplink *uplink, struct reload *reload)
{
    http_way_reload(uplink->way, reload);
    credentials_reload(uplink->credentials, reload);
    /* Whoever asks has mended what a dial has failed for. */
    if (timer_is_running(uplink->redial))
        redial_in(uplink, 0);
    forget_refusals(uplink);
}

void uplink_drain(struct uplink *uplink)
{
    struct carrier *carrier = uplink->current;

    uplink->draining = true;
    carrier->leaving = true;
    /* The server knows what is under way: it ends connections that are between two requests. */
    if (carrier->known)
        mux_session_goaway(carrier->session, MUX_CODE_GOING_AWAY, STOPPING);
    sweep_soon(carrier);
}

static void say_goodbye_to_server(struct carrier *carrier)
{
    if (carrier_is_linked(carrier)) {
        mux_session_goaway(carrier->session, MUX_CODE_GOING_AWAY, STOPPING);
        carrier_dismiss_all(carrier, 1000, STOPPING);
    }
    mux_session_reset_streams(carrier->session, MUX_CODE_GOING_AWAY, STOPPING);
}

void uplink_stop(struct uplink *uplink)
{
    uplink->stopping = true;
    timer_stop(uplink->redial);
    timer_stop(uplink->look);
    timer_stop(uplink->join);
    cancel_dial(uplink);
    timer_stop(uplink->current->resume);
    list_each(at, &uplink->leaving)
        say_goodbye_to_server(list_entry(at, struct carrier, node));
    say_goodbye_to_server(uplink->current);
}

bool uplink_stopped(const struct uplink *uplink)
{
    return list_empty(&uplink->current->links) && list_empty(&uplink->leaving) &&
           mux_session_stream_count(uplink->current->session) == 0;
}

void uplink_free(struct uplink *uplink)
{
    if (!uplink)
        return;
    while (!list_empty(&uplink->leaving))
        carrier_free(list_entry(uplink->leaving.next, struct carrier, node), MUX_CODE_GOING_AWAY,
                     STOPPING);
    carrier_free(uplink->current, MUX_CODE_GOING_AWAY, STOPPING);
    http_client_free(uplink->http);
    credentials_free(uplink->credentials);
    http_way_free(uplink->way);
    wake_free(uplink->wake);
    timer_free(uplink->redial);
    timer_free(uplink->look);
    timer_free(uplink->join);
    free(uplink);
}
