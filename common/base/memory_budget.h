/*
 * How much memory the streams of a program may take, whatever peers do. One budget is shared by all
 * sessions; each belongs to a share of it (base/share.h), so that nobody takes everybody's memory.
 *
 * Where a program has several workers, each has a budget that counts what its own sessions take,
 * and a share for each of its holders; what may be taken is decided by the whole that they are
 * part of: memory_share_join().
 *
 * A stream that is open is charged MUX_STREAM_FLOOR in each direction, so that it gets on however
 * little is left. Beyond that:
 *
 * Received: what has come and was not consumed, and credit above the first window. The first window
 * is credit that costs nothing before it is used: peers may have been given more of it than there
 * is memory. When bytes come for which there is none, their stream is reset; so memory is bounded
 * by what is charged, not by what was promised.
 *
 * Sent: bytes held for sending and for sending again.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "base/share.h"

#define MUX_STREAM_FLOOR 2048u

enum memory_way { MEMORY_RECEIVE, MEMORY_SEND };

struct memory_share;

struct memory_budget {
    struct supply receive;
    struct supply send;
    /*
     * A share that has less than its part finds nothing left. Has streams of another share cut that
     * holds more than its part; false: there is none. Called from inside a session's verbs and of
     * mux_stream_* functions, about streams of other sessions; NULL: nobody gives way.
     */
    bool (*give_way)(void *context, const struct memory_share *to, enum memory_way way);
    void *context;
    struct memory_budget *whole; /* that it is part of; NULL: it is all there is */
};

struct memory_share {
    struct memory_budget *budget;
    struct memory_share *whole; /* the same holder's at all workers; NULL: this is all there is */
    struct holding receive;
    struct holding send;
};

static inline void memory_budget_init(struct memory_budget *budget, uint64_t bytes)
{
    *budget = (struct memory_budget){.receive = {.total = bytes / 2},
                                     .send = {.total = bytes - bytes / 2}};
}

static inline void memory_share_init(struct memory_share *share, struct memory_budget *budget)
{
    *share = (struct memory_share){.budget = budget};
}

/* All that the program's streams take. */
static inline const struct memory_budget *memory_budget_whole(const struct memory_budget *budget)
{
    return budget->whole ? budget->whole : budget;
}

/* Makes budget, of which nothing is taken yet, a part of whole, which several threads share. */
static inline void memory_budget_join(struct memory_budget *budget, struct memory_budget *whole)
{
    budget->whole = whole;
    whole->receive.shared = whole->send.shared = true;
}

/* From now on what whole's budget allows is what counts; nothing may be charged yet. The budget of
 * the whole is shared by several threads (struct supply), and its give_way is not called: that of
 * the part's budget is. */
static inline void memory_share_join(struct memory_share *share, struct memory_share *whole)
{
    share->whole = whole;
}

/* The one that decides how much there is: the share itself, or the whole that it is part of. */
static inline struct memory_share *memory_share_bound(struct memory_share *share)
{
    return share->whole ? share->whole : share;
}

/* Charges the share; what it is entitled to it gets, if need be from others. */
bool memory_share_take(struct memory_share *share, enum memory_way way, uint64_t bytes);
/* Charges what is held already: by so much, a read of each worker's at the most, all that is held
 * for sending may exceed the total. */
void memory_share_add(struct memory_share *share, enum memory_way way, uint64_t bytes);
void memory_share_give(struct memory_share *share, enum memory_way way, uint64_t bytes);
/* How many bytes more may be held for sending. */
uint64_t memory_share_send_room(struct memory_share *share);
/* How many bytes more may be promised to peers: growth takes half of the memory at the most. */
uint64_t memory_share_growth_room(const struct memory_share *share);
