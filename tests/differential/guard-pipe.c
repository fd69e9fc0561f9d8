/*
 * The filter with a guard as a program, for the differential test (tests/e2e/test_denials.py).
 *
 * Standard input is a sequence of cases, big-endian: seed u32; count u8 and the keys (u8) of the
 * APIs that are allowed; for topics, groups and transactional ids the prefix (size u8, bytes) of
 * the names that are allowed; then, each with its size u32, what the client sends, what the broker
 * answers, and what the client sends after that. Each goes through a filter of its own, in pieces
 * that the seed decides (0: whole). Standard output has for each: the result i32 (0, or
 * KAFKA_FILTER_E...); size u32 and what the broker gets; size u32 and what the client gets, or the
 * reason.
 *
 * A topic's id is its name, padded with zeros, behind a first byte 1; others are unknown.
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

struct rights {
    uint8_t apis[256];
    char prefixes[KAFKA_RESOURCES][256];
    size_t sizes[KAFKA_RESOURCES];
    char topic[KAFKA_TOPIC_ID_SIZE + 1];
};

static bool is_open(void *context)
{
    (void)context;
    return false;
}

static uint64_t generation(void *context)
{
    (void)context;
    return 1;
}

static bool may_use(void *context, int16_t key)
{
    const struct rights *rights = context;
    return key >= 0 && key < 256 && rights->apis[key];
}

static bool is_limited(void *context, int16_t key, enum kafka_resource resource)
{
    const struct rights *rights = context;
    (void)key;
    return rights->sizes[resource] > 0;
}

static bool may_name(void *context, int16_t key, enum kafka_resource resource, const char *name,
                     size_t size)
{
    const struct rights *rights = context;
    size_t prefix = rights->sizes[resource];
    return may_use(context, key) && size >= prefix &&
           memcmp(name, rights->prefixes[resource], prefix) == 0;
}

static const char *topic_name(void *context, const uint8_t id[KAFKA_TOPIC_ID_SIZE], size_t *size)
{
    struct rights *rights = context;
    if (id[0] != 1)
        return NULL;
    memcpy(rights->topic, id + 1, KAFKA_TOPIC_ID_SIZE - 1);
    *size = strlen(rights->topic);
    return rights->topic;
}

static void learn_name(void *context, const uint8_t id[KAFKA_TOPIC_ID_SIZE], const char *name,
                       size_t size)
{
    (void)context;
    (void)id;
    (void)name;
    (void)size;
}

static void note_denied(void *context, const struct kafka_denied *denied)
{
    (void)context;
    if (strlen(denied->name) > 128)
        abort();
}

static const struct kafka_guard guard = {is_open,  generation, may_use,    is_limited,
                                         may_name, topic_name, learn_name, note_denied};

static int map(void *context, enum kafka_endpoint_type type, int32_t node,
               const struct kafka_address *real, struct kafka_address *local)
{
    (void)context;
    (void)type;
    (void)node;
    *local = *real;
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

static size_t piece(uint32_t *seed, size_t left)
{
    if (*seed == 0)
        return left;
    *seed = *seed * 1664525u + 1013904223u;
    size_t size = 1 + (*seed >> 8) % (1u << (*seed >> 28));
    return size < left ? size : left;
}

/* A copy of its own for each piece, so that reading beyond it is noticed. */
static int feed_up(struct kafka_filter *f, const uint8_t *piece_bytes, size_t size,
                   struct output *up)
{
    uint8_t *bytes = malloc(size);
    size_t at = 0;
    int result = 0;

    memcpy(bytes, piece_bytes, size);
    for (;;) {
        struct kafka_span span;
        size_t used;
        result = kafka_filter_guarded_requests(f, bytes + at, size - at, false, &used, &span);
        if (result < 0)
            break;
        append(up, span.bytes, span.size);
        at += used;
        if (at == size && span.size == 0)
            break;
    }
    free(bytes);
    return result;
}

static int feed_down(struct kafka_filter *f, const uint8_t *bytes, size_t size, struct output *down)
{
    static const uint8_t nothing[1];

    for (bytes = size > 0 ? bytes : nothing;;) {
        struct kafka_span span;
        size_t consumed;
        int result = kafka_filter_responses(f, bytes, size, &consumed, &span);
        if (result != 0)
            return result;
        append(down, span.bytes, span.size);
        bytes += consumed;
        size -= consumed;
        if (size == 0 && span.size == 0)
            return 0;
    }
}

static int ask(struct kafka_filter *f, uint32_t *seed, const struct output *requests,
               struct output *up, struct output *down)
{
    for (size_t at = 0, some; at < requests->size; at += some) {
        some = piece(seed, requests->size - at);
        int result = feed_up(f, requests->bytes + at, some, up);
        if (result < 0)
            return result;
        if (kafka_filter_has_answer(f) && (result = feed_down(f, NULL, 0, down)) < 0)
            return result;
    }
    return 0;
}

static int run(struct kafka_filter *f, uint32_t seed, const struct output *requests,
               const struct output *responses, const struct output *later, struct output *up,
               struct output *down)
{
    int asked = ask(f, &seed, requests, up, down);

    if (asked < 0)
        return asked;
    for (size_t at = 0, some; at < responses->size; at += some) {
        some = piece(&seed, responses->size - at);
        int result = feed_down(f, responses->bytes + at, some, down);
        if (result != 0)
            return result;
    }
    if ((asked = ask(f, &seed, later, up, down)) < 0)
        return asked;
    return kafka_filter_between_responses(f) && kafka_filter_between_requests(f)
               ? 0
               : KAFKA_FILTER_EFRAME;
}

static bool read_exactly(void *bytes, size_t size)
{
    return size == 0 || fread(bytes, 1, size, stdin) == size;
}

static bool read_u32(uint32_t *value)
{
    uint8_t bytes[4];

    if (!read_exactly(bytes, 4))
        return false;
    *value = byte_load_u32(bytes);
    return true;
}

static bool read_bytes(struct output *o)
{
    uint32_t size;

    if (!read_u32(&size))
        return false;
    o->size = 0;
    uint8_t *bytes = malloc(size + 1);
    bool good = read_exactly(bytes, size);
    append(o, bytes, size);
    free(bytes);
    return good;
}

static bool read_rights(struct rights *rights)
{
    uint8_t count, key;

    memset(rights, 0, sizeof *rights);
    if (!read_exactly(&count, 1))
        return false;
    for (; count > 0; count--) {
        if (!read_exactly(&key, 1))
            return false;
        rights->apis[key] = 1;
    }
    for (int i = 0; i < KAFKA_RESOURCES; i++) {
        uint8_t size;
        if (!read_exactly(&size, 1) || !read_exactly(rights->prefixes[i], size))
            return false;
        rights->sizes[i] = size;
    }
    return true;
}

static void write_bytes(const uint8_t *bytes, size_t size)
{
    uint8_t length[4];

    byte_store_u32(length, (uint32_t)size);
    fwrite(length, 1, 4, stdout);
    if (size > 0)
        fwrite(bytes, 1, size, stdout);
}

int main(void)
{
    static const struct kafka_filter_callbacks callbacks = {.map = map};
    struct output requests = {0}, responses = {0}, later = {0}, up = {0}, down = {0};
    struct rights rights;
    uint32_t seed;

    while (read_u32(&seed) && read_rights(&rights) && read_bytes(&requests) &&
           read_bytes(&responses) && read_bytes(&later)) {
        struct kafka_filter *f = kafka_filter_new(&callbacks, NULL, NULL);
        uint8_t code[4];
        if (!f || !kafka_filter_use_guard(f, &guard, &rights))
            abort();
        up.size = down.size = 0;
        int result = run(f, seed, &requests, &responses, &later, &up, &down);
        byte_store_u32(code, (uint32_t)result);
        fwrite(code, 1, 4, stdout);
        write_bytes(up.bytes, up.size);
        if (result < 0)
            write_bytes((const uint8_t *)kafka_filter_reason(f), strlen(kafka_filter_reason(f)));
        else
            write_bytes(down.bytes, down.size);
        fflush(stdout);
        kafka_filter_free(f);
    }
    free(requests.bytes);
    free(responses.bytes);
    free(later.bytes);
    free(up.bytes);
    free(down.bytes);
    return 0;
}
