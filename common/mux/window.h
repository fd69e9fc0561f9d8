/*
 * The receive window of one stream: which bytes have come, which have been consumed, how many more
 * the peer may send. One announcement, WINDOW(consumed, limit), does two jobs: it frees the peer's
 * memory up to consumed and lets it send up to limit.
 *
 *     consumed <= received <= limit <= consumed + the larger of size and rate_size, once announced
 *
 * size tunes itself. A window starts small, since what stays in the processor's cache is also what
 * is fast, and doubles when it is what limits: when a whole window was consumed within two round
 * trips while the owner kept up (it holds little that is unconsumed). The round trip is the
 * shortest seen lately, not the one under load: a queue in the link must not look like distance. It
 * falls back when the stream has been idle.
 *
 * The round trip does not tell how long both ends take to wake up and to get their turn; who has no
 * credit meanwhile sleeps. So a window is never smaller than rate_size: what the stream's owner
 * lately consumed in 1.5 ms, up to 4 MiB. Streams that share a path share its rate, so that
 * together these windows are no larger than one stream's, and stay in the processor's cache.
 *
 * Credit for a first window is always there; what it costs is what has come and was not consumed.
 * Credit beyond a first window is charged in full when it is given (base/memory_budget.h).
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "base/memory_budget.h"

struct mux_window_limits {
    uint32_t initial; /* granted when a stream opens */
    uint32_t base;    /* a stream that carries data gets this much */
    uint32_t max;
};

struct mux_window {
    /* Offsets in the stream: */
    uint64_t received;       /* bytes before it have come */
    uint64_t consumed;       /* the owner has delivered those before it */
    uint64_t limit;          /* the peer may send those before it */
    uint64_t held;           /* what bytes behind a gap cost (mux/reassembly.h) */
    uint64_t announced;      /* consumed as last announced */
    uint64_t initial;        /* credit that costs nothing until it is used */
    uint64_t charged;        /* what the share is charged for this window */
    uint64_t epoch_consumed; /* consumed when the current measure of growth began */
    uint64_t epoch_us;       /* when that was; 0: none has begun */
    uint64_t active_us;      /* when bytes were consumed last */
    uint64_t size;           /* bytes that limit may be ahead of consumed, for the distance */
    uint64_t rate;           /* bytes/s that were consumed lately, smoothed */
    uint64_t rate_size;      /* bytes that limit may be ahead of consumed, for the rate */
    uint64_t shrink_to;      /* while shrinking: the limit that SHRINK has asked for */
    bool shrinking;          /* SHRINK was sent, LIMIT has not come back */
};

enum mux_window_due {
    MUX_WINDOW_NOTHING = 0,
    MUX_WINDOW_LATER = 1, /* worth telling when something goes out anyway, or soon */
    MUX_WINDOW_NOW = 2,   /* the peer may be about to run out of credit */
};

/* false: there is no room for another stream. */
bool mux_window_open(struct mux_window *window, const struct mux_window_limits *limits,
                     struct memory_share *share);
void mux_window_close(struct mux_window *window, struct memory_share *share);

/* Bytes have come, within the limit; false: there is no memory for them, and nothing has changed.
 */
bool mux_window_receive(struct mux_window *window, uint64_t bytes, struct memory_share *share);
/* The same for bytes behind a gap: what all of them cost now. */
bool mux_window_hold(struct mux_window *window, uint64_t held, struct memory_share *share);
enum mux_window_due mux_window_consume(struct mux_window *window, uint64_t bytes, uint64_t now_us,
                                       uint64_t rtt_us, const struct mux_window_limits *limits,
                                       struct memory_share *share);
/* What the share has to be charged for a window that stands so. */
uint64_t mux_window_charge(const struct mux_window *window);
/* Moves limit up as size and share allow, and as most does: no more than so much from what was
 * consumed. The caller then announces consumed and limit. */
void mux_window_announce(struct mux_window *window, uint64_t most, struct memory_share *share);
/*
 * The limit to state with consumed: while SHRINK is unanswered it must not give back to the peer
 * what the peer is about to renounce.
 */
uint64_t mux_window_told_limit(const struct mux_window *window);

/* The limit to ask back with SHRINK when the stream is idle; 0: nothing to ask for. */
uint64_t mux_window_shrink(struct mux_window *window, uint64_t now_us, uint64_t idle_us,
                           const struct mux_window_limits *limits);
/* LIMIT came: false if it is not between what was received and the limit so far. */
bool mux_window_limited(struct mux_window *window, uint64_t limit, struct memory_share *share);
