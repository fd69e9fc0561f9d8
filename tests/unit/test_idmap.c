#include "../lib/cmocka.h"

#include "base/idmap.h"

enum { IDS = 500 };

static const struct hash_key key = {{0x0123456789abcdef, 0xfedcba9876543210}};
static uint32_t seed;

static uint32_t below(uint32_t bound)
{
    seed = seed * 1664525u + 1013904223u;
    return (seed >> 8) % bound;
}

/* Ids that are neighbours, ids that all want the same slot, and ids far apart. */
static uint32_t spread(uint32_t id, int kind)
{
    return kind == 0 ? id : kind == 1 ? id << 16 : id * 2654435761u;
}

static void behaves_like_an_array(void **state)
{
    (void)state;
    static char things[IDS];

    for (int kind = 0; kind < 3; kind++) {
        void *model[IDS] = {0};
        size_t count = 0;
        struct idmap map;
        idmap_init(&map, &key);
        seed = 7;
        for (int i = 0; i < 60000; i++) {
            uint32_t id = below(i < 30000 ? IDS : 40);
            if (below(2)) {
                count += model[id] == NULL;
                model[id] = &things[below(IDS)];
                idmap_put(&map, spread(id, kind), model[id]);
            } else {
                count -= model[id] != NULL;
                model[id] = NULL;
                idmap_remove(&map, spread(id, kind));
            }
            assert_int_equal(map.count, count);
            id = below(IDS);
            assert_ptr_equal(idmap_get(&map, spread(id, kind)), model[id]);
        }
        for (uint32_t id = 0; id < IDS; id++)
            assert_ptr_equal(idmap_get(&map, spread(id, kind)), model[id]);
        idmap_clear(&map);
        assert_null(idmap_get(&map, 1));
    }
}

static void walks_every_entry_once(void **state)
{
    (void)state;
    static char things[IDS];
    struct idmap map;
    size_t at = 0;

    idmap_init(&map, &key);
    assert_null(idmap_next(&map, &at));
    for (uint32_t id = 0; id < IDS; id++)
        idmap_put(&map, id, &things[id]);
    at = 0;
    for (char *thing; (thing = idmap_next(&map, &at));)
        ++*thing;
    for (uint32_t id = 0; id < IDS; id++)
        assert_int_equal(things[id], 1);
    idmap_clear(&map);
}

/* As CPython 3.11 computes it with PYTHONHASHSEED=0: hash(b"\0\1\2\3"), for example. */
static void hashes_as_siphash_1_3_does(void **state)
{
    (void)state;
    static const struct hash_key zero;

    assert_int_equal(hash_u32(&zero, 0), UINT64_C(0xcc2247b79ac48af0));
    assert_int_equal(hash_u32(&zero, 0x03020100), UINT64_C(0x7cc43f98813e4dbd));
    assert_int_equal(hash_u32(&zero, UINT32_MAX), UINT64_C(0x52c40c8874cad6e2));
    assert_int_not_equal(hash_u32(&zero, 7), hash_u32(&key, 7));
    static const uint8_t bytes[] = {0,  1,  2,  3,  4,  5,  6,  7,  8,  9,  10, 11,
                                    12, 13, 14, 15, 16, 17, 18, 19, 20, 21, 22};
    assert_int_equal(hash_bytes(&zero, bytes, 4), hash_u32(&zero, 0x03020100));
    assert_int_equal(hash_bytes(&zero, bytes, 7), UINT64_C(0x2f098ab0c751325a));
    assert_int_equal(hash_bytes(&zero, bytes, 8), UINT64_C(0xead411e67ebe2eea));
    assert_int_equal(hash_bytes(&zero, bytes, 15), UINT64_C(0xf30eb725bb91c9ea));
    assert_int_equal(hash_bytes(&zero, bytes, 23), UINT64_C(0x37332b1389daa4ff));
}

/* The longest row of slots that a look-up may have to go through. */
static size_t longest_row(const struct idmap *map)
{
    size_t longest = 0;

    for (size_t at = 0, row = 0; at < 2 * map->capacity; at++) {
        row = map->slots[at & (map->capacity - 1)].value ? row + 1 : 0;
        longest = row > longest ? row : longest;
    }
    return longest;
}

/* Ids that differ in a few bits only, as a peer would choose them if it knew where they go. */
static void no_choice_of_ids_collides(void **state)
{
    (void)state;
    static char thing;

    for (unsigned shift = 0; shift <= 18; shift++) {
        struct idmap map;
        idmap_init(&map, &key);
        for (uint32_t n = 0; n < 10000; n++)
            idmap_put(&map, n << shift | n >> (32 - shift) % 32, &thing);
        assert_int_equal(map.count, 10000);
        assert_true(longest_row(&map) < 200);
        idmap_clear(&map);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(behaves_like_an_array),
        cmocka_unit_test(walks_every_entry_once),
        cmocka_unit_test(hashes_as_siphash_1_3_does),
        cmocka_unit_test(no_choice_of_ids_collides),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
