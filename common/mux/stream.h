/*
 * A stream of a session: bytes both ways, each way with an end of its own.
 *
 * What is written stays in the send queue until the peer has consumed it. What comes in goes to the
 * stream's owner (a relay, a simulation) through data(); the owner holds it until it is delivered,
 * which mux_stream_consume() tells. The window bounds how much that is.
 *
 * A handle is valid until reset() or over() was called for it, or the owner has called
 * mux_stream_reset() or mux_stream_refuse(); it must not be used afterwards.
 *
 * mux/session.h says when callbacks come and what they may call. Sizes are bytes, times
 * microseconds of the session's clock.
 */
#pragma once

#include <sys/uio.h>

#include "base/memory_budget.h"
#include "mux/message.h"
#include "mux/types.h"

struct mux_session;
struct mux_stream;

/* Client: opens a stream, whose owner hears of it from here on. NULL: a limit is reached (streams,
 * or memory for its window). */
struct mux_stream *mux_stream_open(struct mux_session *session, const struct mux_target *target,
                                   struct mux_text peer,
                                   const struct mux_stream_callbacks *callbacks, void *owner);
/* Server: answers open(). */
void mux_stream_accept(struct mux_stream *stream);
void mux_stream_refuse(struct mux_stream *stream, enum mux_code code, const char *reason);

/* Who hears of the stream from here on. callbacks live as long as the stream; NULL: nobody wants
 * to hear anything. */
void mux_stream_set_callbacks(struct mux_stream *stream,
                              const struct mux_stream_callbacks *callbacks, void *owner);
uint32_t mux_stream_id(const struct mux_stream *stream);
/* The owner of the session's stream of that number, if it has given it these callbacks: only then
 * it is known what the owner is. NULL: there is none. */
void *mux_stream_owner(struct mux_session *session, uint32_t id,
                       const struct mux_stream_callbacks *callbacks);
/* What the session's share is charged for the stream. */
uint64_t mux_stream_charged(const struct mux_stream *stream, enum memory_way way);
/* Bytes written so far that the peer's owner has consumed. */
uint64_t mux_stream_acknowledged(const struct mux_stream *stream);
/* Whether a link carries its session now. */
bool mux_stream_linked(const struct mux_stream *stream);

/* The owner has so many bytes beside the queue, for what is to go into it: they count as well.
 * false: there is no memory for them, and what counted before still does. */
bool mux_stream_hold(struct mux_stream *stream, uint64_t bytes);
/* The owner wants to write: returns how many bytes may be added now, which is what credit and
 * memory allow. 0: none, and writable() is called once when that has changed. */
size_t mux_stream_want_write(struct mux_stream *stream);
/* How much of what there is to write, at most, is good to be written before others have had their
 * turn (mux/portion.h). SIZE_MAX: any amount. */
size_t mux_stream_portion(const struct mux_stream *stream);
/* Free space in the send queue, to be filled by readv() or the like; see byte_queue_reserve(). */
size_t mux_stream_reserve(struct mux_stream *stream, size_t size, struct iovec *spaces,
                          size_t count);
void mux_stream_commit(struct mux_stream *stream, size_t size);
void mux_stream_write(struct mux_stream *stream, const void *bytes, size_t size);
/* Nothing more will be written. */
void mux_stream_finish(struct mux_stream *stream);
/* The owner has delivered so many of the bytes that data() gave it. */
void mux_stream_consume(struct mux_stream *stream, size_t size, uint64_t now_us);
/*
 * Cuts the stream short in both directions; the handle is invalid at once, no callback follows.
 * MUX_RESET_AFTER_DATA: the peer still delivers what was written before, then resets, as TCP does.
 */
enum mux_reset_mode { MUX_RESET_NOW, MUX_RESET_AFTER_DATA };
void mux_stream_reset(struct mux_stream *stream, enum mux_code code, const char *reason,
                      enum mux_reset_mode mode, uint64_t now_us);
