/* The byte-fed walker, varints, the buffer, unused tag numbers. */
#include "test_kafka_support.h"

#include "kafka/buffer.h"
#include "kafka/tags.h"
#include "kafka/walk.h"

static const struct kafka_step layout[] = {
    {KAFKA_STEP_FIXED, 2},    {KAFKA_STEP_ARRAY, 0}, {KAFKA_STEP_ARRAY32, 0},
    {KAFKA_STEP_STRING16, 0}, {KAFKA_STEP_CLOSE, 0}, {KAFKA_STEP_STRING, 0},
    {KAFKA_STEP_TAGS, 0},     {KAFKA_STEP_CLOSE, 0}, {KAFKA_STEP_END, 0},
};

static enum kafka_walk_result walk(const char *hex, uint64_t size, unsigned piece, size_t *where,
                                   const char **reason)
{
    struct bytes b = {0};
    struct kafka_walk w;
    enum kafka_walk_result result = KAFKA_WALK_MORE;

    bytes_hex(&b, hex);
    kafka_walk_start(&w, layout, size > 0 ? size : b.size);
    *where = 0;
    while (result == KAFKA_WALK_MORE && *where < b.size) {
        size_t used, some = piece > 0 && piece < b.size - *where ? piece : b.size - *where;
        result = kafka_walk_run(&w, b.at + *where, some, &used);
        *where += used;
    }
    *reason = w.taker.reason;
    bytes_free(&b);
    return result;
}

static void finds_the_end_in_any_split(void **state)
{
    (void)state;
    static const struct {
        const char *hex;
        size_t end;
    } cases[] = {
        {"beef 00 77", 3},                                        /* null array */
        {"beef 01 77", 3},                                        /* empty */
        {"beef 02 ffffffff 00 00 77", 9},                         /* all null */
        {"beef 02 00000002 0001aa ffff 03bbbb 00 77", 16},        /* */
        {"beef 03 00000000 01 00 00000001 0000 00 00 7777", 17},  /* two elements */
        {"beef 02 00000000 01 02 0001aa 85808000 02bbbb 77", 19}, /* tags, a padded number */
        {"beef 82808080 00 00000000 01 00 77", 13},               /* a padded count */
    };
    const char *reason;

    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        for (unsigned piece = 0; piece < 5; piece++) {
            size_t where;
            assert_int_equal(walk(cases[i].hex, 0, piece, &where, &reason), KAFKA_WALK_DONE);
            assert_int_equal(where, cases[i].end);
        }
    }
}

static void refuses_what_cannot_be(void **state)
{
    (void)state;
    static const struct {
        const char *hex;
        const char *reason;
    } cases[] = {
        {"beef 8080808080 00", "more than 5 bytes"},
        {"beef ffffffff7f 00", "more than 32 bits"},
        {"beef 09 00000000", "array that the frame cannot hold"},
        {"beef 02 7fffffff 00", "array that the frame cannot hold"},
        {"beef 02 fffffffe 00", "negative length"},
        {"beef 02 00000001 fffe 00", "negative length"},
        {"beef 02 00000001 0009 00", "extends beyond"},
        {"beef 02 00000000 09 00", "extends beyond"},
        {"beef 02 00000000 01 05 0000", "more tags than"},
        {"beef 02 00000000 01 01 00 09 00", "extends beyond"},
        {"beef 02 00000000 01", "middle of a field"},
        {"beef 02 0000", "middle of a field"},
        {"be", "extends beyond"},
    };

    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        for (unsigned piece = 0; piece < 3; piece++) {
            size_t where;
            const char *reason;
            assert_int_equal(walk(cases[i].hex, 0, piece, &where, &reason), KAFKA_WALK_FAILED);
            assert_non_null(strstr(reason, cases[i].reason));
        }
    }
}

static void four_gigabytes_are_skipped_by_a_counter(void **state)
{
    (void)state;
    static const struct kafka_step records[] = {{KAFKA_STEP_STRING, 0}, {KAFKA_STEP_END, 0}};
    static const uint8_t chunk[65536];
    struct kafka_walk w;
    size_t used;
    uint64_t walked = 0;

    kafka_walk_start(&w, records, UINT64_C(1) << 33);
    assert_int_equal(kafka_walk_run(&w, (const uint8_t *)"\xff\xff\xff\xff\x0f", 5, &used), 0);
    while (kafka_walk_run(&w, chunk, sizeof chunk, &used) == KAFKA_WALK_MORE)
        walked += used;
    assert_true(walked + used == UINT32_MAX - 1);
}

static void varints_go_there_and_back(void **state)
{
    (void)state;
    static const uint32_t values[] = {0,       1,       127,       128,       16383,     16384,
                                      2097151, 2097152, 268435455, 268435456, UINT32_MAX};

    for (size_t i = 0; i < sizeof values / sizeof values[0]; i++) {
        uint8_t bytes[KAFKA_UVARINT_MAX];
        struct byte_reader r;
        size_t size = kafka_wire_put_uvarint(bytes, values[i]);
        byte_reader_init(&r, bytes, size);
        assert_true(kafka_wire_uvarint(&r) == values[i]);
        assert_int_equal(byte_reader_left(&r), 0);
        assert_int_equal(kafka_wire_uvarint_size(values[i]), size);
        byte_reader_init(&r, bytes, size - 1);
        kafka_wire_uvarint(&r);
        assert_true(r.failed);
    }
}

static void buffers_keep_to_their_maximum(void **state)
{
    (void)state;
    struct kafka_buffer b = {0};
    static const uint8_t some[1000];

    for (unsigned i = 0; i < 100; i++)
        assert_true(kafka_buffer_append(&b, some, sizeof some, 100000));
    assert_false(kafka_buffer_append(&b, some, 1, 100000));
    assert_int_equal(b.size, 100000);
    assert_true(b.capacity < 2 * 100000 + 1024);
    kafka_buffer_trim(&b);
    assert_int_equal(b.capacity, 0);
    assert_true(kafka_buffer_append(&b, some, 100, 100));
    assert_false(kafka_buffer_append(&b, some, SIZE_MAX, SIZE_MAX - 1));
    kafka_buffer_trim(&b);
    assert_int_equal(b.size, 0);
    assert_true(b.capacity > 0);
    kafka_buffer_free(&b);
}

static void unused_tag_numbers_keep_their_width(void **state)
{
    (void)state;
    struct kafka_tags_used used = {0};

    assert_int_equal(kafka_tags_unused(&used, 0x7f), 127);
    assert_int_equal(kafka_tags_unused(&used, 0x7f), 126);
    for (unsigned i = 0; i < 125; i++)
        assert_in_range(kafka_tags_unused(&used, 0x7f), 1, 125);
    assert_int_equal(kafka_tags_unused(&used, 0x7f), 0);
    assert_int_equal(kafka_tags_unused(&used, 0x3fff), 16383);
    for (unsigned i = 0; i < 16383 - 128; i++)
        assert_in_range(kafka_tags_unused(&used, 0x3fff), 128, 16382);
    assert_int_equal(kafka_tags_unused(&used, 0x3fff), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(finds_the_end_in_any_split),
        cmocka_unit_test(refuses_what_cannot_be),
        cmocka_unit_test(four_gigabytes_are_skipped_by_a_counter),
        cmocka_unit_test(varints_go_there_and_back),
        cmocka_unit_test(buffers_keep_to_their_maximum),
        cmocka_unit_test(unused_tag_numbers_keep_their_width),
    };
    return cmocka_run_group_tests_name("kafka_walk", tests, NULL, NULL);
}
