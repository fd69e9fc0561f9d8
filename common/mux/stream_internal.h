/*
 * What stream.c has for the files of the session, which are above it; see mux/types.h. "May free
 * it" means that the stream is no longer the session's; its memory stays until mux_core_reap().
 */
#pragma once

#include "mux/session_core.h"

/* Begins a stream, for example the control stream; it is in no list and not in session->streams. */
void mux_stream_init(struct mux_session *session, struct mux_stream *stream, uint32_t id);
/* Adds a stream to the session; NULL: *limit is reached. */
struct mux_stream *mux_stream_new(struct mux_session *session, uint32_t id, enum mux_limit *limit);

/* Puts the stream in line if it has bytes that may be sent. */
void mux_stream_activate(struct mux_stream *stream);
/* Where what was sent ends, or may end. */
uint64_t mux_stream_sent(const struct mux_stream *stream);
/* The peer has received all that it has consumed, which mux_schedule_acknowledged() knows; it has
 * consumed up to offset and allows sending up to limit; false: it cannot be. */
bool mux_stream_receive_credit(struct mux_stream *stream, uint64_t consumed, uint64_t limit);
/* Tells streams that waited for memory that they can write, as far as there is some. */
void mux_stream_feed_starved(struct mux_session *session);
/* WINDOW is owed to the peer. */
void mux_stream_owe_credit(struct mux_stream *stream, enum mux_window_due due);

/* A reset waits for the data before it, but not for ever. */
void mux_stream_linger(struct mux_stream *stream);
/* Looks whether everything up to the end was consumed, and ends the half, or the stream. May free
 * it. */
void mux_stream_check_received(struct mux_stream *stream);
/* Ends the stream, and tells its owner, if both halves are over. May free it. */
void mux_stream_check_over(struct mux_stream *stream);
/* Ends the stream, and tells its owner that it was cut short. Frees it. */
void mux_stream_cut(struct mux_stream *stream, enum mux_code code, struct mux_text reason);
/* Empties the send queue: nobody needs it any more. */
void mux_stream_drop_sent(struct mux_stream *stream);
/* Gives back what the stream holds and takes it out of all lists; nobody is told. */
void mux_stream_release(struct mux_stream *stream);
