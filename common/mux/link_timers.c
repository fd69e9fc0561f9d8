/* What a link does as time passes: probes its peer, finds it suspect, or dead. */
#include "mux/link.h"
#include "mux/scheduler.h"
#include "mux/session.h"
#include "mux/session_core.h"

enum { BUSY_PROBE_US = 1000 * 1000, LOOK_US = 200 * 1000 };

static uint64_t earlier(uint64_t a, uint64_t b)
{
    return b != 0 && b < a ? b : a;
}

/* When silence has lasted so long, or so much was sent, that the link must be probed. */
static uint64_t probe_at(const struct mux_link *link)
{
    const struct mux_session *session = link->session;

    if (link->phase != MUX_PHASE_UP || link->ping_us != 0 || link->ping_due)
        return UINT64_MAX;
    uint64_t at =
        link->heard_us +
        (session->unacknowledged > 0 ? BUSY_PROBE_US : session->settings.ping_interval_us);
    /* What was sent since the latest ping may be lost, and then others are to send it: the link may
     * have nothing more to send, or take nothing, so no pull will ask. */
    if (link->used && mux_core_has_choice(session) && link->next_ping_us < at)
        at = link->next_ping_us;
    return at;
}

/* When a link that others can stand in for has taken too long to answer. */
static uint64_t suspect_at(const struct mux_link *link)
{
    /* A ping that the link does not even take counts as well. */
    uint64_t since = link->ping_us != 0 ? link->ping_us : link->asked_us;

    if (link->suspect || since == 0 || link->phase != MUX_PHASE_UP || !mux_schedule_has_other(link))
        return UINT64_MAX;
    return since + mux_schedule_patience(link);
}

/*
 * A greeting has a deadline of its own, which nothing that comes meanwhile moves. After it, only a
 * PING is a question that a peer must answer: it may take as long as it likes to consume bytes.
 */
static uint64_t dead_at(const struct mux_link *link)
{
    uint64_t since = link->asked_us;

    if (link->given_up)
        return 0;
    if (link->phase != MUX_PHASE_UP)
        since = link->greeting_us;
    else if (since == 0)
        return UINT64_MAX;
    else if (link->heard_us > since)
        since = link->heard_us;
    return earlier(since + link->session->settings.dead_after_us, link->doubted_us);
}

static bool is_stood_in_for(const struct mux_link *link)
{
    return link->suspect && link->phase == MUX_PHASE_UP && mux_schedule_has_other(link);
}

/* If the whole path was silent, its links are given time to recover from the first answer on. */
static uint64_t replaced_at(const struct mux_link *link)
{
    const struct mux_session *session = link->session;

    return (link->suspect_us > session->relieved_us ? link->suspect_us : session->relieved_us) +
           session->settings.dead_after_us * 3 / 10;
}

/* Others have been answering for so long that a new link shall take its place: long before it would
 * be dead if it were the only one. */
static bool is_replaced(const struct mux_link *link)
{
    return is_stood_in_for(link) && link->session->heard_us >= replaced_at(link);
}

/* When to look whether it is. */
static uint64_t look_at(const struct mux_link *link)
{
    const uint64_t now_us = link->session->now_us;

    if (!is_stood_in_for(link))
        return UINT64_MAX;
    if (is_replaced(link) || now_us < replaced_at(link))
        return replaced_at(link);
    return now_us + LOOK_US;
}

static const char *dead_reason(const struct mux_link *link, uint64_t now_us)
{
    if (link->given_up)
        return "the peer has given this link up";
    if (now_us < dead_at(link))
        return "this link does not answer, and others do";
    switch (link->phase) {
    case MUX_PHASE_GREETING:
        return "the server did not answer HELLO in time";
    case MUX_PHASE_POSITIONS:
        return "the peer did not send its stream positions in time";
    default:
        return "the peer has been silent for too long";
    }
}

uint64_t mux_link_deadline(const struct mux_link *link)
{
    uint64_t deadline = dead_at(link);
    uint64_t other = probe_at(link);

    if (link->session->broken)
        return 0;
    if (other < deadline)
        deadline = other;
    other = suspect_at(link);
    if (other < deadline)
        deadline = other;
    other = look_at(link);
    if (other < deadline)
        deadline = other;
    other = mux_session_deadline(link->session);
    return other < deadline ? other : deadline;
}

void mux_link_ping(struct mux_link *link, uint64_t now_us)
{
    if (link->phase != MUX_PHASE_UP)
        return;
    link->session->now_us = now_us;
    mux_core_ask(link);
}

void mux_link_probe(struct mux_link *link, uint64_t now_us, uint64_t dead_after_us)
{
    link->session->now_us = now_us;
    if (link->doubted_us == 0)
        link->doubted_us = now_us + dead_after_us;
    mux_link_ping(link, now_us);
}

void mux_link_observe(struct mux_link *link, const struct mux_path *path, uint64_t now_us)
{
    if (path->retransmitted > link->path.retransmitted) {
        link->session->lossy_us = now_us;
        link->session->retransmitted += path->retransmitted - link->path.retransmitted;
    }
    link->path = *path;
}

int mux_link_tick(struct mux_link *link, uint64_t now_us)
{
    int error = mux_session_tick(link->session, now_us);

    if (error)
        return error;
    if (now_us >= dead_at(link) || is_replaced(link)) {
        link->reason = dead_reason(link, now_us);
        return MUX_ERROR_DEAD;
    }
    if (now_us >= probe_at(link))
        mux_core_ask(link);
    if (now_us >= suspect_at(link))
        mux_schedule_suspect(link, false);
    return 0;
}
