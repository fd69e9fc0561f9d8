/* Bytes that come before their turn: each is kept once, and comes out in order. */
#include "../lib/cmocka.h"

#include <stdlib.h>
#include <string.h>

#include "mux/reassembly.h"

enum { BYTES = 5000 };

static struct chunk_pool pool;
static struct mux_reassembly reassembly;
static uint8_t content[BYTES];

static int begin(void **state)
{
    (void)state;
    chunk_pool_init(&pool);
    for (unsigned i = 0; i < BYTES; i++)
        content[i] = (uint8_t)(i * 7 + i / 256);
    return 0;
}

static int end(void **state)
{
    (void)state;
    mux_reassembly_clear(&reassembly);
    assert_int_equal(pool.allocated, 0);
    chunk_pool_clear(&pool);
    return 0;
}

static void add(unsigned from, unsigned to)
{
    assert_true(mux_reassembly_add(&reassembly, &pool, from, content + from, to - from));
}

/* What can be taken from there, at most size at a time. */
static unsigned take(unsigned from, size_t size)
{
    uint8_t bytes[BYTES];
    unsigned at = from;
    size_t got;

    while ((got = mux_reassembly_take(&reassembly, at, bytes, size)) > 0) {
        assert_memory_equal(bytes, content + at, got);
        at += (unsigned)got;
    }
    return at - from;
}

static void pieces_join_when_the_gap_closes(void **state)
{
    (void)state;
    add(100, 200);
    add(300, 400);
    assert_int_equal(reassembly.count, 2);
    assert_int_equal(take(50, 10), 0);
    add(200, 300);
    assert_int_equal(reassembly.count, 1);
    assert_int_equal(reassembly.held, 300);
    assert_int_equal(mux_reassembly_end(&reassembly), 400);
    assert_int_equal(take(100, 64), 300);
    assert_int_equal(reassembly.count, 0);
    assert_int_equal(mux_reassembly_end(&reassembly), 0);
}

static void bytes_that_are_there_are_not_kept_twice(void **state)
{
    (void)state;
    add(100, 200);
    add(50, 250);
    add(120, 130);
    add(240, 260);
    assert_int_equal(reassembly.held, 210);
    assert_int_equal(reassembly.count, 1);
    /* What is before the place asked for is forgotten. */
    assert_int_equal(take(90, 1000), 170);
    assert_int_equal(reassembly.held, 0);
}

/* Each came in a chunk of its own. */
static void small_pieces_that_join_take_little(void **state)
{
    (void)state;
    for (unsigned block = 0; block + 4000 < BYTES; block += 4000) {
        for (unsigned i = block + 1; i < block + 4000; i += 2)
            add(i, i + 1);
        assert_true(mux_reassembly_cost(&reassembly) >= pool.allocated);
        for (unsigned i = block + 2; i < block + 4001; i += 2)
            add(i, i + 1);
        assert_int_equal(reassembly.count, 1);
        assert_true(pool.allocated <= 2 * reassembly.held + CHUNK_SMALL_SIZE);
        assert_true(mux_reassembly_cost(&reassembly) >= pool.allocated);
    }
    assert_int_equal(take(1, 4096), 4000);
}

static void pieces_are_bounded(void **state)
{
    (void)state;
    for (unsigned i = 0; i < MUX_PIECES_MAX; i++)
        add(2 * i + 1, 2 * i + 2);
    assert_true(mux_reassembly_cost(&reassembly) >= MUX_PIECES_MAX * (uint64_t)CHUNK_SMALL_SIZE);
    assert_false(mux_reassembly_add(&reassembly, &pool, BYTES - 10, content, 1));
    add(1, BYTES); /* gaps that close need no piece */
    assert_int_equal(reassembly.count, 1);
    assert_int_equal(take(1, 4096), BYTES - 1);
}

static void any_order_comes_out_in_order(void **state)
{
    (void)state;
    for (unsigned seed = 0; seed < 1000; seed++) {
        bool there[BYTES] = {false};
        unsigned at = 0;
        srand(seed);
        while (at < BYTES) {
            unsigned from = at + (unsigned)rand() % (BYTES - at);
            unsigned to = from + 1 + (unsigned)rand() % 900;
            if (rand() % 4 == 0)
                from = at > 40 ? at - 40 : 0;
            to = to > BYTES ? BYTES : to;
            add(from, to);
            memset(there + from, true, (to - from) * sizeof *there);
            unsigned held = 0;
            unsigned left = at;
            while (left < BYTES && there[left])
                left++;
            assert_int_equal(take(at, 1 + (unsigned)rand() % 700), left - at);
            at = left;
            for (unsigned i = at; i < BYTES; i++)
                held += there[i];
            assert_int_equal(reassembly.held, held);
            assert_int_equal(reassembly.chunks, pool.allocated);
        }
        mux_reassembly_clear(&reassembly);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(pieces_join_when_the_gap_closes, begin, end),
        cmocka_unit_test_setup_teardown(bytes_that_are_there_are_not_kept_twice, begin, end),
        cmocka_unit_test_setup_teardown(small_pieces_that_join_take_little, begin, end),
        cmocka_unit_test_setup_teardown(pieces_are_bounded, begin, end),
        cmocka_unit_test_setup_teardown(any_order_comes_out_in_order, begin, end),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
