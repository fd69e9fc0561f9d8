/*
 * What a session does as time passes: probes the link, finds it dead, sends delayed credits, takes
 * back the windows of idle streams, looks for memory again, ends resets that wait for their data.
 */
#include "mux/session.h"
#include "mux/session_core.h"
#include "mux/stream_internal.h"

enum { BUSY_PROBE_US = 1000 * 1000 };

static uint64_t earlier(uint64_t a, uint64_t b)
{
    return b != 0 && b < a ? b : a;
}

/* When silence has lasted so long that the link must be probed, or, already probed, is dead. */
static uint64_t probe_at(const struct mux_session *session)
{
    if (session->phase != MUX_PHASE_UP || session->ping_us != 0 || session->ping_due)
        return UINT64_MAX;
    if (session->unacknowledged > 0)
        return session->heard_us + BUSY_PROBE_US;
    return session->heard_us + session->settings.ping_interval_us;
}

/*
 * A greeting has a deadline of its own, which nothing that comes meanwhile moves. After it, only a
 * PING is a question that a peer must answer: it may take as long as it likes to consume bytes.
 */
static uint64_t dead_at(const struct mux_session *session)
{
    uint64_t since = session->asked_us;

    if (session->phase != MUX_PHASE_UP)
        since = session->greeting_us;
    else if (since == 0)
        return UINT64_MAX;
    else if (session->heard_us > since)
        since = session->heard_us;
    return earlier(since + session->settings.dead_after_us, session->doubted_us);
}

static const char *dead_reason(const struct mux_session *session)
{
    switch (session->phase) {
    case MUX_PHASE_GREETING:
        return "the server did not answer HELLO in time";
    case MUX_PHASE_POSITIONS:
        return "the peer did not send its stream positions in time";
    default:
        return "the peer has been silent for too long";
    }
}

uint64_t mux_session_deadline(const struct mux_session *session)
{
    uint64_t deadline = UINT64_MAX;

    if (session->phase != MUX_PHASE_NONE) {
        deadline = earlier(deadline, dead_at(session));
        deadline = earlier(deadline, probe_at(session));
        if (session->phase == MUX_PHASE_UP)
            deadline = earlier(deadline, session->credit_us);
    }
    if (!list_empty(&session->lingering)) {
        const struct mux_stream *stream =
            list_entry(session->lingering.next, struct mux_stream, linger);
        deadline = earlier(deadline, stream->linger_until_us);
    }
    deadline = earlier(deadline, session->starved_us);
    return earlier(deadline, session->sweep_us);
}

static void sweep_idle_windows(struct mux_session *session)
{
    struct mux_stream *stream;
    uint64_t next = 0;

    for (size_t at = 0; (stream = idmap_next(&session->streams, &at));) {
        if (stream->window.limit - stream->window.consumed <= session->settings.window.initial)
            continue;
        next = session->now_us + session->settings.window_idle_us;
        if (stream->receive_half == MUX_HALF_OPEN && session->phase == MUX_PHASE_UP &&
            mux_window_shrink(&stream->window, session->now_us, session->settings.window_idle_us,
                              &session->settings.window)) {
            stream->shrink_due = true;
            mux_stream_owe_credit(stream, MUX_WINDOW_NOW);
        }
    }
    session->sweep_us = next;
}

static void end_lingering(struct mux_session *session)
{
    while (!list_empty(&session->lingering)) {
        struct mux_stream *stream = list_entry(session->lingering.next, struct mux_stream, linger);
        if (stream->linger_until_us > session->now_us)
            return;
        mux_stream_cut(stream, (enum mux_code)stream->reset_code,
                       mux_text_of(stream->reset_reason ? stream->reset_reason : ""));
    }
}

void mux_session_ping(struct mux_session *session, uint64_t now_us)
{
    if (session->phase != MUX_PHASE_UP)
        return;
    session->now_us = now_us;
    mux_core_ask(session);
}

void mux_session_probe(struct mux_session *session, uint64_t now_us, uint64_t dead_after_us)
{
    if (session->phase == MUX_PHASE_NONE)
        return;
    session->now_us = now_us;
    if (session->doubted_us == 0)
        session->doubted_us = now_us + dead_after_us;
    mux_session_ping(session, now_us);
}

int mux_session_tick(struct mux_session *session, uint64_t now_us)
{
    mux_core_reap(session);
    session->now_us = now_us;
    end_lingering(session);
    if (session->starved_us != 0 && now_us >= session->starved_us)
        mux_stream_feed_starved(session);
    if (session->sweep_us != 0 && now_us >= session->sweep_us)
        sweep_idle_windows(session);
    if (session->phase == MUX_PHASE_NONE)
        return 0;
    if (session->control_overflow)
        return mux_core_broken(session, "the peer does not read the control stream");
    if (now_us >= dead_at(session)) {
        session->reason = dead_reason(session);
        return MUX_ERROR_DEAD;
    }
    if (now_us >= probe_at(session))
        mux_core_ask(session);
    if (session->phase == MUX_PHASE_UP && session->credit_us != 0 && now_us >= session->credit_us) {
        /* The next pull carries them, whenever the link has room for one. */
        session->credit_us = 0;
        mux_core_output(session);
    }
    return 0;
}
