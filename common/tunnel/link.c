#include "tunnel/link.h"

#include <assert.h>
#include <openssl/rand.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/memory.h"
#include "io/clock.h"
#include "io/socket.h"
#include "io/timer.h"
#include "io/watch.h"
#include "tunnel/forward.h"
#include "tunnel/pace.h"
#include "ws/decoder.h"
#include "ws/frame.h"
#include "ws/mask.h"

enum {
    HELLO_TIMEOUT_US = 10 * 1000 * 1000,
    CLOSE_TIMEOUT_US = 2 * 1000 * 1000,
    PROBE_TIMEOUT_US = 3 * 1000 * 1000,
    /* A link is busy when so much happens in so long: so many reads and turns of writing, or one
     * of so many bytes. */
    BUSY_US = 200 * 1000,
    BUSY_EVENTS = 16,
    BUSY_BYTES = 8 * 1024,
    READS_A_TURN = 4,
    MASK_KEYS = 64,
    /* So many frames of the least size hold what a session wants to say at least. */
    FRAMES_A_BATCH = 18,
    HELLO_FIRST = 256, /* a client's own HELLO fits */
    /* A frame's header and its end may each be a span of their own. */
    BATCH_SPANS = MUX_GATHERED_MAX + 2 * FRAMES_A_BATCH + 1,
};

_Static_assert(PACE_PULL_LEAST >= MUX_PULL_MIN, "a pull of the least size holds a frame");

struct link {
    struct worker *worker;
    const struct link_owner *owner;
    void *context;
    struct transport *transport;
    struct mux_session *session; /* client: to attach to, until link_start() */
    struct mux_link *mux;        /* NULL before HELLO on a server, and when it was let go */
    struct watch *readable;
    struct watch *writable;
    struct timer
        *flush; /* runs after this turn's reads, so that their output leaves in one batch */
    struct worker_later read_on; /* there is more, after the others' turn */
    struct timer *timer;
    uint64_t timer_us; /* when timer fires; UINT64_MAX: it is not armed */
    uint64_t close_us; /* deadline of HELLO, or of the peer's answer to our close frame; 0: none */
    uint64_t busy_us;  /* until when events are counted */
    unsigned events;   /* so far */
    struct ws_decoder decoder;
    uint64_t since_us;
    size_t frame_max; /* header included */
    struct pace pace;
    size_t unsent_max; /* what the kernel was told of it */
    struct link_record record;
    struct link_counters counters;
    uint64_t sent_again;    /* counted so far */
    uint64_t retransmitted; /* the same */
    uint64_t probe;     /* the ping whose answer proves that a frame has arrived; 0: none is out */
    size_t probed_size; /* of that frame */
    bool client;
    bool framed;             /* payload comes and goes in WebSocket frames */
    struct forward *forward; /* where payload goes instead of a session here; NULL: nowhere */
    bool closing;            /* a close frame was sent; nothing follows it */
    bool departing;          /* for another worker, with what is in hello */
    bool pong_due;
    uint8_t pong[WS_CONTROL_PAYLOAD_MAX];
    size_t pong_size;
    enum link_end end;
    char reason[200];
    struct mux_reject rejection; /* client: the server's */
    char rejection_reason[MUX_REASON_MAX];
    /* Mask keys must be unpredictable (RFC 6455, 10.3); they are drawn from OpenSSL's generator in
     * bulk. */
    uint8_t keys[MASK_KEYS][4];
    size_t next_key;
    uint8_t *hello; /* server: what came so far, until HELLO is whole, or until the link has arrived
                       where its session is; NULL: nothing */
    size_t hello_capacity;
    size_t hello_fill;
};

static void link_update(struct link *link);
static void forget_hello(struct link *link);
static void start_closing(struct link *link, uint16_t code, const char *reason);

/* ---- life */

static void on_link_readable(void *argument);
static void on_link_writable(void *argument);
static void on_flush(void *argument);
static void on_link_timer(void *argument);

/* How much may move before others have had their turn; what is not the session's, at once. */
static size_t portion(const struct link *link)
{
    return link->mux && !link->closing ? mux_link_portion(link->mux) : SIZE_MAX;
}

static void bound_unsent(struct link *link)
{
    size_t most = pace_unsent(&link->pace);

    if (most > portion(link))
        most = portion(link);
    if (most != link->unsent_max)
        socket_bound_unsent(transport_fd(link->transport), (int)most);
    link->unsent_max = most;
}

/* What the link has of its worker. */
static void settle(struct link *link, struct worker *worker)
{
    int fd = transport_fd(link->transport);

    link->worker = worker;
    link->readable = watch_new(worker, fd, WATCH_READ, on_link_readable, link);
    link->writable = watch_new(worker, fd, WATCH_WRITE, on_link_writable, link);
    link->flush = timer_new(worker, on_flush, link);
    link->timer = timer_new(worker, on_link_timer, link);
    link->timer_us = UINT64_MAX;
    watch_want(link->readable, true);
    /* TLS may have read ahead what no event will announce. */
    if (transport_pending(link->transport))
        watch_fire(link->readable);
}

static void unsettle(struct link *link)
{
    list_remove(&link->read_on.node);
    watch_free(link->readable);
    watch_free(link->writable);
    timer_free(link->flush);
    timer_free(link->timer);
    link->readable = link->writable = NULL;
    link->flush = link->timer = NULL;
    link->worker = NULL;
}

static struct link *link_new(struct worker *worker, struct transport *transport,
                             const struct link_owner *owner, void *context, bool client)
{
    struct link *link = memory_new(sizeof *link);

    link->since_us = clock_now_us();
    link->transport = transport;
    link->owner = owner;
    link->context = context;
    link->client = client;
    link->framed = true;
    link->frame_max = FRAME_LIMIT_MOST;
    link->next_key = MASK_KEYS;
    list_init(&link->read_on.node);
    ws_decoder_init(&link->decoder, client ? WS_ROLE_CLIENT : WS_ROLE_SERVER);
    socket_tune(transport_fd(transport));
    pace_init(&link->pace);
    bound_unsent(link);
    settle(link, worker);
    return link;
}

struct link *link_new_client(struct worker *worker, struct transport *transport,
                             struct mux_session *session, const struct link_owner *owner,
                             void *context)
{
    struct link *link = link_new(worker, transport, owner, context, true);

    link->session = session;
    return link;
}

void link_start(struct link *link)
{
    link->mux = mux_link_attach(link->session, link_output(link), clock_now_us());
    link_update(link);
}

struct link *link_new_server(struct worker *worker, struct transport *transport,
                             const struct link_owner *owner, void *context)
{
    struct link *link = link_new(worker, transport, owner, context, false);

    link->close_us = clock_now_us() + HELLO_TIMEOUT_US;
    link_update(link);
    return link;
}

struct link *link_new_handed_on(struct worker *worker, struct transport *transport,
                                const struct link_owner *owner, void *context)
{
    struct link *link = link_new_server(worker, transport, owner, context);

    link->framed = false;
    return link;
}

/* The session goes on without this link. */
static void link_let_go(struct link *link)
{
    mux_link_detach(link->mux);
    link->mux = NULL;
}

static void count_retransmitted(struct link *link, const struct path_sample *sample)
{
    uint64_t now = sample->retransmitted_segments;

    if (link->counters.retransmitted && now > link->retransmitted) {
        *link->counters.retransmitted += now - link->retransmitted;
        link->retransmitted = now;
    }
}

static void link_free(struct link *link)
{
    struct path_sample sample;

    if (link->counters.retransmitted && path_measure(transport_fd(link->transport), &sample))
        count_retransmitted(link, &sample);
    forward_free(link->forward);
    unsettle(link);
    transport_free(link->transport);
    byte_wipe(link->keys, sizeof link->keys);
    forget_hello(link);
    free(link);
}

static void finish_link(struct link *link)
{
    link_let_go(link);
    link->owner->ended(link->context, link, link->end, link->reason);
    link_free(link);
}

const char *link_end_name(enum link_end end)
{
    static const char *const names[LINK_ENDS] = {
        [LINK_END_CLOSED] = "closed",     [LINK_END_LOST] = "lost",
        [LINK_END_DEAD] = "dead",         [LINK_END_GARBLED] = "garbled",
        [LINK_END_PROTOCOL] = "protocol", [LINK_END_REJECTED] = "rejected",
    };

    return names[end];
}

const char *link_role_name(enum link_role role)
{
    static const char *const names[LINK_ROLES] = {
        [LINK_ROLE_LEAD] = "lead",
        [LINK_ROLE_OTHER] = "other",
        [LINK_ROLE_SUSPECT] = "suspect",
    };

    return names[role];
}

enum link_role link_role(const struct mux_link *link)
{
    const struct mux_link_facts facts = mux_link_facts(link);

    if (facts.suspect)
        return LINK_ROLE_SUSPECT;
    return facts.lead ? LINK_ROLE_LEAD : LINK_ROLE_OTHER;
}

void link_count(struct link *link, const struct link_counters *counters)
{
    link->counters = *counters;
}

struct mux_link *link_mux(const struct link *link)
{
    return link->mux;
}

const char *link_protection(const struct link *link)
{
    return transport_protection(link->transport);
}

void link_congestion_control(const struct link *link, char name[CONGESTION_NAME_SIZE])
{
    congestion_name(transport_fd(link->transport), name);
}

uint64_t link_since_us(const struct link *link)
{
    return link->since_us;
}

struct path_sample link_path(const struct link *link)
{
    struct path_sample sample;

    path_measure(transport_fd(link->transport), &sample);
    return sample;
}

void link_limit_frames(struct link *link, size_t max)
{
    struct frame_limit limit;

    frame_limit_init(&limit, max);
    if (limit.max < link->frame_max)
        link->frame_max = limit.max;
}

const struct mux_reject *link_rejection(const struct link *link)
{
    return &link->rejection;
}

struct link_record link_record(const struct link *link)
{
    return link->record;
}

/* ---- what the link has proven */

/* Has the largest frame so far answered for, so that its size is known to get through. */
static void probe_frames(struct link *link)
{
    const struct frame_record *frames = &link->record.frames;

    if (link->probe != 0 || frames->largest_sent <= FRAME_LIMIT_LEARNT_LEAST ||
        frames->largest_sent <= frames->largest_answered || !mux_link_is_up(link->mux))
        return;
    struct mux_pings pings = mux_link_pings(link->mux);
    /* A ping that is under way is for the round trip, and came first. */
    if (pings.asked != pings.answered)
        return;
    mux_link_ping(link->mux, clock_now_us());
    link->probe = pings.asked + 1;
    link->probed_size = frames->largest_sent;
}

static void note_sent(struct link *link, size_t size)
{
    if (size > link->record.frames.largest_sent)
        link->record.frames.largest_sent = size;
    if (link->mux)
        probe_frames(link);
}

static void note_received(struct link *link)
{
    struct mux_pings pings = mux_link_pings(link->mux);

    link->record.progress = mux_link_facts(link->mux).progress;
    link->record.answered = pings.answered > 0;
    if (link->probe != 0 && pings.answered >= link->probe) {
        link->record.frames.largest_answered = link->probed_size;
        link->probe = 0;
    }
    probe_frames(link);
}

/* ---- how much happens */

static void note_event(struct link *link, size_t bytes)
{
    link->events += bytes < BUSY_BYTES ? 1 : BUSY_EVENTS;
}

static bool is_busy(const struct link *link)
{
    return link->events >= BUSY_EVENTS;
}

/* ---- output */

/* Of what has just been pulled. */
static void count_pulled(struct link *link, size_t size)
{
    if (size == 0 || !link->counters.sent_again || !mux_link_is_up(link->mux))
        return;
    uint64_t sent_again = mux_link_facts(link->mux).sent_again;
    *link->counters.sent[link_role(link->mux)] += size;
    *link->counters.sent_again += sent_again - link->sent_again;
    link->sent_again = sent_again;
}

static const uint8_t *mask_key(struct link *link)
{
    if (!link->client)
        return NULL;
    if (link->next_key == MASK_KEYS) {
        if (RAND_bytes(&link->keys[0][0], sizeof link->keys) != 1)
            abort();
        link->next_key = 0;
    }
    return link->keys[link->next_key++];
}

static void set_end(struct link *link, enum link_end end, const char *reason)
{
    if (link->reason[0] != '\0')
        return;
    link->end = end;
    snprintf(link->reason, sizeof link->reason, "%s", reason);
}

/* What the instance that has the session says. */
static size_t read_forward(struct link *link, uint8_t *buffer, size_t size)
{
    long got = forward_read(link->forward, buffer, size);

    if (got < 0)
        start_closing(link, WS_CLOSE_GOING_AWAY, "the instance with the session has closed it");
    return got > 0 ? (size_t)got : 0;
}

/* What leaves next: frames, in pieces that lie where they were made, or where streams keep them. */
struct batch {
    struct iovec spans[BATCH_SPANS];
    size_t count;
    size_t size;
    uint8_t *staging; /* what is free of the worker's */
};

static void add_span(struct batch *batch, const uint8_t *bytes, size_t size)
{
    struct iovec *last = batch->count > 0 ? &batch->spans[batch->count - 1] : NULL;

    batch->size += size;
    if (last && (const uint8_t *)last->iov_base + last->iov_len == bytes) {
        last->iov_len += size;
        return;
    }
    assert(batch->count < BATCH_SPANS);
    batch->spans[batch->count++] = (struct iovec){(void *)(uintptr_t)bytes, size};
}

/* Payload that is still to be framed. */
struct payload {
    const struct iovec *spans;
    size_t skip; /* of the first one */
    size_t left; /* of all */
};

/* The next bytes that lie in one piece, at most so many. */
static struct iovec take_piece(struct payload *payload, size_t most)
{
    uint8_t *at = (uint8_t *)payload->spans->iov_base + payload->skip;
    size_t size = payload->spans->iov_len - payload->skip;

    if (size > most) {
        size = most;
        payload->skip += size;
    } else {
        payload->spans++;
        payload->skip = 0;
    }
    payload->left -= size;
    return (struct iovec){at, size};
}

/* The payload is the streams' memory, which keeps it in case it must be sent again: it is masked on
 * the way to staging. */
static void add_masked(struct batch *batch, struct payload *payload, size_t size,
                       const uint8_t *key)
{
    uint8_t *start = batch->staging;

    for (size_t done = 0; done < size;) {
        struct iovec piece = take_piece(payload, size - done);
        ws_mask_copy(start + done, piece.iov_base, piece.iov_len, key, done);
        done += piece.iov_len;
    }
    batch->staging += size;
    add_span(batch, start, size);
}

static void add_pieces(struct batch *batch, struct payload *payload, size_t size)
{
    while (size > 0) {
        struct iovec piece = take_piece(payload, size);
        add_span(batch, piece.iov_base, piece.iov_len);
        size -= piece.iov_len;
    }
}

static void add_frame(struct link *link, struct batch *batch, struct payload *payload, size_t size)
{
    const uint8_t *key = mask_key(link);
    size_t header_size = ws_frame_header(batch->staging, WS_OPCODE_BINARY, size, key);

    add_span(batch, batch->staging, header_size);
    batch->staging += header_size;
    note_sent(link, header_size + size);
    if (key)
        add_masked(batch, payload, size, key);
    else
        add_pieces(batch, payload, size);
}

/* Makes frames of what the session says, each as large as is allowed: where a message ends means
 * nothing to the peer. */
static void add_frames(struct link *link, struct batch *batch, struct payload *payload)
{
    const size_t part_max = link->frame_max - WS_HEADER_MAX;

    while (payload->left > 0)
        add_frame(link, batch, payload, payload->left < part_max ? payload->left : part_max);
}

static void add_pong(struct link *link, struct batch *batch)
{
    size_t size = ws_frame_pong(batch->staging, link->pong, link->pong_size, mask_key(link));

    add_span(batch, batch->staging, size);
    batch->staging += size;
    link->pong_due = false;
}

/* What the session has to say, or the instance that has it: up to most bytes. */
static size_t pull_payload(struct link *link, struct mux_gathered *gathered, size_t most)
{
    uint8_t *pulled = link->worker->pulled;
    size_t size = 0;

    if (link->mux) {
        size = mux_link_gather(link->mux, pulled, most, gathered, clock_now_us());
        count_pulled(link, size);
    } else if (link->forward) {
        size = read_forward(link, pulled, most);
        gathered->spans[0] = (struct iovec){pulled, size};
    }
    return size;
}

/* Makes the next batch: a pong that is due, then what the session has to say, up to most bytes of
 * it (PACE_PULL_LEAST or more). */
static void make_batch(struct link *link, size_t most, struct batch *batch)
{
    const size_t front = WS_CONTROL_FRAME_MAX + FRAMES_A_BATCH * WS_HEADER_MAX;
    size_t room = (FRAMES_A_BATCH - 1) * (link->frame_max - WS_HEADER_MAX);
    struct mux_gathered gathered;

    batch->count = batch->size = 0;
    batch->staging = link->worker->staging;
    if (room > WORKER_WRITE_SIZE - front)
        room = WORKER_WRITE_SIZE - front;
    if (room > most)
        room = most;
    struct payload payload = {.spans = gathered.spans, .left = pull_payload(link, &gathered, room)};
    if (link->pong_due)
        add_pong(link, batch);
    if (link->framed) {
        add_frames(link, batch, &payload);
    } else if (payload.left > 0) {
        note_sent(link, payload.left);
        add_pieces(batch, &payload, payload.left);
    }
}

/* Sends a close frame, as the last thing; the peer has a moment to answer it. */
static void start_closing(struct link *link, uint16_t code, const char *reason)
{
    uint8_t frame[WS_CONTROL_FRAME_MAX];

    if (link->closing)
        return;
    link->closing = true;
    link->close_us = clock_now_us() + CLOSE_TIMEOUT_US;
    link_let_go(link);
    if (!link->framed) {
        /* The end of the connection says it all; a moment for what is still on its way. */
        if (!transport_busy(link->transport))
            link->close_us = clock_now_us();
        return;
    }
    size_t size = ws_frame_close(frame, (enum ws_close_code)code, reason, mask_key(link));
    /* While a batch is on its way there is no place for more: then the connection just closes. */
    if (transport_busy(link->transport) || transport_commit(link->transport, frame, size) != 0 ||
        transport_flush(link->transport) == TRANSPORT_ERROR)
        link->close_us = clock_now_us();
}

/* Looks now and then how fast the link is. */
static void measure_pace(struct link *link)
{
    uint64_t now = clock_now_us();
    struct path_sample sample;

    if (!pace_is_due(&link->pace, now))
        return;
    if (path_measure(transport_fd(link->transport), &sample))
        pace_measured(&link->pace, sample.rate, sample.rate_is_least, now);
    else
        pace_give_up(&link->pace);
    count_retransmitted(link, &sample);
    if (link->mux) {
        const struct mux_path path = {.retransmitted = sample.retransmitted_segments,
                                      .round_trip_us = sample.shortest_round_trip_us
                                                           ? sample.shortest_round_trip_us
                                                           : sample.round_trip_us};
        mux_link_observe(link->mux, &path, now);
    }
}

/* Encrypts what the session has to say, as much as is to leave in one call and as may wait. 0 or
 * TRANSPORT_ERROR. */
static int commit_batches(struct link *link)
{
    size_t left = pace_pull(&link->pace);

    if (left > portion(link))
        left = portion(link);
    while (!link->closing && left >= PACE_PULL_LEAST && transport_has_room(link->transport)) {
        struct batch batch;
        make_batch(link, left, &batch);
        if (batch.size == 0)
            return 0;
        note_event(link, batch.size);
        int error = transport_commitv(link->transport, batch.spans, batch.count);
        if (error)
            return error;
        left -= batch.size < left ? batch.size : left;
    }
    return 0;
}

/* 0: go on; -1: the link has ended. */
static int send_batches(struct link *link)
{
    /* What the kernel did not take comes first: while it does not, nothing new is encrypted. */
    int sent = transport_flush(link->transport);

    if (sent == 1) {
        measure_pace(link);
        bound_unsent(link);
        int error = commit_batches(link);
        sent = error ? error : transport_flush(link->transport);
    }
    if (sent != TRANSPORT_ERROR)
        return 0;
    set_end(link, LINK_END_LOST, transport_error(link->transport));
    finish_link(link);
    return -1;
}

/* What the session has to say before it lets go of the link: a GOAWAY above all. */
static void send_last_batch(struct link *link)
{
    if (!transport_busy(link->transport) && commit_batches(link) == 0)
        transport_flush(link->transport);
}

/* There is something to send: after this turn's reads. */
static void send_soon(void *context)
{
    const struct link *link = context;

    timer_fire(link->flush);
}

/* The session has something to say of the link itself. */
static void attend_soon(void *context)
{
    struct link *link = context;

    timer_fire(link->timer);
    link->timer_us = 0;
}

/* A timer that is too early costs one idle call; one that is armed anew for every byte costs more.
 */
static void arm_timer(struct link *link, uint64_t deadline)
{
    if (deadline >= link->timer_us)
        return;
    uint64_t now = clock_now_us();
    timer_start_us(link->timer, deadline > now ? deadline - now : 0);
    link->timer_us = deadline;
}

static void attend_at(void *context, uint64_t time_us)
{
    arm_timer(context, time_us);
}

struct mux_output link_output(struct link *link)
{
    return (struct mux_output){
        .ready = send_soon, .attend = attend_soon, .attend_at = attend_at, .link = link};
}

static void on_link_writable(void *argument)
{
    struct link *link = argument;

    if (send_batches(link) == 0)
        link_update(link);
}

static void on_flush(void *argument)
{
    struct link *link = argument;

    /* While the kernel holds enough unsent bytes, more would only wait there, out of order's reach.
     */
    if (!watch_is_wanted(link->writable))
        on_link_writable(argument);
}

/* ---- input */

/* The session does not keep it. */
static void keep_rejection(struct link *link, const struct mux_reject *rejection)
{
    const struct mux_text reason = rejection->reason;

    link->rejection = *rejection;
    memcpy(link->rejection_reason, reason.size > 0 ? reason.bytes : "", reason.size);
    link->rejection.reason.bytes = link->rejection_reason;
}

/* The session failed: the peer's fault, or silence. Says goodbye. */
static void session_failed(struct link *link, int error)
{
    switch (error) {
    case MUX_ERROR_DEAD:
        set_end(link, LINK_END_DEAD, mux_link_reason(link->mux));
        link->close_us = clock_now_us();
        break;
    case MUX_ERROR_REJECTED:
        set_end(link, LINK_END_REJECTED, mux_link_reason(link->mux));
        keep_rejection(link, mux_link_rejection(link->mux));
        start_closing(link, WS_CLOSE_NORMAL, "rejected");
        break;
    default:
        set_end(link, LINK_END_PROTOCOL, mux_link_reason(link->mux));
        start_closing(link, WS_CLOSE_PROTOCOL_ERROR, "tunnel protocol");
    }
}

static void reject(struct link *link, const struct mux_reject *rejection)
{
    uint8_t payload[MUX_FRAME_HEADER + 512];
    uint8_t frame[WS_HEADER_MAX + sizeof payload];
    struct byte_writer w;

    byte_writer_init(&w, payload, sizeof payload);
    mux_reject_encode(&w, rejection);
    size_t header =
        link->framed ? ws_frame_header(frame, WS_OPCODE_BINARY, byte_writer_size(&w), NULL) : 0;
    memcpy(frame + header, payload, byte_writer_size(&w));
    set_end(link, LINK_END_REJECTED, "the session was refused");
    if (!transport_busy(link->transport))
        transport_commit(link->transport, frame, header + byte_writer_size(&w));
    transport_flush(link->transport);
    start_closing(link, WS_CLOSE_NORMAL, "rejected");
}

/* To the instance that has the session, as far as that takes it. */
static void hand_on(struct link *link)
{
    if (forward_flush(link->forward) < 0)
        start_closing(link, WS_CLOSE_GOING_AWAY, "the instance with the session is gone");
}

static void on_link_forward_readable(void *context)
{
    send_soon(context);
}

static void on_link_forward_writable(void *context)
{
    struct link *link = context;

    hand_on(link);
    link_update(link);
}

static const struct forward_owner forward_owner = {.readable = on_link_forward_readable,
                                                   .writable = on_link_forward_writable};

void link_forward(struct link *link, struct transport *transport)
{
    assert(link->forward);
    forward_connect(link->forward, transport);
    hand_on(link);
    link_update(link);
}

void link_reject(struct link *link, const struct mux_reject *rejection)
{
    if (link->closing)
        return;
    forward_free(link->forward);
    link->forward = NULL;
    watch_want(link->readable, true);
    reject(link, rejection);
    link_update(link);
}

static void forget_hello(struct link *link)
{
    if (link->hello)
        byte_wipe(link->hello, link->hello_fill);
    free(link->hello);
    link->hello = NULL;
    link->hello_capacity = 0;
}

/* Has room for size bytes of HELLO, without a trace of a smaller one: it may have a secret. */
static void grow_hello(struct link *link, size_t size)
{
    size_t capacity = link->hello_capacity ? link->hello_capacity : HELLO_FIRST;

    if (size <= link->hello_capacity)
        return;
    while (capacity < size)
        capacity *= 2;
    uint8_t *larger = memory_raw(capacity);
    if (link->hello)
        memcpy(larger, link->hello, link->hello_fill);
    forget_hello(link);
    link->hello = larger;
    link->hello_capacity = capacity;
}

/* Behind what came so far: bounded by what is read at a time. */
static void keep_for_later(struct link *link, const uint8_t *bytes, size_t size)
{
    grow_hello(link, link->hello_fill + size);
    if (size > 0)
        memcpy(link->hello + link->hello_fill, bytes, size);
    link->hello_fill += size;
}

/* Collects HELLO; when it is whole the owner finds the session and gets the rest of the bytes. */
static void receive_hello(struct link *link, const uint8_t *bytes, size_t size)
{
    size_t room = MUX_FRAME_HEADER + MUX_FRAME_PAYLOAD_MAX - link->hello_fill;
    size_t part = size < room ? size : room;
    struct mux_hello hello;
    struct mux_reject rejection = {0};
    size_t consumed;
    const char *reason;

    grow_hello(link, link->hello_fill + part);
    memcpy(link->hello + link->hello_fill, bytes, part);
    size_t before = link->hello_fill;
    link->hello_fill += part;
    int result = mux_hello_receive(link->hello, link->hello_fill, &hello, &consumed, &reason);
    if (result == MUX_HELLO_NEED_MORE)
        return;
    if (result == MUX_HELLO_MALFORMED) {
        set_end(link, LINK_END_PROTOCOL, reason);
        start_closing(link, WS_CLOSE_PROTOCOL_ERROR, "tunnel protocol");
        return;
    }
    link->close_us = 0;
    link_limit_frames(link, hello.message_max);
    link->mux = link->owner->hello(link->context, link, &hello, &rejection);
    if (link->departing) {
        keep_for_later(link, bytes + part, size - part);
        return;
    }
    if (!link->mux && rejection.code == MUX_CODE_NONE) {
        link->forward = forward_new(link->worker, &forward_owner, link);
        forward_put(link->forward, link->hello, before);
        forward_put(link->forward, bytes, size);
    }
    forget_hello(link);
    if (link->forward)
        return;
    if (!link->mux) {
        reject(link, &rejection);
        return;
    }
    size_t taken = consumed - before;
    int error = mux_link_receive(link->mux, bytes + taken, size - taken, clock_now_us());
    note_received(link);
    if (error)
        session_failed(link, error);
}

static void receive_payload(struct link *link, const uint8_t *bytes, size_t size)
{
    if (link->departing) {
        keep_for_later(link, bytes, size);
        return;
    }
    if (link->forward) {
        forward_put(link->forward, bytes, size);
        hand_on(link);
        return;
    }
    if (!link->mux) {
        receive_hello(link, bytes, size);
        return;
    }
    int error = mux_link_receive(link->mux, bytes, size, clock_now_us());
    note_received(link);
    if (error)
        session_failed(link, error);
}

static void receive_close(struct link *link, const struct ws_event *event)
{
    char text[160];

    snprintf(text, sizeof text, "the peer closed the WebSocket, code %u%s%.*s",
             (unsigned)event->code, event->size > 0 ? ": " : "", (int)event->size,
             (const char *)event->bytes);
    set_end(link, LINK_END_CLOSED, text);
    link->record.going_away = event->code == WS_CLOSE_GOING_AWAY;
    link->record.frames.refused = event->code == WS_CLOSE_TOO_BIG;
    if (!link->closing)
        start_closing(link, event->code == WS_CLOSE_NO_STATUS ? WS_CLOSE_NORMAL : event->code,
                      NULL);
    link->close_us = clock_now_us();
}

static void handle_event(struct link *link, int kind, const struct ws_event *event)
{
    switch (kind) {
    case WS_DATA:
        /* After our close frame only the peer's is of interest. */
        if (!link->closing)
            receive_payload(link, event->bytes, event->size);
        break;
    case WS_PING:
        memcpy(link->pong, event->bytes, event->size);
        link->pong_size = event->size;
        link->pong_due = true;
        send_soon(link);
        break;
    case WS_CLOSE:
        receive_close(link, event);
        break;
    default:
        break;
    }
}

static void decode(struct link *link, uint8_t *bytes, size_t size)
{
    while (size > 0) {
        struct ws_event event = {0};
        size_t consumed = 0;
        int kind = ws_decoder_next(&link->decoder, bytes, size, &consumed, &event);
        if (kind < 0) {
            set_end(link, LINK_END_GARBLED, event.error);
            start_closing(link, event.code, event.error);
            link->close_us = clock_now_us();
            return;
        }
        handle_event(link, kind, &event);
        bytes += consumed;
        size -= consumed;
        if (kind == WS_NEED_MORE)
            return;
    }
}

/* Nothing more is read for another instance before that has taken some. */
static bool is_full(const struct link *link)
{
    return link->forward && forward_is_full(link->forward) && !link->closing;
}

void link_depart(struct link *link)
{
    link->departing = true;
}

/* One that is being closed ends here. */
static bool leaves(struct link *link)
{
    if (!link->departing)
        return false;
    if (link->closing) {
        link->departing = false;
        forget_hello(link);
        return false;
    }
    unsettle(link);
    link->owner->departed(link->context, link);
    return true;
}

void link_arrive(struct link *link, struct worker *worker, void *context)
{
    uint8_t *kept = link->hello;
    size_t capacity = link->hello_capacity;
    size_t size = link->hello_fill;

    link->context = context;
    link->departing = false;
    link->hello = NULL;
    link->hello_capacity = link->hello_fill = 0;
    settle(link, worker);
    receive_payload(link, kept, size);
    worker_end_turn(worker);
    byte_wipe(kept, capacity);
    free(kept);
    if (leaves(link))
        return;
    if (link->pong_due)
        send_soon(link);
    link_update(link);
}

static void on_read_on(struct worker_later *later)
{
    on_link_readable(list_entry(later, struct link, read_on));
}

/* TLS has read ahead what no event will announce. */
static void read_on(struct link *link, bool after_others)
{
    if (!transport_pending(link->transport) || is_full(link))
        return;
    if (after_others)
        worker_later(link->worker, &link->read_on, on_read_on);
    else
        watch_fire(link->readable);
}

/* What is due after a read goes out before the next one: the peer that waits for credit sleeps
 * meanwhile. 0: go on; -1: the link has ended. */
static int answer_between_reads(struct link *link)
{
    if (!link->mux || link->closing || !mux_link_wants_output(link->mux) ||
        watch_is_wanted(link->writable))
        return 0;
    return send_batches(link);
}

static void on_link_readable(void *argument)
{
    struct link *link = argument;
    const size_t most = portion(link);
    const bool small = most < WORKER_LINK_READ_SIZE;
    long got = 0;

    for (int i = 0; i < (small ? 1 : READS_A_TURN); i++) {
        got = transport_read(link->transport, link->worker->link_bytes,
                             small ? most : WORKER_LINK_READ_SIZE);
        if (got <= 0)
            break;
        note_event(link, (size_t)got);
        if (link->framed)
            decode(link, link->worker->link_bytes, (size_t)got);
        else if (!link->closing)
            receive_payload(link, link->worker->link_bytes, (size_t)got);
        worker_end_turn(link->worker);
        if (!transport_pending(link->transport) || is_full(link) || link->departing)
            break;
        if (answer_between_reads(link) != 0)
            return;
    }
    if (got >= 0 && leaves(link))
        return;
    if (got < 0) {
        set_end(link, LINK_END_LOST,
                got == TRANSPORT_EOF ? "the connection was closed without a WebSocket close frame"
                                     : transport_error(link->transport));
        finish_link(link);
        return;
    }
    link_update(link);
    read_on(link, small);
}

/* ---- time */

static uint64_t next_deadline(const struct link *link)
{
    uint64_t deadline = UINT64_MAX;

    if (link->mux && !link->closing)
        deadline = mux_link_deadline(link->mux);
    if (link->close_us != 0 && link->close_us < deadline)
        deadline = link->close_us;
    if (is_busy(link) && link->busy_us < deadline)
        deadline = link->busy_us;
    if (is_full(link) && forward_deadline(link->forward) < deadline)
        deadline = forward_deadline(link->forward);
    return deadline;
}

/* A link whose session is elsewhere reads each side only while the other one takes what comes. */
static void update_forwarding(struct link *link)
{
    bool full = is_full(link);
    bool was_full = !watch_is_wanted(link->readable);

    watch_want(link->readable, !full);
    if (was_full && !full && transport_pending(link->transport))
        watch_fire(link->readable);
    forward_wait(link->forward, !link->closing && !transport_busy(link->transport), !link->closing);
}

/*
 * Buffers for a record each way are most of what a link takes, and most links are idle. A busy one
 * keeps them, but for a moment now and then; else they are given back each time, so that not all
 * the links that say something at about the same time have some.
 */
static void relax_unless_busy(struct link *link)
{
    if (is_busy(link))
        return;
    uint64_t now = clock_now_us();
    if (now >= link->busy_us) {
        link->busy_us = now + BUSY_US;
        link->events = 0;
    }
    transport_relax(link->transport);
}

/* The one place that says what the link waits for. */
static void link_update(struct link *link)
{
    if (link->forward)
        update_forwarding(link);
    relax_unless_busy(link);
    bool blocked = transport_busy(link->transport) ||
                   (link->mux && !link->closing && mux_link_wants_output(link->mux));

    watch_want(link->writable, blocked);
    arm_timer(link, next_deadline(link));
}

static void on_link_timer(void *argument)
{
    struct link *link = argument;
    uint64_t now = clock_now_us();

    link->timer_us = UINT64_MAX;
    if (link->close_us != 0 && now >= link->close_us) {
        if (!link->mux && !link->closing)
            set_end(link, LINK_END_PROTOCOL, "no HELLO within the time allowed");
        set_end(link, LINK_END_CLOSED, "closed");
        finish_link(link);
        return;
    }
    if (is_full(link) && now >= forward_deadline(link->forward))
        start_closing(link, WS_CLOSE_GOING_AWAY, "the instance with the session takes nothing");
    if (link->mux && !link->closing) {
        int error = mux_link_tick(link->mux, now);
        if (error)
            session_failed(link, error);
    }
    if (now >= link->busy_us)
        link->events = 0;
    link_update(link);
}

void link_close(struct link *link, uint16_t code, const char *reason)
{
    set_end(link, LINK_END_CLOSED, reason);
    send_last_batch(link);
    start_closing(link, code, reason);
    link_let_go(link);
    link_update(link);
}

void link_probe(struct link *link)
{
    if (!link->mux || link->closing)
        return;
    mux_link_probe(link->mux, clock_now_us(), PROBE_TIMEOUT_US);
    link_update(link);
}

void link_abort(struct link *link)
{
    link_let_go(link);
    link_free(link);
}
