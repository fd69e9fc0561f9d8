#include "base/idmap.h"

#include <assert.h>
#include <stdlib.h>

#include "base/memory.h"

enum { FIRST_CAPACITY = 16 };

void idmap_init(struct idmap *map, const struct hash_key *key)
{
    *map = (struct idmap){.key = key};
}

void idmap_clear(struct idmap *map)
{
    free(map->slots);
    idmap_init(map, map->key);
}

static size_t home(const struct idmap *map, uint32_t id)
{
    return (size_t)hash_u32(map->key, id) & (map->capacity - 1);
}

/* The slot of id, or the free slot where it would go. */
static size_t find_place_of_id(const struct idmap *map, uint32_t id)
{
    size_t at = home(map, id);

    while (map->slots[at].value && map->slots[at].id != id)
        at = (at + 1) & (map->capacity - 1);
    return at;
}

void *idmap_get(const struct idmap *map, uint32_t id)
{
    return map->count ? map->slots[find_place_of_id(map, id)].value : NULL;
}

static void grow_idmap(struct idmap *map)
{
    struct idmap old = *map;

    map->capacity = old.capacity ? old.capacity * 2 : FIRST_CAPACITY;
    map->slots = memory_new_array(map->capacity, sizeof *map->slots);
    for (size_t i = 0; i < old.capacity; i++)
        if (old.slots[i].value)
            map->slots[find_place_of_id(map, old.slots[i].id)] = old.slots[i];
    free(old.slots);
}

void idmap_put(struct idmap *map, uint32_t id, void *value)
{
    assert(value);
    if (map->count * 4 >= map->capacity * 3)
        grow_idmap(map);
    struct idmap_slot *slot = &map->slots[find_place_of_id(map, id)];
    if (!slot->value)
        map->count++;
    *slot = (struct idmap_slot){id, value};
}

void idmap_remove(struct idmap *map, uint32_t id)
{
    if (!map->count)
        return;
    size_t hole = find_place_of_id(map, id);
    if (!map->slots[hole].value)
        return;
    map->count--;
    /* Shift back every entry whose way from its home slot leads over the hole. */
    for (size_t at = hole;;) {
        at = (at + 1) & (map->capacity - 1);
        if (!map->slots[at].value)
            break;
        size_t distance = (at - home(map, map->slots[at].id)) & (map->capacity - 1);
        if (distance >= ((at - hole) & (map->capacity - 1))) {
            map->slots[hole] = map->slots[at];
            hole = at;
        }
    }
    map->slots[hole].value = NULL;
}

void *idmap_next(const struct idmap *map, size_t *position)
{
    while (*position < map->capacity) {
        void *value = map->slots[(*position)++].value;
        if (value)
            return value;
    }
    return NULL;
}
