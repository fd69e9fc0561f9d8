#include "http/handshake_slots.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "base/memory.h"

/* A round trip over any path, and a turn or two of a busy server. */
enum { SPARED_US = 1000 * 1000 };

struct slot_group {
    uint8_t ip[16]; /* of a subscriber, as socket_ip() has it */
    struct list by_hash;
    struct list by_count;
    struct list slots;  /* open ones that were never spared, the oldest first */
    struct list spared; /* those that were, the first one first */
    size_t count;       /* of both */
};

static struct list *allocate_lists(size_t count)
{
    struct list *lists = memory_new_array(count, sizeof *lists);

    for (size_t i = 0; i < count; i++)
        list_init(&lists[i]);
    return lists;
}

void slots_init(struct slots *slots, size_t max, const struct hash_key *key)
{
    *slots = (struct slots){.max = max, .key = key, .hash_size = 1};
    while (slots->hash_size < max)
        slots->hash_size *= 2;
    list_init(&slots->spent);
    slots->by_count = allocate_lists(max + 1);
    slots->by_hash = allocate_lists(slots->hash_size);
}

void slots_clear(struct slots *slots)
{
    assert(slots->count == 0);
    free(slots->by_count);
    free(slots->by_hash);
}

bool slots_full(const struct slots *slots)
{
    return slots->count >= slots->max;
}

static void subscriber_ip(const struct socket_address *address, uint8_t ip[16])
{
    struct socket_address subscriber = *address;

    socket_keep_subscriber(&subscriber);
    socket_ip(&subscriber, ip);
}

static struct list *hash_bucket(const struct slots *slots, const uint8_t ip[16])
{
    return &slots->by_hash[hash_bytes(slots->key, ip, 16) & (slots->hash_size - 1)];
}

/* NULL: there is none. */
static struct slot_group *find_group(const struct slots *slots, const uint8_t ip[16])
{
    list_each(at, hash_bucket(slots, ip)) {
        struct slot_group *group = list_entry(at, struct slot_group, by_hash);
        if (memcmp(group->ip, ip, sizeof group->ip) == 0)
            return group;
    }
    return NULL;
}

static struct slot_group *add_group(struct slots *slots, const uint8_t ip[16])
{
    struct slot_group *group = memory_new(sizeof *group);

    memcpy(group->ip, ip, sizeof group->ip);
    list_init(&group->slots);
    list_init(&group->spared);
    list_init(&group->by_count);
    list_append(hash_bucket(slots, ip), &group->by_hash);
    return group;
}

/* To the list of groups with that many; the greatest number follows. */
static void recount(struct slots *slots, struct slot_group *group, size_t count)
{
    group->count = count;
    list_remove(&group->by_count);
    list_append(&slots->by_count[count], &group->by_count);
    if (count > slots->top)
        slots->top = count;
    while (slots->top > 0 && list_empty(&slots->by_count[slots->top]))
        slots->top--;
}

static void leave_group(struct slots *slots, struct slot *slot)
{
    struct slot_group *group = slot->group;

    list_remove(&slot->node);
    slot->group = NULL;
    recount(slots, group, group->count - 1);
    if (group->count > 0)
        return;
    list_remove(&group->by_count);
    list_remove(&group->by_hash);
    free(group);
}

void slots_take(struct slots *slots, struct slot *slot, const struct socket_address *address,
                uint64_t now_us)
{
    uint8_t ip[16];

    assert(!slots_full(slots));
    subscriber_ip(address, ip);
    slots->count++;
    slot->state = SLOT_OPEN;
    slot->since_us = now_us;
    slot->spared_us = 0;
    slot->group = find_group(slots, ip);
    if (!slot->group)
        slot->group = add_group(slots, ip);
    list_append(&slot->group->slots, &slot->node);
    recount(slots, slot->group, slot->group->count + 1);
}

void slots_set(struct slots *slots, struct slot *slot, enum slot_state state)
{
    if (slot->group)
        leave_group(slots, slot);
    list_remove(&slot->node);
    slot->state = state;
    if (state == SLOT_SPENT)
        list_append(&slots->spent, &slot->node);
}

void slots_give_back(struct slots *slots, struct slot *slot)
{
    if (slot->group)
        leave_group(slots, slot);
    list_remove(&slot->node);
    slots->count--;
}

void slots_spare(struct slot *slot, uint64_t now_us)
{
    if (!slot->group || slot->spared_us != 0)
        return;
    slot->spared_us = now_us + SPARED_US;
    list_remove(&slot->node);
    list_append(&slot->group->spared, &slot->node);
}

static struct slot *first_slot(const struct list *list)
{
    return list_empty(list) ? NULL : list_entry(list->next, struct slot, node);
}

static size_t count_of(const struct slots *slots, const struct socket_address *address)
{
    uint8_t ip[16];

    subscriber_ip(address, ip);
    const struct slot_group *group = find_group(slots, ip);
    return group ? group->count : 0;
}

struct slot *slots_victim(const struct slots *slots, const struct socket_address *newcomer,
                          uint64_t now_us)
{
    if (!list_empty(&slots->spent))
        return first_slot(&slots->spent);
    if (slots->top == 0)
        return NULL;
    struct slot_group *group =
        list_entry(slots->by_count[slots->top].next, struct slot_group, by_count);
    struct slot *oldest = first_slot(&group->slots);
    struct slot *spared = first_slot(&group->spared);
    if (!spared)
        return oldest;
    if (now_us >= spared->spared_us && (!oldest || spared->since_us < oldest->since_us))
        return spared;
    if (oldest)
        return oldest;
    /* With one more the newcomer's address would have as many as this one with one less. */
    return group->count > count_of(slots, newcomer) + 1 ? spared : NULL;
}

size_t slots_of_address(const struct slot *slot)
{
    return slot->group ? slot->group->count : 0;
}
