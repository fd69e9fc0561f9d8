#include "sim.h"

/* What the two ends believe of one direction of a stream that both still have. */
static void check_pair(struct world *world, const struct mux_stream *from,
                       const struct mux_stream *to)
{
    const struct mux_window *window = &to->window;
    const struct byte_queue *queue = &from->send;

    if (from->send_limit > window->limit && !to->orphan)
        violate(world, "stream %u: more credit is believed in than was given", from->id);
    if (to->orphan || from->send_half == MUX_HALF_OVER)
        return;
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
        window->charged < window->received - window->consumed)
        violate(world, "stream %u: the share is charged something else than it should be",
                stream->id);
    if (window->limit - window->consumed > window->initial &&
        window->charged < window->limit - window->consumed)
        violate(world, "stream %u: credit that the budget does not know", stream->id);
    if (queue->end > stream->send_limit)
        violate(world, "stream %u: credit was exceeded", stream->id);
    if (other && queue->end - queue->start > other->settings.window.max)
        violate(world, "stream %u: more bytes are retained than a window holds", stream->id);
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
    uint64_t charged = 0;
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
    const struct mux_stream *stream;

    if (!end->session)
        return;
    for (size_t at = 0; (stream = idmap_next(&end->session->streams, &at));)
        check_stream(world, end, stream);
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

void check_world(struct world *world)
{
    check_session(world, &world->ends[CLIENT]);
    check_session(world, &world->ends[SERVER]);
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
