#include "mux/session.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "base/memory.h"
#include "mux/scheduler.h"
#include "mux/session_control.h"
#include "mux/session_core.h"
#include "mux/stream_internal.h"

void mux_settings_default(struct mux_settings *settings)
{
    memset(settings, 0, sizeof *settings);
    settings->window = (struct mux_window_limits){
        .initial = 64 * 1024, .base = 512 * 1024, .max = 64 * 1024 * 1024};
    settings->max_streams = 2000;
    settings->ping_interval_us = 20 * 1000 * 1000;
    settings->dead_after_us = 10 * 1000 * 1000;
    settings->window_idle_us = 10 * 1000 * 1000;
    settings->resume_window_ms = 120 * 1000;
    settings->links_max = 8;
}

struct mux_session *mux_session_new(const struct mux_settings *settings,
                                    const struct mux_session_callbacks *callbacks, void *context,
                                    const struct mux_session_key *key, struct chunk_pool *pool,
                                    struct memory_share *share)
{
    static const struct mux_session_callbacks nothing;
    struct mux_session *session = memory_new(sizeof *session);

    session->settings = *settings;
    session->callbacks = callbacks ? callbacks : &nothing;
    session->context = context;
    session->key = *key;
    session->pool = pool;
    session->share = share;
    idmap_init(&session->streams, &session->settings.hash_key);
    list_init(&session->fresh);
    list_init(&session->unknown);
    list_init(&session->busy);
    list_init(&session->lost);
    list_init(&session->doubled);
    list_init(&session->credits);
    list_init(&session->positions);
    list_init(&session->starved);
    list_init(&session->lingering);
    list_init(&session->zombies);
    mux_stream_init(session, &session->control, MUX_CONTROL_STREAM);
    session->control.answered = true;
    session->control.send_limit = MUX_CONTROL_WINDOW;
    session->control.window.limit = MUX_CONTROL_WINDOW;
    session->control.window.size = MUX_CONTROL_WINDOW;
    session->control.window.initial = MUX_CONTROL_WINDOW;
    mux_growth_init(&session->growth);
    session->links_told = 1;
    return session;
}

void mux_session_free(struct mux_session *session)
{
    struct mux_stream *stream;

    if (!session)
        return;
    assert(session->link_count == 0);
    for (size_t at = 0; (stream = idmap_next(&session->streams, &at));) {
        mux_stream_release(stream);
        list_append(&session->zombies, &stream->active);
    }
    mux_core_reap(session);
    idmap_clear(&session->streams);
    mux_stream_drop_sent(&session->control);
    mux_window_close(&session->control.window, session->share);
    mux_reassembly_clear(&session->control.reassembly);
    mux_collector_clear(&session->message);
    byte_wipe(&session->key, sizeof session->key);
    free(session);
}

/* ---- time */

static uint64_t earliest(uint64_t a, uint64_t b)
{
    return b != 0 && b < a ? b : a;
}

uint64_t mux_session_deadline(const struct mux_session *session)
{
    uint64_t deadline = earliest(UINT64_MAX, session->sweep_us);

    if (session->up_count > 0) {
        uint64_t growth = mux_growth_deadline(&session->growth);
        uint64_t help = mux_schedule_help_at(session);
        deadline = help < deadline ? help : deadline;
        deadline = earliest(deadline, session->credit_us);
        deadline = earliest(deadline, session->rescue_us);
        if (session->version >= MUX_VERSION_LINKS && growth < deadline)
            deadline = growth;
    }
    if (!list_empty(&session->lingering)) {
        const struct mux_stream *stream =
            list_entry(session->lingering.next, struct mux_stream, linger);
        deadline = earliest(deadline, stream->linger_until_us);
    }
    return earliest(deadline, session->starved_us);
}

static void sweep_idle_windows(struct mux_session *session)
{
    struct mux_stream *stream;
    uint64_t next = 0;

    for (size_t at = 0; (stream = idmap_next(&session->streams, &at));) {
        if (stream->window.limit - stream->window.consumed <= session->settings.window.initial)
            continue;
        next = session->now_us + session->settings.window_idle_us;
        if (stream->receive_half == MUX_HALF_OPEN && session->up_count > 0 &&
            mux_window_shrink(&stream->window, session->now_us, session->settings.window_idle_us,
                              &session->settings.window)) {
            stream->shrink_due = true;
            stream->shrinks++;
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

/* The machine may have been busy; a short round trip is one all the same. */
static bool is_rtt_known(const struct mux_link *link)
{
    return link->pings.answered >= MUX_GROWTH_PINGS ||
           (link->rtt_min_us > 0 && link->rtt_min_us < MUX_GROWTH_LONG_US);
}

/* Would more links help? */
static void look_at_growth(struct mux_session *session)
{
    struct mux_growth_facts facts = {
        .now_us = session->now_us,
        .lossy = mux_core_is_lossy(session),
        .retransmitted = session->retransmitted,
        .links = session->up_count,
        .most = session->settings.links_max,
    };

    for (unsigned i = 0; i < MUX_LINKS_MAX; i++) {
        const struct mux_link *link = session->links[i];
        if (link && is_rtt_known(link) && (facts.rtt_us == 0 || link->rtt_min_us < facts.rtt_us))
            facts.rtt_us = link->rtt_min_us;
        facts.hidden =
            facts.hidden || (link && is_rtt_known(link) && mux_core_is_path_hidden(link));
    }
    session->retransmitted = 0;
    if (mux_growth_look(&session->growth, &facts))
        mux_schedule_tell_wanted(session);
}

int mux_session_tick(struct mux_session *session, uint64_t now_us)
{
    mux_core_reap(session);
    session->now_us = now_us;
    if (session->broken)
        return MUX_ERROR_PROTOCOL;
    end_lingering(session);
    if (session->starved_us != 0 && now_us >= session->starved_us)
        mux_stream_feed_starved(session);
    if (session->sweep_us != 0 && now_us >= session->sweep_us)
        sweep_idle_windows(session);
    if (session->link_count == 0)
        return 0;
    if (session->control_overflow)
        return mux_core_broken(session, "the peer does not read the control stream");
    if (session->up_count == 0)
        return 0;
    if (session->credit_us != 0 && now_us >= session->credit_us) {
        /* The next pull carries them, whenever the link has room for one. */
        session->credit_us = 0;
        mux_core_output_lead(session);
    }
    if (now_us >= mux_schedule_help_at(session))
        mux_schedule_help(session);
    if (session->rescue_us != 0 && now_us >= session->rescue_us)
        mux_schedule_rescue(session);
    if (session->version >= MUX_VERSION_LINKS && now_us >= mux_growth_deadline(&session->growth))
        look_at_growth(session);
    return 0;
}

/* ---- the owner's questions and wishes */

void mux_session_reset_streams(struct mux_session *session, enum mux_code code, const char *reason)
{
    /* Taking one out moves others towards its slot, or the owner may take out more: on with the
     * same slot, and once more from the start while any is left. */
    for (size_t at = 0; session->streams.count > 0;) {
        struct mux_stream *stream = idmap_next(&session->streams, &at);
        if (!stream) {
            at = 0;
            continue;
        }
        at--;
        mux_stream_cut(stream, code, mux_text_of(reason));
    }
}

int mux_session_send_message(struct mux_session *session, uint8_t type, const uint8_t *payload,
                             size_t size)
{
    assert(size <= MUX_MESSAGE_PAYLOAD_MAX);
    mux_control_send_payload(session, type, payload, size);
    return session->control_overflow ? MUX_ERROR_PROTOCOL : 0;
}

void mux_session_goaway(struct mux_session *session, enum mux_code code, const char *reason)
{
    session->going_away = true;
    session->goaway_code = code;
    strncpy(session->goaway_reason, reason, sizeof session->goaway_reason - 1);
    /* Over each link, for it counts once: none of them has to arrive. */
    for (unsigned i = 0; i < MUX_LINKS_MAX; i++) {
        if (!session->links[i])
            continue;
        session->links[i]->goaway_due = true;
        mux_core_output(session->links[i]);
    }
}

bool mux_session_is_newer(const struct mux_session *session, const struct mux_hello *hello)
{
    return hello->attempt > session->attempt;
}

bool mux_session_may_join(const struct mux_session *session)
{
    return session->version >= MUX_VERSION_LINKS && session->up_count > 0 &&
           session->link_count < session->settings.links_max;
}

bool mux_session_is_broken(const struct mux_session *session)
{
    return session->broken;
}

const char *mux_session_reason(const struct mux_session *session)
{
    return session->reason ? session->reason : "";
}

const struct mux_session_key *mux_session_key(const struct mux_session *session)
{
    return &session->key;
}

bool mux_session_established(const struct mux_session *session)
{
    return session->up_count > 0;
}

unsigned mux_session_links_up(const struct mux_session *session)
{
    return session->up_count;
}

unsigned mux_session_links_wanted(const struct mux_session *session)
{
    return session->links_told;
}

enum mux_want mux_session_want(const struct mux_session *session)
{
    if (session->links_told < 2)
        return MUX_WANT_NONE;
    if (session->links_asked > session->growth.wanted)
        return MUX_WANT_PEER;
    return session->growth.wanted > 2 ? MUX_WANT_ROOM : MUX_WANT_SPARE;
}

const struct mux_link *mux_session_next_link(const struct mux_session *session, unsigned *at)
{
    while (*at < MUX_LINKS_MAX) {
        const struct mux_link *link = session->links[(*at)++];
        if (link && link->phase == MUX_PHASE_UP)
            return link;
    }
    return NULL;
}

const struct mux_link *mux_session_lead(const struct mux_session *session)
{
    return session->lead;
}

size_t mux_session_stream_count(const struct mux_session *session)
{
    return session->streams.count;
}

void mux_session_limit_messages(struct mux_session *session, uint32_t message_max)
{
    session->settings.message_max = message_max;
}

uint64_t mux_session_charged(const struct mux_session *session, enum memory_way way)
{
    const struct mux_stream *stream;
    uint64_t charged = 0;

    for (size_t at = 0; (stream = idmap_next(&session->streams, &at));)
        charged += mux_stream_charged(stream, way);
    return charged;
}

uint64_t mux_session_rtt_us(const struct mux_session *session)
{
    return session->lead ? session->lead->rtt_us : 0;
}

uint64_t mux_session_held_out_of_order(const struct mux_session *session)
{
    const struct mux_stream *stream;
    uint64_t held = session->control.reassembly.held;

    for (size_t at = 0; (stream = idmap_next(&session->streams, &at));)
        held += stream->reassembly.held;
    return held;
}
