/*
 * Who is in the middle of a handshake, and who makes way when there are too many: every connection
 * from its accept until it is handed over or closed has a slot.
 *
 * First those whose request has been answered make way, the oldest first. Then, of the address that
 * has most slots, the oldest; so nobody with one address takes them all. For IPv6 an address is its
 * first 64 bits: that is what one subscriber has. Who has proven who it is never makes way.
 *
 * Nothing here takes longer the more connections there are.
 */
#pragma once

#include "base/hash.h"
#include "base/list.h"
#include "io/socket.h"

struct slot_group;

enum slot_state {
    SLOT_OPEN,   /* nothing is known of it */
    SLOT_SPENT,  /* its request has been answered */
    SLOT_PROVEN, /* it may come in */
};

/* Part of a connection. */
struct slot {
    struct list node;         /* in its group, or in slots->spent */
    struct slot_group *group; /* NULL: it has none any more */
    enum slot_state state;
};

struct slots {
    size_t max;
    size_t count;
    size_t top; /* so many has the address that has most open ones */
    const struct hash_key *key;
    struct list spent;     /* slots, the oldest first */
    struct list *by_count; /* max + 1 lists of groups, by how many open slots they have */
    struct list *by_hash;  /* hash_size lists of groups */
    size_t hash_size;      /* a power of two */
};

/* key must live as long. */
void slots_init(struct slots *slots, size_t max, const struct hash_key *key);
/* No slot may be taken any more. */
void slots_clear(struct slots *slots);
bool slots_full(const struct slots *slots);
/* There must be one. */
void slots_take(struct slots *slots, struct slot *slot, const struct socket_address *address);
/* From SLOT_OPEN to one of the others. */
void slots_set(struct slots *slots, struct slot *slot, enum slot_state state);
void slots_give_back(struct slots *slots, struct slot *slot);
/* Who makes way; NULL: all have proven who they are. */
struct slot *slots_victim(const struct slots *slots);
/* How many open slots the slot's address has. */
size_t slots_of_address(const struct slot *slot);
