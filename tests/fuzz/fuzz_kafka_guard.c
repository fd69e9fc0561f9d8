/*
 * Requests under a guard, and responses to them: whatever comes, what broker and client get is
 * whole frames, and does not depend on how the bytes were split. Input: two bytes of rights, one
 * that says how pieces are cut, two of the requests' size; requests; responses.
 */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "base/bytes.h"
#include "check.h"
#include "kafka/filter.h"

struct rights {
    unsigned bits;
    char name[KAFKA_TOPIC_ID_SIZE + 1];
};

static bool is_open(void *context)
{
    const struct rights *rights = context;
    return rights->bits == 0xffff;
}

static uint64_t generation(void *context)
{
    (void)context;
    return 0;
}

static bool may_use(void *context, int16_t key)
{
    const struct rights *rights = context;
    return (rights->bits >> ((unsigned)key % 13) & 1) != 0;
}

static bool is_limited(void *context, int16_t key, enum kafka_resource resource)
{
    const struct rights *rights = context;
    (void)key;
    return (rights->bits >> (13 + (unsigned)resource) & 1) == 0;
}

static bool may_name(void *context, int16_t key, enum kafka_resource resource, const char *name,
                     size_t size)
{
    return !is_limited(context, key, resource) || (size > 0 && (name[0] & 1) != 0);
}

static const char *topic_name(void *context, const uint8_t id[KAFKA_TOPIC_ID_SIZE], size_t *size)
{
    struct rights *rights = context;

    memcpy(rights->name, id, KAFKA_TOPIC_ID_SIZE);
    *size = strlen(rights->name);
    return id[15] == 0 ? rights->name : NULL;
}

static void learn_name(void *context, const uint8_t id[KAFKA_TOPIC_ID_SIZE], const char *name,
                       size_t size)
{
    (void)context;
    CHECK(id && name && size > 0);
}

static void note_denied(void *context, const struct kafka_denied *denied)
{
    (void)context;
    CHECK(strlen(denied->name) <= 128);
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
    return local->host_size <= 255 ? 0 : -1;
}

struct output {
    uint8_t *bytes;
    size_t size;
    size_t capacity;
};

static void append(struct output *o, const struct kafka_span *span)
{
    if (o->size + span->size > o->capacity) {
        o->capacity = 2 * (o->size + span->size);
        o->bytes = realloc(o->bytes, o->capacity);
    }
    if (span->size > 0)
        memcpy(o->bytes + o->size, span->bytes, span->size);
    o->size += span->size;
}

static int down(struct kafka_filter *f, const uint8_t *bytes, size_t size, struct output *o)
{
    static const uint8_t nothing[1];

    for (bytes = size > 0 ? bytes : nothing;;) {
        struct kafka_span span;
        size_t used;
        int result = kafka_filter_responses(f, bytes, size, &used, &span);
        if (result != 0)
            return result;
        append(o, &span);
        bytes += used;
        size -= used;
        if (size == 0 && span.size == 0)
            return 0;
    }
}

static int up(struct kafka_filter *f, const uint8_t *bytes, size_t size, struct output *o)
{
    uint8_t *copy = malloc(size + 1);
    int result;

    memcpy(copy, bytes, size);
    for (size_t at = 0;;) {
        struct kafka_span span;
        size_t used;
        result = kafka_filter_guarded_requests(f, copy + at, size - at, false, &used, &span);
        if (result < 0)
            break;
        append(o, &span);
        at += used;
        if (at == size && span.size == 0)
            break;
    }
    free(copy);
    return result;
}

struct outcome {
    struct output up, down;
    int asked, answered;
};

static void run(struct rights *rights, unsigned cut, const uint8_t *data, size_t asked, size_t size,
                struct outcome *o)
{
    static const struct kafka_filter_callbacks callbacks = {.map = map};
    struct kafka_filter *f = kafka_filter_new(&callbacks, NULL, NULL);

    memset(o, 0, sizeof *o);
    CHECK(f && kafka_filter_use_guard(f, &guard, rights));
    for (size_t at = 0, some; at < asked && o->asked == 0; at += some) {
        some = cut == 0 || cut > asked - at ? asked - at : cut;
        o->asked = up(f, data + at, some, &o->up);
    }
    if (o->asked == 0)
        o->answered = down(f, NULL, 0, &o->down);
    for (size_t at = asked, some; at < size && o->asked == 0 && o->answered == 0; at += some) {
        some = cut == 0 || cut > size - at ? size - at : cut;
        o->answered = down(f, data + at, some, &o->down);
    }
    CHECK(kafka_filter_memory(f) < (64u << 20));
    kafka_filter_free(f);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct rights rights = {0};
    struct outcome whole, cut;

    if (size < 5)
        return 0;
    rights.bits = byte_load_u16(data);
    size_t asked = byte_load_u16(data + 3);
    unsigned piece = data[2];
    data += 5;
    size -= 5;
    asked = asked < size ? asked : size;
    run(&rights, 0, data, asked, size, &whole);
    run(&rights, 1 + piece % 37, data, asked, size, &cut);
    CHECK(whole.asked == cut.asked);
    if (whole.asked == 0) {
        CHECK(whole.up.size == cut.up.size &&
              (whole.up.size == 0 || memcmp(whole.up.bytes, cut.up.bytes, whole.up.size) == 0));
        CHECK((whole.answered < 0) == (cut.answered < 0));
        if (whole.answered == 0)
            CHECK(whole.down.size == cut.down.size &&
                  (whole.down.size == 0 ||
                   memcmp(whole.down.bytes, cut.down.bytes, whole.down.size) == 0));
    }
    free(whole.up.bytes);
    free(whole.down.bytes);
    free(cut.up.bytes);
    free(cut.down.bytes);
    return 0;
}
