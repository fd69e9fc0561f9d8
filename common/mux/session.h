/*
 * A session: a set of reliable byte streams over one link, or over several (mux/link.h).
 *
 * The session outlives its links: a stream's bytes are kept until the peer has consumed them. When
 * a link is lost, what was on its way there goes over the others; when it was the last one, both
 * ends say on the next what they have, and send the rest again. Nothing in here knows what a link
 * is made of. Bytes come and go by the verbs of its links; its own are
 *
 *     mux_session_deadline()  when tick wants to be called, at the latest
 *     mux_session_tick()      time has passed
 *
 * which those of each link call as well: a session with a link needs no others.
 *
 * Times are microseconds of any monotonic clock, the same for all calls.
 *
 * Who hears what: each stream has an owner (a relay, a simulation) with callbacks of its own
 * (struct mux_stream_callbacks), the session another one (struct mux_session_callbacks), and each
 * link is told of output (struct mux_output). A member that is NULL is not called.
 *
 * Callbacks come from inside the verbs; mux_output's and idle() also from inside any other call.
 * They may call any mux_stream_* function and mux_session_send_message(), but no verb.
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

/* Server: is this the HELLO of a newer link than any that the session had? Ask before old links are
 * closed: one that comes late must not end them. */
bool mux_session_is_newer(const struct mux_session *session, const struct mux_hello *hello);
/* Client: another link may be attached beside those that are up. */
bool mux_session_may_join(const struct mux_session *session);

/* UINT64_MAX: never. */
uint64_t mux_session_deadline(const struct mux_session *session);
int mux_session_tick(struct mux_session *session, uint64_t now_us);

const char *mux_session_reason(const struct mux_session *session);
const struct mux_session_key *mux_session_key(const struct mux_session *session);
/* A link is up. */
bool mux_session_established(const struct mux_session *session);
unsigned mux_session_links_up(const struct mux_session *session);
/* So many would help, in either direction. */
unsigned mux_session_links_wanted(const struct mux_session *session);
enum mux_want mux_session_want(const struct mux_session *session);
/* The links that are up, one after the other; *at is 0 before the first. NULL: that was the last.
 */
const struct mux_link *mux_session_next_link(const struct mux_session *session, unsigned *at);
/* The link that carries what is small; NULL: none is up. */
const struct mux_link *mux_session_lead(const struct mux_session *session);
/* The latest round trip of that one, 0 while there is none. */
uint64_t mux_session_rtt_us(const struct mux_session *session);
/* Bytes that have come before others in front of them; counts all streams. */
uint64_t mux_session_held_out_of_order(const struct mux_session *session);
size_t mux_session_stream_count(const struct mux_session *session);
/* What the session's share is charged for its streams, together. */
uint64_t mux_session_charged(const struct mux_session *session, enum memory_way way);
/* The peer has broken the protocol: no link can carry the session on, from the verb on that
 * returned MUX_ERROR_PROTOCOL. */
bool mux_session_is_broken(const struct mux_session *session);
/* What the next HELLO or WELCOME says of the size of messages. */
void mux_session_limit_messages(struct mux_session *session, uint32_t message_max);
void mux_session_goaway(struct mux_session *session, enum mux_code code, const char *reason);
/* Sends an EXPOSE, EXPOSED or later message, exactly once whatever happens to links. */
int mux_session_send_message(struct mux_session *session, uint8_t type, const uint8_t *payload,
                             size_t size);
/* Resets every stream, with callbacks: the session is lost. */
void mux_session_reset_streams(struct mux_session *session, enum mux_code code, const char *reason);
