#include "mux/scheduler.h"

#include "mux/stream_internal.h"

enum {
    MS = 1000,
    /* So long after something small the lead is kept free. */
    QUICK_US = 1000 * MS,
    /* A lead that takes nothing for so long gives way to a link that does. */
    BLOCKED_US = 10 * MS,
    /* What is small waits so long for the lead, then takes another link that is about as near. */
    HELP_US = 5 * MS,
    /* A frame with less is not worth its header, when there is more to say. */
    LEAST = 256,
    /* Streams at the head of a list that this link cannot serve, before it looks elsewhere. */
    LOOKS = 8,
    PATIENCE_LEAST_US = 40 * MS,
    PATIENCE_UNKNOWN_US = 1000 * MS,
    /* What may be sent a second time. */
    DOUBLE_SHARE = 16,
    DOUBLE_PER_MS = 32,
    DOUBLE_MOST = 256 * 1024,
    DOUBLE_MESSAGE = 2 * 1024,
    /* Streams that wait for suspect links are looked for so often: what may be sent a second time
     * grows, and the other link that had it may end. */
    RESCUE_US = 50 * MS,
    /* But never more often than this, however often the peer says SUSPECT. */
    RESCUE_LEAST_US = 2 * MS,
    /* What a link has that has been suspect for so long is as good as lost. */
    SURE_US = 500 * MS,
};

static bool is_healthy(const struct mux_link *link)
{
    return link && link->phase == MUX_PHASE_UP && !link->suspect;
}

bool mux_schedule_has_other(const struct mux_link *link)
{
    const struct mux_session *session = link->session;

    for (unsigned i = 0; i < MUX_LINKS_MAX && mux_core_has_choice(session); i++)
        if (session->links[i] != link && is_healthy(session->links[i]))
            return true;
    return false;
}

/* ---- the lead */

static uint64_t distance_us(const struct mux_link *link)
{
    return link->rtt_smooth_us ? link->rtt_smooth_us : (uint64_t)PATIENCE_UNKNOWN_US;
}

/* Whether a is the better one for what is small. */
static bool is_better(const struct mux_link *a, const struct mux_link *b)
{
    if (a->suspect != b->suspect)
        return b->suspect;
    if (a->output_pending != b->output_pending)
        return b->output_pending;
    return distance_us(a) < distance_us(b);
}

static struct mux_link *find_best(const struct mux_session *session, const struct mux_link *except)
{
    struct mux_link *best = NULL;

    for (unsigned i = 0; i < MUX_LINKS_MAX; i++) {
        struct mux_link *link = session->links[i];
        if (!link || link->phase != MUX_PHASE_UP || link == except)
            continue;
        if (!best || is_better(link, best))
            best = link;
    }
    return best;
}

/* WINDOW, SHRINK and LIMIT are said again when they may not have come. */
static void say_again(struct list *told)
{
    for (struct list *node; (node = list_pop(told));) {
        struct mux_stream *stream = list_entry(node, struct mux_stream, told);
        stream->shrink_due = stream->shrink_due || stream->window.shrinking;
        stream->limit_due = stream->limit_due || stream->answers > 0;
        mux_stream_owe_credit(stream, MUX_WINDOW_NOW);
    }
}

/* What the old lead may not have delivered of the control stream is said again, and so is credit: a
 * WINDOW that goes over the new one says nothing of a SHRINK or LIMIT that went over the old one.
 */
static void set_lead(struct mux_session *session, struct mux_link *link)
{
    struct mux_stream *control = &session->control;
    struct mux_link *old = session->lead;

    if (old == link)
        return;
    session->lead = link;
    if (old) {
        say_again(&old->told_before);
        say_again(&old->told);
    }
    if (!link)
        return;
    session->unacknowledged -= control->send.read - control->acknowledged;
    byte_queue_rewind(&control->send, control->acknowledged);
    mux_core_output(link);
}

/* Something waits that only the lead carries. */
static bool waits_for_lead(const struct mux_session *session)
{
    return byte_queue_unread(&session->control.send) > 0 || !list_empty(&session->fresh) ||
           !list_empty(&session->unknown) ||
           (!list_empty(&session->credits) && session->credit_us == 0);
}

void mux_schedule_link_takes(struct mux_link *link)
{
    struct mux_session *session = link->session;
    const struct mux_link *lead = session->lead;

    if (link == lead || !lead || !lead->output_pending || !is_healthy(link) ||
        session->now_us - lead->pending_us < BLOCKED_US || !waits_for_lead(session))
        return;
    struct mux_link *best = find_best(session, lead);
    set_lead(session, is_healthy(best) && !best->output_pending ? best : link);
}

/* ---- what is sent a second time */

static void earn(struct mux_session *session, uint64_t bytes)
{
    uint64_t passed_us = session->now_us - session->double_us;

    session->double_budget += bytes / DOUBLE_SHARE + passed_us / MS * DOUBLE_PER_MS;
    session->double_us += passed_us / MS * MS;
    if (session->double_budget > DOUBLE_MOST)
        session->double_budget = DOUBLE_MOST;
}

/* sure: it need not be paid for. */
static void want_again(struct mux_stream *stream, uint8_t slot, bool sure)
{
    struct mux_session *session = stream->session;

    earn(session, 0);
    if (sure)
        mux_flight_want_again(&stream->flight, slot, UINT64_MAX);
    else
        session->double_budget -=
            mux_flight_want_again(&stream->flight, slot, session->double_budget);
    if (stream->flight.wanted == 0)
        return;
    if (list_empty(&stream->again))
        list_append(&session->doubled, &stream->again);
    for (unsigned i = 0; i < MUX_LINKS_MAX; i++)
        if (is_healthy(session->links[i]) && i != slot)
            mux_core_output(session->links[i]);
}

static bool is_as_good_as_lost(const struct mux_link *link)
{
    return link->suspect && link->session->now_us - link->suspect_us >= SURE_US;
}

/* The stream waits for bytes that a suspect link has, and no other one that may yet deliver them.
 */
static void rescue(struct mux_stream *stream)
{
    struct mux_session *session = stream->session;
    const struct mux_run *head = mux_flight_head(&stream->flight);

    if (!head || head->slot == MUX_SLOT_NONE || head->again == MUX_SLOT_WANTED)
        return;
    const uint8_t slot = head->slot;
    const struct mux_link *link = session->links[slot];
    if (!link->suspect || !mux_schedule_has_other(link))
        return;
    if (head->again != MUX_SLOT_NONE) {
        if (!is_as_good_as_lost(session->links[head->again]))
            return;
        mux_flight_forget_second(&stream->flight, slot, head->again, session->in_flight);
    }
    want_again(stream, slot, is_as_good_as_lost(link));
}

void mux_schedule_rescue(struct mux_session *session)
{
    const uint64_t least_us = session->rescued_us + RESCUE_LEAST_US;
    struct mux_stream *stream;

    session->rescue_us = 0;
    for (unsigned i = 0; i < MUX_LINKS_MAX; i++) {
        const struct mux_link *link = session->links[i];
        if (link && link->suspect && session->in_flight[i] > 0 && mux_schedule_has_other(link))
            session->rescue_us = session->now_us + RESCUE_US;
    }
    if (session->rescue_us == 0)
        return;
    if (session->rescued_us != 0 && session->now_us < least_us) {
        session->rescue_us = least_us;
        return;
    }
    session->rescued_us = session->now_us;
    for (size_t at = 0; (stream = idmap_next(&session->streams, &at));)
        rescue(stream);
}

/* ---- links come and go */

/* From now on this one can stand in for others: they may take no longer to answer than usual. */
static void attend_others(const struct mux_link *link)
{
    for (unsigned i = 0; i < MUX_LINKS_MAX; i++) {
        struct mux_link *other = link->session->links[i];
        if (other && other != link && other->ping_us != 0 && !other->suspect &&
            other->output.attend)
            other->output.attend(other->output.link);
    }
}

void mux_schedule_link_up(struct mux_link *link)
{
    struct mux_session *session = link->session;

    link->phase = MUX_PHASE_UP;
    session->up_count++;
    if (session->up_count == 1) {
        session->double_us = session->now_us;
        session->double_budget = DOUBLE_MOST / 4;
    }
    if (!session->lead || session->lead->suspect)
        set_lead(session, link);
    mux_schedule_rescue(session);
    attend_others(link);
    mux_core_ask(link);
    mux_core_output(link);
}

void mux_schedule_link_gone(struct mux_link *link)
{
    struct mux_session *session = link->session;
    struct mux_stream *stream;
    bool was_up = link->phase == MUX_PHASE_UP;

    session->up_count -= was_up;
    if (session->lead == link)
        set_lead(session, find_best(session, link));
    if (!was_up)
        return;
    /* Also when no other is up: one that is to join may yet be, and take this one's slot. */
    for (size_t at = 0; (stream = idmap_next(&session->streams, &at));) {
        if (!mux_flight_link_lost(&stream->flight, link->slot, session->in_flight))
            continue;
        list_remove(&stream->again);
        list_append(&session->lost, &stream->again);
    }
    if (!link->given_up && session->gone_count < MUX_LINKS_MAX)
        session->gone[session->gone_count++] = link->attempt;
    /* It may have carried what was said last, also that fewer are enough. */
    session->more_links_due = session->settings.role == MUX_SERVER;
    mux_schedule_rescue(session);
    mux_core_output_all(session);
}

uint64_t mux_schedule_patience(const struct mux_link *link)
{
    uint64_t slack_us = 4 * link->rtt_variation_us;

    if (link->rtt_smooth_us == 0)
        return PATIENCE_UNKNOWN_US;
    if (slack_us < PATIENCE_LEAST_US)
        slack_us = PATIENCE_LEAST_US;
    return link->rtt_smooth_us + slack_us;
}

void mux_schedule_suspect(struct mux_link *link, bool by_peer)
{
    struct mux_session *session = link->session;

    if (link->suspect || link->phase != MUX_PHASE_UP || !mux_schedule_has_other(link))
        return;
    link->suspect = true;
    link->suspect_us = session->now_us;
    link->suspect_due = !by_peer;
    if (by_peer)
        mux_core_ask(link);
    if (session->lead == link)
        set_lead(session, find_best(session, link));
    mux_schedule_rescue(session);
    mux_core_output_all(session);
}

void mux_schedule_trust(struct mux_link *link)
{
    struct mux_session *session = link->session;

    if (link->suspect) {
        link->suspect = link->suspect_due = false;
        attend_others(link);
        mux_core_output(link);
    }
    const struct mux_link *lead = session->lead;
    if (lead != link && mux_core_has_choice(session) &&
        (!lead || lead->suspect ||
         (!link->output_pending && 2 * distance_us(link) < distance_us(lead))))
        set_lead(session, link);
}

void mux_schedule_tell_wanted(struct mux_session *session)
{
    unsigned wanted = session->growth.wanted;

    if (wanted < session->links_asked)
        wanted = session->links_asked;
    if (wanted > session->settings.links_max)
        wanted = session->settings.links_max;
    if (wanted == session->links_told)
        return;
    session->links_told = wanted;
    if (session->settings.role == MUX_SERVER) {
        session->more_links_due = true;
        mux_core_output_lead(session);
    } else if (session->callbacks->links_wanted) {
        session->callbacks->links_wanted(session->context, wanted);
    }
}

/* A link on which something in between ends TCP takes anything at once: what waits there is up to
 * this end. */
static bool is_used_up(const struct mux_link *link)
{
    const struct mux_session *session = link->session;

    return mux_core_is_path_hidden(link) && mux_core_has_choice(session) &&
           mux_allowance_is_used_up(&link->allowance, session->in_flight[link->slot],
                                    link->rtt_min_us);
}

void mux_schedule_acknowledged(struct mux_stream *stream, uint64_t offset)
{
    struct mux_session *session = stream->session;
    uint64_t carried[MUX_LINKS_MAX] = {0};

    if (offset <= stream->acknowledged)
        return;
    if (stream->id == MUX_CONTROL_STREAM) {
        if (session->lead)
            session->lead->progress += offset - stream->acknowledged;
        stream->acknowledged = offset;
        if (stream->send.read < offset) {
            session->unacknowledged += offset - stream->send.read;
            byte_queue_rewind(&stream->send, offset);
        }
        if (!list_empty(&session->unknown))
            mux_core_output_all(session);
        return;
    }
    bool was_full = stream->flight.count >= MUX_FLIGHT_RUNS;
    stream->acknowledged = offset;
    mux_flight_received(&stream->flight, offset, session->in_flight, carried);
    /* Links had to leave it to another one; without more credit nothing else tells them. */
    if (was_full && stream->flight.count < MUX_FLIGHT_RUNS)
        mux_core_output_all(session);
    for (unsigned i = 0; i < MUX_LINKS_MAX; i++) {
        struct mux_link *link = session->links[i];
        if (carried[i] == 0 || !link)
            continue;
        link->progress += carried[i];
        if (link->held && !is_used_up(link))
            mux_core_output(link);
    }
    if (stream->flight.lost == 0 && stream->flight.wanted == 0)
        list_remove(&stream->again);
    rescue(stream);
}

/* ---- what a link sends next */

static bool is_kept_free(const struct mux_link *link)
{
    const struct mux_session *session = link->session;

    return link == session->lead && session->quick_us != 0 &&
           session->now_us - session->quick_us < QUICK_US && mux_schedule_has_other(link);
}

bool mux_schedule_takes_bulk(const struct mux_link *link)
{
    return !is_used_up(link) && !is_kept_free(link);
}

static bool may_carry(const struct mux_link *link, const struct mux_stream *stream)
{
    /* Nobody else can have what the peer may not know: it does not wait for the answer. */
    if (!mux_core_is_known(stream))
        return link == link->session->lead;
    return mux_core_is_small(stream) || mux_schedule_takes_bulk(link);
}

/* From a list of streams that have something to send once more. */
static bool next_again(struct mux_link *link, struct list *streams, enum mux_turn_kind kind,
                       struct mux_turn *turn)
{
    for (unsigned looks = 0; looks < LOOKS && !list_empty(streams); looks++) {
        struct mux_stream *stream = list_entry(streams->next, struct mux_stream, again);
        const struct mux_flight *flight = &stream->flight;
        const struct mux_run *run = kind == MUX_TURN_LOST
                                        ? mux_flight_next_lost(flight, link->slot)
                                        : mux_flight_next_wanted(flight, link->slot);
        if (run && may_carry(link, stream)) {
            *turn = (struct mux_turn){kind, stream, run, run->from, run->to - run->from};
            return true;
        }
        list_remove(&stream->again);
        if (flight->lost > 0)
            list_append(&link->session->lost, &stream->again);
        else if (flight->wanted > 0)
            list_append(&link->session->doubled, &stream->again);
    }
    return false;
}

static uint64_t sendable(const struct mux_stream *stream)
{
    uint64_t unread = byte_queue_unread(&stream->send);
    uint64_t credit =
        stream->send_limit > stream->send.read ? stream->send_limit - stream->send.read : 0;

    return unread < credit ? unread : credit;
}

/* With several links: what is small stays with the lead, and what the peer may not know. */
static void get_in_line(struct mux_stream *stream)
{
    struct mux_session *session = stream->session;
    bool known = mux_core_is_known(stream);

    list_remove(&stream->active);
    stream->fresh = known && mux_core_is_small(stream);
    if (stream->fresh && list_empty(&session->fresh))
        session->fresh_us = session->now_us;
    list_append(!known          ? &session->unknown
                : stream->fresh ? &session->fresh
                                : &session->busy,
                &stream->active);
}

/* Where a stream stands after its frame. */
static void queue_up(struct mux_stream *stream, bool was_fresh)
{
    struct mux_session *session = stream->session;
    bool more = byte_queue_unread(&stream->send) > 0;

    list_remove(&stream->active);
    stream->fresh = false;
    if (mux_core_has_choice(session)) {
        if (more)
            get_in_line(stream);
        return;
    }
    /* Also when it is empty: sending in small pieces earns no second turn. */
    if (was_fresh || more)
        list_append(&session->busy, &stream->active);
}

/* The first stream of the list that this link may send for. */
static bool next_new(struct mux_link *link, struct list *streams, size_t room,
                     struct mux_turn *turn)
{
    for (unsigned looks = 0; !list_empty(streams);) {
        struct mux_stream *stream = list_entry(streams->next, struct mux_stream, active);
        uint64_t size = sendable(stream);
        if (size == 0) {
            /* Nothing, or no credit: its WINDOW brings it back. */
            list_remove(&stream->active);
            stream->fresh = false;
            continue;
        }
        if (!may_carry(link, stream) || !mux_flight_may_send(&stream->flight, link->slot)) {
            if (++looks == LOOKS)
                return false;
            get_in_line(stream);
            /* It may have grown too large for the lead, which alone knew of it. */
            if (streams != &link->session->busy)
                mux_core_output_all(link->session);
            continue;
        }
        if (room < LEAST && room < size)
            return false;
        *turn = (struct mux_turn){MUX_TURN_NEW, stream, NULL, stream->send.read, size};
        return true;
    }
    return false;
}

/* What is small does not wait for the lead for long, when another link is about as near. */
static bool may_help(const struct mux_link *link)
{
    return is_healthy(link) && distance_us(link) / 2 <= distance_us(link->session->lead);
}

/* Much that is small may be more than the lead can carry. */
static bool helps_lead(const struct mux_link *link)
{
    const struct mux_session *session = link->session;

    return session->now_us - session->fresh_us >= HELP_US && may_help(link);
}

uint64_t mux_schedule_help_at(const struct mux_session *session)
{
    const struct mux_link *lead = session->lead;
    uint64_t fresh_at = list_empty(&session->fresh) ? UINT64_MAX : session->fresh_us + HELP_US;
    uint64_t at = UINT64_MAX;

    if (!mux_core_has_choice(session) || !lead->output_pending || !waits_for_lead(session))
        return UINT64_MAX;
    for (unsigned i = 0; i < MUX_LINKS_MAX; i++) {
        const struct mux_link *link = session->links[i];
        if (!is_healthy(link) || link == lead || link->output_pending)
            continue;
        at = at < lead->pending_us + BLOCKED_US ? at : lead->pending_us + BLOCKED_US;
        if (may_help(link) && fresh_at < at)
            at = fresh_at;
    }
    /* Who was told and could not help is not told again at once. */
    return at < session->help_us + HELP_US ? session->help_us + HELP_US : at;
}

void mux_schedule_help(struct mux_session *session)
{
    session->help_us = session->now_us;
    mux_core_output_all(session);
}

bool mux_schedule_next(struct mux_link *link, size_t room, struct mux_turn *turn)
{
    struct mux_session *session = link->session;

    if (room == 0 || (link->suspect && mux_schedule_has_other(link)))
        return false;
    link->held = is_used_up(link);
    if (next_again(link, &session->lost, MUX_TURN_LOST, turn) ||
        next_again(link, &session->doubled, MUX_TURN_AGAIN, turn))
        return true;
    if ((link == session->lead || helps_lead(link)) && next_new(link, &session->fresh, room, turn))
        return true;
    if (link == session->lead && next_new(link, &session->unknown, room, turn))
        return true;
    return mux_schedule_takes_bulk(link) && next_new(link, &session->busy, room, turn);
}

/* Bulk that has just got its last bytes acknowledged is no message. */
static bool was_large(const struct mux_stream *stream)
{
    return stream->large_us != 0 && stream->session->now_us - stream->large_us < QUICK_US;
}

/* Something small that would be late if its segment got lost. */
static void double_message(struct mux_link *link, struct mux_stream *stream, size_t size)
{
    struct mux_session *session = link->session;

    session->quick_us = session->now_us;
    if (size <= DOUBLE_MESSAGE && mux_core_is_lossy(session) && mux_schedule_has_other(link))
        want_again(stream, link->slot, false);
}

void mux_schedule_sent(struct mux_link *link, const struct mux_turn *turn, size_t size)
{
    struct mux_session *session = link->session;
    struct mux_stream *stream = turn->stream;
    uint64_t end = turn->offset + size;

    link->used = true;
    mux_allowance_sent(&link->allowance, size);
    if (turn->kind != MUX_TURN_NEW) {
        mux_flight_sent_again(&stream->flight, turn->run, end, link->slot, session->in_flight);
        link->sent_again += size;
        return;
    }
    bool was_fresh = stream->fresh;
    mux_flight_sent(&stream->flight, turn->offset, end, link->slot, session->in_flight);
    session->unacknowledged += size;
    mux_growth_sent(&session->growth, size);
    mux_portion_note(&session->portion, &stream->bulk_us, size, session->now_us);
    queue_up(stream, was_fresh);
    if (!mux_core_has_choice(session))
        return;
    if (!mux_core_is_small(stream))
        stream->large_us = session->now_us;
    if (link == session->lead && !was_large(stream))
        double_message(link, stream, size);
    else
        earn(session, size);
}
