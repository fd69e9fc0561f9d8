/*
 * A relay joins one TCP socket to one stream of a session.
 *
 *     socket --read--> [filter] --> stream's send queue    (only while the stream has credit)
 *     stream --data()--> socket, or its queue when full    (bounded by the window)
 *
 * Received bytes go from the link's buffer to the socket without a copy: data() only notes where
 * they are, and when the link has gone through its buffer relay_flush_touched() writes them, a
 * system call a stream.
 *
 * With a Kafka filter, requests are watched on their way to the socket and responses are rewritten
 * on their way to the stream. When the filter needs listeners that do not exist yet, the owner is
 * told and the relay stops reading until relay_listeners_ready().
 *
 * The end: what one side ended in good order ends in good order at the other; what was cut short
 * ends in a TCP reset, never in an end of file that would look complete. Half closed, a relay may
 * wait for its other side as long as its owner likes; that the socket is gone altogether is noticed
 * within a second.
 */
#pragma once

#include "base/chunk.h"
#include "io/socket.h"
#include "io/transport.h"
#include "io/worker.h"
#include "kafka/filter.h"
#include "kafka/peek.h"
#include "mux/session.h"

#define RELAY_SPANS_MAX 16

enum relay_end {
    RELAY_END_COMPLETE, /* both ways in good order */
    RELAY_END_RESET,    /* cut short; see code and reason */
};

enum relay_side { RELAY_SOCKET, RELAY_STREAM };

struct relay;

/* Where a relay counts beside its own counters; all live as long as the worker. */
struct relay_counters {
    uint64_t *to_socket; /* bytes */
    uint64_t *from_socket;
    uint64_t *stalls[MUX_STALLS]; /* how often the stream had to wait, by enum mux_stall */
};

struct relay_owner {
    /* The filter waits for listeners of these nodes. NULL when there never is a filter. */
    void (*wanted)(void *context, struct relay *relay, const struct kafka_wanted *nodes,
                   size_t count);
    /* The broker has ended the connection, the client has not, and a request is unanswered or only
     * partly sent. For the log: a broker's way to say no. NULL when there never is a filter. */
    void (*unanswered)(void *context, struct relay *relay);
    /* The filter has events (kafka_filter_event()). NULL when there never is a filter. */
    void (*noticed)(void *context, struct relay *relay);
    /* A client that was only let log in (kafka_filter_only_login()) wants more: the owner may take
     * the socket with relay_take_socket(), and must, now or later, cut the relay. NULL when none
     * is. */
    void (*logged_in)(void *context, struct relay *relay);
    /* One side has ended in good order and the other has not, and since so many seconds no byte has
     * moved, although there is a link. Called every second, with the stream's side if both have
     * ended; the owner may call relay_fail() or relay_hang_up(). NULL: this may last. */
    void (*half_closed)(void *context, struct relay *relay, enum relay_side ended,
                        unsigned seconds);
    /* The relay has ended and is freed after this call. reason is for the log. */
    void (*ended)(void *context, struct relay *relay, enum relay_end end, enum mux_code code,
                  struct mux_text reason);
};

struct relay {
    struct list node; /* for the owner's list, if it keeps one */
    struct list turn; /* in worker->touched */
    struct worker_release release;
    struct worker_later later; /* goes on filtering */
    struct worker *worker;
    const struct relay_owner *owner;
    void *context;
    struct mux_stream *stream;   /* NULL when the stream is gone */
    struct kafka_filter *filter; /* owned; NULL: raw bytes */
    struct transport *transport; /* NULL: not connected yet, or taken */
    size_t taken;                /* bytes that transport has taken and the kernel may not have */
    struct event *readable;
    struct event *writable;
    struct iovec spans[RELAY_SPANS_MAX]; /* of the link's buffer, this turn only */
    size_t span_count;
    size_t unwanted; /* bytes of this turn that came after the last request while draining */
    struct byte_queue incoming;   /* from the stream, the socket did not take it yet */
    struct byte_queue unfiltered; /* from the socket, while the filter is blocked or tired */
    struct byte_queue filtered;   /* from the filter, more than the stream has credit for */
    size_t accounted; /* bytes of these two and of the filter that the stream answers for */
    size_t read_size; /* how much to try to read: follows what came lately */
    bool ended;
    bool read_ended;    /* the socket has sent its end of file */
    bool read_finished; /* and the stream knows */
    bool write_ending;  /* the stream has ended: shut the socket down when all is written */
    bool write_ended;
    bool discards;             /* the socket takes nothing more: drop what still comes for it */
    bool blocked;              /* the filter waits for listeners */
    bool tired;                /* the filter has done enough for this turn of the loop */
    bool draining;             /* ends when what has been asked is answered; asks nothing more */
    struct event *half_closed; /* looks after one whose one side has ended; NULL: none has */
    uint64_t moved;            /* bytes, any way, when that looked last */
    unsigned still_s;          /* how long no more have */
    uint64_t bytes_to_socket;
    uint64_t bytes_from_socket;
    struct relay_counters counters; /* of all relays to this target */
    uint64_t uncounted;             /* what these point at before relay_count() */
    struct kafka_peek *peek; /* the owner's; NULL: nobody looks at what comes from the socket */
};

/* Without a stream until relay_open() or relay_set_stream(), and without a socket until
 * relay_connect(). Owns filter from now on. */
struct relay *relay_new(struct worker *worker, const struct relay_owner *owner, void *context,
                        struct kafka_filter *filter);
/* Client: opens a stream for the relay. false: a limit is reached; see mux_stream_open(). */
bool relay_open(struct relay *relay, struct mux_session *session, const struct mux_target *target,
                struct mux_text peer);
/* Server: a stream that the peer opens, to be answered by the owner. */
void relay_set_stream(struct relay *relay, struct mux_stream *stream);
void relay_count(struct relay *relay, const struct relay_counters *counters);
/* Without a filter: what comes from the socket is looked at, until the peek is done. */
void relay_peek(struct relay *relay, struct kafka_peek *peek);
/* The connection is there, the relay's from now on: bytes flow. */
void relay_connect(struct relay *relay, struct transport *transport);
/* Takes the socket out of the relay, which from now on discards what still comes for it. */
struct transport *relay_take_socket(struct relay *relay);
/*
 * The program is about to stop. A connection with a filter ends in good order as soon as each
 * request that has begun is answered; what its client sends after that does not reach the broker. A
 * raw one goes on: nobody knows when it would be complete.
 */
void relay_drain(struct relay *relay);
/* The listeners that wanted() asked for are there. */
void relay_listeners_ready(struct relay *relay);
/*
 * Ends the relay from here: the stream is reset with code and reason, the socket closes with a
 * reset. ended() is not called.
 */
void relay_cut(struct relay *relay, enum mux_code code, const char *reason);
/* The same, and ended() is called. */
void relay_fail(struct relay *relay, enum mux_code code, const char *reason);
/* Takes the socket's side for ended in good order. */
void relay_hang_up(struct relay *relay);
/* Whether the socket has not taken all yet that came for it. */
bool relay_has_unwritten(const struct relay *relay);
/* The same when the stream is gone already, refused for example. */
void relay_abandon(struct relay *relay);

/* To be called by a link when it has gone through worker->link_bytes. */
void relay_flush_touched(struct worker *worker);
