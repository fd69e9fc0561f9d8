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
#include "mux/frame.h"
#include "mux/stream_state.h"
#include "mux/types.h"

struct mux_stream {
    struct list active;  /* in session->fresh or ->busy while it has bytes that may be sent */
    struct list credit;  /* in session->credits while a WINDOW is owed, in ->positions on resume */
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
    bool fresh;       /* which list active is in */
    bool limit_due;   /* an answer to SHRINK is owed */
    bool shrink_due;  /* a SHRINK is to be sent */
    bool finish_told; /* the owner knows that no more data will come */
    bool blocked;     /* the owner found nothing writable: call writable() when that changes */
    uint16_t reset_code;
    char *reset_reason; /* receiving half FINISHING towards a reset; else NULL */
    uint64_t receive_final;
    uint64_t linger_until_us;
    uint64_t send_limit;
    uint64_t send_charged; /* what the share is charged for the queue, never less than that holds,
                              and for what the owner has beside it */
    uint64_t beside;       /* of that, the latter: mux_stream_hold() */
    struct byte_queue send;
    struct mux_window window;
};

/* Frames arrive in pieces; header and small payloads are collected here. */
struct mux_frame_input {
    uint8_t bytes[MUX_FRAME_HEADER + MUX_FRAME_PAYLOAD_MAX];
    size_t fill;
    struct mux_frame data; /* the DATA frame being received */
    uint32_t data_left;    /* of its bytes */
};

struct mux_message_input {
    uint8_t bytes[MUX_MESSAGE_HEADER + MUX_MESSAGE_PAYLOAD_MAX];
    size_t fill;
};

enum mux_phase {
    MUX_PHASE_NONE,
    MUX_PHASE_GREETING,  /* client: waits for WELCOME */
    MUX_PHASE_POSITIONS, /* resume: waits for the peer's positions, the last of which is stream 0 */
    MUX_PHASE_UP,
};

struct mux_session {
    struct mux_settings settings;
    const struct mux_session_callbacks *callbacks; /* never NULL */
    void *context;
    struct mux_output output; /* of the present link */
    struct chunk_pool *pool;
    struct memory_share *share;
    struct mux_session_key key;

    struct idmap streams;
    uint32_t last_stream;         /* the highest id of a stream so far; ids are never used again */
    uint32_t peer_initial_window; /* credit that a new stream has for sending */
    struct mux_stream control;
    struct list fresh; /* streams that have just got something to send: they go first */
    struct list busy;  /* the others, in turn */
    struct list credits;
    struct list positions;
    struct list starved;
    struct list lingering;
    struct list zombies; /* linked by active; freed when the next verb begins */

    enum mux_phase phase;
    uint32_t attempt;     /* of the link, see struct mux_hello */
    bool known_to_server; /* client: a WELCOME has come, so the next HELLO resumes */
    bool hello_due;
    bool welcome_due;
    bool pong_due;
    bool ping_due;
    bool goaway_due;
    bool output_pending;
    bool resumed;
    bool broken;      /* the peer broke the protocol: no link can carry the session on */
    bool ids_used_up; /* client: the owner is to be told that no more streams can be opened */
    uint16_t welcome_version;
    uint16_t offer_count;
    struct mux_text offers;
    uint64_t pong_token;
    enum mux_code goaway_code;
    char goaway_reason[MUX_REASON_MAX];

    uint64_t now_us; /* of the latest call that told */
    uint64_t heard_us;
    uint64_t
        doubted_us; /* a probe in a hurry: dead at this time, unless something comes; 0: none */
    uint64_t greeting_us; /* when the present part of the link's greeting began */
    uint64_t asked_us;    /* since when a PING waits for its answer, or to be sent; 0: none does */
    uint64_t ping_us;     /* when the latest unanswered PING was sent; 0: none */
    uint64_t credit_us;   /* when the delayed credits must go out; 0: none wait */
    uint64_t starved_us;  /* when to look for memory again; 0: nobody starves */
    uint64_t sweep_us;    /* when to look for idle windows; 0: nothing to look for */
    uint64_t unacknowledged; /* bytes sent and not yet consumed by the peer, all streams */
    uint64_t progress;       /* see mux_session_progress() */
    struct mux_pings pings;  /* asked: without the one that is due */
    uint64_t rtt_us;
    uint64_t rtt_at_us;  /* when it was measured */
    uint64_t rtt_min_us; /* of this link */

    const char *reason;
    struct mux_reject rejection;
    char rejection_reason[MUX_REASON_MAX];
    bool control_overflow;
    struct mux_frame_input input;
    struct mux_message_input message;
};

/* Tells the link that there is something for it, if there is a link and it does not know. */
void mux_core_output(struct mux_session *session);
/* The peer broke the protocol: the session has ended, whatever becomes of its link. Returns
 * MUX_ERROR_PROTOCOL. */
int mux_core_broken(struct mux_session *session, const char *reason);
/* A PING goes out with what is sent next; from here on its answer is awaited. */
void mux_core_ask(struct mux_session *session);
/* Frees streams that are no more. Only where no callback can be on the stack: in verbs, first. */
void mux_core_reap(struct mux_session *session);
/* Charges the share for what the stream's send queue holds now. */
void mux_core_charge_sent(struct mux_stream *stream);
