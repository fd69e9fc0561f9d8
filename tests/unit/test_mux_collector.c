/* What comes in pieces: whole in the end, however it was cut, and in no more memory than it needs.
 */
#include "../lib/cmocka.h"

#include <string.h>

#include "mux/collector.h"
#include "mux/session_core.h"

enum { HEAD = 4, LARGEST = 16 * 1024 + HEAD };

static uint8_t bytes[LARGEST];

static int set_up(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof bytes; i++)
        bytes[i] = (uint8_t)(i * 7 + i / 256);
    return 0;
}

/* The head first, then the rest, so many bytes at a time. */
static void collect(struct mux_collector *collector, size_t size, size_t at_a_time)
{
    for (size_t at = 0; at < size;) {
        size_t want = at < HEAD ? HEAD : size;
        size_t offered = at + at_a_time < size ? at_a_time : size - at;
        size_t taken = mux_collect(collector, bytes + at, offered, want);
        assert_true(taken > 0 && taken <= offered && at + taken <= want);
        at += taken;
        assert_int_equal(collector->fill, at);
        assert_memory_equal(mux_collector_bytes(collector), bytes, at);
    }
}

static void it_is_whole_however_it_was_cut(void **state)
{
    static const size_t sizes[] = {HEAD, HEAD + 1, MUX_COLLECTOR_SMALL, MUX_COLLECTOR_SMALL + 1,
                                   1000, LARGEST};
    struct mux_collector collector = {.fill = 0};

    (void)state;
    for (size_t i = 0; i < sizeof sizes / sizeof sizes[0]; i++) {
        for (size_t cut = 1; cut <= sizes[i]; cut += 1 + cut / 4) {
            collect(&collector, sizes[i], cut);
            mux_collector_clear(&collector);
            assert_int_equal(collector.fill, 0);
        }
    }
}

static void only_what_is_large_gets_memory(void **state)
{
    struct mux_collector collector = {.fill = 0};

    (void)state;
    collect(&collector, MUX_COLLECTOR_SMALL, 3);
    assert_null(collector.large);
    mux_collector_clear(&collector);
    collect(&collector, MUX_COLLECTOR_SMALL + 1, 3);
    assert_non_null(collector.large);
    mux_collector_clear(&collector);
    assert_null(collector.large);
}

/* A server has one of each for every client; most of these are idle. */
static void sessions_and_links_are_small(void **state)
{
    (void)state;
    assert_true(sizeof(struct mux_session) <= 2048);
    assert_true(sizeof(struct mux_link) <= 1024);
    assert_true(sizeof(struct mux_stream) <= 512);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(it_is_whole_however_it_was_cut),
        cmocka_unit_test(only_what_is_large_gets_memory),
        cmocka_unit_test(sessions_and_links_are_small),
    };

    return cmocka_run_group_tests(tests, set_up, NULL);
}
