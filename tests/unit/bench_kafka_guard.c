/*
 * What --access costs: how fast requests go through the filter without rules, with rules that allow
 * everything, an API, topics. Produce v9 and Fetch v12 for one topic, in inputs of 256 KiB. Not a
 * test: nothing is asserted about the figures.
 *
 *     ninja tests/unit/bench-kafka-guard && tests/unit/bench-kafka-guard
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "../../tunnel-server/authorization/stream_guard.h"
#include "base/bytes.h"
#include "kafka/filter.h"

enum { INPUT = 256 << 10, STREAM = 32 << 20, TOTAL_MB = 2000 };

static int no_map(void *context, enum kafka_endpoint_type type, int32_t node,
                  const struct kafka_address *real, struct kafka_address *local)
{
    (void)context, (void)type, (void)node, (void)real, (void)local;
    return -1;
}

static const struct kafka_filter_callbacks callbacks = {.map = no_map};

static void note_denied(void *context, const struct kafka_denied *denied)
{
    (void)context;
    fprintf(stderr, "%s is denied\n", denied->name);
    exit(1);
}

static double now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
    return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

static size_t end_frame(struct byte_writer *w)
{
    byte_store_u32(w->start, (uint32_t)byte_writer_size(w) - 4);
    return byte_writer_size(w);
}

static void begin(struct byte_writer *w, uint8_t *at, size_t size, uint16_t key, uint16_t version)
{
    byte_writer_init(w, at, size);
    byte_writer_u32(w, 0);
    byte_writer_u16(w, key);
    byte_writer_u16(w, version);
    byte_writer_u32(w, 1);
    byte_writer_u16(w, 5);
    byte_writer_bytes(w, "bench", 5);
    byte_writer_u8(w, 0);
}

/* acks=0, so that nothing must be answered. */
static size_t add_produce(uint8_t *at, uint32_t records)
{
    struct byte_writer w;
    uint8_t number[5] = {(uint8_t)((records + 1) | 0x80), (uint8_t)((records + 1) >> 7 | 0x80),
                         (uint8_t)((records + 1) >> 14)};

    begin(&w, at, records + 256, 0, 9);
    byte_writer_u8(&w, 0);
    byte_writer_u16(&w, 0);
    byte_writer_u32(&w, 1000);
    byte_writer_u8(&w, 2);
    byte_writer_u8(&w, 13);
    byte_writer_bytes(&w, "facts.orders", 12);
    byte_writer_u8(&w, 2);
    byte_writer_u32(&w, 0);
    byte_writer_bytes(&w, number, 3);
    w.at += records;
    byte_writer_bytes(&w, "\0\0\0", 3);
    return end_frame(&w);
}

static int pass(struct kafka_filter *f, bool guarded, const uint8_t *bytes, size_t size)
{
    if (!guarded)
        return kafka_filter_requests(f, bytes, size);
    for (size_t at = 0;;) {
        struct kafka_span out;
        size_t used;
        int result = kafka_filter_guarded_requests(f, bytes + at, size - at, false, &used, &out);
        at += used;
        if (result != 0 || (at == size && out.size == 0))
            return result;
    }
}

static void measure(const char *what, const char *lines, uint32_t records)
{
    static const char *const clusters[] = {"main"};
    static const struct hash_key key;
    const struct access_names names = {clusters, 1, NULL, 0, false};
    uint8_t *stream = calloc(1, STREAM + records + 512);
    struct kafka_filter *f = kafka_filter_new(&callbacks, NULL, NULL);
    struct topic_names topics;
    struct access_in_force in_force = {.generation = 1};
    char text[8192], error[300];
    size_t length = 0, frames = 0;

    topic_names_init(&topics, &key, 100);
    struct stream_guard guard = {.in_force = &in_force,
                                 .identity = "loader",
                                 .cluster = "main",
                                 .topics = &topics,
                                 .denied = note_denied};
    if (!stream || !f)
        abort();
    if (lines) {
        snprintf(text, sizeof text, "%s", lines);
        in_force.rules = access_rules_parse(text, strlen(text), &names, error, sizeof error);
        if (!in_force.rules || !kafka_filter_use_guard(f, &stream_guard_calls, &guard)) {
            fprintf(stderr, "%s\n", error);
            exit(1);
        }
    }
    while (length < STREAM)
        length += add_produce(stream + length, records), frames++;
    const unsigned rounds = 20;
    double start = now();
    for (unsigned round = 0; round < rounds; round++)
        for (size_t at = 0, some; at < length; at += some) {
            some = length - at < INPUT ? length - at : INPUT;
            if (pass(f, lines != NULL, stream + at, some) < 0) {
                fprintf(stderr, "%s\n", kafka_filter_reason(f));
                exit(1);
            }
        }
    double seconds = now() - start;
    printf("%-28s %6u bytes of records: %7.0f MB/s, %6.0f ns a request\n", what, records,
           (double)length * rounds / seconds / 1e6, seconds * 1e9 / (double)(frames * rounds));
    kafka_filter_free(f);
    stream_guard_clear(&guard);
    topic_names_clear(&topics);
    access_rules_release(in_force.rules);
    free(stream);
}

/* So many rules that do not fit before one that does. */
static const char *many(unsigned count)
{
    static char lines[8192];
    size_t size = 0;

    for (unsigned i = 0; i < count; i++)
        size += (size_t)snprintf(lines + size, sizeof lines - size,
                                 "r%u.allow=produce\nr%u.topic=other-%u.*\n", i, i, i);
    snprintf(lines + size, sizeof lines - size, "z.allow=produce\nz.topic=facts.*\n");
    return lines;
}

int main(void)
{
    static const uint32_t sizes[] = {100, 1000, 16000, 1000000};

    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
        measure("without rules", NULL, sizes[i]);
        measure("allow=all", "a.allow=all\n", sizes[i]);
        measure("allow=produce", "a.allow=produce\n", sizes[i]);
        measure("a topic pattern", "a.allow=produce\na.topic=facts.*\n", sizes[i]);
        measure("a hundred rules with topics", many(100), sizes[i]);
    }
    return 0;
}
