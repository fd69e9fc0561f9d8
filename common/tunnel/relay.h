/*
 * A relay joins one connection to one stream of a session.
 *
 *     socket --read--> [filter] --> stream's send queue    (only while the stream has credit)
 *     stream --data()--> [filter] --> socket, or a queue when that is full (bounded by the window)
 *
 * Received bytes go from the link's buffer to the socket without a copy: data() only notes where
 * they are, and at the end of the link's turn (worker_end_turn()) they are written, a system call a
 * stream.
 *
 * Bytes are raw here. A filter between the two (relay_filter.h) knows what they mean: for Kafka's
 * it is relay_kafka.h.
 *
 * The end: what one side ended in good order ends in good order at the other; what was cut short
 * ends in a TCP reset, never in an end of file that would look complete. Half closed, a relay may
 * wait for its other side as long as its owner likes; that the socket is gone altogether is noticed
 * within a second.
 */
#pragma once

#include "base/rate.h"
#include "io/transport.h"
#include "io/worker.h"
#include "mux/session.h"

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
    /* One side has ended in good order and the other has not, and since so many seconds no byte has
     * moved, although there is a link. Called every second, with the stream's side if both have
     * ended; the owner may call relay_fail() or relay_hang_up(). NULL: this may last. */
    void (*half_closed)(void *context, struct relay *relay, enum relay_side ended,
                        unsigned seconds);
    /* It waits because of its rate (relay_limit()): what comes from that side is not taken for a
     * while. NULL: nobody wants to know. */
    void (*slowed)(void *context, enum relay_side from);
    /* The relay has ended and is freed after this call. reason is for the log. */
    void (*ended)(void *context, struct relay *relay, enum relay_end end, enum mux_code code,
                  struct mux_text reason);
};

/* Of raw bytes. Without a stream until relay_open() or relay_set_stream(), and without a connection
 * until relay_connect(). */
struct relay *relay_new(struct worker *worker, const struct relay_owner *owner, void *context);
/* Client: opens a stream for the relay. false: a limit is reached; see mux_stream_open(). */
bool relay_open(struct relay *relay, struct mux_session *session, const struct mux_target *target,
                struct mux_text peer);
/* Server: a stream that the peer opens, to be answered by the owner. */
void relay_set_stream(struct relay *relay, struct mux_stream *stream);
void relay_count(struct relay *relay, const struct relay_counters *counters);
/* Keeps to rates, which others may share, and which live as long: by not reading the socket, and by
 * not writing to it, so that the stream gets no more credit than it can use. NULL: none. */
void relay_limit(struct relay *relay, struct rate *to_socket, struct rate *from_socket);
/* Of raw bytes: what comes from the socket is shown as well, in any split, as long as that returns
 * true. context is the owner's. */
void relay_watch(struct relay *relay,
                 bool (*look)(void *context, const uint8_t *bytes, size_t size));
/* The connection is there, the relay's from now on: bytes flow. */
void relay_connect(struct relay *relay, struct transport *transport);
/* Takes the connection out of the relay, which from now on discards what still comes for it. */
struct transport *relay_take_transport(struct relay *relay);
/*
 * The program is about to stop. A relay whose filter knows what is under way ends in good order as
 * soon as that is complete; what its client sends after that does not reach the broker. One of raw
 * bytes goes on: nobody knows when it would be complete.
 */
void relay_drain(struct relay *relay);
/*
 * Ends the relay from here: the stream is reset with code and reason, the socket closes with a
 * reset. ended() is not called.
 */
void relay_cut(struct relay *relay, enum mux_code code, const char *reason);
/* As relay_cut(), but ended() is called. */
void relay_fail(struct relay *relay, enum mux_code code, const char *reason);
/* As relay_cut(), when the stream is gone already, refused for example. */
void relay_abandon(struct relay *relay);
/* Takes the socket's side for ended in good order. */
void relay_hang_up(struct relay *relay);

/* The context of the relay that has the session's stream of that number; NULL: none has. */
void *relay_context(struct mux_session *session, uint32_t stream);
/* NULL when the stream is gone. */
struct mux_stream *relay_stream(const struct relay *relay);
/* Bytes so far. */
uint64_t relay_bytes_to_socket(const struct relay *relay);
uint64_t relay_bytes_from_socket(const struct relay *relay);
/* Bytes that came for the socket and that it has not taken yet. */
size_t relay_unwritten(const struct relay *relay);
