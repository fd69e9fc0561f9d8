#include "http/handshake_slots.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "base/memory.h"

struct slot_group {
    uint8_t ip[16]; /* of a subscriber, as socket_ip() has it */
    struct list by_hash;
    struct list by_count;
    struct list slots; /* open ones, the oldest first */
    size_t count;      /* of these */
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

static struct slot_group *find_group(const struct slots *slots, const uint8_t ip[16])
{
    struct list *head = &slots->by_hash[hash_bytes(slots->key, ip, 16) & (slots->hash_size - 1)];

    list_each(at, head) {
        struct slot_group *group = list_entry(at, struct slot_group, by_hash);
        if (memcmp(group->ip, ip, sizeof group->ip) == 0)
            return group;
    }
    struct slot_group *group = memory_new(sizeof *group);
    memcpy(group->ip, ip, sizeof group->ip);
    list_init(&group->slots);
    list_init(&group->by_count);
    list_append(head, &group->by_hash);
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

void slots_take(struct slots *slots, struct slot *slot, const struct socket_address *address)
{
    struct socket_address subscriber = *address;
    uint8_t ip[16];

    assert(!slots_full(slots));
    socket_keep_subscriber(&subscriber);
    socket_ip(&subscriber, ip);
    slots->count++;
    slot->state = SLOT_OPEN;
    slot->group = find_group(slots, ip);
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

struct slot *slots_victim(const struct slots *slots)
{
    if (!list_empty(&slots->spent))
        return list_entry(slots->spent.next, struct slot, node);
    if (slots->top == 0)
        return NULL;
    struct slot_group *group =
        list_entry(slots->by_count[slots->top].next, struct slot_group, by_count);
    return list_entry(group->slots.next, struct slot, node);
}

size_t slots_of_address(const struct slot *slot)
{
    return slot->group ? slot->group->count : 0;
}
