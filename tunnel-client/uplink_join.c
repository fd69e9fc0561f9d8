#include "uplink_join.h"

#include <stdio.h>
#include <string.h>

#include "io/clock.h"
#include "io/timer.h"
#include "monitoring/telemetry.h"
#include "uplink_core.h"

/* One more is dialled for when nothing else is under way. */
bool uplink_may_join(const struct uplink *uplink)
{
    const struct carrier *current = uplink->current;

    return !uplink->stopping && !uplink->draining && !uplink->dialling &&
           !timer_is_running(uplink->redial) && !carrier_greeting(current) &&
           mux_session_may_join(current->session);
}

static void close_surplus(struct uplink *uplink)
{
    const struct carrier *current = uplink->current;
    struct carrier_link *surplus;

    while (carrier_welcomed(current) > current->wanted && (surplus = carrier_surplus(current))) {
        carrier_dismiss(surplus, 1000, "fewer links are needed");
        joining_closed(&uplink->joining, clock_now_us());
        log_info(uplink->worker->log, "link_closed",
                 "One of the links to the server is closed: fewer are needed now",
                 log_u64("lived_ms", (clock_now_us() - surplus->since_us) / 1000),
                 log_u64("links", carrier_welcomed(current)));
    }
}

static enum link_cause join_cause(const struct uplink *uplink)
{
    if (uplink->replaces)
        return LINK_CAUSE_REPLACE;
    switch (mux_session_want(uplink->current->session)) {
    case MUX_WANT_PEER:
        return LINK_CAUSE_SERVER;
    case MUX_WANT_ROOM:
        return LINK_CAUSE_ROOM;
    default:
        return LINK_CAUSE_SPARE;
    }
}

static void dial_for_one_more(struct uplink *uplink)
{
    uplink->join_cause = join_cause(uplink);
    uplink_dial(uplink);
}

void uplink_join(void *argument)
{
    struct uplink *uplink = argument;
    const struct carrier *current = uplink->current;
    uint64_t now = clock_now_us();

    if (!uplink->stopping)
        close_surplus(uplink);
    if (!uplink_may_join(uplink))
        return;
    uint64_t due_us = joining_due(&uplink->joining, current->wanted, carrier_welcomed(current));
    if (due_us <= now)
        dial_for_one_more(uplink);
    else if (due_us != UINT64_MAX)
        timer_start_us(uplink->join, due_us - now);
}

void uplink_look_at_links(struct uplink *uplink)
{
    timer_fire(uplink->join);
}

void uplink_count_join(const struct uplink *uplink, enum metrics_join result)
{
    metrics_add(uplink->worker->metrics, METRIC_LINK_JOINS, result, 0, 1);
}

static enum joining_failure join_failure(int status, const struct mux_reject *rejection)
{
    if (rejection && rejection->code == MUX_CODE_UNKNOWN_SESSION)
        return JOINING_UNKNOWN;
    return rejection || status != 0 ? JOINING_REFUSED : JOINING_FAILED;
}

/* Nobody misses the link. rejection: NULL if the server did not send one. */
void uplink_join_failed(struct uplink *uplink, const char *hop, int status,
                        const struct mux_reject *rejection, const char *reason, unsigned asked_ms)
{
    unsigned links = carrier_welcomed(uplink->current);
    enum joining_failure failure = join_failure(status, rejection);
    char text[JOINING_REASON_MAX];

    snprintf(text, sizeof text, "%.16s: %.170s", hop, reason);
    uplink_count_join(uplink, rejection                    ? telemetry_join(rejection->code)
                              : failure == JOINING_REFUSED ? METRICS_JOIN_REFUSED
                                                           : METRICS_JOIN_FAILED);
    bool again = strcmp(text, uplink->joining.reason) == 0;
    uint64_t wait_ms = joining_failed(&uplink->joining, failure, text,
                                      rejection ? rejection->retry_after_ms : asked_ms, links,
                                      uplink_random_below(UINT32_MAX), clock_now_us());
    log_event(uplink->worker->log, again ? LOG_LEVEL_DEBUG : LOG_LEVEL_INFO, "join_failed",
              "The client has tried to open one more link to the server, without success; "
              "connections go on over the links that are up",
              (const struct log_field[]){log_str("hop", hop), log_str("reason", reason),
                                         log_u64("status", (uint64_t)status),
                                         log_u64("links", links), log_u64("retry_ms", wait_ms)},
              5);
    uplink_note(uplink, JOURNAL_JOIN_FAILED, text, wait_ms);
    uplink_look_at_links(uplink);
}

/* A link that was to be one more. */
void uplink_join_ended(struct uplink *uplink, const struct carrier_link *at, enum link_end end,
                       const char *reason)
{
    const struct mux_reject *rejection = end == LINK_END_REJECTED ? link_rejection(at->link) : NULL;
    char text[300];

    if (rejection && rejection->code == MUX_CODE_UNKNOWN_SESSION) {
        reason = "the instance of the server that answered does not have the session: the ingress "
                 "spreads links over several instances; see --peers of tunnel-server";
    } else if (rejection) {
        snprintf(text, sizeof text, "the server refused the link: %.*s",
                 (int)rejection->reason.size, rejection->reason.bytes);
        reason = text;
    }
    uplink_join_failed(uplink, "tunnel", 101, rejection, reason, 0);
}
