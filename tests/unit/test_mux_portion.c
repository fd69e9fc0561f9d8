/* How much of a session's bytes moves at a time. */
#include "../lib/cmocka.h"

#include "mux/portion.h"

enum { MS = 1000, FRAME = 16376, MESSAGE = 128 };

static struct mux_portion portion;
static uint64_t bulk_us, message_us; /* of two streams */
static uint64_t now;

static int set_up(void **state)
{
    (void)state;
    portion = (struct mux_portion){0};
    bulk_us = message_us = 0;
    now = 1000 * MS;
    return 0;
}

static size_t size(void)
{
    return mux_portion_size(&portion, now);
}

static void bulk(size_t bytes)
{
    mux_portion_note(&portion, &bulk_us, bytes, now);
}

static void message(void)
{
    mux_portion_note(&portion, &message_us, MESSAGE, now);
}

static void either_alone_moves_as_it_likes(void **state)
{
    (void)state;
    assert_int_equal(size(), SIZE_MAX);
    bulk(FRAME);
    assert_int_equal(size(), SIZE_MAX);
    portion = (struct mux_portion){0};
    message();
    assert_int_equal(size(), SIZE_MAX);
}

static void beside_messages_bulk_moves_in_portions(void **state)
{
    (void)state;
    bulk(FRAME);
    now += 50 * MS;
    message();
    assert_int_equal(size(), MUX_PORTION);
    now += 49 * MS;
    assert_int_equal(size(), MUX_PORTION);
    now += MS; /* no bulk for a while */
    assert_int_equal(size(), SIZE_MAX);
    bulk(FRAME);
    assert_int_equal(size(), MUX_PORTION);
    now += 50 * MS; /* no message */
    bulk(FRAME);
    assert_int_equal(size(), SIZE_MAX);
}

static void the_end_of_bulk_is_no_message(void **state)
{
    (void)state;
    for (int i = 0; i < 10; i++) {
        bulk(FRAME);
        bulk(MESSAGE);
        now += MS;
        assert_int_equal(size(), SIZE_MAX);
    }
    now += 100 * MS; /* by now that stream may have other things to say */
    bulk(MESSAGE);
    mux_portion_note(&portion, &message_us, FRAME, now);
    assert_int_equal(size(), MUX_PORTION);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(either_alone_moves_as_it_likes, set_up),
        cmocka_unit_test_setup(beside_messages_bulk_moves_in_portions, set_up),
        cmocka_unit_test_setup(the_end_of_bulk_is_no_message, set_up),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
