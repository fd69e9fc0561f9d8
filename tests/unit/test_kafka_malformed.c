/* What peers must not send: that connection closes, with a reason, and nothing is forwarded. */
#include "test_kafka_support.h"

struct bad {
    int16_t key;
    int16_t version;
    const char *response; /* whole, correlation id 7, or as much as it takes */
    int error;
    const char *reason;
    size_t forwarded; /* bytes that were good */
};

static void check(const struct bad *bad, uint32_t split)
{
    static const struct kafka_filter_limits limits = {.prefix = 4096, .frame = 4096, .tail = 1024};
    struct book book;
    struct kafka_filter *f = new_filter(&book, &limits);
    struct bytes b = {0}, output = {0};

    add_request(&b, bad->key, bad->version, 7);
    send_requests(f, &b);
    b.size = 0;
    bytes_hex(&b, bad->response);
    int result = feed_split(f, b.at, b.size, split, &output);
    if (result != bad->error || !strstr(kafka_filter_reason(f), bad->reason))
        fail_msg("key %d v%d \"%s\": result %d, reason \"%s\"", bad->key, bad->version,
                 bad->response, result, kafka_filter_reason(f));
    assert_int_equal(output.size, bad->forwarded);
    /* And it stays closed. */
    assert_int_equal(kafka_filter_requests(f, b.at, b.size), bad->error);
    assert_int_equal(feed(f, b.at, b.size, &output), bad->error);
    bytes_free(&b);
    bytes_free(&output);
    kafka_filter_free(f);
}

static void bad_responses_close(void **state)
{
    (void)state;
    static const struct bad cases[] = {
        /* Framing. */
        {3, 0, "ffffffff 00000007", KAFKA_FILTER_EFRAME, "invalid length -1", 0},
        {3, 0, "80000000", KAFKA_FILTER_EFRAME, "invalid length", 0},
        {3, 0, "00000000", KAFKA_FILTER_EFRAME, "invalid length 0", 0},
        {3, 0, "00000003 000000", KAFKA_FILTER_EFRAME, "invalid length 3", 0},
        {3, 0, "00000008 00000008 00000000", KAFKA_FILTER_ECORRELATION, "id 8 does not answer", 0},
        /* Metadata. */
        {3, 0, "00000008 00000007 fffffffe", KAFKA_FILTER_EFRAME, "negative length", 0},
        {3, 0, "00000008 00000007 7fffffff", KAFKA_FILTER_EFRAME, "cannot hold", 0},
        {3, 1, "0000000e 00000007 00000001 00000001 0005", KAFKA_FILTER_EFRAME, "beyond", 0},
        {3, 9, "0000000f 00000007 00 00000000 808080808000", KAFKA_FILTER_EFRAME, "5 bytes", 0},
        {3, 9, "00000011 00000007 00 00000000 02 00000001 ff7f", KAFKA_FILTER_EFRAME, "beyond", 0},
        {3, 9, "7fffffff 00000007 01 00 ffffffff07", KAFKA_FILTER_EFRAME, "Metadata v9", 0},
        {3, 14, "00000006 00000007 05 00", KAFKA_FILTER_EFRAME, "Metadata v14 response", 0},
        {3, 9, "0000000a 00000007 00 00000000 02 ", KAFKA_FILTER_EFRAME, "cannot hold", 0},
        /* Nothing after the correlation id: no later byte tells. */
        {3, 0, "00000004 00000007", KAFKA_FILTER_EFRAME, "before its first field", 0},
        {3, 12, "00000004 00000007", KAFKA_FILTER_EFRAME, "before its first field", 0},
        {1, 16, "00000004 00000007", KAFKA_FILTER_EFRAME, "before its first field", 0},
        {78, 1, "00000004 00000007", KAFKA_FILTER_EFRAME, "before its first field", 0},
        {79, 2, "00000004 00000007", KAFKA_FILTER_EFRAME, "before its first field", 0},
        {0, 10, "00000004 00000007", KAFKA_FILTER_EFRAME, "middle of a field", 0},
        {60, 0, "00000004 00000007", KAFKA_FILTER_EFRAME, "beyond its end", 0},
        {18, 3, "00000004 00000007", KAFKA_FILTER_EFRAME, "beyond its end", 0},
        /* FindCoordinator and DescribeCluster. */
        {10, 0, "00000004 00000007", KAFKA_FILTER_EFRAME, "beyond its end", 0},
        {10, 1, "0000000a 00000007 00000000 0000", KAFKA_FILTER_EFRAME, "beyond its end", 0},
        {10, 4, "0000000a 00000007 00 00000000 7f", KAFKA_FILTER_EFRAME, "FindCoordinator v4", 0},
        {10, 4, "00001001 00000007", KAFKA_FILTER_ELIMIT, "too large", 0},
        {60, 0, "0000000c 00000007 00 00000000 0000 02", KAFKA_FILTER_EFRAME, "beyond", 0},
        /* Produce: the tag is longer than the frame, and not as long as its payload. */
        {0, 10, "0000000d 00000007 00 01 00000000 01 00 05", KAFKA_FILTER_EFRAME, "beyond", 0},
        {0, 10, "0000000f 00000007 00 01 00000000 01 00 02 01 00", KAFKA_FILTER_EFRAME, "size", 0},
        {0, 10, "0000000c 00000007 00 01 00000000 00 00", KAFKA_FILTER_EFRAME, "after its last", 0},
        {0, 10, "00000006 00000007 00 05", KAFKA_FILTER_EFRAME, "cannot hold", 0},
        /* Fetch: what comes before the damage has been forwarded, the tail has not. */
        {1, 16, "00000012 00000007 00 00000000 0000 00000000 01 01 00", KAFKA_FILTER_EFRAME,
         "beyond its end", 20},
        {1, 16, "00000014 00000007 00 00000000 0000 00000000 01 01 00 05 00", KAFKA_FILTER_EFRAME,
         "beyond its end", 20},
        {1, 16, "00000012 00000007 00 00000000 0000 00000000 01 00 00", KAFKA_FILTER_EFRAME,
         "after its last", 20},
        {1, 16, "00000010 00000007 00 00000000 0000 00000000 01", KAFKA_FILTER_EFRAME,
         "before its last", 20},
        {1, 16, "00001000 00000007 00 00000000 0000 00000000 01", KAFKA_FILTER_ELIMIT,
         "after its last partition", 20},
        {1, 16, "00000010 00000007 00 00000000 0000 00000000 05", KAFKA_FILTER_EFRAME,
         "cannot hold", 20},
        /* The share APIs. */
        {78, 0, "0000000f 00000007 00 00000000 0000 00 01 02 00", KAFKA_FILTER_EFRAME,
         "beyond its end", 17},
        {79, 2, "00000013 00000007 00 00000000 0000 00 00000000 01 01 05", KAFKA_FILTER_EFRAME,
         "beyond its end", 21},
        /* ApiVersions in a version that is known. */
        {18, 0, "0000000a 00000007 0000 00000009", KAFKA_FILTER_EFRAME, "ApiVersions v0", 0},
    };

    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        check(&cases[i], SPLIT_WHOLE);
        check(&cases[i], SPLIT_BYTES);
        for (uint32_t split = 2; split < 20; split++)
            check(&cases[i], split);
    }
}

static void bad_requests_close(void **state)
{
    (void)state;
    static const struct {
        const char *request;
        int error;
        const char *reason;
    } cases[] = {
        {"ffffffff", KAFKA_FILTER_EFRAME, "negative length"},
        {"00000000", KAFKA_FILTER_EFRAME, "too short"},
        {"00000007 00030000 000000", KAFKA_FILTER_EFRAME, "too short"},
        {"0000000a 00000009 00000001 0005", KAFKA_FILTER_EFRAME, "client id"},
        {"0000000c 00000009 00000001 ffff 00 05", KAFKA_FILTER_EFRAME, "beyond the frame"},
        {"0000000c 00000009 00000001 ffff 00 00", KAFKA_FILTER_EFRAME, "before acks"},
        {"0000000b 00000003 00000001 ffff 00", KAFKA_FILTER_EFRAME, "middle of a field"},
        {"00000010 00000009 00000001 ffff 8080808080 00", KAFKA_FILTER_EFRAME, "5 bytes"},
        {"0000000c 00110000 00000001 ffff 0001", KAFKA_FILTER_EFRAME, "mechanism"},
        {"0000000a 0001 0013 00000001 ffff", KAFKA_FILTER_EVERSION, "Fetch v19"},
        {"0000000a 0001 ffff 00000001 ffff", KAFKA_FILTER_EVERSION, "Fetch v-1"},
        {"0000000a 0003 ffff 00000001 ffff", KAFKA_FILTER_EVERSION, "Metadata v-1"},
        {"0000000b 000a 0007 00000001 0001 63", KAFKA_FILTER_EVERSION, "client id \"c\""},
        {"0000000a 003c 0003 00000001 ffff", KAFKA_FILTER_EVERSION, "DescribeCluster v3"},
        {"0000000a 004e 0003 00000001 ffff", KAFKA_FILTER_EVERSION, "ShareFetch v3"},
        {"0000000a 004f 0003 00000001 ffff", KAFKA_FILTER_EVERSION, "ShareAcknowledge v3"},
        {"0000000e 0000 000e 00000001 ffff 00 00 0000", KAFKA_FILTER_EVERSION, "Produce v14"},
    };

    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        for (unsigned single = 0; single < 2; single++) {
            struct book book;
            struct kafka_filter *f = new_filter(&book, NULL);
            struct bytes b = {0};
            int result = 0;
            bytes_hex(&b, cases[i].request);
            for (size_t at = 0; at < b.size && result == 0; at += single ? 1 : b.size)
                result = kafka_filter_requests(f, b.at + at, single ? 1 : b.size);
            if (result != cases[i].error || !strstr(kafka_filter_reason(f), cases[i].reason))
                fail_msg("%s: result %d, reason \"%s\"", cases[i].request, result,
                         kafka_filter_reason(f));
            bytes_free(&b);
            kafka_filter_free(f);
        }
    }
}

static void what_came_before_is_yielded(void **state)
{
    (void)state;
    struct book book;
    struct kafka_filter *f = new_filter(&book, NULL);
    struct bytes b = {0}, output = {0};

    add_request(&b, 12, 4, 1);
    send_requests(f, &b);
    b.size = 0;
    bytes_hex(&b, "00000008 00000001 01020304 00000004 00000063");
    assert_int_equal(feed(f, b.at, b.size, &output), KAFKA_FILTER_ECORRELATION);
    assert_int_equal(output.size, 12);
    assert_non_null(strstr(kafka_filter_reason(f), "client id \"test\""));
    bytes_free(&b);
    bytes_free(&output);
    kafka_filter_free(f);
}

static void requests_in_flight_are_bounded(void **state)
{
    (void)state;
    static const struct kafka_filter_limits limits = {.in_flight = 100};
    struct book book;
    struct kafka_filter *f = new_filter(&book, &limits);
    struct bytes b = {0};

    for (int32_t i = 0; i < 100; i++)
        add_request(&b, 12, 4, i);
    send_requests(f, &b);
    assert_int_equal(kafka_filter_in_flight(f), 100);
    b.size = 0;
    add_request(&b, 12, 4, 100);
    assert_int_equal(kafka_filter_requests(f, b.at, b.size), KAFKA_FILTER_ELIMIT);
    assert_non_null(strstr(kafka_filter_reason(f), "Heartbeat v4"));
    bytes_free(&b);
    kafka_filter_free(f);
}

/* A frame that claims two gigabytes costs what has arrived of it. */
static void nothing_is_held_because_a_length_says_so(void **state)
{
    (void)state;
    static const struct kafka_filter_limits limits = {.prefix = 100000};
    struct book book;
    struct kafka_filter *f = new_filter(&book, &limits);
    struct bytes b = {0}, output = {0};
    static const uint8_t chunk[1000];
    int result = 0;
    unsigned fed = 0;

    add_request(&b, 3, 9, 7);
    send_requests(f, &b);
    b.size = 0;
    bytes_hex(&b, "7fffffff 00000007 00 00000000 02 00000001 ffffff7f");
    assert_int_equal(feed(f, b.at, b.size, &output), 0);
    for (; result == 0 && fed < 1000; fed++)
        result = feed(f, chunk, sizeof chunk, &output);
    assert_int_equal(result, KAFKA_FILTER_ELIMIT);
    assert_int_equal(fed, 100);
    assert_int_equal(output.size, 0);
    bytes_free(&b);
    kafka_filter_free(f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(bad_responses_close),
        cmocka_unit_test(bad_requests_close),
        cmocka_unit_test(what_came_before_is_yielded),
        cmocka_unit_test(requests_in_flight_are_bounded),
        cmocka_unit_test(nothing_is_held_because_a_length_says_so),
    };
    return cmocka_run_group_tests_name("kafka_malformed", tests, NULL, NULL);
}
