#include "tunnel/relay.h"

#include <assert.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/bytes.h"
#include "base/chunk.h"
#include "base/memory.h"
#include "io/clock.h"
#include "io/socket.h"
#include "io/timer.h"
#include "io/watch.h"
#include "tunnel/relay_filter.h"

enum {
    READ_SIZE_MIN = 1984, /* fits a small chunk */
    READ_SPACES = 6,
    ONE_SPACE_LEAST = 512, /* a small message fits, and the kernel does less for one piece */
    HALF_CLOSED_CHECK_S = 1,
    PAUSE_LEAST_US = 1000,
    PAUSE_MOST_US = 500 * 1000, /* a rate may be another one meanwhile */
    WRITE_SPANS = 16,
    SPANS_MAX = 16,
    UNCREDITED_MAX = 1 << 20, /* bytes that wait for the socket; see credit_unwanted() */
};

struct relay {
    struct worker_turn turn; /* there is something to write */
    struct worker_release release;
    struct worker *worker;
    const struct relay_owner *owner;
    void *context;
    struct mux_stream *stream;   /* NULL when the stream is gone */
    struct relay_filter *filter; /* owned; NULL: raw bytes */
    struct transport *transport; /* NULL: not connected yet, or taken */
    size_t taken;                /* bytes that transport has taken and the kernel may not have */
    struct watch *readable;
    struct watch *writable;
    struct iovec spans[SPANS_MAX]; /* of the link's buffer, this turn only */
    size_t span_count;
    bool copied;                /* bytes have come into incoming that no write has been tried for */
    size_t unwanted;            /* bytes of this turn that the filter keeps from the socket */
    size_t kept;                /* of the bytes that the filter looks at now: it sends them later */
    size_t own;                 /* bytes among the unwritten ones that are not the stream's */
    uint64_t held;              /* bytes that the filter has, as it says */
    uint64_t charged;           /* of these and of own, that the stream answers for */
    struct byte_queue incoming; /* from the stream, the socket did not take it yet */
    size_t read_size;           /* how much to try to read: follows what came lately */
    bool ended;
    bool read_ended;    /* the socket has sent its end of file */
    bool read_finished; /* and the stream knows */
    bool write_ending;  /* the stream has ended: shut the socket down when all is written */
    bool write_ended;
    bool waits_to_write;       /* writable is wanted */
    bool discards;             /* the socket takes nothing more: drop what still comes for it */
    bool draining;             /* ends when the filter says that all is complete */
    struct timer *half_closed; /* looks after one whose one side has ended; NULL: none has */
    uint64_t moved;            /* bytes, any way, when that looked last */
    unsigned still_s;          /* how long no more have */
    uint64_t bytes_to_socket;
    uint64_t bytes_from_socket;
    struct relay_counters counters; /* of all relays to this target */
    struct rate *rates[2];          /* by the side that bytes come from; NULL: no limit */
    bool paused[2];                 /* the same: until pause is over */
    struct timer *pause;            /* NULL: there never was one */
    uint64_t uncounted;             /* what these point at before relay_count() */
    bool (*look)(void *context, const uint8_t *bytes, size_t size); /* NULL: nobody looks */
};

static void watch_half_closed(struct relay *relay);

struct relay *relay_new_filtered(struct worker *worker, const struct relay_owner *owner,
                                 void *context, struct relay_filter *filter)
{
    struct relay *relay = memory_new(sizeof *relay);

    relay->worker = worker;
    relay->owner = owner;
    relay->context = context;
    relay->filter = filter;
    if (filter)
        filter->relay = relay;
    relay->read_size = READ_SIZE_MIN;
    relay->counters = (struct relay_counters){.to_socket = &relay->uncounted,
                                              .from_socket = &relay->uncounted,
                                              .stalls = {&relay->uncounted, &relay->uncounted}};
    list_init(&relay->turn.node);
    byte_queue_init(&relay->incoming, &worker->pool);
    return relay;
}

struct relay *relay_new(struct worker *worker, const struct relay_owner *owner, void *context)
{
    return relay_new_filtered(worker, owner, context, NULL);
}

void relay_count(struct relay *relay, const struct relay_counters *counters)
{
    relay->counters = *counters;
}

void relay_limit(struct relay *relay, struct rate *to_socket, struct rate *from_socket)
{
    relay->rates[RELAY_STREAM] = to_socket;
    relay->rates[RELAY_SOCKET] = from_socket;
}

void relay_watch(struct relay *relay,
                 bool (*look)(void *context, const uint8_t *bytes, size_t size))
{
    relay->look = look;
}

struct relay_filter *relay_filter(const struct relay *relay)
{
    return relay->filter;
}

struct mux_stream *relay_stream(const struct relay *relay)
{
    return relay->stream;
}

uint64_t relay_bytes_to_socket(const struct relay *relay)
{
    return relay->bytes_to_socket;
}

uint64_t relay_bytes_from_socket(const struct relay *relay)
{
    return relay->bytes_from_socket;
}

size_t relay_unwritten(const struct relay *relay)
{
    return (size_t)byte_queue_unread(&relay->incoming) + relay->taken;
}

bool relay_has_ended(const struct relay *relay)
{
    return relay->ended;
}

bool relay_is_connected(const struct relay *relay)
{
    return relay->transport != NULL;
}

/* ---- the end */

static void free_relay(struct worker_release *release)
{
    struct relay *relay = list_entry(release, struct relay, release);

    if (relay->filter)
        relay->filter->operations->destroy(relay->filter);
    free(relay);
}

static void close_socket(struct relay *relay, bool reset)
{
    if (reset)
        transport_reset(relay->transport);
    else
        transport_free(relay->transport);
    relay->transport = NULL;
}

/* What the filter has said itself may hold a password (relay_kafka_ask()). */
static void wipe_spans(const struct iovec *spans, size_t size)
{
    for (; size > 0; spans++) {
        size_t some = spans->iov_len < size ? spans->iov_len : size;
        byte_wipe(spans->iov_base, some);
        size -= some;
    }
}

static void wipe_own(struct relay *relay)
{
    struct iovec span;

    while (relay->own > 0 && byte_queue_peek(&relay->incoming, &span, 1) > 0) {
        wipe_spans(&span, span.iov_len);
        byte_queue_skip(&relay->incoming, span.iov_len);
    }
}

/* Nothing happens to the relay any more; its memory stays until no call of it can be on the stack.
 */
static void release_ended(struct relay *relay, bool reset)
{
    assert(!relay->ended);
    relay->ended = true;
    relay->stream = NULL;
    watch_free(relay->readable);
    watch_free(relay->writable);
    timer_free(relay->half_closed);
    timer_free(relay->pause);
    relay->pause = NULL;
    relay->readable = relay->writable = NULL;
    relay->half_closed = NULL;
    close_socket(relay, reset);
    relay->span_count = 0;
    wipe_own(relay);
    byte_queue_clear(&relay->incoming);
    list_remove(&relay->turn.node);
    if (relay->filter)
        relay->filter->operations->stop(relay->filter);
    worker_release(relay->worker, &relay->release, free_relay);
}

static void end_relay(struct relay *relay, enum relay_end how, enum mux_code code,
                      struct mux_text reason)
{
    release_ended(relay, how != RELAY_END_COMPLETE);
    relay->owner->ended(relay->context, relay, how, code, reason);
}

/* The socket's side is the reason: tell the peer, then the owner. */
static void cut_relay(struct relay *relay, enum mux_code code, const char *reason,
                      enum mux_reset_mode mode)
{
    if (relay->stream)
        mux_stream_reset(relay->stream, code, reason, mode, clock_now_us());
    end_relay(relay, RELAY_END_RESET, code, (struct mux_text){reason, strlen(reason)});
}

void relay_cut(struct relay *relay, enum mux_code code, const char *reason)
{
    if (relay->stream)
        mux_stream_reset(relay->stream, code, reason, MUX_RESET_NOW, clock_now_us());
    release_ended(relay, true);
}

void relay_fail(struct relay *relay, enum mux_code code, const char *reason)
{
    cut_relay(relay, code, reason, MUX_RESET_NOW);
}

void relay_break(struct relay *relay, enum mux_code code, const char *reason)
{
    cut_relay(relay, code, reason, MUX_RESET_AFTER_DATA);
}

void relay_abandon(struct relay *relay)
{
    release_ended(relay, true);
}

/* ---- rates */

static bool has_rate(const struct relay *relay, enum relay_side from)
{
    return relay->rates[from] && rate_per_second(relay->rates[from]) > 0;
}

static void on_pause_over(void *argument);

/* How many of so many bytes may move now; 0: none, and the relay looks again when they may. */
static size_t allow_portion(struct relay *relay, enum relay_side from, size_t size)
{
    if (!has_rate(relay, from))
        return size;
    uint64_t wait = rate_wait_us(relay->rates[from], clock_now_us());
    if (wait == 0)
        return (size_t)rate_portion(relay->rates[from], size);
    if (!relay->pause)
        relay->pause = timer_new(relay->worker, on_pause_over, relay);
    if (!timer_is_running(relay->pause))
        timer_start_us(relay->pause, wait < PAUSE_LEAST_US  ? PAUSE_LEAST_US
                                     : wait > PAUSE_MOST_US ? PAUSE_MOST_US
                                                            : wait);
    if (!relay->paused[from] && relay->owner->slowed)
        relay->owner->slowed(relay->context, from);
    relay->paused[from] = true;
    return 0;
}

static void spend_rate(struct relay *relay, enum relay_side from, size_t size)
{
    if (has_rate(relay, from))
        rate_spend(relay->rates[from], size, clock_now_us());
}

/* ---- stream to socket */

/* What a filter has let go of waits for the socket, and is memory as well. A little is no matter.
 * false: there is no memory for it; it can fail only where there is more than before. */
static bool charge_filter(struct relay *relay)
{
    uint64_t due = relay->held + (relay->own > RELAY_UNCHARGED ? relay->own : 0);

    if (!relay->stream || due == relay->charged)
        return true;
    if (!mux_stream_hold(relay->stream, due))
        return false;
    relay->charged = due;
    return true;
}

static void consumed(struct relay *relay, size_t size)
{
    /* Which are whose is not kept: credit may come late, but never for what the stream has not
     * sent.
     */
    size_t own = size < relay->own ? size : relay->own;

    relay->own -= own;
    if (own > 0)
        charge_filter(relay);
    size -= own;
    relay->bytes_to_socket += size;
    *relay->counters.to_socket += size;
    if (size > 0 && relay->stream)
        mux_stream_consume(relay->stream, size, clock_now_us());
}

/* Not while the socket is behind: what a filter has held comes on top of the stream's window. */
static void credit_unwanted(struct relay *relay)
{
    size_t size = relay->unwanted;

    if (size == 0 || byte_queue_unread(&relay->incoming) > UNCREDITED_MAX)
        return;
    relay->unwanted = 0;
    if (relay->stream)
        mux_stream_consume(relay->stream, size, clock_now_us());
}

/* The socket takes nothing more. What it has sent is still to be read: an answer may precede a
 * reset. */
static void stop_writing(struct relay *relay)
{
    size_t dropped = relay_unwritten(relay);

    relay->discards = true;
    watch_half_closed(relay);
    relay->taken = 0;
    for (size_t i = 0; i < relay->span_count; i++)
        dropped += relay->spans[i].iov_len;
    relay->span_count = 0;
    byte_queue_clear(&relay->incoming);
    dropped -= relay->own;
    relay->own = 0;
    charge_filter(relay);
    if (relay->read_ended) {
        cut_relay(relay, MUX_CODE_PEER_RESET, "the connection was reset", MUX_RESET_AFTER_DATA);
        return;
    }
    if (dropped > 0 && relay->stream)
        mux_stream_consume(relay->stream, dropped, clock_now_us());
}

/* Writes what iovecs point at. Returns bytes written; negative when the socket is broken: then all
 * of them still belong to the caller. */
static long write_spans(struct relay *relay, const struct iovec *spans, size_t count)
{
    long written = transport_writev(relay->transport, spans, count);

    if (written > 0) {
        relay->taken += (size_t)written;
        spend_rate(relay, RELAY_STREAM, (size_t)written);
    }
    return written;
}

/* Only what the kernel has counts as consumed. */
static void credit_written(struct relay *relay)
{
    size_t written = relay->taken;

    if (!relay->transport || transport_busy(relay->transport))
        return;
    relay->taken = 0;
    consumed(relay, written);
    credit_unwanted(relay);
}

/* How many of the spans may be written now, the last one perhaps in part. */
static size_t cut_to_rate(struct relay *relay, struct iovec *spans, size_t count)
{
    size_t size = 0;
    size_t kept = 0;

    if (!has_rate(relay, RELAY_STREAM))
        return count;
    for (size_t i = 0; i < count; i++)
        size += spans[i].iov_len;
    for (size_t left = allow_portion(relay, RELAY_STREAM, size); left > 0; kept++) {
        if (spans[kept].iov_len > left)
            spans[kept].iov_len = left;
        left -= spans[kept].iov_len;
    }
    return kept;
}

/* Writes the queue as far as the socket takes it; false: the relay has changed its mind, or ended.
 */
static bool write_queue(struct relay *relay)
{
    struct iovec spans[WRITE_SPANS];
    long written = transport_flush(relay->transport);

    while (written >= 0 && byte_queue_unread(&relay->incoming) > 0) {
        size_t count = byte_queue_peek(&relay->incoming, spans, WRITE_SPANS);
        count = cut_to_rate(relay, spans, count);
        if (count == 0)
            break;
        written = write_spans(relay, spans, count);
        if (written <= 0)
            break;
        if (relay->own > 0)
            wipe_spans(spans, (size_t)written);
        byte_queue_skip(&relay->incoming, (uint64_t)written);
        byte_queue_drop(&relay->incoming, relay->incoming.read);
    }
    credit_written(relay);
    if (written < 0 && !relay->ended)
        stop_writing(relay);
    return written >= 0 && !relay->ended;
}

/* Copies what is left of the spans after written bytes into the queue. */
static void keep_spans(struct relay *relay, size_t written)
{
    for (size_t i = 0; i < relay->span_count; i++) {
        size_t size = relay->spans[i].iov_len;
        size_t skip = written < size ? written : size;
        byte_queue_append(&relay->incoming, (const uint8_t *)relay->spans[i].iov_base + skip,
                          size - skip);
        written -= skip;
    }
    relay->span_count = 0;
}

static size_t spans_size(const struct relay *relay)
{
    size_t size = 0;

    for (size_t i = 0; i < relay->span_count; i++)
        size += relay->spans[i].iov_len;
    return size;
}

/* Writes this turn's spans, straight from the link's buffer while nothing waits before them. */
static void flush_spans(struct relay *relay)
{
    size_t size = spans_size(relay);
    long written = 0;

    credit_unwanted(relay);
    if (relay->ended)
        return;

    if (relay->discards) {
        relay->span_count = 0;
        consumed(relay, size);
        return;
    }
    bool limited = has_rate(relay, RELAY_STREAM);
    if (relay->transport && byte_queue_unread(&relay->incoming) == 0 && !limited)
        written = write_spans(relay, relay->spans, relay->span_count);
    if (written < 0) {
        stop_writing(relay);
        return;
    }
    keep_spans(relay, (size_t)written);
    relay->copied = relay->copied || limited;
    credit_written(relay);
}

static bool keeps_bytes(const struct relay *relay)
{
    return relay->filter && relay->filter->operations->keeps(relay->filter);
}

/* A clean end goes out when everything before it has been written. */
static void finish_writing(struct relay *relay)
{
    if (!relay->write_ending || relay->write_ended || !relay->transport || relay->discards ||
        relay->span_count > 0 || relay_unwritten(relay) > 0 || keeps_bytes(relay))
        return;
    /* With TLS an answer to a key update may have been written meanwhile, which goes first. */
    if (transport_flush(relay->transport) != 1)
        return;
    relay->write_ended = true;
    transport_shutdown(relay->transport);
}

static void on_turn_end(struct worker_turn *turn)
{
    struct relay *relay = list_entry(turn, struct relay, turn);

    flush_spans(relay);
    if (relay->copied && !relay->ended && relay->transport)
        write_queue(relay);
    relay->copied = false;
    if (!relay->ended)
        finish_writing(relay);
    relay_go_on(relay);
}

static void touch(struct relay *relay)
{
    worker_at_turn_end(relay->worker, &relay->turn, on_turn_end);
}

struct transport *relay_take_transport(struct relay *relay)
{
    struct transport *transport = relay->transport;

    watch_free(relay->readable);
    watch_free(relay->writable);
    relay->readable = relay->writable = NULL;
    relay->transport = NULL;
    relay->discards = true;
    if (relay->filter)
        relay->filter->operations->stop(relay->filter);
    relay->span_count = 0;
    byte_queue_clear(&relay->incoming);
    return transport;
}

/* Only the link's buffer stays as it is until the turn ends. What came before its turn, the session
 * has kept elsewhere. */
static bool is_in_link_buffer(const struct relay *relay, const uint8_t *bytes)
{
    return (uintptr_t)bytes - (uintptr_t)relay->worker->link_bytes < WORKER_LINK_READ_SIZE;
}

static void copy_incoming(struct relay *relay, const uint8_t *bytes, size_t size)
{
    flush_spans(relay);
    if (relay->ended)
        return;
    if (relay->discards) {
        consumed(relay, size);
        return;
    }
    byte_queue_append(&relay->incoming, bytes, size);
    relay->copied = true;
    touch(relay);
}

static void on_stream_data(void *owner, struct mux_stream *stream, const uint8_t *bytes,
                           size_t size)
{
    struct relay *relay = owner;

    (void)stream;
    if (relay->filter && !relay->discards) {
        long taken = relay->filter->operations->from_stream(relay->filter, bytes, size);
        if (taken < 0)
            return;
        if ((size_t)taken < size) {
            relay->unwanted += size - (size_t)taken - relay->kept;
            relay->kept = 0;
            size = (size_t)taken;
            touch(relay);
        }
        if (size == 0)
            return;
    }
    if (!is_in_link_buffer(relay, bytes)) {
        copy_incoming(relay, bytes, size);
        return;
    }
    if (relay->span_count == SPANS_MAX) {
        flush_spans(relay);
        if (relay->ended)
            return;
    }
    relay->spans[relay->span_count++] = (struct iovec){(void *)(uintptr_t)bytes, size};
    touch(relay);
}

void relay_keep(struct relay *relay, size_t size)
{
    relay->kept = size;
}

void relay_drop(struct relay *relay, size_t size)
{
    if (size > 0 && relay->stream)
        mux_stream_consume(relay->stream, size, clock_now_us());
}

void relay_send(struct relay *relay, const uint8_t *bytes, size_t size, bool kept)
{
    /* What came before goes before. */
    flush_spans(relay);
    if (relay->ended)
        return;
    if (relay->discards || !relay->transport) {
        relay_drop(relay, kept ? size : 0);
        return;
    }
    relay->own += kept ? 0 : size;
    byte_queue_append(&relay->incoming, bytes, size);
    if (write_queue(relay))
        finish_writing(relay);
}

void relay_send_later(struct relay *relay, const uint8_t *bytes, size_t size, bool kept)
{
    flush_spans(relay);
    if (relay->ended)
        return;
    if (relay->discards) {
        relay_drop(relay, kept ? size : 0);
        return;
    }
    if (!kept) {
        relay->own += size;
        relay->bytes_to_socket += size;
        *relay->counters.to_socket += size;
    }
    byte_queue_append(&relay->incoming, bytes, size);
    relay->copied = true;
    touch(relay);
}

static void on_stream_finished(void *owner, struct mux_stream *stream)
{
    struct relay *relay = owner;

    (void)stream;
    relay->write_ending = true;
    watch_half_closed(relay);
    touch(relay);
}

static void on_stream_reset(void *owner, struct mux_stream *stream, enum mux_code code,
                            struct mux_text reason)
{
    struct relay *relay = owner;

    (void)stream;
    relay->stream = NULL;
    end_relay(relay, RELAY_END_RESET, code, reason);
}

static void on_stream_over(void *owner, struct mux_stream *stream)
{
    struct relay *relay = owner;

    (void)stream;
    relay->stream = NULL;
    finish_writing(relay);
    end_relay(relay, RELAY_END_COMPLETE, MUX_CODE_NONE, (struct mux_text){"", 0});
}

/* ---- socket to stream */

/* Why the socket's end cuts something short; NULL: all is in good order. */
static const char *cut_short_by_end(struct relay *relay)
{
    if (relay->discards)
        return "the connection was reset";
    return relay->filter
               ? relay->filter->operations->socket_ended(relay->filter, relay->write_ending)
               : NULL;
}

/* Everything the socket sent is with the stream: pass its end on. */
static void finish_reading(struct relay *relay)
{
    if (!relay->read_ended || relay->read_finished ||
        (relay->filter && relay->filter->operations->holds(relay->filter)))
        return;
    const char *reason = cut_short_by_end(relay);
    if (reason) {
        relay_break(relay, MUX_CODE_PEER_RESET, reason);
        return;
    }
    relay->read_finished = true;
    mux_stream_finish(relay->stream);
}

static void read_failed(struct relay *relay)
{
    /* The transport's own text ends with it, before the owner hears of it. */
    char reason[TRANSPORT_ERROR_MAX];
    /* With TLS 1.3 a client whose certificate is refused hears of it after its handshake. */
    bool refused =
        relay->bytes_from_socket == 0 && transport_failure(relay->transport) == TLS_FAILURE_ALERT;

    snprintf(reason, sizeof reason, "%s", transport_error(relay->transport));
    cut_relay(relay, refused ? MUX_CODE_UPSTREAM_UNREACHABLE : MUX_CODE_PEER_RESET, reason,
              MUX_RESET_AFTER_DATA);
}

/* Reads more at a time while reads come back full, less when they do not. */
static void adapt_read_size(struct relay *relay, size_t wanted, size_t got)
{
    if (got >= wanted && relay->read_size < WORKER_SOCKET_READ_SIZE)
        relay->read_size *= 4;
    else if (got < relay->read_size / 4)
        relay->read_size /= 2;
    if (relay->read_size > WORKER_SOCKET_READ_SIZE)
        relay->read_size = WORKER_SOCKET_READ_SIZE;
    if (relay->read_size < READ_SIZE_MIN)
        relay->read_size = READ_SIZE_MIN;
}

/* Returns false when there is nothing more to do for this event. */
static bool after_read(struct relay *relay, long got, size_t wanted)
{
    if (got > 0) {
        spend_rate(relay, RELAY_SOCKET, (size_t)got);
        relay->bytes_from_socket += (uint64_t)got;
        *relay->counters.from_socket += (uint64_t)got;
        adapt_read_size(relay, wanted, (size_t)got);
        return true;
    }
    if (got == TRANSPORT_EOF) {
        relay->read_ended = true;
        watch_half_closed(relay);
        finish_reading(relay);
    } else if (got == TRANSPORT_ERROR) {
        read_failed(relay);
    }
    return false;
}

static void show_relay(struct relay *relay, const struct iovec *spans, size_t size)
{
    for (size_t i = 0; size > 0 && relay->look; i++) {
        size_t some = spans[i].iov_len < size ? spans[i].iov_len : size;
        if (!relay->look(relay->context, spans[i].iov_base, some))
            relay->look = NULL;
        size -= some;
    }
}

/* While little comes at a time, what is left of a chunk will do. */
static size_t reserve_spaces(struct relay *relay, size_t wanted, struct iovec *spaces)
{
    if (relay->read_size == READ_SIZE_MIN) {
        size_t count = mux_stream_reserve(relay->stream, wanted, spaces, 1);
        if (spaces[0].iov_len >= ONE_SPACE_LEAST || spaces[0].iov_len >= wanted)
            return count;
    }
    return mux_stream_reserve(relay->stream, wanted, spaces, READ_SPACES);
}

static void read_raw(struct relay *relay, size_t writable)
{
    struct iovec spaces[READ_SPACES];
    size_t wanted = writable < relay->read_size ? writable : relay->read_size;
    size_t count = reserve_spaces(relay, wanted, spaces);
    size_t offered = 0;

    /* Chunks are larger than what may be added: cut the last one. */
    for (size_t i = 0; i < count; i++) {
        if (spaces[i].iov_len > writable - offered)
            spaces[i].iov_len = writable - offered;
        offered += spaces[i].iov_len;
    }
    long got = transport_readv(relay->transport, spaces, count);
    if (got > 0)
        show_relay(relay, spaces, (size_t)got);
    mux_stream_commit(relay->stream, got > 0 ? (size_t)got : 0);
    after_read(relay, got, wanted);
}

static void read_filtered(struct relay *relay, size_t writable)
{
    size_t wanted = writable < relay->read_size ? writable : relay->read_size;
    long got = transport_read(relay->transport, relay->worker->socket_bytes, wanted);

    if (after_read(relay, got, wanted))
        relay->filter->operations->from_socket(relay->filter, relay->worker->socket_bytes,
                                               (size_t)got);
}

size_t relay_put(struct relay *relay, const uint8_t *bytes, size_t size)
{
    size_t room = mux_stream_want_write(relay->stream);

    if (size > room)
        size = room;
    if (size > 0)
        mux_stream_write(relay->stream, bytes, size);
    return size;
}

bool relay_hold(struct relay *relay, uint64_t size)
{
    relay->held = size;
    return charge_filter(relay);
}

static void on_stream_writable(void *owner, struct mux_stream *stream)
{
    struct relay *relay = owner;

    (void)stream;
    if (relay->filter)
        relay->filter->operations->stream_writable(relay->filter);
    relay_go_on(relay);
}

static void on_stream_stalled(void *owner, struct mux_stream *stream, enum mux_stall stall)
{
    const struct relay *relay = owner;

    (void)stream;
    ++*relay->counters.stalls[stall];
}

static const struct mux_stream_callbacks stream_callbacks = {
    .data = on_stream_data,
    .finished = on_stream_finished,
    .writable = on_stream_writable,
    .reset = on_stream_reset,
    .over = on_stream_over,
    .stalled = on_stream_stalled,
};

void *relay_context(struct mux_session *session, uint32_t stream)
{
    const struct relay *relay = mux_stream_owner(session, stream, &stream_callbacks);

    return relay ? relay->context : NULL;
}

bool relay_open(struct relay *relay, struct mux_session *session, const struct mux_target *target,
                struct mux_text peer)
{
    relay->stream = mux_stream_open(session, target, peer, &stream_callbacks, relay);
    return relay->stream != NULL;
}

void relay_set_stream(struct relay *relay, struct mux_stream *stream)
{
    relay->stream = stream;
    mux_stream_set_callbacks(stream, &stream_callbacks, relay);
}

static bool can_take(const struct relay *relay)
{
    return !relay->filter || relay->filter->operations->can_take(relay->filter);
}

static void on_relay_readable(void *argument)
{
    struct relay *relay = argument;
    size_t writable = mux_stream_want_write(relay->stream);
    size_t portion = mux_stream_portion(relay->stream);

    if (writable > portion)
        writable = portion;
    if (writable > 0 && can_take(relay))
        writable = allow_portion(relay, RELAY_SOCKET, writable);
    if (writable > 0 && can_take(relay)) {
        if (relay->filter)
            read_filtered(relay, writable);
        else
            read_raw(relay, writable);
    }
    relay_go_on(relay);
}

static void on_relay_writable(void *argument)
{
    struct relay *relay = argument;

    if (write_queue(relay))
        finish_writing(relay);
    relay_go_on(relay);
}

/* ---- half closed */

static void arm_half_closed(struct relay *relay)
{
    timer_start_ms(relay->half_closed, HALF_CLOSED_CHECK_S * 1000);
}

/* Without a link nothing can move, nor while a rate is kept to, and a socket that is not there yet
 * has a deadline of its own. */
static bool may_move(const struct relay *relay)
{
    return relay->transport && mux_stream_linked(relay->stream) && !relay->paused[RELAY_SOCKET] &&
           !relay->paused[RELAY_STREAM];
}

static void on_half_closed(void *argument)
{
    struct relay *relay = argument;
    uint64_t moved =
        relay->bytes_to_socket + relay->bytes_from_socket + mux_stream_acknowledged(relay->stream);

    /* Its end of file has been read, so nothing else would tell. */
    if (relay->read_ended && relay->transport &&
        socket_has_failed(transport_fd(relay->transport))) {
        cut_relay(relay, MUX_CODE_PEER_RESET, "the connection was reset", MUX_RESET_NOW);
        return;
    }
    relay->still_s = moved == relay->moved && may_move(relay) ? relay->still_s + 1 : 0;
    relay->moved = moved;
    if (relay->still_s > 0 && relay->owner->half_closed)
        relay->owner->half_closed(relay->context, relay,
                                  relay->write_ending ? RELAY_STREAM : RELAY_SOCKET,
                                  relay->still_s * HALF_CLOSED_CHECK_S);
    if (!relay->ended)
        arm_half_closed(relay);
}

static void watch_half_closed(struct relay *relay)
{
    if (relay->half_closed)
        return;
    relay->half_closed = timer_new(relay->worker, on_half_closed, relay);
    arm_half_closed(relay);
}

void relay_hang_up(struct relay *relay)
{
    relay->read_ended = true;
    relay_go_on(relay);
}

/* ---- what happens next */

/* Whether a relay that drains has nothing more to wait for: all that was asked has been answered,
 * and all of it is with the broker and the stream. */
static bool is_drained(const struct relay *relay)
{
    return relay->draining && relay->transport && !relay->read_ended && relay->span_count == 0 &&
           relay_unwritten(relay) == 0 && relay->filter->operations->is_drained(relay->filter);
}

/* Both sides hear of it as they would from a broker that stops between two requests. */
static void finish_drain(struct relay *relay)
{
    watch_half_closed(relay);
    relay->write_ending = true;
    finish_writing(relay);
    relay->read_ended = true;
    finish_reading(relay);
}

void relay_drain(struct relay *relay)
{
    if (!relay->filter || relay->draining || relay->ended)
        return;
    relay->draining = true;
    relay->filter->operations->drain(relay->filter);
    relay_go_on(relay);
}

/* The one place that says what the relay waits for. */
static void wait_for_sockets(struct relay *relay)
{
    /* Asked whatever else holds: it is what makes on_stream_writable() come. */
    bool writable = mux_stream_want_write(relay->stream) > 0;
    bool reads = !relay->read_ended && can_take(relay) && writable && !relay->paused[RELAY_SOCKET];
    bool busy = transport_busy(relay->transport);

    watch_want(relay->readable, reads);
    /* Nearly never: of thousands of relays, their watches for that are far from the processor. */
    bool waits = byte_queue_unread(&relay->incoming) > 0 && !relay->paused[RELAY_STREAM];
    bool writes = !relay->discards && (waits || busy);
    if (writes || relay->waits_to_write)
        watch_want(relay->writable, writes);
    relay->waits_to_write = writes;
    if (reads && transport_pending(relay->transport))
        watch_fire(relay->readable);
    if (!busy)
        transport_relax(relay->transport);
}

void relay_go_on(struct relay *relay)
{
    if (!relay->ended)
        finish_reading(relay);
    if (!relay->ended && is_drained(relay))
        finish_drain(relay);
    if (!relay->ended && relay->transport)
        wait_for_sockets(relay);
}

static void on_pause_over(void *argument)
{
    struct relay *relay = argument;

    relay->paused[RELAY_SOCKET] = relay->paused[RELAY_STREAM] = false;
    if (relay->transport && write_queue(relay))
        finish_writing(relay);
    relay_go_on(relay);
}

void relay_connect(struct relay *relay, struct transport *transport)
{
    int fd = transport_fd(transport);

    assert(!relay->transport && relay->stream);
    relay->transport = transport;
    relay->readable = watch_new(relay->worker, fd, WATCH_READ, on_relay_readable, relay);
    relay->writable = watch_new(relay->worker, fd, WATCH_WRITE, on_relay_writable, relay);
    if (write_queue(relay))
        finish_writing(relay);
    relay_go_on(relay);
}
