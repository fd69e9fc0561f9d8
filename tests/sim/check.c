#include "sim.h"

#include "mux/scheduler.h"

/* ---- links */

static bool is_slot_up(const struct mux_session *session, uint8_t slot)
{
    return slot < MUX_LINKS_MAX && session->links[slot] &&
           session->links[slot]->phase == MUX_PHASE_UP;
}

/* As mux/scheduler.c has it. */
enum { DOUBLE_MOST = 256 * 1024 };

static void check_links(struct world *world, const struct end *end)
{
    const struct mux_session *session = end->session;
    unsigned count = 0, up = 0;

    for (unsigned i = 0; i < MUX_LINKS_MAX; i++) {
        const struct mux_link *link = session->links[i];
        if (!link)
            continue;
        count++;
        up += link->phase == MUX_PHASE_UP;
        if (!link->suspect && link->ping_us != 0 && mux_schedule_has_other(link) &&
            world->now_us > link->ping_us + mux_schedule_patience(link))
            violate(world, "%u: a link that does not answer is trusted", end->which);
        if (link->slot != i || link->session != session || link->attempt > session->attempt)
            violate(world, "%u: a link is in another's place", end->which);
        for (unsigned j = 0; j < i; j++)
            if (session->links[j] && session->links[j]->attempt == link->attempt)
                violate(world, "%u: two links have one number", end->which);
    }
    if (count != session->link_count || up != session->up_count ||
        count > session->settings.links_max)
        violate(world, "%u: the count of links is wrong", end->which);
    if ((up > 0) != (session->lead != NULL) ||
        (session->lead && !is_slot_up(session, session->lead->slot)))
        violate(world, "%u: the lead is not a link that is up", end->which);
    if (session->lead && session->lead->suspect && mux_schedule_has_other(session->lead))
        violate(world, "%u: the lead is a link that does not answer", end->which);
    if (session->double_budget > DOUBLE_MOST)
        violate(world, "%u: more was sent a second time than was earned", end->which);
    if (session->gone_count > MUX_LINKS_MAX)
        violate(world, "%u: too many links are to be told of", end->which);
}

/* ---- what is in flight, and where */

static bool is_listed(const struct list *head, const struct list *node)
{
    list_each(at, head)
        if (at == node)
            return true;
    return false;
}

static void check_run(struct world *world, const struct mux_stream *stream,
                      const struct mux_run *run, uint64_t *in_flight)
{
    const struct mux_session *session = stream->session;
    bool lost = run->slot == MUX_SLOT_NONE;
    bool twice = run->again < MUX_LINKS_MAX;

    if (run->from >= run->to)
        violate(world, "stream %u: an empty run", stream->id);
    if (!lost && !is_slot_up(session, run->slot))
        violate(world, "stream %u: bytes are believed to be on a link that is gone", stream->id);
    if ((twice && (lost || run->again == run->slot || !is_slot_up(session, run->again))) ||
        (lost && run->again != MUX_SLOT_NONE))
        violate(world, "stream %u: a run is on a second link that cannot have it", stream->id);
    if (!lost && run->slot < MUX_LINKS_MAX)
        in_flight[run->slot] += run->to - run->from;
    if (twice)
        in_flight[run->again] += run->to - run->from;
}

/* Runs lie side by side, from what is acknowledged to what was sent. */
static void check_flight(struct world *world, const struct mux_stream *stream, uint64_t *in_flight)
{
    const struct mux_session *session = stream->session;
    const struct mux_flight *flight = &stream->flight;
    uint64_t at = stream->acknowledged;
    unsigned lost = 0, wanted = 0;

    if (stream->send_half == MUX_HALF_OVER && flight->count == 0)
        return; /* nobody needs to know any more */
    for (unsigned i = 0; i < flight->count; i++) {
        const struct mux_run *run = flight->runs + flight->first + i;
        if (run->from != at)
            violate(world, "stream %u: a gap between runs, or one over another", stream->id);
        check_run(world, stream, run, in_flight);
        lost += run->slot == MUX_SLOT_NONE;
        wanted += run->slot != MUX_SLOT_NONE && run->again == MUX_SLOT_WANTED;
        at = run->to;
    }
    if (at != stream->send.read || stream->acknowledged < stream->send.start)
        violate(world,
                "stream %u: the runs do not end where what was sent does: %llu, acknowledged %llu, "
                "sent %llu %llu %llu half %d",
                stream->id, (unsigned long long)at, (unsigned long long)stream->acknowledged,
                (unsigned long long)stream->send.start, (unsigned long long)stream->send.read,
                (unsigned long long)stream->send.end, (int)stream->send_half);
    if (lost != flight->lost || wanted != flight->wanted)
        violate(world, "stream %u: lost runs, or wanted ones, are miscounted", stream->id);
    if (lost > 0 && !is_listed(&session->lost, &stream->again))
        violate(world, "stream %u: lost bytes that nobody will send again", stream->id);
    if (wanted > 0 && list_empty(&stream->again))
        violate(world, "stream %u: wanted bytes that nobody will send again", stream->id);
}

/* ---- what has come before its turn */

static void check_reassembly(struct world *world, const struct mux_stream *stream)
{
    const struct mux_reassembly *reassembly = &stream->reassembly;
    uint64_t at = stream->window.received;
    uint64_t held = 0;

    for (unsigned i = 0; i < reassembly->count; i++) {
        const struct mux_piece *piece = reassembly->pieces[i];
        uint64_t size = byte_queue_unread(&piece->bytes);
        if (piece->from <= at && !stream->orphan)
            violate(world, "stream %u: pieces overlap, or have no gap between them", stream->id);
        if (size == 0)
            violate(world, "stream %u: an empty piece", stream->id);
        held += size;
        at = piece->from + size;
    }
    if (reassembly->count > MUX_PIECES_MAX)
        violate(world, "stream %u: more pieces than are allowed", stream->id);
    if (held != reassembly->held)
        violate(world, "stream %u: the bytes in pieces are miscounted", stream->id);
    if (at > stream->window.limit)
        violate(world, "stream %u: a piece lies beyond the limit", stream->id);
    if (stream->window.held != mux_reassembly_cost(reassembly))
        violate(world, "stream %u: pieces are not charged for", stream->id);
    if (stream->receive_half != MUX_HALF_OPEN && reassembly->count > 0 && !stream->orphan &&
        at > stream->receive_final)
        violate(world, "stream %u: a piece lies beyond the end", stream->id);
}

/* ---- both ends */

/* What one end has said and the other may not have heard will be said again if it has to. */
static void check_told(struct world *world, const struct mux_stream *from,
                       const struct mux_stream *to)
{
    const struct mux_window *window = &to->window;
    bool will = !list_empty(&to->told) || !list_empty(&to->credit);

    if (to->session->version < MUX_VERSION_LINKS || from->session->up_count == 0 ||
        to->session->up_count == 0 || to->orphan || from->orphan ||
        to->receive_half != MUX_HALF_OPEN || from->send_half == MUX_HALF_OVER)
        return;
    if (!will && from->send_limit < mux_window_told_limit(window))
        violate(world, "stream %u: credit that was given will never be heard of", to->id);
    if (!will && from->send.start < window->announced)
        violate(world, "stream %u: consumed bytes will never be heard of", to->id);
    if (!will && window->shrinking && from->answers < to->shrinks)
        violate(world, "stream %u: SHRINK will never be heard of", to->id);
    if (window->shrinking && from->answers == to->shrinks && list_empty(&from->told) &&
        list_empty(&from->credit))
        violate(world, "stream %u: LIMIT will never be heard of", to->id);
}

/* What the two ends believe of one direction of a stream that both still have. */
static void check_pair(struct world *world, const struct mux_stream *from,
                       const struct mux_stream *to)
{
    const struct mux_window *window = &to->window;
    const struct byte_queue *queue = &from->send;

    if (from->send_limit > window->limit && !to->orphan)
        violate(world, "stream %u: more credit is believed in than was given", from->id);
    check_told(world, from, to);
    if (to->orphan || from->send_half == MUX_HALF_OVER)
        return;
    if (from->acknowledged > window->received)
        violate(world, "stream %u: bytes count as received that were not", from->id);
    if (mux_reassembly_end(&to->reassembly) > queue->end)
        violate(world, "stream %u: more has come than was sent", from->id);
    if (queue->start > window->consumed)
        violate(world, "stream %u: bytes were let go before they were consumed", from->id);
    if (window->received > queue->end)
        violate(world, "stream %u: more was received than was sent", from->id);
}

static void check_stream(struct world *world, const struct end *end,
                         const struct mux_stream *stream)
{
    const struct mux_window *window = &stream->window;
    const struct byte_queue *queue = &stream->send;
    const struct mux_session *other = world->ends[1 - end->which].session;

    if (window->consumed > window->received || window->received > window->limit)
        violate(world, "stream %u: consumed, received and limit are out of order", stream->id);
    if (window->charged != mux_window_charge(window) || window->charged < MUX_STREAM_FLOOR ||
        window->charged < window->received - window->consumed + window->held)
        violate(world, "stream %u: the share is charged something else than it should be",
                stream->id);
    if (window->limit - window->consumed > window->initial &&
        window->charged < window->limit - window->consumed)
        violate(world, "stream %u: credit that the budget does not know", stream->id);
    if (queue->end > stream->send_limit)
        violate(world, "stream %u: credit was exceeded", stream->id);
    if (other && queue->end - queue->start > other->settings.window.max)
        violate(world, "stream %u: more bytes are retained than a window holds", stream->id);
    check_reassembly(world, stream);
    if (byte_queue_unread(queue) > 0 && stream->send_limit > queue->read &&
        end->session->up_count > 0 && list_empty(&stream->active))
        violate(world, "stream %u: bytes that may be sent are in no line", stream->id);
    const struct mux_stream *peer = other ? idmap_get(&other->streams, stream->id) : NULL;
    if (peer && !world->losing)
        check_pair(world, stream, peer);
}

/* The counters that are kept step by step against the sums that they stand for. */
static void check_sums(struct world *world, const struct end *end)
{
    const struct mux_session *session = end->session;
    const struct byte_queue *queue = &session->control.send;
    uint64_t held = queue->end - queue->start;
    uint64_t unacknowledged = queue->read - queue->start;
    uint64_t charged = session->control.window.charged;
    const struct mux_stream *stream;

    for (size_t at = 0; (stream = idmap_next(&session->streams, &at));) {
        uint64_t queued = stream->send.end - stream->send.start;
        held += queued > MUX_STREAM_FLOOR ? queued : MUX_STREAM_FLOOR;
        unacknowledged += stream->send.read - stream->send.start;
        charged += stream->window.charged;
    }
    held += end->others.send.used;
    charged += end->others.receive.used;
    if (held != end->budget.send.used || charged != end->budget.receive.used)
        violate(world, "%u: the budget's counters are wrong", end->which);
    if (charged > end->budget.receive.total)
        violate(world, "%u: more was received or granted than the budget allows", end->which);
    /* The messages about streams go on whatever is left; a peer that reads none is cut off. */
    uint64_t control = queue->end - queue->start;
    if (held - control > end->budget.send.total ||
        (control > MUX_CONTROL_QUEUE_FREE + MUX_MESSAGE_ENCODED_MAX + MUX_MESSAGE_PAYLOAD_MAX &&
         held > end->budget.send.total + MUX_CONTROL_QUEUE_FREE))
        violate(world, "%u: more is held for sending than the budget allows", end->which);
    if (session->control.acknowledged < queue->start || session->control.acknowledged > queue->end)
        violate(world, "%u: the control stream's acknowledgement is out of place", end->which);
    if (unacknowledged != session->unacknowledged)
        violate(world, "%u: the count of unacknowledged bytes is wrong", end->which);
    /* Chunks may be partly empty, but not without bound. */
    uint64_t chunks = end->budget.send.total + MUX_CONTROL_QUEUE_MAX +
                      (session->streams.count + 2) * 2 * CHUNK_LARGE_SIZE;
    if (end->pool.allocated > 2 * chunks)
        violate(world, "%u: the queues hold too much memory", end->which);
}

void check_session(struct world *world, const struct end *end)
{
    const struct mux_session *session = end->session;
    const struct mux_stream *stream;
    uint64_t in_flight[MUX_LINKS_MAX] = {0};
    uint64_t held = 0;

    if (!session)
        return;
    check_links(world, end);
    for (size_t at = 0; (stream = idmap_next(&session->streams, &at));) {
        check_stream(world, end, stream);
        check_flight(world, stream, in_flight);
        held += stream->reassembly.held;
    }
    check_reassembly(world, &session->control);
    for (unsigned i = 0; i < MUX_LINKS_MAX; i++)
        if (in_flight[i] != session->in_flight[i])
            violate(world, "%u: the bytes in flight on a link are miscounted", end->which);
    if (held > world->totals->out_of_order)
        world->totals->out_of_order = held;
    check_sums(world, end);
    if (end->idle != (mux_session_stream_count(end->session) == 0))
        violate(world, "%u: idle() was not called, or too early", end->which);
}

/* A session's idle(). */
void check_idle(void *context)
{
    struct end *end = context;

    if (end->idle || mux_session_stream_count(end->session) > 0)
        violate(end->world, "idle() with streams, or without any before");
    end->idle = true;
}

/* It waits for the answer to a PING, without which nobody knows what has arrived. */
static bool is_held(const struct mux_link *link)
{
    return link->held && (link->ping_us != 0 || link->ping_due);
}

/* A link that answers, may carry the stream, and has been told of nothing that it could send. */
static bool has_free_link(const struct mux_stream *stream)
{
    const struct mux_session *session = stream->session;

    for (unsigned i = 0; i < MUX_LINKS_MAX; i++) {
        const struct mux_link *link = session->links[i];
        if (is_slot_up(session, (uint8_t)i) && !link->suspect && !link->output_pending &&
            !is_held(link) && (link == session->lead || mux_core_is_known(stream)))
            return true;
    }
    return false;
}

/* The byte that the peer waits for is on a link that does not answer, and on no other. */
static bool is_stuck(const struct mux_stream *stream)
{
    const struct mux_session *session = stream->session;
    const struct mux_run *head = mux_flight_head(&stream->flight);
    bool healthy = false;

    for (unsigned i = 0; i < MUX_LINKS_MAX; i++)
        healthy = healthy || (is_slot_up(session, (uint8_t)i) && !session->links[i]->suspect &&
                              !session->links[i]->output_pending);
    return healthy && head && head->again == MUX_SLOT_NONE && head->slot != MUX_SLOT_NONE &&
           session->links[head->slot]->suspect;
}

/* Messages do not wait for a lead that takes nothing while another link has nothing to do. */
static void check_control(struct world *world, struct end *end)
{
    enum { PATIENCE_US = 200 * 1000 };
    const struct mux_session *session = end->session;
    const struct byte_queue *queue = &session->control.send;

    if (byte_queue_unread(queue) == 0 || queue->read >= session->control.send_limit ||
        queue->read != end->control_stand || !has_free_link(&session->control)) {
        end->control_stand = queue->read;
        end->control_stands_us = world->now_us;
    }
    if (world->now_us - end->control_stands_us > PATIENCE_US)
        violate(world, "%u: messages wait although a link is free", end->which);
}

/* Bytes that may be sent do not wait while a link has nothing to do. */
static void check_idleness(struct world *world, struct end *end)
{
    enum { LEAD_KEPT_FREE_US = 1000 * 1000, SLACK_US = 300 * 1000, STUCK_US = 1000 * 1000 };
    const struct mux_stream *stream;

    if (end->session)
        check_control(world, end);
    for (size_t at = 0; end->session && (stream = idmap_next(&end->session->streams, &at));) {
        struct app *app = &end->apps[place_of(world, stream->id)];
        uint64_t read = stream->send.read;
        bool waits = stream->flight.lost > 0 ||
                     (byte_queue_unread(&stream->send) > 0 && stream->send_limit > read);
        uint64_t stand = read + stream->acknowledged + stream->flight.lost;
        if (!waits || stand != app->stand || !has_free_link(stream)) {
            app->stand = stand;
            app->stands_us = world->now_us;
        }
        if (!is_stuck(stream))
            app->stuck_us = world->now_us;
        if (world->now_us - app->stuck_us > STUCK_US)
            violate(world, "stream %u: it waits for a link that does not answer", stream->id);
        if (world->now_us - app->stands_us > LEAD_KEPT_FREE_US + SLACK_US)
            violate(world, "stream %u: bytes wait although a link is free", stream->id);
    }
}

void check_world(struct world *world)
{
    for (unsigned i = 0; i < ENDS; i++) {
        check_session(world, &world->ends[i]);
        check_idleness(world, &world->ends[i]);
    }
}

/* All is over, and nobody has wanted anything for a while. */
void check_quiet(struct world *world, const struct end *end)
{
    const struct mux_session *session = end->session;

    if (!session)
        return;
    if (!list_empty(&session->lost) || !list_empty(&session->doubled) ||
        !list_empty(&session->fresh) || !list_empty(&session->unknown) ||
        !list_empty(&session->busy) || !list_empty(&session->starved) ||
        !list_empty(&session->lingering))
        violate(world, "%u: a stream is in line although there is none", end->which);
    if (session->growth.wanted > 2)
        violate(world, "%u: links are wanted although nothing is sent", end->which);
}

static bool app_over(const struct app *app)
{
    return !app->exists || !app->live;
}

/* Everything planned has been opened and has ended, and every message has come. */
bool all_over(const struct world *world)
{
    const struct end *client = &world->ends[CLIENT];
    const struct end *server = &world->ends[SERVER];

    if (world->opened + world->opened_before < world->plan.streams || !client->session ||
        !server->session)
        return false;
    for (unsigned i = 0; i < world->opened; i++)
        if (!app_over(&client->apps[i]) || !app_over(&server->apps[i]))
            return false;
    return mux_session_stream_count(client->session) == 0 &&
           mux_session_stream_count(server->session) == 0 &&
           client->messages_seen == world->plan.messages &&
           server->messages_seen == world->plan.messages;
}

/* After the session was freed nothing may be left. */
void check_empty(struct world *world, struct end *end)
{
    if (end->budget.send.used != 0 || end->budget.receive.used != 0)
        violate(world, "%u: the budget is not empty at the end", end->which);
    if (end->pool.allocated != 0)
        violate(world, "%u: chunks are left at the end", end->which);
    else
        chunk_pool_clear(&end->pool);
}
