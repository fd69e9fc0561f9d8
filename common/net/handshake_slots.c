#include "net/handshake_slots.h"

#include <assert.h>
#include <netinet/in.h>
#include <stdlib.h>
#include <string.h>

struct slot_group {
    uint64_t address;
    struct list by_hash;
    struct list by_count;
    struct list slots; /* open ones, the oldest first */
    size_t count;      /* of these */
};

static struct list *allocate_lists(size_t count)
{
    struct list *lists = calloc(count, sizeof *lists);

    if (!lists)
        abort();
    for (size_t i = 0; i < count; i++)
        list_init(&lists[i]);
    return lists;
}

void slots_init(struct slots *slots, size_t max, uint64_t seed)
{
    *slots = (struct slots){.max = max, .seed = seed, .hash_size = 1};
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

/* IPv4 and the upper half of IPv6 do not meet: what begins with 32 zero bits is no unicast address
 * of IPv6 but loopback and old forms of IPv4's. */
static uint64_t address_key(const struct socket_address *address)
{
    struct sockaddr_storage copy = address->storage;
    const uint8_t *bytes = (const uint8_t *)&((struct sockaddr_in6 *)(void *)&copy)->sin6_addr;
    uint64_t key = 0;
    size_t size = 8;

    if (copy.ss_family != AF_INET6) {
        bytes = (const uint8_t *)&((struct sockaddr_in *)(void *)&copy)->sin_addr;
        size = 4;
    } else if (IN6_IS_ADDR_V4MAPPED(&((struct sockaddr_in6 *)(void *)&copy)->sin6_addr)) {
        bytes += 12;
        size = 4;
    }
    for (size_t i = 0; i < size; i++)
        key = key << 8 | bytes[i];
    return key;
}

static struct list *bucket(const struct slots *slots, uint64_t key)
{
    uint64_t hash = (key ^ slots->seed) * UINT64_C(0x9e3779b97f4a7c15);

    hash = (hash ^ hash >> 29 ^ slots->seed) * UINT64_C(0xbf58476d1ce4e5b9);
    return &slots->by_hash[(hash >> 32) & (slots->hash_size - 1)];
}

static struct slot_group *find_group(const struct slots *slots, uint64_t key)
{
    struct list *head = bucket(slots, key);

    for (struct list *at = head->next; at != head; at = at->next) {
        struct slot_group *group = list_entry(at, struct slot_group, by_hash);
        if (group->address == key)
            return group;
    }
    struct slot_group *group = calloc(1, sizeof *group);
    if (!group)
        abort();
    group->address = key;
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
    assert(!slots_full(slots));
    slots->count++;
    slot->state = SLOT_OPEN;
    slot->group = find_group(slots, address_key(address));
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
