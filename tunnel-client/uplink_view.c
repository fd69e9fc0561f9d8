/* What an uplink shows of itself. */
#include "io/clock.h"
#include "io/timer.h"
#include "uplink.h"
#include "uplink_core.h"

/* The round trip is measured again at most so often. */
enum { MEASURE_US = 5 * 1000 * 1000 };

const char *uplink_protection(const struct uplink *uplink)
{
    const struct link *lead = carrier_lead(uplink->current);

    return lead ? link_protection(lead) : "";
}

static uint64_t link_rtt_at_us(const struct carrier *carrier)
{
    const struct mux_link *lead = mux_session_lead(carrier->session);

    return lead ? mux_link_facts(lead).rtt_at_us : 0;
}

static bool is_up(const struct carrier *carrier)
{
    return mux_session_established(carrier->session);
}

static const char *state_name(const struct uplink *uplink)
{
    if (uplink->stopping || uplink->draining)
        return "stopping";
    if (is_up(uplink->current))
        return "up";
    return timer_is_running(uplink->redial) ? "waiting" : "connecting";
}

static uint64_t retry_ms(const struct uplink *uplink)
{
    uint64_t now_us = clock_now_us();

    return timer_is_running(uplink->redial) && uplink->redial_us > now_us
               ? (uplink->redial_us - now_us + 999) / 1000
               : 0;
}

static uint64_t join_retry_ms(const struct uplink *uplink)
{
    const struct carrier *current = uplink->current;
    uint64_t now_us = clock_now_us();
    uint64_t due_us = joining_due(&uplink->joining, current->wanted, carrier_welcomed(current));

    return due_us != UINT64_MAX && due_us > now_us ? (due_us - now_us + 999) / 1000 : 0;
}

void uplink_view(const struct uplink *uplink, struct uplink_view *view)
{
    const struct carrier *current = uplink->current;
    bool up = is_up(current);

    *view = (struct uplink_view){
        .state = state_name(uplink),
        .since_us = uplink->since_us,
        .protection = up ? uplink_protection(uplink) : "",
        .software = up ? uplink->software : "",
        .rtt_us = up ? mux_session_rtt_us(current->session) : 0,
        .failures = uplink->failures,
        .retry_ms = retry_ms(uplink),
        .frame_max = uplink->frames.max,
        .sessions = current->known,
        .links = mux_session_links_up(current->session),
        .links_wanted = current->wanted,
        .join_failure = current->wanted > 1 ? uplink->joining.reason : "",
        .is_spread = uplink->joining.is_spread,
        .join_retry_ms = join_retry_ms(uplink),
        .journal = &uplink->journal,
        .history = &uplink->history,
        .current = current,
        .leaving = &uplink->leaving,
    };
    if (view->rtt_us > 0)
        view->rtt_age_us = clock_now_us() - link_rtt_at_us(current);
    list_each(at, &uplink->leaving) {
        view->sessions++;
        view->links += mux_session_links_up(list_entry(at, struct carrier, node)->session);
    }
}

void uplink_sum_up(const struct uplink *uplink, struct telemetry_sessions *sum)
{
    telemetry_add_session(sum, uplink->current->session);
    list_each(at, &uplink->leaving)
        telemetry_add_session(sum, list_entry(at, struct carrier, node)->session);
}

void uplink_measure(struct uplink *uplink)
{
    const struct carrier *current = uplink->current;
    uint64_t now = clock_now_us();

    if (!is_up(current) || now - link_rtt_at_us(current) < MEASURE_US ||
        now - uplink->measure_us < MEASURE_US)
        return;
    uplink->measure_us = now;
    mux_link_ping(link_mux(carrier_lead(current)), now);
}

struct link *uplink_link(const struct uplink *uplink, uint32_t number)
{
    list_each(node, &uplink->current->links) {
        const struct carrier_link *at = list_entry(node, struct carrier_link, node);
        if (at->number == number && !at->dismissed)
            return at->link;
    }
    return NULL;
}
