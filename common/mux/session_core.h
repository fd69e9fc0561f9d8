/*
 * A session and its streams in memory, and what every file behind mux/session.h and mux/stream.h
 * needs of them. The lowest of their layers (mux/types.h): it calls none of the others. For these
 * files alone, and for tests.
 */
#pragma once

#include "base/chunk.h"
#include "base/idmap.h"
#include "base/list.h"
#include "base/memory_budget.h"
#include "mux/collector.h"
#include "mux/flight.h"
#include "mux/frame.h"
#include "mux/portion.h"
#include "mux/reassembly.h"
#include "mux/stream_state.h"
#include "mux/types.h"

struct mux_stream {
    struct list active;  /* in one of session->fresh, ->unknown, ->busy while it has bytes that may
                            be sent, and perhaps for a turn longer */
    struct list again;   /* in session->lost or ->doubled while some are to be sent once more */
    struct list credit;  /* in session->credits while a WINDOW is owed, in ->positions on resume */
    struct list told;    /* in a link's told while its latest WINDOW there may not have come */
    struct list starved; /* in session->starved while memory, not credit, keeps it from writing */
    struct list linger;  /* in session->lingering while a reset waits for its data */
    struct mux_session *session;
    const struct mux_stream_callbacks *callbacks; /* never NULL */
    void *owner;
    uint32_t id;
    enum mux_half send_half;
    enum mux_half receive_half;
    bool answered;    /* OPENED or REFUSED was sent or has come */
    bool orphan;      /* reset by its owner, but the peer is still to get the data before it */
    bool fresh;       /* active is in session->fresh */
    bool limit_due;   /* an answer to SHRINK is owed */
    bool shrink_due;  /* a SHRINK is to be sent */
    bool finish_told; /* the owner knows that no more data will come */
    bool blocked;     /* the owner found nothing writable: call writable() when that changes */
    uint16_t reset_code;
    uint32_t shrinks;   /* SHRINKs that were sent */
    uint32_t answers;   /* the number of the last SHRINK that was answered */
    char *reset_reason; /* receiving half FINISHING towards a reset; else NULL */
    uint64_t receive_final;
    uint64_t linger_until_us;
    uint64_t bulk_us;  /* see mux/portion.h */
    uint64_t large_us; /* when more than a little was sent or waited last; 0: never */
    uint64_t known_at; /* when the peer has the control stream up to here, it knows the stream */
    uint64_t send_limit;
    uint64_t acknowledged; /* the peer has received everything before it */
    uint64_t send_charged; /* what the share is charged for the queue, never less than that holds,
                              and for what the owner has beside it */
    uint64_t beside;       /* of that, the latter: mux_stream_hold() */
    struct byte_queue send;
    struct mux_flight flight; /* from acknowledged to send.read */
    struct mux_window window;
    struct mux_reassembly reassembly; /* behind window.received */
};

/* Frames arrive in pieces; the bytes of a DATA frame pass, all else is collected. */
struct mux_frame_input {
    struct mux_collector pieces;
    struct mux_frame data; /* the DATA frame being received */
    uint64_t data_offset;  /* of the next of its bytes */
    uint32_t data_left;    /* of its bytes */
};

enum mux_phase {
    MUX_PHASE_GREETING,  /* client: waits for WELCOME */
    MUX_PHASE_POSITIONS, /* resume: waits for the peer's positions, the last of which is stream 0 */
    MUX_PHASE_UP,
};

struct mux_link {
    struct mux_session *session;
    struct mux_output output;
    uint8_t slot;     /* in session->links; flights name links by it */
    uint32_t attempt; /* see struct mux_hello */
    enum mux_phase phase;
    enum mux_entry entry;
    bool hello_due;
    bool welcome_due;
    bool pong_due;
    bool ping_due;
    bool goaway_due;
    bool suspect_due;    /* the peer is to be told which links are suspect */
    bool output_pending; /* ready() was called, and no pull has returned 0 since */
    bool suspect;        /* a ping should have been answered by now: nothing is entrusted to it */
    bool used;           /* something was sent since the latest ping */
    bool given_up;       /* by the peer: the next tick ends it */
    uint16_t offer_count;
    struct mux_text offers;
    uint64_t pong_token;
    uint64_t pending_us; /* since when it takes nothing, while output_pending is true */

    uint64_t suspect_us; /* since when it is */
    uint64_t heard_us;
    uint64_t doubted_us;  /* a probe in a hurry: dead at this time, unless something comes; 0: no */
    uint64_t greeting_us; /* when the present part of the link's greeting began */
    uint64_t asked_us;    /* since when a PING waits for its answer, or to be sent; 0: none does */
    uint64_t ping_us;     /* when the latest unanswered PING was sent; 0: none */
    uint64_t next_ping_us;  /* when a link that is used is pinged next */
    uint64_t progress;      /* see struct mux_link_facts */
    uint64_t sent_again;    /* bytes that went over it a second time */
    uint64_t padding;       /* bytes that mean nothing and are still to be sent */
    struct mux_pings pings; /* asked: without the one that is due */
    uint64_t rtt_us;
    uint64_t rtt_at_us;        /* when it was measured */
    uint64_t rtt_min_us;       /* of this link */
    uint64_t rtt_smooth_us;    /* RFC 6298: SRTT */
    uint64_t rtt_variation_us; /* RTTVAR */
    struct mux_path path;      /* what the kernel knows */
    struct mux_allowance allowance;
    bool held;               /* it had bulk to send, and no allowance for it */
    struct list told;        /* struct mux_stream: WINDOWs that were sent after the latest ping */
    struct list told_before; /* the same, before it: its answer proves that they have come */

    const char *reason;
    struct mux_reject rejection;
    char rejection_reason[MUX_REASON_MAX];
    struct mux_frame_input input;
};

struct mux_session {
    struct mux_settings settings;
    const struct mux_session_callbacks *callbacks; /* never NULL */
    void *context;
    struct chunk_pool *pool;
    struct memory_share *share;
    struct mux_session_key key;

    struct mux_link *links[MUX_LINKS_MAX]; /* by slot; NULL: none */
    unsigned link_count;                   /* of them */
    unsigned up_count;                     /* of those, links that are up */
    struct mux_link
        *lead; /* carries the control stream, WINDOWs, and what is small; NULL: none up */
    uint64_t in_flight[MUX_LINKS_MAX]; /* bytes of streams that are on their way, by slot */

    struct idmap streams;
    struct mux_stream *latest; /* of streams, the one that was looked up last; NULL: it is gone */
    uint32_t last_stream;      /* the highest id of a stream so far; ids are never used again */
    uint32_t peer_initial_window; /* credit that a new stream has for sending */
    struct mux_stream control;
    struct list fresh;   /* streams that have just got something to send: they go first */
    struct list unknown; /* that the peer may not know yet: they stay on the lead */
    struct list busy;    /* the others, in turn */
    struct list lost;    /* what was on its way on a link that is gone */
    struct list doubled; /* what is to be sent a second time */
    struct list credits;
    struct list positions;
    struct list starved;
    struct list lingering;
    struct list zombies; /* linked by active; freed when the next verb begins */

    unsigned version;     /* of the protocol; 0 before the first WELCOME */
    uint32_t attempt;     /* of the newest link, see struct mux_hello */
    bool known_to_server; /* client: a WELCOME has come, so the next HELLO resumes */
    bool broken;          /* the peer broke the protocol: no link can carry the session on */
    bool ids_used_up;     /* client: the owner is to be told that no more streams can be opened */
    bool going_away;      /* GOAWAY goes out over each link */
    bool control_overflow;
    enum mux_code goaway_code;
    char goaway_reason[MUX_REASON_MAX];

    uint64_t now_us;         /* of the latest call that told */
    uint64_t credit_us;      /* when the credits that are owed must go out; 0: now */
    uint64_t credited_us;    /* when some went out last */
    uint64_t starved_us;     /* when to look for memory again; 0: nobody starves */
    uint64_t heard_us;       /* when any link was heard last; 0: never */
    uint64_t relieved_us;    /* when one was, after all had been silent for a while; 0: never */
    uint64_t rescue_us;      /* when to look again at what suspect links have; 0: there are none */
    uint64_t rescued_us;     /* when they were looked at; 0: never */
    uint64_t sweep_us;       /* when to look for idle windows; 0: nothing to look for */
    uint64_t unacknowledged; /* bytes sent and not yet consumed by the peer, all streams */
    uint64_t fresh_us;       /* since when streams have been in fresh */
    uint64_t help_us;        /* when other links were told of that last */
    uint64_t quick_us;       /* when something small was sent last */
    uint64_t lossy_us;       /* when a link's kernel sent something again last; 0: never */
    uint64_t retransmitted;  /* segments, by links' kernels, since growth looked last */
    struct mux_growth growth;
    struct mux_portion portion;
    unsigned links_told;          /* wanted, as the owner was told last */
    unsigned links_asked;         /* client: wanted by the peer */
    bool more_links_due;          /* server: the peer is to be told */
    uint64_t double_budget;       /* bytes that may be sent a second time */
    uint64_t double_us;           /* up to when that was earned by time */
    uint32_t gone[MUX_LINKS_MAX]; /* attempts of links of whose end the peer is to be told */
    unsigned gone_count;

    const char *reason;
    struct mux_collector message; /* of the control stream */
};

/* NULL: there is none of that number, or no longer. Frames of a stream come one after another, and
 * each has several questions. */
static inline struct mux_stream *mux_core_find(struct mux_session *session, uint32_t id)
{
    if (!session->latest || session->latest->id != id)
        session->latest = idmap_get(&session->streams, id);
    return session->latest;
}
/* Tells the link that there is something for it, if it does not know. */
void mux_core_output(struct mux_link *link);
/* The same for the lead, if there is one; for every link when the lead has not taken what it was
 * told of before: another one may take its place. */
void mux_core_output_lead(struct mux_session *session);
/* For every link that is up. */
void mux_core_output_all(struct mux_session *session);
/* The session has something to do at that time: its lead is told. Without one it is looked after
 * when a link comes up. */
void mux_core_attend_at(const struct mux_session *session, uint64_t time_us);
/* The peer broke the protocol: the session has ended, and so has each of its links, from its next
 * verb on. Returns MUX_ERROR_PROTOCOL. */
int mux_core_broken(struct mux_session *session, const char *reason);
/* A PING goes out with what is sent next; from here on its answer is awaited. */
void mux_core_ask(struct mux_link *link);
/* Whether the session has links in a way that makes one of them the lead of others. */
static inline bool mux_core_has_choice(const struct mux_session *session)
{
    return session->up_count > 1;
}
/* How long it may take until what is sent has come, as far as that is the path's doing: the longest
 * of the shortest round trips of links that answer, and twice that when there are several; 0: none
 * was measured. */
uint64_t mux_core_distance_us(const struct mux_session *session);
/* The kernel's round trip is to something in between that ends TCP, such as an ingress. */
static inline bool mux_core_is_path_hidden(const struct mux_link *link)
{
    return link->path.round_trip_us > 0 && 2 * link->path.round_trip_us < link->rtt_min_us;
}
/* A stream with little to send, and little on its way: with several links it takes the best one. */
#define MUX_SMALL (16u * 1024)
static inline bool mux_core_is_small(const struct mux_stream *stream)
{
    return stream->send.end - stream->acknowledged <= MUX_SMALL;
}
/* The stream, which is in no line, has got something to send: it gets into one, and who serves that
 * is told. */
void mux_core_enter(struct mux_stream *stream);
/* A segment was sent again lately: what is on its way may get lost. */
#define MUX_LOSSY_US (10u * 1000 * 1000)
static inline bool mux_core_is_lossy(const struct mux_session *session)
{
    return session->lossy_us != 0 && session->now_us - session->lossy_us < MUX_LOSSY_US;
}
/* A WINDOW that is not urgent goes out so late at the latest. Several links share what is on its
 * way by what has come; with one it only frees memory. */
#define MUX_CREDIT_DELAY_US (20u * 1000)
#define MUX_CREDIT_DELAY_ALONE_US (100u * 1000)
static inline uint64_t mux_core_credit_delay_us(const struct mux_session *session)
{
    return mux_core_has_choice(session) ? MUX_CREDIT_DELAY_US : MUX_CREDIT_DELAY_ALONE_US;
}
/* Whether the peer knows the stream, in whatever order frames may reach it. */
static inline bool mux_core_is_known(const struct mux_stream *stream)
{
    return stream->session->control.acknowledged >= stream->known_at;
}
/* Frees streams that are no more. Only where no callback can be on the stack: in verbs, first. */
void mux_core_reap(struct mux_session *session);
/* Charges the share for what the stream's send queue holds now. */
void mux_core_charge_sent(struct mux_stream *stream);
