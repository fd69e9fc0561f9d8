#include "mux/session_core.h"

#include <stdlib.h>

void mux_core_output(struct mux_link *link)
{
    if (link->output_pending)
        return;
    link->output_pending = true;
    link->pending_us = link->session->now_us;
    if (link->output.ready)
        link->output.ready(link->output.link);
}

void mux_core_output_all(struct mux_session *session)
{
    for (unsigned i = 0; i < MUX_LINKS_MAX; i++)
        if (session->links[i] && session->links[i]->phase == MUX_PHASE_UP)
            mux_core_output(session->links[i]);
}

void mux_core_output_lead(struct mux_session *session)
{
    /* One that has not taken all of what it was told of before may give way. */
    if (session->lead && session->lead->output_pending && mux_core_has_choice(session))
        mux_core_output_all(session);
    else if (session->lead)
        mux_core_output(session->lead);
}

void mux_core_attend_at(const struct mux_session *session, uint64_t time_us)
{
    const struct mux_link *lead = session->lead;

    if (lead && lead->output.attend_at)
        lead->output.attend_at(lead->output.link, time_us);
}

void mux_core_enter(struct mux_stream *stream)
{
    struct mux_session *session = stream->session;

    if (mux_core_has_choice(session) && !mux_core_is_small(stream) && mux_core_is_known(stream)) {
        list_append(&session->busy, &stream->active);
        mux_core_output_all(session);
        return;
    }
    stream->fresh = true;
    if (list_empty(&session->fresh))
        session->fresh_us = session->now_us;
    list_append(&session->fresh, &stream->active);
    mux_core_output_lead(session);
}

uint64_t mux_core_distance_us(const struct mux_session *session)
{
    uint64_t longest = 0;

    for (unsigned i = 0; i < MUX_LINKS_MAX; i++) {
        const struct mux_link *link = session->links[i];
        if (link && !link->suspect && link->rtt_min_us > longest)
            longest = link->rtt_min_us;
    }
    /* What comes over several links waits for the one that is just sending something again. */
    return mux_core_has_choice(session) ? 2 * longest : longest;
}

int mux_core_broken(struct mux_session *session, const char *reason)
{
    session->broken = true;
    session->reason = reason;
    for (unsigned i = 0; i < MUX_LINKS_MAX; i++) {
        const struct mux_link *link = session->links[i];
        if (link && link->output.attend)
            link->output.attend(link->output.link);
    }
    return MUX_ERROR_PROTOCOL;
}

void mux_core_ask(struct mux_link *link)
{
    const uint64_t now_us = link->session->now_us;

    link->ping_due = true;
    /* Counts from here, not from the pull: a link that takes no more bytes is dead, too. */
    if (link->asked_us == 0)
        link->asked_us = now_us ? now_us : 1;
    mux_core_output(link);
}

void mux_core_reap(struct mux_session *session)
{
    for (struct list *node; (node = list_pop(&session->zombies));) {
        struct mux_stream *stream = list_entry(node, struct mux_stream, active);
        free(stream->reset_reason);
        free(stream);
    }
}

void mux_core_charge_sent(struct mux_stream *stream)
{
    struct memory_share *share = stream->session->share;
    uint64_t floor = stream->id == MUX_CONTROL_STREAM ? 0 : MUX_STREAM_FLOOR;
    uint64_t held = stream->send.end - stream->send.start;
    uint64_t charge = (held > floor ? held : floor) + stream->beside;

    if (charge > stream->send_charged)
        memory_share_add(share, MEMORY_SEND, charge - stream->send_charged);
    else if (charge < stream->send_charged)
        memory_share_give(share, MEMORY_SEND, stream->send_charged - charge);
    stream->send_charged = charge;
}
