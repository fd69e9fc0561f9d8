#include "../lib/cmocka.h"

#include "base/idmap.h"

enum { IDS = 500 };

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
        idmap_init(&map);
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

    idmap_init(&map);
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

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(behaves_like_an_array),
        cmocka_unit_test(walks_every_entry_once),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
