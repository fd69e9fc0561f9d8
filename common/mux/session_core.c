#include "mux/session_core.h"

#include <stdlib.h>

void mux_core_output(struct mux_session *session)
{
    if (session->output_pending || session->phase == MUX_PHASE_NONE)
        return;
    session->output_pending = true;
    if (session->output.ready)
        session->output.ready(session->output.link);
}

int mux_core_broken(struct mux_session *session, const char *reason)
{
    session->broken = true;
    session->reason = reason;
    return MUX_ERROR_PROTOCOL;
}

void mux_core_ask(struct mux_session *session)
{
    session->ping_due = true;
    /* Counts from here, not from the pull: a link that takes no more bytes is dead, too. */
    if (session->asked_us == 0)
        session->asked_us = session->now_us ? session->now_us : 1;
    mux_core_output(session);
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
        share_take(&share->budget->send, &share->send, charge - stream->send_charged);
    else if (charge < stream->send_charged)
        memory_share_give(share, MEMORY_SEND, stream->send_charged - charge);
    stream->send_charged = charge;
}
