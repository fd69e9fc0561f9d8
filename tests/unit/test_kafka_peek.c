#include "../lib/cmocka.h"

#include <string.h>

#include "kafka/peek.h"

/* ApiVersions v3, correlation id 1, client id "abc", no tags, software "lib" "1.2", no tags. */
static const uint8_t api_versions[] = {0,   0,   0,   22, 0, 18,  0,   3,   0, 0,   0,   1,   0, 3,
                                       'a', 'b', 'c', 0,  4, 'l', 'i', 'b', 4, '1', '.', '2', 0};
/* Metadata v1, client id "it?": a quote in the bytes. */
static const uint8_t metadata[] = {0, 0, 0, 17,  0,   3,   0, 1, 0, 0, 0,
                                   7, 0, 3, 'i', 't', '"', 0, 0, 0, 0};

/* SaslHandshake v1, SCRAM-SHA-256; SaslAuthenticate v2 with the first message of that. */
static const uint8_t handshake[] = {0,   0,   0,   28,  0,   17,  0,   1,   0,   0,   0,
                                    2,   0,   3,   'a', 'b', 'c', 0,   13,  'S', 'C', 'R',
                                    'A', 'M', '-', 'S', 'H', 'A', '-', '2', '5', '6'};
static const uint8_t scram[] = {0,   0,   0,   28,  0,   36,  0,   2,   0,   0,   0,
                                3,   0,   3,   'a', 'b', 'c', 0,   14,  'n', ',', ',',
                                'n', '=', '"', 'o', 'e', ',', 'r', '=', 'x', 0};
/* SaslHandshake v0, PLAIN; its token, which stands in no request. */
static const uint8_t handshake_0[] = {0, 0, 0,   20,  0,   17, 0, 0,   0,   0,   0,   2,
                                      0, 3, 'a', 'b', 'c', 0,  5, 'P', 'L', 'A', 'I', 'N'};
static const uint8_t token[] = {0, 0,   0,   16,  0,   's', 'v', 'c', '-', 'a',
                                0, 'h', 'u', 's', 'h', ' ', 'h', 'u', 's', 'h'};

static void peek_at(struct kafka_peek *peek, const uint8_t *bytes, size_t size, size_t step)
{
    kafka_peek_init(peek);
    for (size_t at = 0; at < size; at += step)
        kafka_peek_requests(peek, bytes + at, size - at < step ? size - at : step);
}

static void finds_id_and_software_in_any_split(void **state)
{
    (void)state;
    struct kafka_peek peek;
    uint8_t bytes[sizeof api_versions];

    memcpy(bytes, api_versions, sizeof bytes);
    bytes[3] = sizeof bytes - 4;
    for (size_t step = 1; step <= sizeof bytes; step++) {
        peek_at(&peek, bytes, sizeof bytes, step);
        assert_string_equal(peek.client_id, "abc");
        assert_string_equal(peek.software, "lib");
        assert_string_equal(peek.software_version, "1.2");
        kafka_peek_end(&peek);
    }
    /* Not before the frame is whole. */
    peek_at(&peek, bytes, sizeof bytes - 1, 1);
    assert_false(peek.done);
    assert_string_equal(peek.client_id, "");
    /* The next frame is nobody's business. */
    kafka_peek_requests(&peek, bytes + sizeof bytes - 1, 1);
    kafka_peek_requests(&peek, metadata, sizeof metadata);
    assert_string_equal(peek.client_id, "abc");
    assert_true(peek.done);
    assert_null(peek.look);
}

static size_t put(uint8_t *bytes, size_t size, const void *more, size_t count)
{
    memcpy(bytes + size, more, count);
    return size + count;
}

static void finds_who_logs_in(void **state)
{
    uint8_t bytes[200];
    size_t size = 0;

    (void)state;
    size = put(bytes, size, api_versions, sizeof api_versions);
    bytes[3] = sizeof api_versions - 4;
    size = put(bytes, size, handshake, sizeof handshake);
    size = put(bytes, size, scram, sizeof scram);
    for (size_t step = 1; step <= size; step++) {
        struct kafka_peek peek;
        peek_at(&peek, bytes, size, step);
        assert_string_equal(peek.user, "?oe");
        assert_string_equal(peek.software, "lib");
        /* There is nothing to learn from what comes after a login. */
        assert_false(peek.done);
        kafka_peek_requests(&peek, metadata, sizeof metadata);
        assert_true(peek.done);
        kafka_peek_requests(&peek, handshake_0, sizeof handshake_0);
        kafka_peek_requests(&peek, token, sizeof token);
        assert_string_equal(peek.user, "?oe");
    }
    /* Half a name is none. */
    struct kafka_peek peek;
    peek_at(&peek, bytes, size - sizeof scram + 26, 1);
    assert_string_equal(peek.user, "");
    kafka_peek_end(&peek);
}

static void finds_who_logs_in_with_tokens_alone(void **state)
{
    struct kafka_peek peek;
    uint8_t bytes[100];
    size_t size = put(bytes, 0, handshake_0, sizeof handshake_0);

    (void)state;
    size = put(bytes, size, token, sizeof token);
    for (size_t step = 1; step <= size; step++) {
        peek_at(&peek, bytes, size, step);
        assert_string_equal(peek.user, "svc-a");
        /* What stands behind a name is not kept while more may come: neither here nor there. */
        assert_null(memmem(&peek, sizeof peek, "hush", 4));
        assert_null(memmem(peek.look, 320, "hush", 4));
        kafka_peek_end(&peek);
        assert_string_equal(peek.user, "svc-a");
    }
}

static void other_requests_have_an_id_only(void **state)
{
    (void)state;
    struct kafka_peek peek;

    peek_at(&peek, metadata, sizeof metadata, 3);
    assert_true(peek.done);
    assert_string_equal(peek.client_id, "it?");
    assert_string_equal(peek.software, "");
}

static void large_requests_are_looked_at_as_far_as_they_go(void **state)
{
    (void)state;
    struct kafka_peek peek;
    uint8_t bytes[5000] = {0, 0x10, 0, 0, 0, 0, 0, 9, 0, 0, 0, 1, 0x03, 0xe8};

    memset(bytes + 14, 'x', sizeof bytes - 14); /* a client id of 1000 bytes: beyond what is read */
    peek_at(&peek, bytes, sizeof bytes, 1000);
    assert_true(peek.done);
    assert_string_equal(peek.client_id, "");
    bytes[12] = 0;
    bytes[13] = 200;
    peek_at(&peek, bytes, sizeof bytes, 1);
    assert_int_equal(strlen(peek.client_id), KAFKA_PEEK_TEXT);
}

/* Any bytes at all: nothing is read beyond what is there, and every text is plain. */
static void survives_anything(void **state)
{
    (void)state;
    uint32_t random = 1;

    for (unsigned round = 0; round < 20000; round++) {
        struct kafka_peek peek;
        uint8_t bytes[400];
        for (size_t i = 0; i < sizeof bytes; i++) {
            random = random * 1664525 + 1013904223;
            bytes[i] = (uint8_t)(random >> 24);
        }
        if (round % 2) {
            memcpy(bytes, api_versions, 12 + round % 15);
            bytes[2] = 0;
            bytes[3] = (uint8_t)(random >> 16);
        }
        peek_at(&peek, bytes, sizeof bytes, 1 + round % 50);
        const char *texts[] = {peek.client_id, peek.software, peek.software_version, peek.user};
        for (size_t i = 0; i < 4; i++)
            for (const char *c = texts[i]; *c != '\0'; c++)
                assert_true(*c >= 0x20 && *c < 0x7f && *c != '"' && *c != '\\');
        kafka_peek_end(&peek);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(finds_id_and_software_in_any_split),
        cmocka_unit_test(finds_who_logs_in),
        cmocka_unit_test(finds_who_logs_in_with_tokens_alone),
        cmocka_unit_test(other_requests_have_an_id_only),
        cmocka_unit_test(large_requests_are_looked_at_as_far_as_they_go),
        cmocka_unit_test(survives_anything),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
