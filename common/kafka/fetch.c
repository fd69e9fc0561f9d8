/*
 * Fetch responses (key 1): from v16 on, tag 0 of the top-level tag section is NodeEndpoints[]
 * (KIP-951). It comes after the records, when the frame's length has long been sent, so the frame
 * must keep its size: the tag gets a number that no client knows, and its payload is zeroed.
 * Clients then find the new leader in Metadata, as they do with brokers that send no endpoints.
 */
#include "kafka/api.h"
#include "kafka/rewrite.h"
#include "kafka/tags.h"

#include <string.h>

static enum kafka_method fetch_method(int16_t version)
{
    return version >= 16 ? KAFKA_HOLD_TAIL : KAFKA_PASS;
}

/* clang-format off */
static const struct kafka_step layout_16[] = {
    {KAFKA_STEP_TAGS, 0}, {KAFKA_STEP_FIXED, 4 + 2 + 4},          /* header; Throttle to SessionId */
    {KAFKA_STEP_ARRAY, 0}, {KAFKA_STEP_FIXED, 16},                /* Responses: TopicId */
    {KAFKA_STEP_ARRAY, 0}, {KAFKA_STEP_FIXED, 4 + 2 + 8 + 8 + 8}, /* Partitions: Index to LogStart */
    {KAFKA_STEP_ARRAY, 0}, {KAFKA_STEP_FIXED, 8 + 8},             /* AbortedTransactions */
    {KAFKA_STEP_TAGS, 0}, {KAFKA_STEP_CLOSE, 0},
    {KAFKA_STEP_FIXED, 4}, {KAFKA_STEP_STRING, 0},                /* PreferredReadReplica, Records */
    {KAFKA_STEP_TAGS, 0}, {KAFKA_STEP_CLOSE, 0},
    {KAFKA_STEP_TAGS, 0}, {KAFKA_STEP_CLOSE, 0},
    {KAFKA_STEP_END, 0},
};
/* clang-format on */

static const struct kafka_step *fetch_version_layout(int16_t version)
{
    (void)version;
    return layout_16;
}

/* Only for the address book: damage in what is erased anyway is no error. */
static void see(struct kafka_rewrite *r, const uint8_t *payload, size_t size)
{
    struct byte_reader in = r->in;

    byte_reader_init(&r->in, payload, size);
    kafka_rewrite_node_endpoints(r, true);
    r->in = in;
}

/* A tag section whose tag numbers are in used: erases every tag 0. */
static void erase_endpoints(struct kafka_rewrite *r, struct kafka_tags_used *used)
{
    uint8_t number_bytes[KAFKA_UVARINT_MAX];

    for (uint32_t count = kafka_wire_uvarint(&r->in); count > 0 && !r->in.failed; count--) {
        const uint8_t *at = r->in.at;
        uint32_t number = kafka_wire_uvarint(&r->in);
        size_t width = (size_t)(r->in.at - at);
        uint32_t size = kafka_wire_uvarint(&r->in);
        const uint8_t *payload = byte_reader_bytes(&r->in, size);
        if (r->in.failed || number != 0)
            continue;
        see(r, payload, size);
        number = kafka_tags_unused(used, 0x7f);
        if (number == 0) {
            kafka_rewrite_fail(r, KAFKA_FILTER_EFRAME, "has no unused tag number");
            continue;
        }
        /* A padded number stays as wide as it was. */
        memcpy(number_bytes, at, width);
        number_bytes[0] = (uint8_t)(number | (at[0] & 0x80));
        kafka_rewrite_put(r, r->copied, (size_t)(at - r->copied));
        kafka_rewrite_put(r, number_bytes, width);
        kafka_rewrite_put(r, at + width, (size_t)(payload - at) - width);
        kafka_rewrite_put_zeros(r, size);
        r->copied = payload + size;
    }
}

static int rewrite_fetch(struct kafka_rewrite *r)
{
    struct kafka_tags_used used;
    struct byte_reader start = r->in;
    uint32_t number;
    size_t size;
    bool announces = false;

    for (uint32_t count = kafka_wire_uvarint(&r->in); count > 0 && !r->in.failed; count--) {
        kafka_wire_tag(&r->in, &number, &size);
        announces |= number == 0;
    }
    if (byte_reader_left(&r->in) > 0) {
        kafka_rewrite_fail(r, KAFKA_FILTER_EFRAME, "has bytes after its last field");
    } else if (announces && !r->in.failed) {
        r->in = start;
        kafka_tags_collect(&r->in, &used);
        r->in = start;
        erase_endpoints(r, &used);
    }
    return kafka_rewrite_finish(r);
}

const struct kafka_handler kafka_fetch_handler = {fetch_method, fetch_version_layout,
                                                  rewrite_fetch};
