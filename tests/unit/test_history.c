/* The ring of figures behind the status page: what it keeps, for how long, and in how many bytes.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "monitoring/history.h"

static const struct history_field fields[] = {{"bytes", true}, {"links", false}};

static void expect_json(const struct history *history, const char *expected)
{
    struct json_writer json;
    struct text text;

    text_init(&text, 1 << 20);
    json_writer_init(&json, &text);
    json_put_object(&json, NULL);
    history_write(history, &json);
    json_put_end(&json);
    text_bytes(&text, "", 1);
    assert_string_equal(text.bytes, expected);
    text_clear(&text);
}

static void add(struct history *history, uint64_t ms, uint64_t bytes, uint64_t links)
{
    history_add(history, ms * 1000, (const uint64_t[]){bytes, links});
}

#define HEAD "{\"period_ms\":1000,\"fields\":[\"bytes\",\"links\"],\"samples\":"

static void counters_grow_and_the_rest_is(void **state)
{
    (void)state;
    struct history history;

    history_init(&history, fields, 2);
    expect_json(&history, HEAD "[]}");
    add(&history, 1000, 5000, 1);
    add(&history, 2000, 5100, 2);
    add(&history, 3400, 5100, 0);
    add(&history, 4000, 5107, 1);
    expect_json(&history, HEAD "[[5000,1],[100,2],[0,0],[7,1]]}");
    /* A counter that begins again is no fountain of bytes. */
    add(&history, 5000, 3, 1);
    add(&history, 6000, 10, 1);
    expect_json(&history, HEAD "[[5000,1],[100,2],[0,0],[7,1],[0,1],[7,1]]}");
}

static void sleep_leaves_a_gap(void **state)
{
    (void)state;
    struct history history;

    history_init(&history, fields, 2);
    add(&history, 1000, 0, 1);
    /* Late, but of the next second. */
    add(&history, 3400, 10, 1);
    add(&history, 6400, 30, 1);
    expect_json(&history, HEAD "[[0,1],[10,1],null,null,[20,1]]}");
    /* For longer than the ring reaches. */
    add(&history, 90 * 24 * 3600 * UINT64_C(1000), 31, 4);
    assert_int_equal(history.count, HISTORY_SAMPLES);
    add(&history, 90 * 24 * 3600 * UINT64_C(1000) + 1000, 33, 5);
    size_t newest = (history.next + HISTORY_SAMPLES - 1) % HISTORY_SAMPLES;
    assert_int_equal(history.samples[newest][0], 2);
    assert_int_equal(history.samples[(newest + 1) % HISTORY_SAMPLES][0], UINT64_MAX);
}

/* Ten minutes, whatever is added. */
static void its_size_is_fixed(void **state)
{
    (void)state;
    struct history history;

    assert_true(sizeof history <= HISTORY_BYTES + 200);
    assert_true(sizeof history < 32 * 1024);
    history_init(&history, fields, 2);
    for (uint64_t second = 1; second <= 3 * HISTORY_SAMPLES + 7; second++)
        add(&history, second * 1000, second * second, second);
    assert_int_equal(history.count, HISTORY_SAMPLES);
    size_t oldest = history.next;
    uint64_t first = 2 * HISTORY_SAMPLES + 8;
    for (size_t i = 0; i < HISTORY_SAMPLES; i++) {
        const uint64_t *sample = history.samples[(oldest + i) % HISTORY_SAMPLES];
        assert_int_equal(sample[1], first + i);
        assert_int_equal(sample[0], 2 * (first + i) - 1);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(counters_grow_and_the_rest_is),
        cmocka_unit_test(sleep_leaves_a_gap),
        cmocka_unit_test(its_size_is_fixed),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
