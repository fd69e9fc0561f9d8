/*
 * Which link carries what. Links pull: each asks for something to send when its socket takes more,
 * so that a fast one carries more. What it gets is decided here.
 *
 *   - One link is the lead. It carries the control stream, WINDOWs, the streams that the peer may
 *     not know yet (their frames must not overtake the OPEN), and what is small: the link that
 *     answers soonest and has room. It changes when it ends, when it does not answer, and when
 *     its kernel takes no more while another's does. What is small and has waited for it for 5 ms
 *     takes another link that is about as near.
 *   - Streams with much to send take whatever link has room, but the lead only if nothing small was
 *     sent lately: a message does not wait behind bulk.
 *   - What was on its way on a link that is gone goes first, over any other.
 *   - A link that does not answer a ping in about two of its round trips is suspect. Nothing is
 *     entrusted to it until it answers. The bytes that streams wait for, and that it has, are sent
 *     a second time over another link.
 *   - Where segments get lost, what is small goes over two links from the start.
 *
 * What is sent a second time is bounded by a budget: a sixteenth of what is sent, and a little for
 * the time that passes. A link that has been suspect for half a second is as good as lost: what it
 * has is sent again without regard to that, over a third link if a second one is as good as lost,
 * too.
 *
 * Invariants, whatever comes and goes:
 *
 *   - While links are up, one of them is the lead; while one of them is not suspect, it is not.
 *   - A stream that has bytes that it may send for the first time is in one of session->fresh,
 *     ->unknown and ->busy; one that has some to send once more, in ->lost or ->doubled.
 *   - Of the links that may carry what waits, one at least has been told (output_pending), unless
 *     it has just looked at many streams in a row that are not for it.
 *
 * The layer above mux/stream.h; see mux/types.h.
 */
#pragma once

#include "mux/session_core.h"

/* HELLO and WELCOME, and positions on a resume, are done with: the link carries streams. */
void mux_schedule_link_up(struct mux_link *link);
/* The link carries nothing any more; it is no longer in session->links. */
void mux_schedule_link_gone(struct mux_link *link);
/* Another link is up and not suspect. */
bool mux_schedule_has_other(const struct mux_link *link);
/* The link does not answer; by_peer: the peer has said so of the other direction. */
void mux_schedule_suspect(struct mux_link *link, bool by_peer);
/* The link has answered. */
void mux_schedule_trust(struct mux_link *link);
/* Sends a second time what streams wait for and suspect links have; session->rescue_us says when to
 * look again. */
void mux_schedule_rescue(struct mux_session *session);
/* The link has room and is about to be pulled: a lead that takes nothing gives way to it, or to one
 * that is idle. */
void mux_schedule_link_takes(struct mux_link *link);
/* When something has waited for the lead for so long that others are to be told: they take what is
 * small, or its place. UINT64_MAX: nothing waits, or they know. */
uint64_t mux_schedule_help_at(const struct mux_session *session);
void mux_schedule_help(struct mux_session *session);
/* How long an answer on this link may take before it is suspect. */
uint64_t mux_schedule_patience(const struct mux_link *link);

/* Tells the owner of a client how many links are wanted, and a server's peer, if that has changed.
 */
void mux_schedule_tell_wanted(struct mux_session *session);

/* The peer has received all bytes of the stream before offset. */
void mux_schedule_acknowledged(struct mux_stream *stream, uint64_t offset);

/* Whether streams with much to send may use the link: the lead is kept free of them while it is
 * used for what is small, and a link on whose way TCP ends has an allowance. */
bool mux_schedule_takes_bulk(const struct mux_link *link);

/* What a link sends next. */
enum mux_turn_kind {
    MUX_TURN_NEW,   /* bytes that were never sent */
    MUX_TURN_LOST,  /* that were sent over a link that is gone */
    MUX_TURN_AGAIN, /* that are on their way over another one */
};
struct mux_turn {
    enum mux_turn_kind kind;
    struct mux_stream *stream;
    const struct mux_run *run; /* not NEW: what is to be sent again */
    uint64_t offset;
    uint64_t size; /* bytes that may be sent, at least one */
};
/* false: nothing. room: bytes that a DATA frame can hold now. */
bool mux_schedule_next(struct mux_link *link, size_t room, struct mux_turn *turn);
/* So many of them were. */
void mux_schedule_sent(struct mux_link *link, const struct mux_turn *turn, size_t size);
