/*
 * Map from 32-bit ids to pointers (stream ids, node ids): open addressing, linear probing, removal
 * by shifting back, so no tombstones pile up. The map does not own what the pointers point at.
 * Where an id goes depends on a secret key: peers choose ids, and must not choose collisions.
 * Allocation failure aborts; the caller bounds the number of entries.
 */
#pragma once

#include <stddef.h>
#include <stdint.h>

#include "base/hash.h"

struct idmap_slot {
    uint32_t id;
    void *value; /* NULL: the slot is free */
};

struct idmap {
    const struct hash_key *key;
    struct idmap_slot *slots;
    size_t capacity; /* a power of two, or 0 */
    size_t count;
};

/* key must live as long as the map. */
void idmap_init(struct idmap *map, const struct hash_key *key);
/* Forgets all entries; the map may be used again. */
void idmap_clear(struct idmap *map);
/* NULL when there is none. */
void *idmap_get(const struct idmap *map, uint32_t id);
/* value must not be NULL; replaces what was there. */
void idmap_put(struct idmap *map, uint32_t id, void *value);
void idmap_remove(struct idmap *map, uint32_t id);
/* Walks the entries in no order: start with *position = 0; NULL at the end. No changes meanwhile.
 */
void *idmap_next(const struct idmap *map, size_t *position);
