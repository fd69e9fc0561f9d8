/*
 * What sessions and streams are made with and what they tell: settings, errors, callbacks. These
 * are the types of mux/session.h and mux/stream.h, which include this, apart from the functions:
 * the files behind those headers stand on each other, and none of them calls one above it.
 *
 *     link.c, link_receive.c, link_pull.c, link_timers.c    a link and its verbs
 *     session.c, session_receive.c, scheduler.c             the session, what it makes of frames,
 *                                                           and which link carries what
 *     stream.c (stream_internal.h)                          the life of a stream
 *     session_control.c                                     the queue of messages
 *     session_core.c                                        the structs, and their sums
 *     flight.c, reassembly.c, window.c, growth.c, allowance.c one question each; they know no
 * session
 */
#pragma once

#include "base/hash.h"
#include "mux/allowance.h"
#include "mux/growth.h"
#include "mux/handshake.h"
#include "mux/message.h"
#include "mux/window.h"

struct mux_stream;
struct mux_link;

enum mux_role { MUX_CLIENT, MUX_SERVER };

enum mux_error {
    MUX_ERROR_PROTOCOL = -1, /* the peer broke the protocol: the session has ended */
    MUX_ERROR_DEAD = -2,     /* silence for too long, or the peer has given the link up */
    MUX_ERROR_REJECTED = -3, /* the server refused the link; see mux_link_rejection() */
};

/* What a link is to its session. */
enum mux_entry {
    MUX_ENTRY_FIRST,  /* it begins the session */
    MUX_ENTRY_RESUME, /* all links were gone: it takes over */
    MUX_ENTRY_JOIN,   /* it is one more */
};

/* Why a session wants more than one link. */
enum mux_want {
    MUX_WANT_NONE,  /* one is enough */
    MUX_WANT_SPARE, /* the path is long or loses: another one stands by */
    MUX_WANT_ROOM,  /* bytes waited, and no link had room */
    MUX_WANT_PEER,  /* the other end has asked for it, for what that sends */
};

/* What the kernel knows of the path of a link; 0 is unknown. */
struct mux_path {
    uint64_t retransmitted; /* segments, in all */
    uint32_t round_trip_us; /* of the TCP connection, the shortest */
};

#define MUX_RIGHTS_MAX 1000u

struct mux_settings {
    enum mux_role role;
    struct mux_window_limits window;
    uint32_t max_streams;
    struct hash_key hash_key;  /* of the table of streams, whose numbers the client chooses */
    uint64_t ping_interval_us; /* idle links are probed this often */
    uint64_t dead_after_us;    /* silence after a PING, or a greeting that takes so long, that ends
                                  the link; three tenths of it while others answer */
    uint64_t window_idle_us;   /* a window falls back after this long without data */
    uint32_t resume_window_ms; /* told to the peer in WELCOME */
    uint32_t message_max; /* told to the peer: no message of a link is larger; 0: nothing is told */
    unsigned links_max;   /* links of the session at a time; 1 to MUX_LINKS_MAX */
    bool tells_names;     /* server: its owner answers KEEP */
    struct mux_text software;
    struct mux_text identity; /* server: of the client, for WELCOME; must live as long */
    struct mux_text rights; /* the same: what it may do, for people; at most MUX_RIGHTS_MAX bytes */
};

/* Why there is no stream, or no longer. */
enum mux_limit {
    MUX_LIMIT_STREAMS, /* the session's number of streams */
    MUX_LIMIT_MEMORY,  /* the session's share of memory */
};

/* What the owner of a session hears of; what happens to a stream, its own owner hears. */
struct mux_session_callbacks {
    /* The session is up, or up again, over this link: HELLO and WELCOME are exchanged. welcome is
     * NULL on the server. */
    void (*established)(void *context, struct mux_link *link, const struct mux_welcome *welcome);
    /* Client: another link is up, too. */
    void (*joined)(void *context, struct mux_link *link, const struct mux_welcome *welcome);
    /* Client: so many links would help now, to send or to receive. Called when that changes. */
    void (*links_wanted)(void *context, unsigned links);
    /* Server: the peer opens a stream. The owner gives it callbacks (mux_stream_set_callbacks())
     * and answers, now or later, with mux_stream_accept(), or with mux_stream_refuse(). NULL: each
     * one is refused. */
    void (*open)(void *context, struct mux_stream *stream, const struct mux_target *target,
                 struct mux_text peer);
    /* The last stream is gone, whoever has ended it; reset() or over() of that one may follow. */
    void (*idle)(void *context);
    /* An EXPOSE, EXPOSED or later message. */
    void (*message)(void *context, uint8_t type, const uint8_t *payload, size_t size);
    /* The peer wants to stop; or, on a client with MUX_CODE_LIMIT, all ids of streams are used up.
     * In both cases new streams need a new session, and the old ones go on. */
    void (*goaway)(void *context, enum mux_code code, struct mux_text reason);
    /* For the log and figures: the peer's stream was refused, or a stream is reset (its reset()
     * follows), because a limit is reached here. */
    void (*limited)(void *context, uint32_t stream, enum mux_limit limit, const char *reason);
    /* For figures: a ping was answered. */
    void (*measured)(void *context, struct mux_link *link, uint64_t rtt_us);
};

/* How a link hears that the session has something for it. */
struct mux_output {
    /* A pull would yield something. Called once, then not again before a pull has returned 0.
     * NULL: the link asks mux_link_wants_output(). */
    void (*ready)(void *link);
    /* mux_link_tick() has something to say now. NULL: it is called in time anyway. */
    void (*attend)(void *link);
    /* mux_link_tick() has something to say at that time, perhaps before mux_link_deadline() has
     * said so: a stream's owner has acted meanwhile. NULL: mux_link_deadline() is asked after that,
     * too. */
    void (*attend_at)(void *link, uint64_t time_us);
    void *link;
};

/* Pings of this link: asked for so far, and the latest that was answered. A link keeps its order:
 * an answer proves that all that was sent before the ping has arrived. */
struct mux_pings {
    uint64_t asked;
    uint64_t answered;
};

/* What a stream waits for before more can be written. */
enum mux_stall { MUX_STALL_CREDIT, MUX_STALL_MEMORY };
#define MUX_STALLS 2

/* What the owner of a stream hears. A member that is NULL is not called. */
struct mux_stream_callbacks {
    /* Client: the server has connected the stream. */
    void (*opened)(void *owner, struct mux_stream *stream);
    /* The next bytes; valid only during the call. NULL: they count as consumed at once. */
    void (*data)(void *owner, struct mux_stream *stream, const uint8_t *bytes, size_t size);
    /* No more data() will come; everything so far was sent and then ended in good order. */
    void (*finished)(void *owner, struct mux_stream *stream);
    /* More can be written, after mux_stream_want_write() has returned 0. */
    void (*writable)(void *owner, struct mux_stream *stream);
    /* The stream is gone, cut short or refused. */
    void (*reset)(void *owner, struct mux_stream *stream, enum mux_code code,
                  struct mux_text reason);
    /* The stream is gone, both ways in good order. */
    void (*over)(void *owner, struct mux_stream *stream);
    /* For figures: the stream has bytes to send, it may be, and has to wait. */
    void (*stalled)(void *owner, struct mux_stream *stream, enum mux_stall stall);
};
