/* Sessions by their ids: found at once, however many there are and whatever a client asks for. */
#include "../lib/cmocka.h"

#include <stdlib.h>
#include <string.h>

#include "../../tunnel-server/session_table.h"
#include "base/bytes.h"

enum { MANY = 20000 };

static const struct hash_key key = {{1, 2}};
static uint32_t numbers[] = {5, 5, 5, 6, 6, 7};
static size_t drawn;

/* Those that come first are there twice. */
static void draw_again(uint8_t id[MUX_SESSION_ID_SIZE])
{
    memset(id, (int)drawn, MUX_SESSION_ID_SIZE);
    byte_store_u32(id, numbers[drawn++]);
}

static uint64_t state_of_chance = 1;

static void draw_random(uint8_t id[MUX_SESSION_ID_SIZE])
{
    for (size_t i = 0; i < MUX_SESSION_ID_SIZE; i++) {
        state_of_chance = state_of_chance * UINT64_C(6364136223846793005) + 1442695040888963407;
        id[i] = (uint8_t)(state_of_chance >> 56);
    }
}

static void each_is_found_by_its_whole_id(void **state)
{
    struct session_entry *entries = calloc(MANY, sizeof *entries);
    struct session_table table;

    (void)state;
    assert_non_null(entries);
    session_table_init(&table, &key);
    assert_null(session_table_find(&table, 0, entries[0].id));
    for (size_t i = 0; i < MANY; i++)
        session_table_put(&table, &entries[i], draw_random);
    for (size_t i = 0; i < MANY; i++) {
        uint8_t id[MUX_SESSION_ID_SIZE];
        memcpy(id, entries[i].id, sizeof id);
        assert_ptr_equal(session_table_find(&table, 0, id), &entries[i]);
        id[MUX_SESSION_ID_SIZE - 1] ^= 1;
        assert_null(session_table_find(&table, 0, id));
    }
    for (size_t i = 0; i < MANY; i += 2)
        session_table_remove(&table, &entries[i]);
    for (size_t i = 0; i < MANY; i++)
        assert_ptr_equal(session_table_find(&table, 0, entries[i].id), i % 2 ? &entries[i] : NULL);
    session_table_clear(&table);
    free(entries);
}

static void two_never_begin_alike(void **state)
{
    struct session_entry entries[3] = {{0}};
    struct session_table table;

    (void)state;
    session_table_init(&table, &key);
    for (size_t i = 0; i < 3; i++)
        session_table_put(&table, &entries[i], draw_again);
    assert_int_equal(drawn, sizeof numbers / sizeof numbers[0]);
    for (uint32_t i = 0; i < 3; i++) {
        assert_int_equal(byte_load_u32(entries[i].id), 5 + i);
        assert_ptr_equal(session_table_find(&table, 0, entries[i].id), &entries[i]);
    }
    session_table_clear(&table);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(each_is_found_by_its_whole_id),
        cmocka_unit_test(two_never_begin_alike),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
