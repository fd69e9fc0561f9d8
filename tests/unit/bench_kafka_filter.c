/*
 * How fast responses go through the filter, in MB/s: Fetch v17 with 1 MiB of records each, and
 * small Produce v9 ones, in inputs of 256 KiB. Not a test: nothing is asserted about the figures.
 *
 *     ninja tests/unit/bench-kafka-filter && tests/unit/bench-kafka-filter
 */
#include "kafka/filter.h"
#include "kafka/wire.h"

#include <stdio.h>
#include <stdlib.h>
#include <time.h>

enum { INPUT = 256 << 10, STREAM = 64 << 20 };

static int no_map(void *context, enum kafka_endpoint_type type, int32_t node,
                  const struct kafka_address *real, struct kafka_address *local)
{
    (void)context, (void)type, (void)node, (void)real, (void)local;
    return -1;
}

static void count_answer(void *context, int16_t api_key, uint64_t mark)
{
    size_t *in_flight = context;

    (void)api_key;
    (void)mark;
    --*in_flight;
}

static const struct kafka_filter_callbacks callbacks = {.map = no_map, .answered = count_answer};

static double now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

/* One response without addresses; its size. Correlation ids are all 1. */
static size_t add_fetch_17(uint8_t *at, uint32_t records)
{
    struct byte_writer w;
    uint8_t number[KAFKA_UVARINT_MAX];
    static const uint8_t zeros[64];

    byte_writer_init(&w, at, records + 256);
    byte_writer_u32(&w, 0);
    byte_writer_u32(&w, 1);
    byte_writer_bytes(&w, zeros, 1 + 4 + 2 + 4);
    byte_writer_u8(&w, 2);
    byte_writer_bytes(&w, zeros, 16);
    byte_writer_u8(&w, 2);
    byte_writer_bytes(&w, zeros, 4 + 2 + 8 + 8 + 8 + 1 + 4);
    byte_writer_bytes(&w, number, kafka_wire_put_uvarint(number, records + 1));
    w.at += records;
    byte_writer_bytes(&w, zeros, 3);
    byte_store_u32(at, (uint32_t)byte_writer_size(&w) - 4);
    return byte_writer_size(&w);
}

static size_t add_produce_9(uint8_t *at, uint32_t unused)
{
    (void)unused;
    byte_store_u32(at, 48);
    byte_store_u32(at + 4, 1);
    return 52;
}

static void measure(const char *what, int16_t key, int16_t version, uint32_t size,
                    size_t (*add)(uint8_t *at, uint32_t size))
{
    uint8_t *stream = calloc(1, STREAM + size + 512);
    uint8_t request[20] = {0, 0, 0, 16, 0, 0, 0, 0, 0, 0, 0, 1, 0xff, 0xff, 0, 0, 0xff, 0xff};
    size_t length = 0, frames = 0, spans = 0, in_flight = 0;
    struct kafka_filter *f = kafka_filter_new(&callbacks, &in_flight, NULL);
    const unsigned rounds = 100;

    if (!stream || !f)
        abort();
    request[5] = (uint8_t)key;
    request[7] = (uint8_t)version;
    while (length < STREAM)
        length += add(stream + length, size), frames++;
    double start = now();
    for (unsigned round = 0; round < rounds; round++) {
        for (size_t at = 0; at < length;) {
            size_t some = length - at < INPUT ? length - at : INPUT, end = at + some, consumed;
            struct kafka_span out = {0};
            /* As many requests as the input can hold responses, as a client would have sent. */
            size_t want = some / (length / frames) + 2;
            for (; in_flight < want; in_flight++)
                if (kafka_filter_requests(f, request, sizeof request) < 0)
                    abort();
            do {
                if (kafka_filter_responses(f, stream + at, end - at, &consumed, &out) != 0) {
                    fprintf(stderr, "%s\n", kafka_filter_reason(f));
                    exit(1);
                }
                at += consumed;
                spans += out.size > 0;
            } while (at < end || out.size > 0);
        }
    }
    double seconds = now() - start;
    printf("%s: %.0f MB/s, %.0f ns a response, %.2f spans an input of 256 KiB\n", what,
           (double)length * rounds / seconds / 1e6, seconds * 1e9 / (double)(frames * rounds),
           (double)spans * INPUT / ((double)length * rounds));
    kafka_filter_free(f);
    free(stream);
}

int main(void)
{
    measure("Fetch v17, 1 MiB of records", 1, 17, 1 << 20, add_fetch_17);
    measure("Fetch v17, 1 KiB of records", 1, 17, 1 << 10, add_fetch_17);
    measure("Fetch v11, 1 MiB of records", 1, 11, 1 << 20, add_fetch_17);
    measure("Produce v9", 0, 9, 0, add_produce_9);
    return 0;
}
