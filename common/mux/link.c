/* A link's life, from being attached or accepted to being detached. */
#include "mux/link.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "base/memory.h"
#include "mux/scheduler.h"
#include "mux/session.h"
#include "mux/session_core.h"
#include "mux/stream_internal.h"

static struct mux_link *new_link(struct mux_session *session, enum mux_entry entry,
                                 struct mux_output output, uint64_t now_us)
{
    struct mux_link *link = memory_new(sizeof *link);

    while (session->links[link->slot])
        link->slot++;
    session->links[link->slot] = link;
    session->link_count++;
    session->in_flight[link->slot] = 0;
    session->now_us = now_us;
    link->session = session;
    link->output = output;
    link->entry = entry;
    link->attempt = session->attempt;
    link->goaway_due = session->going_away;
    link->heard_us = link->greeting_us = now_us;
    list_init(&link->told);
    list_init(&link->told_before);
    return link;
}

/* Every stream tells the peer where it stands, stream 0 last. */
static void queue_positions(struct mux_session *session)
{
    struct mux_stream *stream;

    for (size_t at = 0; (stream = idmap_next(&session->streams, &at));) {
        list_remove(&stream->credit);
        if (!stream->orphan)
            list_append(&session->positions, &stream->credit);
    }
    list_remove(&session->control.credit);
    list_append(&session->positions, &session->control.credit);
}

/* What was sent and did not arrive must be sent again: from where the peer surely stands, which its
 * POSITION moves forward. */
static void rewind_stream(struct mux_stream *stream)
{
    struct mux_session *session = stream->session;

    mux_flight_clear(&stream->flight, session->in_flight);
    list_remove(&stream->again);
    byte_queue_rewind(&stream->send, stream->send.start);
    stream->acknowledged = stream->send.start;
    /* The peer does the same, and goes on where this end stands: what has come before its turn
     * would count as received before it is sent again. */
    mux_reassembly_clear(&stream->reassembly);
    if (stream->window.held > 0)
        mux_window_hold(&stream->window, 0, session->share);
}

static void rewind_streams(struct mux_session *session)
{
    struct mux_stream *stream;

    queue_positions(session);
    for (size_t at = 0; (stream = idmap_next(&session->streams, &at));) {
        rewind_stream(stream);
        mux_stream_activate(stream);
    }
    rewind_stream(&session->control);
    session->unacknowledged = 0;
    session->gone_count = 0; /* all of them are */
}

static bool may_have_link(const struct mux_session *session)
{
    return session->link_count < session->settings.links_max && session->link_count < MUX_LINKS_MAX;
}

struct mux_link *mux_link_attach(struct mux_session *session, struct mux_output output,
                                 uint64_t now_us)
{
    enum mux_entry entry = session->up_count > 0      ? MUX_ENTRY_JOIN
                           : session->known_to_server ? MUX_ENTRY_RESUME
                                                      : MUX_ENTRY_FIRST;

    assert(session->settings.role == MUX_CLIENT && session->link_count < MUX_LINKS_MAX);
    assert(entry == MUX_ENTRY_JOIN || session->link_count == 0);
    mux_core_reap(session);
    session->attempt++;
    session->reason = NULL;
    if (entry == MUX_ENTRY_RESUME)
        rewind_streams(session);
    struct mux_link *link = new_link(session, entry, output, now_us);
    link->phase = MUX_PHASE_GREETING;
    link->hello_due = true;
    mux_core_output(link);
    return link;
}

/* Why there can be no such link; NULL: there can. */
static const char *find_objection(const struct mux_session *session, const struct mux_hello *hello,
                                  uint16_t version)
{
    if (session->broken)
        return session->reason;
    if (version == 0)
        return "no protocol version in common";
    /* A link that the client has given up may come to life after the one that took its place. */
    if (!mux_session_is_newer(session, hello))
        return "the link is older than the one that carries the session";
    if (!hello->join)
        return NULL;
    if (version < MUX_VERSION_LINKS || version != session->version)
        return "no protocol version in common";
    if (session->up_count == 0)
        return "the session has no link to join";
    return may_have_link(session) ? NULL
                                  : "the session has as many links as are allowed (--max-links)";
}

struct mux_link *mux_link_accept(struct mux_session *session, const struct mux_hello *hello,
                                 uint16_t offer_count, struct mux_text offers,
                                 struct mux_output output, uint64_t now_us)
{
    uint16_t version = mux_version_choose(hello->version_min, hello->version_max);

    assert(session->settings.role == MUX_SERVER);
    mux_core_reap(session);
    session->reason = find_objection(session, hello, version);
    if (session->reason)
        return NULL;
    assert(hello->join || session->link_count == 0);
    session->attempt = hello->attempt;
    session->version = version;
    session->peer_initial_window = hello->initial_window;
    if (hello->resume)
        rewind_streams(session);
    struct mux_link *link = new_link(session,
                                     hello->join     ? MUX_ENTRY_JOIN
                                     : hello->resume ? MUX_ENTRY_RESUME
                                                     : MUX_ENTRY_FIRST,
                                     output, now_us);
    link->offer_count = offer_count;
    link->offers = offers;
    link->welcome_due = true;
    link->phase = MUX_PHASE_POSITIONS;
    if (link->entry != MUX_ENTRY_RESUME)
        mux_schedule_link_up(link);
    if (link->entry == MUX_ENTRY_FIRST && session->callbacks->established)
        session->callbacks->established(session->context, link, NULL);
    mux_core_output(link);
    return link;
}

void mux_link_detach(struct mux_link *link)
{
    struct mux_session *session;

    if (!link)
        return;
    session = link->session;
    session->links[link->slot] = NULL;
    session->link_count--;
    mux_schedule_link_gone(link);
    if (session->link_count == 0)
        while (list_pop(&session->positions))
            ;
    /* Only the lead has told anybody anything, and whoever was it has said so again. */
    assert(list_empty(&link->told) && list_empty(&link->told_before));
    mux_collector_clear(&link->input.pieces);
    free(link);
}

/* ---- questions */

const char *mux_link_reason(const struct mux_link *link)
{
    return link->reason ? link->reason : mux_session_reason(link->session);
}

const struct mux_reject *mux_link_rejection(const struct mux_link *link)
{
    return &link->rejection;
}

bool mux_link_is_up(const struct mux_link *link)
{
    return link->phase == MUX_PHASE_UP;
}

enum mux_entry mux_link_entry(const struct mux_link *link)
{
    return link->entry;
}

uint32_t mux_link_attempt(const struct mux_link *link)
{
    return link->attempt;
}

struct mux_pings mux_link_pings(const struct mux_link *link)
{
    return (struct mux_pings){link->pings.asked + link->ping_due, link->pings.answered};
}

void mux_link_pad(struct mux_link *link, uint64_t bytes)
{
    link->padding = bytes;
    if (bytes > 0)
        mux_core_output(link);
}

size_t mux_link_portion(const struct mux_link *link)
{
    return mux_portion_size(&link->session->portion, link->session->now_us);
}

bool mux_link_wants_output(const struct mux_link *link)
{
    return link->output_pending;
}

struct mux_link_facts mux_link_facts(const struct mux_link *link)
{
    return (struct mux_link_facts){
        .up = link->phase == MUX_PHASE_UP,
        .lead = link == link->session->lead,
        .suspect = link->suspect,
        .rtt_us = link->rtt_us,
        .rtt_at_us = link->rtt_at_us,
        .progress = link->progress,
        .in_flight = link->session->in_flight[link->slot],
        .sent_again = link->sent_again,
        .padding = link->padding,
    };
}
