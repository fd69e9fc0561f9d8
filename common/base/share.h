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
 */
#pragma once

#include <stdint.h>

struct supply {
    uint64_t total;
    uint64_t used; /* by all holders */
    uint64_t holders;
};

struct holding {
    uint64_t used;
};

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
void share_take(struct supply *supply, struct holding *holding, uint64_t amount);
void share_give(struct supply *supply, struct holding *holding, uint64_t amount);
