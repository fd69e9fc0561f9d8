#include "../lib/cmocka.h"

#include "base/bytes.h"

static void reads_what_was_written(void **state)
{
    (void)state;
    uint8_t buffer[32];
    struct byte_writer w;
    struct byte_reader r;

    byte_writer_init(&w, buffer, sizeof buffer);
    byte_writer_u8(&w, 0xab);
    byte_writer_u16(&w, 0x1234);
    byte_writer_u32(&w, 0xdeadbeef);
    byte_writer_u64(&w, 0x0102030405060708);
    byte_writer_bytes(&w, "kafka", 5);
    assert_false(w.failed);
    assert_int_equal(byte_writer_size(&w), 20);
    assert_int_equal(buffer[1], 0x12);

    byte_reader_init(&r, buffer, byte_writer_size(&w));
    assert_int_equal(byte_reader_u8(&r), 0xab);
    assert_int_equal(byte_reader_u16(&r), 0x1234);
    assert_int_equal(byte_reader_u32(&r), 0xdeadbeef);
    assert_true(byte_reader_u64(&r) == 0x0102030405060708);
    assert_memory_equal(byte_reader_bytes(&r, 5), "kafka", 5);
    assert_int_equal(byte_reader_left(&r), 0);
    assert_false(r.failed);
}

static void a_failed_reader_stays_failed(void **state)
{
    (void)state;
    uint8_t bytes[3] = {1, 2, 3};
    struct byte_reader r;

    byte_reader_init(&r, bytes, sizeof bytes);
    assert_int_equal(byte_reader_u32(&r), 0);
    assert_true(r.failed);
    assert_int_equal(byte_reader_u8(&r), 0);
    assert_int_equal(byte_reader_left(&r), 0);
    assert_null(byte_reader_bytes(&r, 0));
}

static void a_full_writer_writes_nothing_more(void **state)
{
    (void)state;
    uint8_t buffer[4] = {9, 9, 9, 9};
    struct byte_writer w;

    byte_writer_init(&w, buffer, 3);
    byte_writer_u16(&w, 0x0102);
    byte_writer_u16(&w, 0x0304);
    byte_writer_u8(&w, 5);
    assert_true(w.failed);
    assert_int_equal(byte_writer_size(&w), 2);
    assert_int_equal(buffer[2], 9);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(reads_what_was_written),
        cmocka_unit_test(a_failed_reader_stays_failed),
        cmocka_unit_test(a_full_writer_writes_nothing_more),
    };
    return cmocka_run_group_tests_name("bytes", tests, NULL, NULL);
}
