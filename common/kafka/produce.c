/*
 * Produce responses (key 0): from v10 on, tag 0 of the top-level tag section is NodeEndpoints[]
 * (KIP-951), sent with partitions that have moved away. The tag's size changes with its addresses,
 * so the frame is held whole and spliced.
 */
#include "kafka/api.h"
#include "kafka/rewrite.h"

#include <string.h>

static enum kafka_method produce_method(int16_t version)
{
    return version >= 10 ? KAFKA_HOLD_FRAME : KAFKA_PASS;
}

/* clang-format off */
/* Up to the top-level tag section; v13 has a topic id where v10-12 have the name. */
#define LAYOUT(topic)                                                                              \
    {KAFKA_STEP_TAGS, 0},                                        /* of the header */               \
    {KAFKA_STEP_ARRAY, 0}, topic,                                /* Responses */                   \
    {KAFKA_STEP_ARRAY, 0}, {KAFKA_STEP_FIXED, 4 + 2 + 8 + 8 + 8}, /* Index to LogStartOffset */    \
    {KAFKA_STEP_ARRAY, 0}, {KAFKA_STEP_FIXED, 4},                /* RecordErrors: BatchIndex */    \
    {KAFKA_STEP_STRING, 0}, {KAFKA_STEP_TAGS, 0},                /* its message */                 \
    {KAFKA_STEP_CLOSE, 0}, {KAFKA_STEP_STRING, 0},               /* ErrorMessage */                \
    {KAFKA_STEP_TAGS, 0}, {KAFKA_STEP_CLOSE, 0},                                                   \
    {KAFKA_STEP_TAGS, 0}, {KAFKA_STEP_CLOSE, 0},                                                   \
    {KAFKA_STEP_FIXED, 4}, {KAFKA_STEP_END, 0},                  /* ThrottleTimeMs */
#define NAME {KAFKA_STEP_STRING, 0}
#define ID {KAFKA_STEP_FIXED, 16}

static const struct kafka_step layout_10[] = {LAYOUT(NAME)};
static const struct kafka_step layout_13[] = {LAYOUT(ID)};
/* clang-format on */

/* The tag's size stands before its payload, and is known only after it has been rewritten. */
static void rewrite_tag(struct kafka_rewrite *r)
{
    uint8_t number[KAFKA_UVARINT_MAX];
    const uint8_t *before = r->in.at;
    uint32_t size = kafka_wire_uvarint(&r->in);
    struct byte_reader rest = r->in;
    const uint8_t *payload = byte_reader_bytes(&rest, size);

    if (!payload || r->in.failed) {
        r->in.failed = true;
        return;
    }
    kafka_rewrite_put(r, r->copied, (size_t)(before - r->copied));
    r->copied = payload;
    size_t start = r->out->size;
    byte_reader_init(&r->in, payload, size);
    kafka_rewrite_node_endpoints(r, false);
    if (byte_reader_left(&r->in) > 0)
        kafka_rewrite_fail(r, KAFKA_FILTER_EFRAME, "has a NodeEndpoints tag of the wrong size");
    kafka_rewrite_copy(r);
    if (r->in.failed)
        return;
    r->in = rest;

    size_t written = r->out->size - start;
    size_t width = kafka_wire_put_uvarint(number, (uint32_t)written);
    kafka_rewrite_put(r, number, width);
    if (r->error == 0) {
        memmove(r->out->bytes + start + width, r->out->bytes + start, written);
        memcpy(r->out->bytes + start, number, width);
    }
}

static int rewrite_produce(struct kafka_rewrite *r)
{
    struct kafka_walk walk;
    size_t used, size;

    kafka_walk_start(&walk, r->version >= 13 ? layout_13 : layout_10, byte_reader_left(&r->in));
    if (kafka_walk_run(&walk, r->in.at, byte_reader_left(&r->in), &used) != KAFKA_WALK_DONE) {
        kafka_rewrite_fail(r, KAFKA_FILTER_EFRAME,
                           walk.taker.reason ? walk.taker.reason : "ends in the middle of a field");
        return kafka_rewrite_finish(r);
    }
    byte_reader_bytes(&r->in, used);
    for (uint32_t count = kafka_wire_uvarint(&r->in); count > 0 && !r->in.failed; count--) {
        struct byte_reader tag = r->in;
        uint32_t number = kafka_wire_uvarint(&r->in);
        if (number == 0 && !r->in.failed) {
            rewrite_tag(r);
        } else {
            r->in = tag;
            kafka_wire_tag(&r->in, &number, &size);
        }
    }
    if (byte_reader_left(&r->in) > 0)
        kafka_rewrite_fail(r, KAFKA_FILTER_EFRAME, "has bytes after its last field");
    return kafka_rewrite_finish(r);
}

const struct kafka_handler kafka_produce_handler = {produce_method, NULL, rewrite_produce};
