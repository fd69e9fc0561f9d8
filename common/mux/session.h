/*
 * A session: a set of reliable byte streams over one link at a time.
 *
 * The session outlives its links: a stream's bytes are kept until the peer has consumed them, and
 * on a new link both ends say what they have and send the rest again. Nothing in here knows what a
 * link is made of. The four verbs:
 *
 *     mux_session_receive()   bytes from the link in; all of them are taken
 *     mux_session_pull()      bytes for the link out
 *     mux_session_deadline()  when tick wants to be called, at the latest
 *     mux_session_tick()      time has passed
 *
 * Times are microseconds of any monotonic clock, the same for all calls.
 *
 * Who hears what: each stream has an owner (a relay, a simulation) with callbacks of its own
 * (struct mux_stream_callbacks), the session another one (struct mux_session_callbacks), and the
 * link is told of output (struct mux_output). A member that is NULL is not called.
 *
 * Callbacks come from inside the verbs; mux_output.ready() and idle() also from inside any other
 * call. They may call any mux_stream_* function and mux_session_send_message(), but no verb.
 *
 * Errors: a verb that returns a negative enum mux_error ends the link; mux_session_reason() says
 * why, for the log. After MUX_ERROR_DEAD the session can be resumed on another link. After
 * MUX_ERROR_PROTOCOL and MUX_ERROR_REJECTED it cannot: what the two ends believe of each other may
 * differ, so its owner resets the streams and frees it.
 */
#pragma once

#include "base/chunk.h"
#include "base/hash.h"
#include "base/memory_budget.h"
#include "mux/handshake.h"
#include "mux/message.h"
#include "mux/stream.h"
#include "mux/window.h"

enum mux_role { MUX_CLIENT, MUX_SERVER };

enum mux_error {
    MUX_ERROR_PROTOCOL = -1, /* the peer broke the protocol */
    MUX_ERROR_DEAD = -2,     /* silence for too long */
    MUX_ERROR_REJECTED = -3, /* the server refused the session; see mux_session_rejection() */
};

struct mux_settings {
    enum mux_role role;
    struct mux_window_limits window;
    uint32_t max_streams;
    struct hash_key hash_key;  /* of the table of streams, whose numbers the client chooses */
    uint64_t ping_interval_us; /* idle links are probed this often */
    uint64_t dead_after_us;    /* silence after a PING, or a greeting that takes so long, that ends
                                  the link */
    uint64_t window_idle_us;   /* a window falls back after this long without data */
    uint32_t resume_window_ms; /* told to the peer in WELCOME */
    uint32_t message_max; /* told to the peer: no message of a link is larger; 0: nothing is told */
    struct mux_text software;
    struct mux_text identity; /* server: of the client, for WELCOME; must live as long */
};

/* What sensible settings are; the caller fills in role, hash_key and software. */
void mux_settings_default(struct mux_settings *settings);

/* Why there is no stream, or no longer. */
enum mux_limit {
    MUX_LIMIT_STREAMS, /* the session's number of streams */
    MUX_LIMIT_MEMORY,  /* the session's share of memory */
};

/* What the owner of a session hears of; what happens to a stream, its own owner hears. */
struct mux_session_callbacks {
    /* The link is up: HELLO and WELCOME are exchanged. welcome is NULL on the server. */
    void (*established)(void *context, const struct mux_welcome *welcome);
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
    void (*measured)(void *context, uint64_t rtt_us);
};

/* How a link hears that the session has something for it. */
struct mux_output {
    /* A pull would yield something. Called once, then not again before a pull has returned 0.
     * NULL: the link asks mux_session_wants_output(). */
    void (*ready)(void *link);
    void *link;
};

/* callbacks live as long as the session; NULL: nobody wants to hear anything. */
struct mux_session *mux_session_new(const struct mux_settings *settings,
                                    const struct mux_session_callbacks *callbacks, void *context,
                                    const struct mux_session_key *key, struct chunk_pool *pool,
                                    struct memory_share *share);
/* Frees the session and its streams without a callback. */
void mux_session_free(struct mux_session *session);

/* Client: a link is there. HELLO is the first thing that pull yields. output is told until
 * mux_session_detach(). */
void mux_session_attach(struct mux_session *session, struct mux_output output, uint64_t now_us);
/* Bound of a server's offers, encoded. */
#define MUX_OFFERS_MAX 8192u
/* Server: is this the HELLO of a newer link than the one that carries the session, or carried it
 * last? Ask before the old link is closed: an old link that comes late must not end it. */
bool mux_session_is_newer(const struct mux_session *session, const struct mux_hello *hello);
/*
 * Server: a link with this HELLO belongs to the session (the caller has compared keys). offers is
 * what WELCOME lists (mux_offer_write()); it must live as long as the session. Returns 0, and
 * output is told from here on: a link that the session had before is no longer its own, and the
 * caller closes it; or MUX_ERROR_PROTOCOL, and nothing has changed: the caller closes the new link.
 */
int mux_session_accept(struct mux_session *session, const struct mux_hello *hello,
                       uint16_t offer_count, struct mux_text offers, struct mux_output output,
                       uint64_t now_us);
/* The link is gone. Streams stay as they are. */
void mux_session_detach(struct mux_session *session);

int mux_session_receive(struct mux_session *session, const uint8_t *bytes, size_t size,
                        uint64_t now_us);
/* Writes whole frames into buffer (at least MUX_PULL_MIN bytes); 0: nothing to send now. */
#define MUX_PULL_MIN (MUX_FRAME_HEADER + MUX_FRAME_PAYLOAD_MAX)
size_t mux_session_pull(struct mux_session *session, uint8_t *buffer, size_t size, uint64_t now_us);
/* Whether the next pull has something to send. */
bool mux_session_wants_output(const struct mux_session *session);
/* UINT64_MAX: never. */
uint64_t mux_session_deadline(const struct mux_session *session);
int mux_session_tick(struct mux_session *session, uint64_t now_us);

const char *mux_session_reason(const struct mux_session *session);
const struct mux_reject *mux_session_rejection(const struct mux_session *session);
const struct mux_session_key *mux_session_key(const struct mux_session *session);
bool mux_session_established(const struct mux_session *session);
size_t mux_session_stream_count(const struct mux_session *session);
/* What the session's share is charged for its streams, together. */
uint64_t mux_session_charged(const struct mux_session *session, enum memory_way way);
/* The peer has broken the protocol: no link can carry the session on, from the verb on that
 * returned MUX_ERROR_PROTOCOL. */
bool mux_session_is_broken(const struct mux_session *session);
/* Latest round trip on this link, 0 while there is none. */
uint64_t mux_session_rtt_us(const struct mux_session *session);
/* When that was measured. */
uint64_t mux_session_rtt_at_us(const struct mux_session *session);
/* Probes the link at once. */
void mux_session_ping(struct mux_session *session, uint64_t now_us);
/* Pings of this link: asked for so far, and the latest that was answered. A link keeps its order:
 * an answer proves that all that was sent before the ping has arrived. */
struct mux_pings {
    uint64_t asked;
    uint64_t answered;
};
struct mux_pings mux_session_pings(const struct mux_session *session);
/* Bytes of streams that this link has carried for sure: that the peer has acknowledged since it is
 * up, or that came from the peer. */
uint64_t mux_session_progress(const struct mux_session *session);
/* What the next HELLO or WELCOME says of the size of messages. */
void mux_session_limit_messages(struct mux_session *session, uint32_t message_max);
/* The same, when there is reason to think that the link is dead: it is after this long a silence.
 */
void mux_session_probe(struct mux_session *session, uint64_t now_us, uint64_t dead_after_us);
void mux_session_goaway(struct mux_session *session, enum mux_code code, const char *reason);
/* Sends an EXPOSE, EXPOSED or later message, exactly once whatever happens to links. */
int mux_session_send_message(struct mux_session *session, uint8_t type, const uint8_t *payload,
                             size_t size);
/* Resets every stream, with callbacks: the session is lost. */
void mux_session_reset_streams(struct mux_session *session, enum mux_code code, const char *reason);
