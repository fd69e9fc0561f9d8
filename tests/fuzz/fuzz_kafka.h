/* What the fuzz targets of the Kafka room share. */
#pragma once

#include "check.h"
#include "kafka/filter.h"

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

/* Answers as a function of the node alone, so that two runs over the same bytes agree: most nodes
 * have an address, some only after the first question, a few never. */
struct fuzz_book {
    int blocked;
    char touched;
    uint64_t hash; /* of the output */
    size_t size;
    uint64_t requests;
};

static inline int fuzz_map(void *context, enum kafka_endpoint_type type, int32_t node,
                           const struct kafka_address *real, struct kafka_address *local)
{
    static const char hosts[] = "127.0.0.1localhost.tunnel.example.a.name.longer.than.most";
    struct fuzz_book *book = context;

    CHECK(node >= 0 && real->host_size > 0 && real->port >= 1 && real->port <= 65535);
    CHECK(type == KAFKA_ENDPOINT_BROKER || type == KAFKA_ENDPOINT_CONTROLLER);
    for (size_t i = 0; i < real->host_size; i++) /* all of it must be readable */
        book->touched ^= real->host[i];
    if (node % 16 == 15)
        return -1;
    if (node % 4 == 3 && book->blocked == 0)
        return 1;
    local->host = hosts;
    local->host_size = 1 + (size_t)node % (sizeof hosts - 1);
    local->port = 9093 + node % 1000;
    return 0;
}

static inline void fuzz_see(void *context, enum kafka_endpoint_type type, int32_t node,
                            const struct kafka_address *real)
{
    (void)context;
    CHECK(type == KAFKA_ENDPOINT_BROKER && node >= 0 && real->host_size > 0);
}

static inline uint64_t fuzz_asked(void *context, int16_t api_key, int16_t version)
{
    struct fuzz_book *book = context;

    (void)api_key;
    (void)version;
    return ++book->requests;
}

static const struct kafka_filter_callbacks fuzz_callbacks = {
    .map = fuzz_map, .seen = fuzz_see, .asked = fuzz_asked};

/* Feeds responses until they are done or the filter gives up; hashes what comes out. */
static inline int fuzz_feed(struct kafka_filter *f, struct fuzz_book *book, const uint8_t *bytes,
                            size_t size)
{
    for (;;) {
        size_t consumed;
        struct kafka_span out;
        const struct kafka_wanted *wanted;
        int result = kafka_filter_responses(f, bytes, size, &consumed, &out);
        CHECK(consumed <= size);
        CHECK(kafka_filter_memory(f) <= 2 << 20);
        if (result < 0) {
            CHECK(out.size == 0 && kafka_filter_reason(f)[0] != '\0');
            return result;
        }
        for (size_t i = 0; i < out.size; i++)
            book->hash = (book->hash ^ out.bytes[i]) * UINT64_C(0x100000001b3);
        book->size += out.size;
        bytes += consumed;
        size -= consumed;
        if (result == KAFKA_FILTER_BLOCKED) {
            size_t count = kafka_filter_wanted(f, &wanted);
            CHECK(count > 0 && out.size == 0);
            for (size_t i = 0; i < count; i++)
                CHECK(wanted[i].node % 4 == 3);
            CHECK(kafka_filter_responses(f, bytes, size, &consumed, &out) == KAFKA_FILTER_BLOCKED);
            CHECK(consumed == 0);
            book->blocked = 1;
            kafka_filter_retry(f);
            continue;
        }
        book->blocked = 0;
        if (size == 0 && out.size == 0)
            return 0;
        CHECK(consumed > 0 || out.size > 0);
    }
}

/* What must hold whatever came. */
static inline void fuzz_check(struct kafka_filter *f)
{
    const char *api;
    int16_t version;
    const char *texts[] = {kafka_filter_reason(f), kafka_filter_client_id(f)};

    for (unsigned i = 0; i < 2; i++) {
        for (const char *c = texts[i]; *c != '\0'; c++)
            CHECK(*c >= 0x20 && *c < 0x7f);
    }
    while (kafka_filter_event(f, &api, &version) != KAFKA_FILTER_EVENT_NONE)
        CHECK(api != NULL);
}

/* Small, so that a fuzzer's inputs reach them. */
static const struct kafka_filter_limits fuzz_limits = {
    .prefix = 64 << 10, .frame = 64 << 10, .tail = 4 << 10, .in_flight = 64};
