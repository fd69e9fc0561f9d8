#include "../lib/cmocka.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "ws/decoder.h"
#include "ws/frame.h"
#include "ws/mask.h"

static const uint8_t key[4] = {0x37, 0xfa, 0x21, 0x3d};

/* What a decoder made of some bytes, written down: "D:hello", "P:hello", "C1000:bye", "E1002". */
struct record {
    char text[200000];
    size_t size;
    const char *error;
    bool in_data;
};

static void record_add(struct record *r, const void *bytes, size_t size)
{
    assert_true(r->size + size < sizeof r->text);
    if (size > 0)
        memcpy(r->text + r->size, bytes, size);
    r->size += size;
    r->text[r->size] = '\0';
}

static void record_event(struct record *r, int kind, const struct ws_event *event)
{
    char head[16];

    if (kind == WS_DATA && r->in_data) {
        record_add(r, event->bytes, event->size);
        return;
    }
    r->in_data = kind == WS_DATA;
    if (kind < 0)
        snprintf(head, sizeof head, "E%u", event->code);
    else if (kind == WS_CLOSE)
        snprintf(head, sizeof head, "C%u:", event->code);
    else
        snprintf(head, sizeof head, "%c:", "?DpP"[kind]);
    record_add(r, head, strlen(head));
    record_add(r, event->bytes, event->size);
    r->error = event->error;
}

/* Feeds a copy in parts of at most step bytes (0: random parts); false once the decoder failed. */
static bool feed(struct ws_decoder *d, const void *bytes, size_t size, size_t step,
                 struct record *r)
{
    uint8_t *copy = malloc(size + 1);
    bool alive = true;

    memcpy(copy, bytes, size);
    for (size_t start = 0; start < size && alive;) {
        size_t part = step ? step : 1 + (size_t)(rand() % 9);
        int kind = WS_DATA;

        if (part > size - start)
            part = size - start;
        for (size_t at = start; kind != WS_NEED_MORE && alive;) {
            struct ws_event event;
            size_t consumed;

            kind = ws_decoder_next(d, copy + at, start + part - at, &consumed, &event);
            assert_true(consumed <= start + part - at);
            at += consumed;
            if (kind == WS_DATA) {
                assert_true(event.size > 0);
                assert_ptr_equal(event.bytes + event.size, copy + at);
            }
            if (kind != WS_NEED_MORE)
                record_event(r, kind, &event);
            else
                assert_int_equal(at, start + part);
            alive = kind >= 0;
        }
        start += part;
    }
    free(copy);
    return alive;
}

/* Decodes whole, byte by byte and in random parts; all must give the expected record. */
static void expect(enum ws_role role, const void *bytes, size_t size, const char *expected)
{
    static struct record r;

    for (unsigned round = 0; round < 6; round++) {
        struct ws_decoder d;

        memset(&r, 0, sizeof r);
        ws_decoder_init(&d, role);
        feed(&d, bytes, size, round == 0 ? size : round == 1 ? 1 : 0, &r);
        assert_string_equal(r.text, expected);
    }
}

#define EXPECT(role, bytes, expected) expect(role, bytes, sizeof bytes - 1, expected)

static void the_examples_of_rfc_6455_section_5_7(void **state)
{
    (void)state;
    static char long_frame[10 + 65536];
    static char expected[2 + 65536 + 1];

    EXPECT(WS_ROLE_CLIENT, "\x81\x05Hello", "E1003");
    EXPECT(WS_ROLE_SERVER, "\x81\x85\x37\xfa\x21\x3d\x7f\x9f\x4d\x51\x58", "E1003");
    /* The same two as binary frames. */
    EXPECT(WS_ROLE_CLIENT, "\x82\x05Hello", "D:Hello");
    EXPECT(WS_ROLE_SERVER, "\x82\x85\x37\xfa\x21\x3d\x7f\x9f\x4d\x51\x58", "D:Hello");
    EXPECT(WS_ROLE_CLIENT, "\x02\x03Hel\x80\x02lo", "D:Hello");
    EXPECT(WS_ROLE_CLIENT, "\x89\x05Hello", "p:Hello");
    EXPECT(WS_ROLE_SERVER, "\x8a\x85\x37\xfa\x21\x3d\x7f\x9f\x4d\x51\x58", "P:Hello");

    memset(long_frame, 'x', sizeof long_frame);
    memcpy(long_frame, "\x82\x7e\x01\x00", 4);
    memset(expected, 'x', sizeof expected - 1);
    memcpy(expected, "D:", 2);
    expected[2 + 256] = '\0';
    expect(WS_ROLE_CLIENT, long_frame, 4 + 256, expected);

    memcpy(long_frame, "\x82\x7f\x00\x00\x00\x00\x00\x01\x00\x00", 10);
    expected[2 + 256] = 'x';
    expected[2 + 65536] = '\0';
    expect(WS_ROLE_CLIENT, long_frame, sizeof long_frame, expected);
}

static void message_boundaries_mean_nothing(void **state)
{
    (void)state;
    EXPECT(WS_ROLE_CLIENT,
           "\x82\x01"
           "a\x82\x00\x02\x00\x00\x01"
           "b\x89\x01!\x80\x01"
           "c\x02\x01"
           "d\x80\x00\x8a\x00\x82\x01"
           "e",
           "D:abp:!D:cdP:D:e");
}

static void every_protocol_error_is_found(void **state)
{
    (void)state;
    static const struct {
        enum ws_role role;
        const char *bytes;
        size_t size;
        const char *expected;
        const char *error;
    } cases[] = {
#define CASE(role, bytes, expected, error)                                                         \
    {WS_ROLE_##role, bytes, sizeof bytes - 1, expected, error}
        CASE(CLIENT, "\xc2\x00", "E1002", "reserved bit"),
        CASE(CLIENT, "\xa2\x00", "E1002", "reserved bit"),
        CASE(CLIENT, "\x92\x00", "E1002", "reserved bit"),
        CASE(CLIENT, "\x83\x00", "E1002", "reserved opcode"),
        CASE(CLIENT, "\x87\x00", "E1002", "reserved opcode"),
        CASE(CLIENT, "\x8b\x00", "E1002", "reserved opcode"),
        CASE(CLIENT, "\x8f\x00", "E1002", "reserved opcode"),
        CASE(CLIENT, "\x09\x00", "E1002", "fragmented control"),
        CASE(CLIENT, "\x08\x00", "E1002", "fragmented control"),
        CASE(CLIENT, "\x89\x7e\x00\x7e", "E1002", "more than 125"),
        CASE(CLIENT, "\x88\x7f", "E1002", "more than 125"),
        CASE(CLIENT, "\x82\x7e\x00\x7d", "E1002", "shortest form"),
        CASE(CLIENT, "\x82\x7f\x00\x00\x00\x00\x00\x00\xff\xff", "E1002", "shortest form"),
        CASE(CLIENT, "\x82\x7f\x80\x00\x00\x00\x00\x00\x00\x00", "E1002", "2^63"),
        CASE(CLIENT, "\x82\x80", "E1002", "with a mask"),
        CASE(SERVER, "\x82\x00", "E1002", "without a mask"),
        CASE(SERVER, "\x89\x00", "E1002", "without a mask"),
        CASE(CLIENT, "\x80\x00", "E1002", "without a message"),
        CASE(CLIENT, "\x02\x00\x80\x00\x80\x00", "E1002", "without a message"),
        CASE(CLIENT, "\x02\x00\x82\x00", "E1002", "inside a fragmented"),
        CASE(CLIENT, "\x01\x00", "E1003", "text"),
        CASE(CLIENT, "\x88\x01\x03", "E1002", "half a code"),
        CASE(CLIENT, "\x88\x02\x03\xe7", "E1002", "may not be sent"), /* 999 */
        CASE(CLIENT, "\x88\x02\x03\xec", "E1002", "may not be sent"), /* 1004 */
        CASE(CLIENT, "\x88\x02\x03\xed", "E1002", "may not be sent"), /* 1005 */
        CASE(CLIENT, "\x88\x02\x03\xee", "E1002", "may not be sent"), /* 1006 */
        CASE(CLIENT, "\x88\x02\x03\xf7", "E1002", "may not be sent"), /* 1015 */
        CASE(CLIENT, "\x88\x02\x0b\xb7", "E1002", "may not be sent"), /* 2999 */
        CASE(CLIENT, "\x88\x02\x13\x88", "E1002", "may not be sent"), /* 5000 */
        CASE(CLIENT, "\x88\x03\x03\xe8\xff", "E1007", "not UTF-8"),
        CASE(CLIENT, "\x82\x01z\x83\x00", "D:zE1002", "reserved opcode"),
#undef CASE
    };

    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        static struct record r;
        struct ws_decoder d;
        struct ws_event event;
        uint8_t more[] = {0x82, 0x00};
        size_t consumed = 9;

        expect(cases[i].role, cases[i].bytes, cases[i].size, cases[i].expected);

        memset(&r, 0, sizeof r);
        ws_decoder_init(&d, cases[i].role);
        assert_false(feed(&d, cases[i].bytes, cases[i].size, cases[i].size, &r));
        assert_non_null(strstr(r.error, cases[i].error));
        /* It stays failed. */
        assert_int_equal(ws_decoder_next(&d, more, sizeof more, &consumed, &event), -1);
        assert_int_equal(consumed, 0);
        assert_ptr_equal(event.error, r.error);
    }
}

static void close_frames(void **state)
{
    (void)state;
    char frame[4 + 124];

    EXPECT(WS_ROLE_CLIENT, "\x88\x00", "C1005:");
    EXPECT(WS_ROLE_CLIENT, "\x88\x02\x03\xe8", "C1000:");
    EXPECT(WS_ROLE_CLIENT,
           "\x88\x05\x03\xe9"
           "bye",
           "C1001:bye");
    EXPECT(WS_ROLE_CLIENT, "\x88\x02\x0f\xa0", "C4000:");
    EXPECT(WS_ROLE_CLIENT, "\x88\x02\x03\xf6", "C1014:");
    /* What follows a close frame is not looked at, be it right or wrong. */
    EXPECT(WS_ROLE_CLIENT, "\x88\x00\x82\x01x\xff\xff\xff", "C1005:");

    memset(frame, 'r', sizeof frame);
    memcpy(frame, "\x88\x7d\x03\xe8", 4);
    char expected[7 + 123] = "C1000:";
    memset(expected + 6, 'r', 123);
    expected[6 + 123] = '\0';
    expect(WS_ROLE_CLIENT, frame, 4 + 123, expected);
}

/* A frame of 2^63 - 1 bytes is no reason to fail, nor to remember anything. */
static void the_largest_frame_is_streamed(void **state)
{
    (void)state;
    struct ws_decoder d;
    struct ws_event event;
    uint8_t bytes[] = "\x82\x7f\x7f\xff\xff\xff\xff\xff\xff\xff"
                      "abc";
    size_t consumed;

    ws_decoder_init(&d, WS_ROLE_CLIENT);
    for (int i = 0; i < 5; i++) {
        assert_int_equal(ws_decoder_next(&d, i ? bytes + 10 : bytes, i ? 3 : 13, &consumed, &event),
                         WS_DATA);
        assert_int_equal(event.size, 3);
        assert_ptr_equal(event.bytes, bytes + 10);
        assert_int_equal(consumed, i ? 3 : 13);
    }
}

static void nothing_in_nothing_out(void **state)
{
    (void)state;
    struct ws_decoder d;
    struct ws_event event;
    size_t consumed = 9;

    ws_decoder_init(&d, WS_ROLE_SERVER);
    assert_int_equal(ws_decoder_next(&d, NULL, 0, &consumed, &event), WS_NEED_MORE);
    assert_int_equal(consumed, 0);
}

static void headers_of_every_size(void **state)
{
    (void)state;
    static const struct {
        uint64_t payload;
        const char *header;
        size_t size;
    } cases[] = {
        {0, "\x82\x00", 2},
        {125, "\x82\x7d", 2},
        {126, "\x82\x7e\x00\x7e", 4},
        {65535, "\x82\x7e\xff\xff", 4},
        {65536, "\x82\x7f\x00\x00\x00\x00\x00\x01\x00\x00", 10},
        {INT64_MAX, "\x82\x7f\x7f\xff\xff\xff\xff\xff\xff\xff", 10},
    };

    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        uint8_t out[WS_HEADER_MAX];
        size_t size = cases[i].size;

        assert_int_equal(ws_frame_header(out, WS_OPCODE_BINARY, cases[i].payload, NULL), size);
        assert_memory_equal(out, cases[i].header, size);
        assert_int_equal(ws_frame_header(out, WS_OPCODE_BINARY, cases[i].payload, key), size + 4);
        assert_int_equal(out[1], (uint8_t)cases[i].header[1] | 0x80);
        assert_memory_equal(out + 2, cases[i].header + 2, size - 2);
        assert_memory_equal(out + size, key, 4);
    }
}

static void control_frames_come_back(void **state)
{
    (void)state;
    uint8_t out[WS_CONTROL_FRAME_MAX];
    char payload[WS_CONTROL_PAYLOAD_MAX + 1];
    char expected[2 + sizeof payload] = "P:";

    assert_int_equal(ws_frame_pong(out, "Hello", 5, NULL), 7);
    assert_memory_equal(out, "\x8a\x05Hello", 7);
    assert_int_equal(ws_frame_pong(out, "Hello", 5, key), 11);
    assert_memory_equal(out, "\x8a\x85\x37\xfa\x21\x3d\x7f\x9f\x4d\x51\x58", 11);
    assert_int_equal(ws_frame_pong(out, NULL, 0, NULL), 2);

    memset(payload, 'x', sizeof payload - 1);
    payload[sizeof payload - 1] = '\0';
    strcpy(expected + 2, payload);
    size_t size = ws_frame_pong(out, payload, WS_CONTROL_PAYLOAD_MAX, key);
    assert_int_equal(size, WS_CONTROL_FRAME_MAX);
    expect(WS_ROLE_SERVER, out, size, expected);
}

static void close_frames_come_back(void **state)
{
    (void)state;
    uint8_t out[WS_CONTROL_FRAME_MAX];
    char reason[200];
    char expected[200] = "C1000:";

    expect(WS_ROLE_SERVER, out, ws_frame_close(out, WS_CLOSE_NO_STATUS, "unsent", key), "C1005:");
    expect(WS_ROLE_CLIENT, out, ws_frame_close(out, WS_CLOSE_NORMAL, NULL, NULL), "C1000:");
    expect(WS_ROLE_SERVER, out, ws_frame_close(out, WS_CLOSE_GOING_AWAY, "bye", key), "C1001:bye");

    /* 122 letters, then a character of two bytes that would end at 124: it is left out whole. */
    memset(reason, 'r', sizeof reason);
    memcpy(reason + 122, "\xc3\xbc", 3);
    memset(expected + 6, 'r', 122);
    size_t size = ws_frame_close(out, WS_CLOSE_NORMAL, reason, NULL);
    assert_int_equal(size, 2 + 2 + 122);
    expect(WS_ROLE_CLIENT, out, size, expected);
}

static void a_fragmented_masked_stream_comes_back(void **state)
{
    (void)state;
    static uint8_t wire[300000];
    static struct record r;
    static uint8_t payload[100000];
    struct ws_decoder d;
    size_t size = 0;
    size_t sent = 0;

    for (size_t i = 0; i < sizeof payload; i++)
        payload[i] = (uint8_t)(rand() >> 7);
    while (sent < sizeof payload) {
        size_t part = (size_t)rand() % 3000;
        uint8_t mask_key[4] = {(uint8_t)rand(), (uint8_t)rand(), (uint8_t)rand(), (uint8_t)rand()};

        if (part > sizeof payload - sent)
            part = sizeof payload - sent;
        size += ws_frame_header(wire + size, WS_OPCODE_BINARY, part, mask_key);
        memcpy(wire + size, payload + sent, part);
        ws_mask(wire + size, part, mask_key, 0);
        size += part;
        sent += part;
    }
    for (size_t step = 0; step < 5000; step = step * 3 + 1) {
        memset(&r, 0, sizeof r);
        ws_decoder_init(&d, WS_ROLE_SERVER);
        assert_true(feed(&d, wire, size, step, &r));
        assert_int_equal(r.size, 2 + sizeof payload);
        assert_memory_equal(r.text + 2, payload, sizeof payload);
    }
}

/* Against the definition in section 5.3, for every alignment, offset and size around the blocks. */
static void masks_at_every_alignment(void **state)
{
    (void)state;
    uint8_t source[16 + 200];
    uint8_t target[16 + 200];

    for (size_t i = 0; i < sizeof source; i++)
        source[i] = (uint8_t)(i * 7 + 3);
    for (size_t align = 0; align < 16; align++) {
        for (size_t size = 0; size <= 150; size++) {
            for (uint64_t offset = 0; offset < 5; offset++) {
                memset(target, 0xee, sizeof target);
                memcpy(target + align, source + 1, size);
                ws_mask(target + align, size, key, offset);
                for (size_t i = 0; i < size; i++)
                    assert_true(target[align + i] == (source[1 + i] ^ key[(i + offset) % 4]));
                assert_true(target[align + size] == 0xee);
                assert_true(align == 0 || target[align - 1] == 0xee);

                ws_mask(target + align, size, key, offset);
                assert_memory_equal(target + align, source + 1, size);
                assert_true(target[align + size] == 0xee);
                assert_true(align == 0 || target[align - 1] == 0xee);
            }
        }
    }
}

/* The source stays as it is, and nothing around the copy is touched. */
static void masks_a_copy_at_every_alignment(void **state)
{
    uint8_t source[16 + 200];
    uint8_t before[sizeof source];
    uint8_t target[16 + 200];

    (void)state;
    for (size_t i = 0; i < sizeof source; i++)
        before[i] = source[i] = (uint8_t)(i * 11 + 5);
    for (size_t align = 0; align < 16; align++) {
        for (size_t size = 0; size <= 150; size++) {
            const uint64_t offset = align + size;
            const uint8_t *from = source + (size * 3) % 17;

            memset(target, 0xee, sizeof target);
            ws_mask_copy(target + align, from, size, key, offset);
            for (size_t i = 0; i < size; i++)
                assert_true(target[align + i] == (from[i] ^ key[(i + offset) % 4]));
            assert_true(target[align + size] == 0xee);
            assert_true(align == 0 || target[align - 1] == 0xee);
            assert_memory_equal(source, before, sizeof source);
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_examples_of_rfc_6455_section_5_7),
        cmocka_unit_test(message_boundaries_mean_nothing),
        cmocka_unit_test(every_protocol_error_is_found),
        cmocka_unit_test(close_frames),
        cmocka_unit_test(the_largest_frame_is_streamed),
        cmocka_unit_test(nothing_in_nothing_out),
        cmocka_unit_test(headers_of_every_size),
        cmocka_unit_test(control_frames_come_back),
        cmocka_unit_test(close_frames_come_back),
        cmocka_unit_test(a_fragmented_masked_stream_comes_back),
        cmocka_unit_test(masks_at_every_alignment),
        cmocka_unit_test(masks_a_copy_at_every_alignment),
    };
    srand(6455);
    return cmocka_run_group_tests_name("ws", tests, NULL, NULL);
}
