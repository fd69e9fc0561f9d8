/*
 * The filter as a program, for the differential test (tests/e2e/test_differential.py).
 *
 * Standard input is a sequence of cases: seed u32, size u32 and a request frame, size u32 and the
 * bytes of its response; big-endian. Each goes through a filter of its own, in pieces that the seed
 * decides (seed 0: whole). Standard output has for each: the result i32 (0, or KAFKA_FILTER_E...),
 * size u32, and what the client would get, or the reason.
 *
 * A node's local address is a function of its id and type: see map().
 */
#include "kafka/filter.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/bytes.h"

struct output {
    uint8_t *bytes;
    size_t size;
    size_t capacity;
};

static int map(void *context, enum kafka_endpoint_type type, int32_t node,
               const struct kafka_address *real, struct kafka_address *local)
{
    static char host[16];

    (void)context;
    (void)real;
    snprintf(host, sizeof host, "127.0.0.%d", type == KAFKA_ENDPOINT_BROKER ? 1 : 2);
    *local = (struct kafka_address){host, strlen(host), 1024 + node % 60000};
    return 0;
}

static void append(struct output *o, const uint8_t *bytes, size_t size)
{
    if (o->size + size > o->capacity) {
        o->capacity = 2 * (o->size + size);
        o->bytes = realloc(o->bytes, o->capacity);
        if (!o->bytes)
            abort();
    }
    if (size > 0)
        memcpy(o->bytes + o->size, bytes, size);
    o->size += size;
}

/* Pieces of 1 byte to 2^k bytes, so that small ones are as likely as large ones. */
static size_t piece(uint32_t *seed, size_t left)
{
    if (*seed == 0)
        return left;
    *seed = *seed * 1664525u + 1013904223u;
    size_t size = 1 + (*seed >> 8) % (1u << (*seed >> 28));
    return size < left ? size : left;
}

static int feed(struct kafka_filter *f, const uint8_t *bytes, size_t size, struct output *o)
{
    for (;;) {
        struct kafka_span span;
        size_t consumed;
        int result = kafka_filter_responses(f, bytes, size, &consumed, &span);
        if (result != 0)
            return result;
        append(o, span.bytes, span.size);
        bytes += consumed;
        size -= consumed;
        if (size == 0 && span.size == 0)
            return 0;
    }
}

static int run(struct kafka_filter *f, uint32_t seed, const struct output *request,
               const struct output *response, struct output *o)
{
    for (size_t at = 0, some; at < request->size; at += some) {
        some = piece(&seed, request->size - at);
        int result = kafka_filter_requests(f, request->bytes + at, some);
        if (result < 0)
            return result;
    }
    for (size_t at = 0, some; at < response->size; at += some) {
        some = piece(&seed, response->size - at);
        int result = feed(f, response->bytes + at, some, o);
        if (result != 0)
            return result;
    }
    return kafka_filter_between_responses(f) ? 0 : KAFKA_FILTER_EFRAME;
}

static int read_u32(uint32_t *value)
{
    uint8_t bytes[4];

    if (fread(bytes, 1, 4, stdin) != 4)
        return 0;
    *value = byte_load_u32(bytes);
    return 1;
}

static int read_bytes(struct output *o)
{
    uint8_t chunk[4096];
    uint32_t left;

    o->size = 0;
    if (!read_u32(&left))
        return 0;
    while (left > 0) {
        size_t some = left < sizeof chunk ? left : sizeof chunk;
        if (fread(chunk, 1, some, stdin) != some)
            return 0;
        append(o, chunk, some);
        left -= (uint32_t)some;
    }
    return 1;
}

static void write_u32(uint32_t value)
{
    uint8_t bytes[4];

    byte_store_u32(bytes, value);
    fwrite(bytes, 1, 4, stdout);
}

int main(void)
{
    static const struct kafka_filter_callbacks callbacks = {.map = map};
    struct output request = {0}, response = {0}, output = {0};
    uint32_t seed;

    while (read_u32(&seed) && read_bytes(&request) && read_bytes(&response)) {
        struct kafka_filter *f = kafka_filter_new(&callbacks, NULL, NULL);
        if (!f)
            abort();
        output.size = 0;
        int result = run(f, seed, &request, &response, &output);
        if (result < 0) {
            const char *reason = kafka_filter_reason(f);
            output.size = 0;
            append(&output, (const uint8_t *)reason, strlen(reason));
        }
        write_u32((uint32_t)result);
        write_u32((uint32_t)output.size);
        fwrite(output.bytes, 1, output.size, stdout);
        fflush(stdout);
        kafka_filter_free(f);
    }
    free(request.bytes);
    free(response.bytes);
    free(output.bytes);
    return 0;
}
