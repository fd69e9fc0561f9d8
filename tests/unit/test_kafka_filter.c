/* The filter as its caller sees it: spans, blocking, versions, clamping, erasing, large responses.
 */
#include "test_kafka_support.h"

#include "kafka/login.h"

/* Compact, at b4.x:9094, rack r3. */
static void add_endpoint(struct bytes *b, int32_t node)
{
    bytes_u32(b, (uint32_t)node);
    bytes_hex(b, "0562342e78 00002386 03723300");
}

/* MetadataResponse v9 of node 1 and 2 and of one more. */
static void add_metadata(struct bytes *b, int32_t id, int32_t third)
{
    size_t start = frame_begin(b);

    bytes_u32(b, (uint32_t)id);
    bytes_hex(b, "00 00000000 04");
    bytes_hex(b, "00000001 0b62312e6578616d706c65 00002384 03723100");
    bytes_hex(b, "00000002 0b62322e6578616d706c65 00002385 0000");
    add_endpoint(b, third);
    bytes_hex(b, "03633100000001010000");
    frame_end(b, start);
}

static void pass_through_frames_are_one_span_of_the_input(void **state)
{
    (void)state;
    struct book book;
    struct kafka_filter *f = new_filter(&book, NULL);
    struct bytes requests = {0}, b = {0};
    size_t consumed;
    struct kafka_span out;

    /* Heartbeat, Produce v9, Produce v10 without endpoints, Fetch v11 and v17, a vendor's API. */
    add_request(&requests, 12, 4, 0);
    add_request(&requests, 0, 9, 1);
    add_request(&requests, 0, 10, 2);
    add_request(&requests, 1, 11, 3);
    add_request(&requests, 1, 17, 4);
    add_request(&requests, 10001, 77, 5);
    send_requests(f, &requests);
    size_t memory = kafka_filter_memory(f);
    bytes_hex(&b, "00000006 00000000 0000");
    bytes_hex(&b, "00000006 00000001 0000");
    bytes_hex(&b, "0000000b 00000002 00 01 00000000 00");
    bytes_hex(&b, "00000006 00000003 0000");
    bytes_hex(&b, "00000011 00000004 00 00000000 0000 00000000 01 00");
    bytes_hex(&b, "00000006 00000005 0000");
    size_t whole = b.size;
    bytes_hex(&b, "0000"); /* the next one's first bytes are kept */
    assert_int_equal(kafka_filter_responses(f, b.at, b.size, &consumed, &out), 0);
    assert_int_equal(consumed, b.size);
    assert_ptr_equal(out.bytes, b.at);
    assert_int_equal(out.size, whole);
    assert_false(kafka_filter_between_responses(f));
    assert_int_equal(kafka_filter_responses(f, b.at, 0, &consumed, &out), 0);
    assert_int_equal(out.size, 0);
    assert_int_equal(kafka_filter_memory(f), memory); /* nothing was copied */
    bytes_free(&b);
    bytes_free(&requests);
    kafka_filter_free(f);
}

/* Vendors' APIs, those to come, and what can be no API at all: whatever they hold, it passes. */
static void unknown_apis_pass_byte_for_byte(void **state)
{
    (void)state;
    static const int16_t keys[] = {95, 96, 200, 9999, 10000, 10001, INT16_MAX, -1, INT16_MIN};
    static const int16_t versions[] = {0, 1, 13, 99, INT16_MAX, -1};

    for (uint32_t split = 0; split < 20; split++) {
        struct book book;
        struct kafka_filter *f = new_filter(&book, NULL);
        struct bytes requests = {0}, b = {0}, output = {0};
        uint32_t seed = split + 1;
        int32_t id = INT32_MAX - 7;
        for (size_t i = 0; i < 9 * 6; i++, id = id == INT32_MAX ? INT32_MIN : id + 1) {
            add_request(&requests, keys[i % 9], versions[i / 9], id);
            size_t start = frame_begin(&b);
            bytes_u32(&b, (uint32_t)id);
            for (uint32_t left = next_random(&seed) % 300; left > 0; left--)
                bytes_u8(&b, (uint8_t)next_random(&seed));
            frame_end(&b, start);
        }
        send_requests(f, &requests);
        assert_int_equal(kafka_filter_in_flight(f), 9 * 6);
        assert_int_equal(feed_split(f, b.at, b.size, split, &output), 0);
        assert_int_equal(output.size, b.size);
        assert_memory_equal(output.at, b.at, b.size);
        assert_int_equal(kafka_filter_in_flight(f), 0);
        bytes_free(&requests);
        bytes_free(&b);
        bytes_free(&output);
        kafka_filter_free(f);
    }
}

static void a_request_is_known_to_be_partly_through(void **state)
{
    (void)state;
    struct book book;
    struct kafka_filter *f = new_filter(&book, NULL);
    struct bytes b = {0};

    add_request(&b, 12, 4, 0);
    assert_true(kafka_filter_between_requests(f));
    for (size_t i = 0; i < b.size; i++) {
        assert_int_equal(kafka_filter_requests(f, b.at + i, 1), 0);
        assert_int_equal(kafka_filter_between_requests(f), i + 1 == b.size);
    }
    bytes_free(&b);
    kafka_filter_free(f);
}

/* Three requests; however much of them has come already, only what has begun is taken. */
static void only_the_request_that_has_begun_is_taken(void **state)
{
    (void)state;
    struct book book;
    struct bytes b = {0};
    size_t ends[3];

    for (int i = 0; i < 3; i++) {
        add_request(&b, 12, 4, i);
        ends[i] = b.size;
    }
    for (size_t come = 0; come <= b.size; come++) {
        struct kafka_filter *f = new_filter(&book, NULL);
        size_t due = come == 0         ? 0
                     : come <= ends[0] ? ends[0]
                     : come <= ends[1] ? ends[1]
                                       : ends[2];
        size_t taken;
        assert_int_equal(kafka_filter_requests(f, b.at, come), 0);
        assert_int_equal(kafka_filter_last_request(f, b.at + come, b.size - come, &taken), 0);
        assert_int_equal(come + taken, due);
        assert_true(kafka_filter_between_requests(f));
        /* Once there, nothing more is taken. */
        assert_int_equal(kafka_filter_last_request(f, b.at, b.size, &taken), 0);
        assert_int_equal(taken, 0);
        kafka_filter_free(f);
    }
    bytes_free(&b);
}

/* The filter blocks for nodes 3, 2, 3 in turn, as the test makes them unknown. */
static void blocks_until_the_map_knows(void **state)
{
    (void)state;
    struct bytes expected = {0}, input = {0}, requests = {0};

    add_request(&requests, 12, 4, 0);
    add_request(&requests, 3, 9, 1);
    add_request(&requests, 12, 4, 2);
    bytes_hex(&input, "00000006 00000000 aaaa");
    add_metadata(&input, 1, 3);
    bytes_hex(&input, "00000006 00000002 bbbb");
    for (uint32_t split = 0; split < 200; split++) {
        struct book book;
        struct kafka_filter *f = new_filter(&book, NULL);
        struct bytes output = {0};
        const struct kafka_wanted *wanted;
        size_t at = 0, consumed;
        struct kafka_span out;
        unsigned blocked = 0;
        uint32_t seed = split;

        send_requests(f, &requests);
        book.unknown = 3;
        while (at < input.size || blocked == 0) {
            size_t some = split == SPLIT_WHOLE   ? input.size - at
                          : split == SPLIT_BYTES ? 1
                                                 : next_random(&seed) % 30;
            if (some > input.size - at)
                some = input.size - at;
            int result = kafka_filter_responses(f, input.at + at, some, &consumed, &out);
            at += consumed;
            bytes_add(&output, out.bytes, out.size);
            if (result == 0)
                continue;
            assert_int_equal(result, KAFKA_FILTER_BLOCKED);
            assert_int_equal(out.size, 0);
            assert_int_equal(output.size, 10); /* the first response, nothing of the second */
            assert_int_equal(kafka_filter_wanted(f, &wanted), 1);
            assert_int_equal(wanted[0].node, 3 - (int)blocked % 2);
            assert_int_equal(wanted[0].type, KAFKA_ENDPOINT_BROKER);
            size_t stuck = at;
            unsigned asked = book.asked;
            for (unsigned i = 0; i < 3; i++) {
                result = kafka_filter_responses(f, input.at + at, input.size - at, &consumed, &out);
                assert_int_equal(result, KAFKA_FILTER_BLOCKED);
                assert_int_equal(consumed, 0);
            }
            assert_int_equal(at, stuck);
            assert_int_equal(book.asked, asked);
            /* Requests go on meanwhile. */
            if (blocked == 0)
                assert_int_equal(kafka_filter_requests(f, (const uint8_t *)"\0", 1), 0);
            blocked++;
            book.unknown = blocked == 1 ? 2 : blocked == 2 ? 3 : -1;
            kafka_filter_retry(f);
        }
        assert_int_equal(feed(f, input.at, 0, &output), 0);
        assert_int_equal(blocked, 3);
        assert_int_equal(kafka_filter_wanted(f, &wanted), 0);
        assert_int_equal(book.rewritten[KAFKA_KEY_METADATA], 3);
        if (split == 0)
            bytes_add(&expected, output.at, output.size);
        assert_int_equal(output.size, expected.size);
        assert_memory_equal(output.at, expected.at, output.size);
        bytes_free(&output);
        kafka_filter_free(f);
    }
    bytes_free(&expected);
    bytes_free(&input);
    bytes_free(&requests);
}

/* A caller that stops when all is consumed and nothing comes out must have learnt of the block. */
static void a_block_at_the_end_of_the_input_is_told(void **state)
{
    (void)state;
    struct book book;
    struct kafka_filter *f = new_filter(&book, NULL);
    struct bytes b = {0}, output = {0};
    size_t consumed;
    struct kafka_span out;

    add_request(&b, 3, 9, 1);
    send_requests(f, &b);
    b.size = 0;
    add_metadata(&b, 1, 3);
    b.size -= 10; /* up to the end of Brokers */
    book.unknown = 1;
    assert_int_equal(kafka_filter_responses(f, b.at, b.size, &consumed, &out),
                     KAFKA_FILTER_BLOCKED);
    assert_int_equal(consumed, b.size);
    assert_int_equal(out.size, 0);
    assert_int_equal(feed(f, b.at + b.size, 0, &output), KAFKA_FILTER_BLOCKED);
    book.unknown = -1;
    kafka_filter_retry(f);
    assert_int_equal(feed(f, b.at + b.size, 10, &output), 0);
    assert_int_equal(output.size, b.size + 10 + 3); /* three hosts of other lengths: -1, -1, +5 */
    assert_int_equal(byte_load_u32(output.at), output.size - 4);
    assert_true(kafka_filter_between_responses(f));
    bytes_free(&b);
    bytes_free(&output);
    kafka_filter_free(f);
}

static void all_unknown_nodes_are_named(void **state)
{
    (void)state;
    struct book book;
    struct kafka_filter *f = new_filter(&book, NULL);
    struct bytes b = {0}, output = {0};
    const struct kafka_wanted *wanted;
    size_t start;

    add_request(&b, 60, 1, 1);
    send_requests(f, &b);
    b.size = 0;
    start = frame_begin(&b);
    bytes_hex(&b, "00000001 00 00000000 0000 00 02 036331 00000001 05");
    for (int32_t node = 4; node < 8; node++)
        add_endpoint(&b, node < 7 ? 5 : 6);
    bytes_hex(&b, "80000000 00");
    frame_end(&b, start);
    book.unknown = 5;
    assert_int_equal(feed(f, b.at, b.size, &output), KAFKA_FILTER_BLOCKED);
    assert_int_equal(kafka_filter_wanted(f, &wanted), 3);
    assert_int_equal(wanted[2].node, 5);
    assert_int_equal(wanted[2].type, KAFKA_ENDPOINT_CONTROLLER);
    book.refused = 5;
    kafka_filter_retry(f);
    assert_int_equal(feed(f, b.at, 0, &output), KAFKA_FILTER_EADDRESS);
    assert_int_equal(output.size, 0);
    assert_non_null(strstr(kafka_filter_reason(f), "DescribeCluster v1"));
    bytes_free(&b);
    kafka_filter_free(f);
}

static void controllers_are_a_space_of_their_own(void **state)
{
    (void)state;
    for (uint8_t type = 1; type <= 2; type++) {
        struct book book;
        struct kafka_filter *f = new_filter(&book, NULL);
        struct bytes b = {0}, output = {0};
        size_t start;
        add_request(&b, 60, 2, 1);
        send_requests(f, &b);
        b.size = 0;
        start = frame_begin(&b);
        bytes_hex(&b, "00000001 00 00000000 0000 00");
        bytes_u8(&b, type);
        bytes_hex(&b, "036331 00000001 02 00000005 0563337865 00002386 00 01 00 80000000 00");
        frame_end(&b, start);
        assert_int_equal(feed(f, b.at, b.size, &output), 0);
        assert_int_equal(output.size, b.size + 5);
        assert_int_equal(byte_load_u32(output.at + 39), type == 2 ? 29005 : 19005);
        bytes_free(&b);
        bytes_free(&output);
        kafka_filter_free(f);
    }
}

static void hosts_of_no_node_are_blanked(void **state)
{
    (void)state;
    static const struct {
        const char *in;
        const char *out;
        unsigned blanked;
    } cases[] = {
        /* Node, host, port of FindCoordinator v0. */
        {"ffffffff 0000 ffffffff", "ffffffff 0000 ffffffff", 0},
        {"00000001 0000 00002384", "00000001 0000 00002384", 0},
        {"ffffffff ffff ffffffff", "ffffffff ffff ffffffff", 0},
        {"ffffffff 0003612e62 00002384", "ffffffff 0000 ffffffff", 1},
        {"00000009 0003612e62 00000000", "00000009 0000 ffffffff", 1},
        {"00000009 0003612e62 ffffffff", "00000009 0000 ffffffff", 1},
        {"00000009 0003612e62 00010000", "00000009 0000 ffffffff", 1},
        /* What would begin another line, steer a terminal, or end the host early. */
        {"00000009 0003610a62 00002384", "00000009 0000 ffffffff", 1},
        {"00000009 00031b5d62 00002384", "00000009 0000 ffffffff", 1},
        {"00000009 0003612062 00002384", "00000009 0000 ffffffff", 1},
        {"00000009 0003610062 00002384", "00000009 0000 ffffffff", 1},
        {"00000009 0003617f62 00002384", "00000009 0000 ffffffff", 1},
        {"00000009 0003c29b62 00002384", "00000009 0000 ffffffff", 1},
    };

    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct book book;
        struct kafka_filter *f = new_filter(&book, NULL);
        struct bytes b = {0}, expected = {0}, output = {0};
        add_request(&b, 10, 0, 1);
        send_requests(f, &b);
        b.size = 0;
        size_t start = frame_begin(&b);
        bytes_hex(&b, "00000001 0000");
        bytes_hex(&b, cases[i].in);
        frame_end(&b, start);
        start = frame_begin(&expected);
        bytes_hex(&expected, "00000001 0000");
        bytes_hex(&expected, cases[i].out);
        frame_end(&expected, start);
        assert_int_equal(feed_split(f, b.at, b.size, SPLIT_BYTES, &output), 0);
        assert_int_equal(output.size, expected.size);
        assert_memory_equal(output.at, expected.at, expected.size);
        assert_int_equal(book.asked, 0);
        assert_int_equal(book.unusable_addresses, cases[i].blanked);
        assert_int_equal(book.erased[KAFKA_KEY_FIND_COORDINATOR], cases[i].blanked);
        assert_int_equal(book.unusable, cases[i].blanked);
        bytes_free(&b);
        bytes_free(&expected);
        bytes_free(&output);
        kafka_filter_free(f);
    }
}

static void newer_metadata_is_rewritten_and_told(void **state)
{
    (void)state;
    struct book book;
    struct kafka_filter *f = new_filter(&book, NULL);
    struct bytes b = {0}, output = {0};
    const char *api;
    int16_t version;

    for (int32_t i = 0; i < 3; i++)
        add_request(&b, 3, 99, i);
    send_requests(f, &b);
    b.size = 0;
    for (int32_t i = 0; i < 3; i++)
        add_metadata(&b, i, 3);
    assert_int_equal(feed(f, b.at, b.size, &output), 0);
    assert_int_equal(book.rewritten[KAFKA_KEY_METADATA], 9);
    assert_int_equal(kafka_filter_event(f, &api, &version), KAFKA_FILTER_EVENT_NEWER_METADATA);
    assert_string_equal(api, "Metadata");
    assert_int_equal(version, 99);
    assert_int_equal(kafka_filter_event(f, &api, &version), KAFKA_FILTER_EVENT_NONE);
    bytes_free(&b);
    bytes_free(&output);
    kafka_filter_free(f);
}

static void out_of_order_responses_are_rewritten_and_told(void **state)
{
    (void)state;
    struct book book;
    struct kafka_filter *f = new_filter(&book, NULL);
    struct bytes b = {0}, output = {0};
    const char *api;
    int16_t version;

    add_request(&b, 12, 4, 0);
    add_request(&b, 3, 9, 1);
    send_requests(f, &b);
    b.size = 0;
    add_metadata(&b, 1, 3);
    bytes_hex(&b, "00000006 00000000 0000");
    assert_int_equal(feed(f, b.at, b.size, &output), 0);
    assert_int_equal(book.rewritten[KAFKA_KEY_METADATA], 3);
    assert_int_equal(kafka_filter_event(f, &api, &version), KAFKA_FILTER_EVENT_OUT_OF_ORDER);
    assert_int_equal(kafka_filter_in_flight(f), 0);
    bytes_free(&b);
    bytes_free(&output);
    kafka_filter_free(f);
}

static void check_exact(int16_t key, int16_t version, const char *in, const char *out)
{
    for (uint32_t split = 0; split < 20; split++) {
        struct book book;
        struct kafka_filter *f = new_filter(&book, NULL);
        struct bytes b = {0}, expected = {0}, output = {0};
        size_t start;
        add_request(&b, key, version, 1);
        send_requests(f, &b);
        b.size = 0;
        start = frame_begin(&b);
        bytes_hex(&b, in);
        frame_end(&b, start);
        start = frame_begin(&expected);
        bytes_hex(&expected, out);
        frame_end(&expected, start);
        assert_int_equal(feed_split(f, b.at, b.size, split, &output), 0);
        assert_int_equal(output.size, expected.size);
        assert_memory_equal(output.at, expected.at, expected.size);
        bytes_free(&b);
        bytes_free(&expected);
        bytes_free(&output);
        kafka_filter_free(f);
    }
}

static void api_versions_is_clamped_in_place(void **state)
{
    (void)state;
    /* Produce 0-13, Fetch 4-19, Metadata 0-13, FindCoordinator 0-7, JoinGroup 0-99,
     * DescribeCluster 0-3, ShareFetch 1-3, ShareAcknowledge 1-2, a vendor's 0-50. */
    check_exact(18, 0,
                "00000001 0000 00000009 00000000000d 000100040013 00030000000d 000a00000007"
                "000b00000063 003c00000003 004e00010003 004f00010002 271100000032",
                "00000001 0000 00000009 00000000000d 000100040012 00030000000d 000a00000006"
                "000b00000063 003c00000002 004e00010002 004f00010002 271100000032");
    /* v1: throttle after the array. v3: tags in each entry, unknown ones too, and at the end. */
    check_exact(18, 1, "00000001 0000 00000001 00000000000e 00000000",
                "00000001 0000 00000001 00000000000d 00000000");
    check_exact(18, 4,
                "00000001 0000 03 00000000000e 00 000100040013 0105027777 00000000 010902aaaa",
                "00000001 0000 03 00000000000d 00 000100040012 0105027777 00000000 010902aaaa");
    /* All versions known here are gone: left alone. */
    check_exact(18, 4, "00000001 0000 02 000100130014 00 00000000 00",
                "00000001 0000 02 000100130014 00 00000000 00");
    /* Error 35 has the v0 body, whatever was asked for, and stays. */
    for (int16_t version = 0; version < 8; version++)
        check_exact(18, version, "00000001 0023 00000002 001200000003 000100000063",
                    "00000001 0023 00000002 001200000003 000100000063");
    /* Before Kafka 2.4 it names nothing. */
    check_exact(18, 5, "00000001 0023 00000000", "00000001 0023 00000000");
    /* v5 asks more (KIP-1242) and is answered as v4, so is error 129, REBOOTSTRAP_REQUIRED. */
    check_exact(18, 5, "00000001 0000 02 00000000000e 00 00000000 00",
                "00000001 0000 02 00000000000d 00 00000000 00");
    check_exact(18, 5, "00000001 0081 02 00000000000e 00 00000000 00",
                "00000001 0081 02 00000000000d 00 00000000 00");
    /* A version that does not exist yet and does not parse passes; one that parses is clamped. */
    check_exact(18, 9, "00000001 0000 7f 0001", "00000001 0000 7f 0001");
    check_exact(18, 9, "00000001 0000 02 000100040013 00 7777",
                "00000001 0000 02 000100040012 00 7777");
}

static const char fetch_head[] = "00000001 00 00000000 0000 00000000 01 ";

static void check_fetch(const char *in, const char *out)
{
    char a[512], b[512];

    snprintf(a, sizeof a, "%s%s", fetch_head, in);
    snprintf(b, sizeof b, "%s%s", fetch_head, out);
    check_exact(1, 17, a, b);
}

static void fetch_endpoints_are_erased_whatever_stands_beside(void **state)
{
    (void)state;
    check_fetch("01 00 01 01", "01 7f 01 00");         /* an empty array in the tag */
    check_fetch("01 00 00", "01 7f 00");               /* no payload at all */
    check_fetch("01 8000 02 aabb", "01 ff00 02 0000"); /* a padded tag number, a damaged payload */
    check_fetch("01 00 8200 aabb", "01 7f 8200 0000"); /* a padded size */
    check_fetch("02 00 01 aa 7f 01 bb", "02 7e 01 00 7f 01 bb"); /* 0x7f is taken */
    check_fetch("02 00 01 aa 00 01 bb", "02 7f 01 00 7e 01 00"); /* twice */
    check_fetch("02 05 01 aa 8101 01 bb", "02 05 01 aa 8101 01 bb");
    check_fetch("8000", "8000"); /* a padded count of none */
}

/* [n + 1][entries][tags] becomes an empty array and a filler, at every size. */
static void share_endpoints_are_erased_at_every_size(void **state)
{
    (void)state;
    for (uint32_t host = 1; host < 700; host++) {
        for (unsigned tags = 0; tags < 3; tags++) {
            struct book book;
            struct kafka_filter *f = new_filter(&book, NULL);
            struct bytes b = {0}, output = {0};
            size_t start, head;
            add_request(&b, 79, 1, 1);
            send_requests(f, &b);
            b.size = 0;
            start = frame_begin(&b);
            bytes_hex(&b, "00000001 00 00000000 0000 00 01");
            head = b.size;
            bytes_uvarint(&b, 2);
            bytes_u32(&b, 2);
            bytes_uvarint(&b, host + 1);
            for (uint32_t i = 0; i < host; i++)
                bytes_u8(&b, 'h');
            bytes_u32(&b, 9093);
            bytes_hex(&b, "00 00");
            bytes_hex(&b, tags == 0 ? "00" : tags == 1 ? "01 7f 02 aabb" : "02 05 00 fd7f 01 aa");
            frame_end(&b, start);
            assert_int_equal(feed_split(f, b.at, b.size, host % 5, &output), 0);
            assert_int_equal(output.size, b.size);
            assert_memory_equal(output.at, b.at, head);
            assert_int_equal(book.seen, 1);

            /* Read again: an empty array, the tags that were there, a filler of zeros, the end. */
            struct byte_reader r;
            uint32_t number;
            size_t size;
            byte_reader_init(&r, output.at + head, output.size - head);
            assert_int_equal(kafka_wire_count(&r, true), 0);
            assert_int_equal(kafka_wire_uvarint(&r), tags + 1);
            for (unsigned i = 0; i < tags; i++) {
                kafka_wire_tag(&r, &number, &size);
                assert_int_equal(number, tags == 1 ? 127 : i == 0 ? 5 : 16381);
            }
            const uint8_t *payload = kafka_wire_tag(&r, &number, &size);
            assert_false(r.failed);
            assert_int_equal(byte_reader_left(&r), 0);
            assert_true(number != 5 && number != 16381 && (tags != 1 || number != 127));
            for (size_t i = 0; i < size; i++)
                assert_int_equal(payload[i], 0);
            bytes_free(&b);
            bytes_free(&output);
            kafka_filter_free(f);
        }
    }
}

static void produce_keeps_other_tags_and_fits_the_size(void **state)
{
    (void)state;
    /* The tag of size 127 is 128 and more with longer hosts: its size takes another byte. */
    struct book book;
    struct kafka_filter *f = new_filter(&book, NULL);
    struct bytes b = {0}, output = {0};
    struct byte_reader r;
    size_t start, size;
    uint32_t number;

    add_request(&b, 0, 11, 1);
    send_requests(f, &b);
    b.size = 0;
    start = frame_begin(&b);
    bytes_hex(&b, "00000001 00 01 00000000 03 8000"); /* tag 0, padded */
    size_t tag = b.size;
    bytes_u8(&b, 0);
    bytes_u8(&b, 7);
    for (int32_t node = 10; node < 16; node++)
        add_endpoint(&b, node);
    b.at[tag] = (uint8_t)(b.size - tag - 1);
    bytes_hex(&b, "05 02 aabb 7f 00");
    frame_end(&b, start);
    assert_true(b.at[tag] < 128);
    assert_int_equal(feed_split(f, b.at, b.size, SPLIT_BYTES, &output), 0);
    assert_int_equal(byte_load_u32(output.at), output.size - 4);
    assert_memory_equal(output.at + 4, b.at + 4, tag - 4);
    byte_reader_init(&r, output.at + tag, output.size - tag);
    size_t payload = kafka_wire_uvarint(&r);
    assert_true(payload >= 128);
    assert_int_equal(kafka_wire_count(&r, true), 6);
    for (int32_t node = 10; node < 16; node++) {
        assert_int_equal(byte_reader_u32(&r), node);
        assert_memory_equal(kafka_wire_string(&r, true, &size), "127.0.0.1", 9);
        assert_int_equal(byte_reader_u32(&r), 19000 + node);
        assert_memory_equal(kafka_wire_string(&r, true, &size), "r3", 2);
        kafka_wire_skip_tags(&r);
    }
    kafka_wire_tag(&r, &number, &size);
    assert_int_equal(number, 5);
    kafka_wire_tag(&r, &number, &size);
    assert_int_equal(number, 127);
    assert_int_equal(byte_reader_left(&r), 0);
    assert_int_equal(book.rewritten[KAFKA_KEY_PRODUCE], 6);
    bytes_free(&b);
    bytes_free(&output);
    kafka_filter_free(f);
}

/* acks=0 behind whatever a header may hold before it. */
static void add_unanswered_produce(struct bytes *b, int16_t version, int32_t id, int client_id)
{
    size_t start = frame_begin(b);

    bytes_u16(b, KAFKA_KEY_PRODUCE);
    bytes_u16(b, (uint16_t)version);
    bytes_u32(b, (uint32_t)id);
    bytes_u16(b, (uint16_t)client_id); /* -1: null */
    for (int i = 0; i < client_id; i++)
        bytes_u8(b, 0);
    if (version >= 9)
        bytes_hex(b, client_id % 2 ? "01 05 02 0000 00" : "00 00"); /* tags, transactional id */
    else if (version >= 3)
        bytes_u16(b, 0xffff);
    bytes_u16(b, 0);
    bytes_hex(b, "00007530 00000000");
    frame_end(b, start);
}

/* What few brokers do. From v10 on it may announce node 1. */
static void add_produce_answer(struct bytes *b, int16_t version, int32_t id)
{
    size_t start = frame_begin(b);

    bytes_u32(b, (uint32_t)id);
    if (version >= 9)
        bytes_hex(b, "00 01 00000000");
    else
        bytes_hex(b, version >= 1 ? "00000000 00000000" : "00000000");
    if (version >= 10)
        bytes_hex(b, "01 00 16 02 00000001 0b62312e6578616d706c65 00002384 00 00");
    else if (version == 9)
        bytes_u8(b, 0);
    frame_end(b, start);
}

static void acks_0_answered_or_not(void **state)
{
    (void)state;
    static const int client_ids[] = {-1, 0, 1, 6, 300};

    for (unsigned i = 0; i < 14 * 5 * 2; i++) {
        int16_t version = (int16_t)(i % 14);
        bool answered = i / 14 % 2 != 0;
        struct book book;
        struct kafka_filter *f = new_filter(&book, NULL);
        struct bytes b = {0}, output = {0};
        /* Java's ids while it logs in, and the wrap after them. */
        for (int32_t id = INT32_MAX - 7; id < INT32_MAX; id++)
            add_unanswered_produce(&b, version, id, client_ids[i / 28]);
        add_unanswered_produce(&b, version, INT32_MAX, client_ids[i / 28]);
        add_request(&b, 3, 9, INT32_MIN);
        send_requests(f, &b);
        assert_int_equal(kafka_filter_in_flight(f), 1);
        b.size = 0;
        if (answered)
            add_produce_answer(&b, version, INT32_MAX - 3);
        add_metadata(&b, INT32_MIN, 3);
        assert_int_equal(feed_split(f, b.at, b.size, i, &output), 0);
        assert_int_equal(book.rewritten[KAFKA_KEY_METADATA], 3);
        assert_int_equal(count_frames(&output), 1 + answered);
        assert_int_equal(book.responses, 1);
        assert_int_equal(book.rewritten[KAFKA_KEY_PRODUCE], answered && version >= 10);
        bytes_free(&b);
        bytes_free(&output);
        kafka_filter_free(f);
    }
}

/* What the owner measures: a mark for each request, which comes back with its response. */
struct measures {
    struct book book;
    uint64_t asked;
    uint64_t answered[4];
    unsigned answers;
    int16_t last_key;
    uint32_t rewritten;
    uint32_t erased;
};

static uint64_t note_asked(void *context, int16_t api_key, int16_t version)
{
    struct measures *measures = context;

    assert_true(version >= 0);
    measures->last_key = api_key;
    return 100 + measures->asked++;
}

static void note_answered(void *context, int16_t api_key, uint64_t mark)
{
    struct measures *measures = context;

    assert_in_range(measures->answers, 0, 3);
    measures->last_key = api_key;
    measures->answered[measures->answers++] = mark;
}

static void note_rewrote(void *context, int16_t api_key, uint32_t rewritten, uint32_t erased,
                         uint32_t unusable)
{
    struct measures *measures = context;

    assert_int_equal(api_key, 3);
    measures->rewritten += rewritten;
    measures->erased += erased;
    assert_int_equal(unusable, 0);
}

static void requests_and_responses_are_told_for_figures(void **state)
{
    (void)state;
    const struct kafka_filter_callbacks callbacks = {
        .map = book_map, .asked = note_asked, .answered = note_answered, .rewrote = note_rewrote};
    struct measures measures = {.book = {.unknown = -1, .refused = -1}};
    struct kafka_filter *f = kafka_filter_new(&callbacks, &measures, NULL);
    struct bytes b = {0}, output = {0};

    add_request(&b, 0, 9, 1);
    add_unanswered_produce(&b, 9, 2, 3);
    add_unanswered_produce(&b, 9, 3, 3);
    add_request(&b, 3, 9, 4);
    add_request(&b, 0, 9, 5);
    send_requests(f, &b);
    assert_int_equal(measures.asked, 5);
    b.size = 0;
    add_produce_answer(&b, 9, 1);
    /* Answered although nobody asked for that: no measure of anything. */
    add_produce_answer(&b, 9, 3);
    /* Out of order, too, each with its own mark. */
    add_produce_answer(&b, 9, 5);
    add_metadata(&b, 4, 3);
    assert_int_equal(feed_split(f, b.at, b.size, SPLIT_BYTES, &output), 0);
    assert_int_equal(measures.answers, 3);
    assert_int_equal(measures.answered[0], 100);
    assert_int_equal(measures.answered[1], 104);
    assert_int_equal(measures.answered[2], 103);
    assert_int_equal(measures.last_key, 3);
    assert_int_equal(measures.rewritten, 3);
    assert_int_equal(measures.erased, 0);
    bytes_free(&b);
    bytes_free(&output);
    kafka_filter_free(f);
}

/* Feeds until the filter is tired or all is through; returns how much it has taken. */
static size_t feed_a_turn(struct kafka_filter *f, const struct bytes *b, size_t at,
                          struct bytes *output)
{
    for (;;) {
        size_t consumed;
        struct kafka_span out;
        int result = kafka_filter_responses(f, b->at + at, b->size - at, &consumed, &out);
        if (result == KAFKA_FILTER_TIRED) {
            assert_int_equal(consumed + out.size, 0);
            return at;
        }
        assert_int_equal(result, 0);
        bytes_add(output, out.bytes, out.size);
        at += consumed;
        if (at == b->size && out.size == 0)
            return at;
    }
}

/* Small responses that pass, and addresses in larger ones, count alike. */
static void a_turn_ends_after_so_many_responses_and_addresses(void **state)
{
    (void)state;
    const struct kafka_filter_limits limits = {.turn = 100};

    for (int kind = 0; kind < 2; kind++) {
        struct book book;
        struct kafka_filter *f = new_filter(&book, &limits);
        struct book other;
        struct kafka_filter *unbounded = new_filter(&other, NULL);
        struct bytes b = {0}, once = {0}, in_turns = {0};
        unsigned turns = 0;
        size_t at = 0;

        for (int32_t i = 0; i < 1000; i++)
            add_request(&b, kind == 0 ? 0 : 3, 9, i);
        send_requests(f, &b);
        send_requests(unbounded, &b);
        b.size = 0;
        for (int32_t i = 0; i < 1000; i++)
            kind == 0 ? add_produce_answer(&b, 9, i) : add_metadata(&b, i, 3);
        assert_int_equal(feed(unbounded, b.at, b.size, &once), 0);
        while (at < b.size) {
            unsigned before = book.responses;
            kafka_filter_turn(f);
            at = feed_a_turn(f, &b, at, &in_turns);
            /* A Metadata response of three brokers is four pieces of work. */
            assert_int_equal(book.responses - before, kind == 0 ? 100 : 25);
            turns++;
        }
        assert_int_equal(turns, kind == 0 ? 10 : 40);
        assert_int_equal(in_turns.size, once.size);
        assert_memory_equal(in_turns.at, once.at, once.size);
        bytes_free(&b);
        bytes_free(&once);
        bytes_free(&in_turns);
        kafka_filter_free(f);
        kafka_filter_free(unbounded);
    }
}

/* Meanwhile the filter has no more than memory. */
static void pass_chunks(struct kafka_filter *f, size_t size, size_t memory)
{
    static uint8_t chunk[65536];
    size_t consumed;
    struct kafka_span out;

    for (size_t at = 0; at < size; at += sizeof chunk) {
        assert_int_equal(kafka_filter_responses(f, chunk, sizeof chunk, &consumed, &out), 0);
        assert_int_equal(consumed, sizeof chunk);
        assert_ptr_equal(out.bytes, chunk);
        assert_int_equal(out.size, sizeof chunk);
        assert_true(kafka_filter_memory(f) <= memory);
    }
}

/* 20 MiB of records, 50 MiB of Metadata: passed in the caller's memory, next to nothing is held. */
static void large_responses_stream(void **state)
{
    (void)state;
    struct book book;
    struct kafka_filter *f = new_filter(&book, NULL);
    struct bytes b = {0}, output = {0};
    const uint32_t records = 20 << 20, topics = 50 << 20;

    add_request(&b, 1, 18, 1);
    add_request(&b, 3, 9, 2);
    send_requests(f, &b);
    /* What is held and what replaces it: the smallest buffers that there are. */
    size_t memory = kafka_filter_memory(f) + 2 * 512;
    b.size = 0;
    bytes_u32(&b, 0);
    bytes_hex(&b, "00000001 00 00000000 0000 00000000 02 000102030405060708090a0b0c0d0e0f 02");
    bytes_hex(&b, "00000000 0000 0000000000000000 0000000000000000 0000000000000000 00 ffffffff");
    bytes_uvarint(&b, records + 1);
    byte_store_u32(b.at, (uint32_t)b.size - 4 + records + 3);
    assert_int_equal(feed(f, b.at, b.size, &output), 0);
    pass_chunks(f, records, memory);
    assert_int_equal(feed(f, (const uint8_t *)"\0\0", 2, &output), 0);
    assert_false(kafka_filter_between_responses(f));
    assert_int_equal(feed(f, (const uint8_t *)"\0", 1, &output), 0);
    assert_true(kafka_filter_between_responses(f));

    b.size = output.size = 0;
    add_metadata(&b, 2, 3);
    byte_store_u32(b.at, (uint32_t)b.size - 4 + topics);
    assert_int_equal(feed(f, b.at, b.size, &output), 0);
    assert_int_equal(byte_load_u32(output.at), output.size - 4 + topics);
    pass_chunks(f, topics, memory);
    assert_true(kafka_filter_between_responses(f));
    assert_true(kafka_filter_memory(f) <= memory);
    bytes_free(&b);
    bytes_free(&output);
    kafka_filter_free(f);
}

static void only_a_login_passes_when_asked_for(void **state)
{
    (void)state;
    const int16_t login[] = {KAFKA_KEY_API_VERSIONS, KAFKA_KEY_SASL_HANDSHAKE,
                             KAFKA_KEY_SASL_AUTHENTICATE};
    const int16_t others[] = {KAFKA_KEY_METADATA, KAFKA_KEY_PRODUCE, KAFKA_KEY_FETCH, 10001};

    for (size_t i = 0; i < sizeof others / sizeof others[0]; i++) {
        struct book book;
        struct kafka_filter *f = new_filter(&book, NULL);
        struct bytes b = {0};
        assert_true(kafka_filter_only_login(f));
        for (size_t j = 0; j < sizeof login / sizeof login[0]; j++)
            add_request(&b, login[j], 1, (int32_t)j);
        send_requests(f, &b);
        assert_int_equal(kafka_filter_in_flight(f), 3);
        b.size = 0;
        add_request(&b, others[i], 3, 9);
        assert_int_equal(kafka_filter_requests(f, b.at, b.size), KAFKA_FILTER_ELOGIN);
        kafka_filter_free(f);

        f = new_filter(&book, NULL);
        send_requests(f, &b);
        assert_false(kafka_filter_only_login(f));
        bytes_free(&b);
        kafka_filter_free(f);
    }
}

/* Byte by byte: what has passed before the filter knows what it is, is a beginning that leads
 * nowhere. */
static void a_login_is_refused_where_nobody_needs_one(void **state)
{
    (void)state;
    const int16_t keys[] = {KAFKA_KEY_SASL_HANDSHAKE, KAFKA_KEY_SASL_AUTHENTICATE};

    for (int16_t i = 0; i < 8; i++) {
        struct book book;
        struct kafka_filter *f = new_filter(&book, NULL);
        struct bytes b = {0};
        uint8_t answer[KAFKA_LOGIN_REFUSAL_MAX];
        size_t step = i / 4 == 0 ? 1 : SIZE_MAX;
        size_t passed = 0;
        int result = 0;
        kafka_filter_refuse_login(f);
        add_request(&b, KAFKA_KEY_API_VERSIONS, 2, 1);
        add_request(&b, KAFKA_KEY_METADATA, 1, 2);
        size_t before = b.size;
        size_t start = frame_begin(&b);
        add_header(&b, keys[i % 2], i / 2 % 2, 3);
        bytes_u16(&b, 5);
        bytes_add(&b, "PLAIN", 5);
        frame_end(&b, start);
        size_t login = b.size;
        add_request(&b, KAFKA_KEY_METADATA, 1, 4);
        while (result == 0 && passed < b.size) {
            size_t some = step < b.size - passed ? step : b.size - passed;
            result = kafka_filter_requests(f, b.at + passed, some);
            passed += result == 0 ? some : kafka_filter_passed(f);
        }
        assert_int_equal(result, KAFKA_FILTER_REFUSED);
        assert_in_range(passed, before, step == 1 ? login - 1 : before);
        assert_int_equal(kafka_filter_in_flight(f), 2);
        assert_int_equal(kafka_filter_requests(f, b.at, b.size), KAFKA_FILTER_REFUSED);
        assert_int_equal(kafka_filter_passed(f), 0);
        size_t size = kafka_filter_refusal(f, "no", answer);
        assert_int_equal(byte_load_u32(answer), size - 4);
        assert_int_equal(byte_load_u32(answer + 4), 3);
        assert_int_equal(byte_load_u16(answer + 8), i % 2 == 0 ? 33 : 34);
        bytes_free(&b);
        kafka_filter_free(f);
    }
}

/* A client's own login: SaslHandshake with the mechanism, and its first message in the way that
 * version has it (-1: a raw token). */
static void add_own_login(struct bytes *b, const char *mechanism, int16_t version,
                          const char *message, size_t size)
{
    size_t start = frame_begin(b);

    add_header(b, KAFKA_KEY_SASL_HANDSHAKE, version < 0 ? 0 : 1, 1);
    bytes_u16(b, (uint16_t)strlen(mechanism));
    bytes_add(b, mechanism, strlen(mechanism));
    frame_end(b, start);
    start = frame_begin(b);
    if (version >= 0)
        add_header(b, KAFKA_KEY_SASL_AUTHENTICATE, version, 2);
    if (version == 0 || version == 1) {
        bytes_u32(b, (uint32_t)size);
    } else if (version == 2) {
        bytes_u8(b, 0);
        bytes_uvarint(b, (uint32_t)size + 1);
    }
    bytes_add(b, message, size);
    if (version == 2)
        bytes_u8(b, 0);
    frame_end(b, start);
}

static void who_logs_in_itself(void **state)
{
    (void)state;
    static const struct {
        const char *mechanism;
        const char *message;
        size_t size;
        const char *user;
    } logins[] = {
        {"PLAIN", "\0alice\0hunter2", 14, "alice"},
        {"PLAIN", "other\0alice\0hunter2", 19, "alice"},
        {"PLAIN", "\0\0hunter2", 9, ""},
        {"SCRAM-SHA-256", "n,,n=alice,r=nonce", 18, "alice"},
        {"SCRAM-SHA-512", "n,a=b,n=al=2Cice,r=nonce,tokenauth=true", 39, "al=2Cice"},
        {"SCRAM-SHA-512", "n,,m=x,n=alice", 14, ""},
        {"OAUTHBEARER", "n,,\1auth=Bearer eyJ\1\1", 21, ""},
        {"GSSAPI", "\x60\0alice\0", 8, ""},
        {"PLAIN", "\0al\x1bice\0p", 9, "al?ice"},
    };

    for (int16_t version = -1; version <= 2; version++) {
        for (size_t i = 0; i < sizeof logins / sizeof *logins; i++) {
            for (int whole = 0; whole < 2; whole++) {
                struct book book;
                struct kafka_filter *f = new_filter(&book, NULL);
                struct bytes b = {0};
                add_own_login(&b, logins[i].mechanism, version, logins[i].message, logins[i].size);
                for (size_t at = 0; at < b.size; at += whole ? b.size : 1)
                    assert_int_equal(kafka_filter_requests(f, b.at + at, whole ? b.size : 1), 0);
                assert_string_equal(kafka_filter_user(f), logins[i].user);
                bytes_free(&b);
                kafka_filter_free(f);
            }
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(pass_through_frames_are_one_span_of_the_input),
        cmocka_unit_test(unknown_apis_pass_byte_for_byte),
        cmocka_unit_test(a_request_is_known_to_be_partly_through),
        cmocka_unit_test(only_the_request_that_has_begun_is_taken),
        cmocka_unit_test(blocks_until_the_map_knows),
        cmocka_unit_test(a_block_at_the_end_of_the_input_is_told),
        cmocka_unit_test(all_unknown_nodes_are_named),
        cmocka_unit_test(controllers_are_a_space_of_their_own),
        cmocka_unit_test(hosts_of_no_node_are_blanked),
        cmocka_unit_test(newer_metadata_is_rewritten_and_told),
        cmocka_unit_test(out_of_order_responses_are_rewritten_and_told),
        cmocka_unit_test(api_versions_is_clamped_in_place),
        cmocka_unit_test(fetch_endpoints_are_erased_whatever_stands_beside),
        cmocka_unit_test(share_endpoints_are_erased_at_every_size),
        cmocka_unit_test(produce_keeps_other_tags_and_fits_the_size),
        cmocka_unit_test(acks_0_answered_or_not),
        cmocka_unit_test(requests_and_responses_are_told_for_figures),
        cmocka_unit_test(a_turn_ends_after_so_many_responses_and_addresses),
        cmocka_unit_test(large_responses_stream),
        cmocka_unit_test(only_a_login_passes_when_asked_for),
        cmocka_unit_test(a_login_is_refused_where_nobody_needs_one),
        cmocka_unit_test(who_logs_in_itself),
    };
    return cmocka_run_group_tests_name("kafka_filter", tests, NULL, NULL);
}
