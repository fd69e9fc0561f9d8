/* What the suites of the Kafka room share: requests to send, a map, a way to feed a filter. */
#pragma once

#include "../lib/cmocka.h"

#include "kafka/api.h"
#include "kafka/filter.h"
#include "kafka/wire.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* A growing byte string. */
struct bytes {
    uint8_t *at;
    size_t size;
    size_t capacity;
};

static inline void bytes_add(struct bytes *b, const void *more, size_t size)
{
    if (size == 0)
        return;
    if (b->size + size > b->capacity) {
        b->capacity = (b->size + size) * 2;
        b->at = realloc(b->at, b->capacity);
        assert_non_null(b->at);
    }
    memcpy(b->at + b->size, more, size);
    b->size += size;
}

static inline void bytes_u8(struct bytes *b, uint8_t value)
{
    bytes_add(b, &value, 1);
}

static inline void bytes_u16(struct bytes *b, uint16_t value)
{
    uint8_t at[2];
    byte_store_u16(at, value);
    bytes_add(b, at, 2);
}

static inline void bytes_u32(struct bytes *b, uint32_t value)
{
    uint8_t at[4];
    byte_store_u32(at, value);
    bytes_add(b, at, 4);
}

static inline void bytes_uvarint(struct bytes *b, uint32_t value)
{
    uint8_t at[KAFKA_UVARINT_MAX];
    bytes_add(b, at, kafka_wire_put_uvarint(at, value));
}

static inline void bytes_hex(struct bytes *b, const char *hex)
{
    for (; hex[0] && hex[1] && hex[0] != '\n'; hex += 2) {
        char two[3] = {hex[0], hex[1], 0};
        if (hex[0] == ' ') {
            hex--;
            continue;
        }
        bytes_u8(b, (uint8_t)strtoul(two, NULL, 16));
    }
}

static inline void bytes_free(struct bytes *b)
{
    free(b->at);
    *b = (struct bytes){0};
}

/* Puts the length of what came after start in front of it. */
static inline size_t frame_begin(struct bytes *b)
{
    bytes_u32(b, 0);
    return b->size;
}

static inline void frame_end(struct bytes *b, size_t start)
{
    byte_store_u32(b->at + start - 4, (uint32_t)(b->size - start));
}

static inline void add_header(struct bytes *b, int16_t key, int16_t version, int32_t id)
{
    bytes_u16(b, (uint16_t)key);
    bytes_u16(b, (uint16_t)version);
    bytes_u32(b, (uint32_t)id);
    bytes_u16(b, 4);
    bytes_add(b, "test", 4);
}

/* A request that is complete as far as the filter looks; some bytes of body follow. */
static inline void add_request(struct bytes *b, int16_t key, int16_t version, int32_t id)
{
    size_t start = frame_begin(b);

    add_header(b, key, version, id);
    if (key == KAFKA_KEY_PRODUCE) {
        if (version >= 9)
            bytes_add(b, "\0\0", 2); /* tags, null transactional id */
        else if (version >= 3)
            bytes_u16(b, 0xffff);
        bytes_u16(b, 0xffff); /* acks = all */
    } else if (key == KAFKA_KEY_SASL_HANDSHAKE) {
        bytes_u16(b, 5);
        bytes_add(b, "PLAIN", 5);
    }
    bytes_add(b, "body", 4);
    frame_end(b, start);
}

enum { BOOK_APIS = KAFKA_KEY_SHARE_ACKNOWLEDGE + 1 };

/* Knows node 1 and 2 at b1.example:9092 and b2.example:9093, and any other by its number. */
struct book {
    int unknown; /* this node is not known yet; -1: none */
    int refused; /* this one never will be */
    unsigned asked;
    unsigned seen;
    unsigned unusable;
    /* What is for figures: by API, addresses of responses; and how many of all were unusable. */
    uint32_t rewritten[BOOK_APIS];
    uint32_t erased[BOOK_APIS];
    uint32_t unusable_addresses;
    unsigned requests;
    unsigned responses; /* to requests that must be answered */
    char hosts[4][32];
};

static inline int book_map(void *context, enum kafka_endpoint_type type, int32_t node,
                           const struct kafka_address *real, struct kafka_address *local)
{
    struct book *book = context;

    assert_true(node >= 0);
    assert_true(real->host_size > 0);
    assert_in_range(real->port, 1, 65535);
    book->asked++;
    if (node == 1 || node == 2) {
        assert_int_equal(real->host_size, 10);
        assert_memory_equal(real->host, node == 1 ? "b1.example" : "b2.example", 10);
        assert_int_equal(real->port, node == 1 ? 9092 : 9093);
    }
    if (node == book->refused)
        return -1;
    if (node == book->unknown)
        return 1;
    local->host = "127.0.0.1";
    local->host_size = 9;
    local->port = (type == KAFKA_ENDPOINT_CONTROLLER ? 29000 : 19000) + node;
    return 0;
}

static inline void book_see(void *context, enum kafka_endpoint_type type, int32_t node,
                            const struct kafka_address *real)
{
    struct book *book = context;

    assert_int_equal(type, KAFKA_ENDPOINT_BROKER);
    assert_int_equal(node, 2);
    assert_int_equal(real->port, 9093);
    book->seen++;
}

static inline void book_unusable(void *context, enum kafka_endpoint_type type, int32_t node,
                                 const struct kafka_address *real)
{
    struct book *book = context;

    (void)type;
    assert_true(node < 0 || real->port < 1 || real->port > 65535 ||
                !printable_is_word(real->host, real->host_size));
    assert_true(real->host_size > 0);
    book->unusable++;
}

static inline void book_rewrote(void *context, int16_t api_key, uint32_t rewritten, uint32_t erased,
                                uint32_t unusable)
{
    struct book *book = context;

    assert_in_range(api_key, 0, BOOK_APIS - 1);
    assert_true(rewritten + erased > 0 && unusable <= erased);
    book->rewritten[api_key] += rewritten;
    book->erased[api_key] += erased;
    book->unusable_addresses += unusable;
}

static inline uint64_t book_asked(void *context, int16_t api_key, int16_t version)
{
    struct book *book = context;

    (void)version;
    book->requests++;
    return (uint64_t)(uint16_t)api_key;
}

static inline void book_answered(void *context, int16_t api_key, uint64_t mark)
{
    struct book *book = context;

    assert_int_equal(mark, (uint16_t)api_key);
    book->responses++;
}

static const struct kafka_filter_callbacks book_callbacks = {.map = book_map,
                                                             .seen = book_see,
                                                             .unusable = book_unusable,
                                                             .asked = book_asked,
                                                             .answered = book_answered,
                                                             .rewrote = book_rewrote};

static inline struct kafka_filter *new_filter(struct book *book,
                                              const struct kafka_filter_limits *limits)
{
    *book = (struct book){.unknown = -1, .refused = -1};
    struct kafka_filter *f = kafka_filter_new(&book_callbacks, book, limits);
    assert_non_null(f);
    return f;
}

/* Feeds one piece of responses until it is done; what comes out is appended. The last result. */
static inline int feed(struct kafka_filter *f, const uint8_t *bytes, size_t size,
                       struct bytes *output)
{
    for (;;) {
        size_t consumed;
        struct kafka_span out;
        int result = kafka_filter_responses(f, bytes, size, &consumed, &out);
        assert_true(consumed <= size);
        if (result != 0) {
            assert_int_equal(out.size, 0);
            assert_true(consumed == 0 || result == KAFKA_FILTER_BLOCKED);
            return result;
        }
        bytes_add(output, out.bytes, out.size);
        bytes += consumed;
        size -= consumed;
        if (size == 0 && out.size == 0)
            return 0;
        assert_true(consumed > 0 || out.size > 0);
    }
}

/* How many whole frames there are. */
static inline unsigned count_frames(const struct bytes *b)
{
    unsigned count = 0;
    size_t at = 0;

    for (; at + 4 <= b->size; at += 4 + byte_load_u32(b->at + at))
        count++;
    assert_int_equal(at, b->size);
    return count;
}

/* xorshift: the same pieces in every run. */
static inline uint32_t next_random(uint32_t *seed)
{
    *seed ^= *seed << 13;
    *seed ^= *seed >> 17;
    *seed ^= *seed << 5;
    return *seed;
}

/* The input as a copy of its own for each piece, so that a read beyond it is noticed. */
static inline int feed_piece(struct kafka_filter *f, const uint8_t *bytes, size_t size,
                             struct bytes *output)
{
    uint8_t *copy = malloc(size > 0 ? size : 1);
    assert_non_null(copy);
    if (size > 0)
        memcpy(copy, bytes, size);
    int result = feed(f, copy, size, output);
    free(copy);
    return result;
}

enum { SPLIT_WHOLE = 0, SPLIT_BYTES = 1 }; /* else: a seed */

static inline int feed_split(struct kafka_filter *f, const uint8_t *bytes, size_t size,
                             uint32_t split, struct bytes *output)
{
    uint32_t seed = split;

    for (size_t at = 0, some; at < size; at += some) {
        uint32_t limit = split > 1 && next_random(&seed) % 4 == 0 ? 4 : 64;
        some = split == SPLIT_WHOLE ? size : split == SPLIT_BYTES ? 1 : next_random(&seed) % limit;
        if (some > size - at)
            some = size - at;
        int result = feed_piece(f, bytes + at, some, output);
        if (result != 0)
            return result;
    }
    return 0;
}

static inline void send_requests(struct kafka_filter *f, const struct bytes *requests)
{
    assert_int_equal(kafka_filter_requests(f, requests->at, requests->size), 0);
}
