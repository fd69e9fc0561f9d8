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
#include "mux/types.h"
#include "mux/window.h"

/* What sensible settings are; the caller fills in role, hash_key and software. */
void mux_settings_default(struct mux_settings *settings);

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
