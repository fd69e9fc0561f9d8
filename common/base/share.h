/*
 * Fair shares of what there is a bounded amount of: memory, sessions, connections.
 *
 * A supply is held by several holders. One that is alone may have all of it. Among several, each is
 * entitled to its part, total / holders; it may have more while more than an eighth of the supply
 * is left, which is kept for those that have less than their part. When nothing is left for one
 * that is entitled, somebody else holds more than a part: the caller makes that one give way, and
 * asks again.
 *
 * A holder counts as one while it holds something. Amounts are the caller's units.
 *
 * A supply that several threads take from is marked as shared: then amounts are added and taken in
 * one step, and share_take() may be told no when another thread was faster. One that is not shared
 * costs plain additions. Other threads may read either at any time. Who holds too much of a shared
 * one may be with another thread, and give way only later: so the eighth is kept for newcomers also
 * from one that is alone, and share_is_scarce() says when it is time to ask.
 */
#pragma once

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

struct supply {
    uint64_t total;
    bool shared;           /* by several threads */
    _Atomic uint64_t used; /* by all holders */
    _Atomic uint64_t holders;
};

struct holding {
    _Atomic uint64_t used;
};

static inline uint64_t share_used(const struct holding *holding)
{
    return atomic_load_explicit(&holding->used, memory_order_relaxed);
}

static inline uint64_t share_used_of(const struct supply *supply)
{
    return atomic_load_explicit(&supply->used, memory_order_relaxed);
}

enum share_answer {
    SHARE_GRANTED,  /* there is room: share_take() */
    SHARE_ENTITLED, /* it is within the holder's part, but others hold too much */
    SHARE_REFUSED,  /* the holder has its part already */
};

/* The part that the holder is entitled to, at least 1. */
uint64_t share_part(const struct supply *supply, const struct holding *holding);
/* How much more the holder may take, if there were only so much in total. */
uint64_t share_room(const struct supply *supply, const struct holding *holding, uint64_t total);
enum share_answer share_ask(const struct supply *supply, const struct holding *holding,
                            uint64_t amount);
/* Of a shared supply: the eighth that is kept is half gone, and the holder has less than its part.
 */
bool share_is_scarce(const struct supply *supply, const struct holding *holding);
/* What the holder has already, whether it was granted or not. */
void share_add(struct supply *supply, struct holding *holding, uint64_t amount);
/* What share_ask() has granted. false: another thread has taken it meanwhile. */
bool share_take(struct supply *supply, struct holding *holding, uint64_t amount);
void share_give(struct supply *supply, struct holding *holding, uint64_t amount);
