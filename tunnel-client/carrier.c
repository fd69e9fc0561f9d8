#include "carrier.h"

#include <stdlib.h>

#include "base/memory.h"
#include "io/clock.h"
#include "monitoring/telemetry.h"

struct carrier_link *carrier_add(struct carrier *carrier, struct worker *worker,
                                 struct transport *transport, const struct link_owner *owner,
                                 size_t frame_max, enum link_cause cause)
{
    struct carrier_link *at = memory_new(sizeof *at);
    const struct link_counters counters = telemetry_link(worker);

    at->carrier = carrier;
    at->since_us = clock_now_us();
    at->link = link_new_client(worker, transport, carrier->session, owner, at);
    link_count(at->link, &counters);
    list_append(&carrier->links, &at->node);
    mux_session_limit_messages(carrier->session, (uint32_t)frame_max);
    link_limit_frames(at->link, frame_max);
    link_start(at->link);
    at->entry = mux_link_entry(link_mux(at->link));
    at->number = mux_link_attempt(link_mux(at->link));
    at->cause = at->entry == MUX_ENTRY_JOIN     ? cause
                : at->entry == MUX_ENTRY_RESUME ? LINK_CAUSE_RESUME
                                                : LINK_CAUSE_SESSION;
    return at;
}

void carrier_link_free(struct carrier_link *at)
{
    list_remove(&at->node);
    free(at);
}

void carrier_abort_links(struct carrier *carrier)
{
    while (!list_empty(&carrier->links)) {
        struct carrier_link *at = list_entry(carrier->links.next, struct carrier_link, node);
        link_abort(at->link);
        carrier_link_free(at);
    }
}

void carrier_dismiss(struct carrier_link *at, uint16_t code, const char *reason)
{
    if (at->dismissed)
        return;
    at->dismissed = true;
    link_close(at->link, code, reason);
}

void carrier_dismiss_all(struct carrier *carrier, uint16_t code, const char *reason)
{
    list_each(node, &carrier->links)
        carrier_dismiss(list_entry(node, struct carrier_link, node), code, reason);
}

struct carrier_link *carrier_surplus(const struct carrier *carrier)
{
    struct carrier_link *least = NULL;
    uint64_t in_flight = 0;

    if (mux_session_links_up(carrier->session) < 2)
        return NULL;
    list_each(node, &carrier->links) {
        struct carrier_link *at = list_entry(node, struct carrier_link, node);
        if (!at->welcomed || at->dismissed || !link_mux(at->link))
            continue;
        struct mux_link_facts facts = mux_link_facts(link_mux(at->link));
        if (facts.lead || (least && facts.in_flight >= in_flight))
            continue;
        least = at;
        in_flight = facts.in_flight;
    }
    return least;
}

bool carrier_is_linked(const struct carrier *carrier)
{
    list_each(node, &carrier->links)
        if (!list_entry(node, struct carrier_link, node)->dismissed)
            return true;
    return false;
}

struct carrier_link *carrier_greeting(const struct carrier *carrier)
{
    list_each(node, &carrier->links) {
        struct carrier_link *at = list_entry(node, struct carrier_link, node);
        if (!at->dismissed && !at->welcomed)
            return at;
    }
    return NULL;
}

unsigned carrier_welcomed(const struct carrier *carrier)
{
    unsigned count = 0;

    list_each(node, &carrier->links) {
        const struct carrier_link *at = list_entry(node, struct carrier_link, node);
        count += at->welcomed && !at->dismissed && link_mux(at->link);
    }
    return count;
}

struct carrier_link *carrier_find(const struct carrier *carrier, const struct mux_link *mux)
{
    list_each(node, &carrier->links) {
        struct carrier_link *at = list_entry(node, struct carrier_link, node);
        if (link_mux(at->link) == mux)
            return at;
    }
    return NULL;
}

struct link *carrier_lead(const struct carrier *carrier)
{
    const struct mux_link *lead = mux_session_lead(carrier->session);

    list_each(node, &carrier->links) {
        const struct carrier_link *at = list_entry(node, struct carrier_link, node);
        if (lead ? link_mux(at->link) == lead : !at->dismissed)
            return at->link;
    }
    return NULL;
}

void carrier_limit_frames(const struct carrier *carrier, size_t max)
{
    list_each(node, &carrier->links)
        link_limit_frames(list_entry(node, struct carrier_link, node)->link, max);
}

void carrier_probe(const struct carrier *carrier)
{
    list_each(node, &carrier->links)
        link_probe(list_entry(node, struct carrier_link, node)->link);
}
