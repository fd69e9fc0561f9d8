/*
 * Who is in the middle of a handshake, and who makes way when there are too many: every connection
 * from its accept until it is handed over or closed has a slot.
 *
 * First those whose request has been answered make way, the oldest first. Then, of the address that
 * has most slots, the oldest; so nobody with one address takes them all. For IPv6 an address is its
 * first 64 bits: that is what one subscriber has. Who has proven who it is never makes way.
 *
 * A TLS handshake takes another round trip after the server's answer to its first message. While
 * more come than can be served, each newcomer would end a handshake that is about to be completed,
 * and nobody from far away would ever come to the end of one. So who has had that answer is spared
 * for a second, and a newcomer is turned away if there is nobody else; unless its own address has
 * fewer. Who sends no such message is not spared: a flood of these keeps nobody out.
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
    uint64_t since_us;  /* when it was taken */
    uint64_t spared_us; /* until when it is spared; 0: it is not */
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
void slots_take(struct slots *slots, struct slot *slot, const struct socket_address *address,
                uint64_t now_us);
/* From SLOT_OPEN to one of the others. */
void slots_set(struct slots *slots, struct slot *slot, enum slot_state state);
void slots_give_back(struct slots *slots, struct slot *slot);
/* The TLS handshake of an open one has been answered. */
void slots_spare(struct slot *slot, uint64_t now_us);
/* Who makes way for a newcomer from that address; NULL: all have proven who they are, or are
 * spared. */
struct slot *slots_victim(const struct slots *slots, const struct socket_address *newcomer,
                          uint64_t now_us);
/* How many open slots the slot's address has. */
size_t slots_of_address(const struct slot *slot);
