/*
 * ShareFetch and ShareAcknowledge responses (keys 78 and 79, KIP-932): the last field is a plain
 * array NodeEndpoints[], then comes the top-level tag section. As in Fetch the frame must keep its
 * size: the array becomes empty, and an unknown tag of zeros takes the room.
 *
 *     [n + 1][entries][tag count][tags]  ->  [1][tag count + 1][tags][number][size][zeros]
 */
#include "kafka/api.h"
#include "kafka/rewrite.h"
#include "kafka/tags.h"

static enum kafka_method share_method(int16_t version)
{
    (void)version;
    return KAFKA_HOLD_TAIL;
}

/* clang-format off */
#define FETCH_BODY                                                                                 \
    {KAFKA_STEP_ARRAY, 0}, {KAFKA_STEP_FIXED, 16},               /* Responses: TopicId */          \
    {KAFKA_STEP_ARRAY, 0}, {KAFKA_STEP_FIXED, 4 + 2},            /* Partitions: Index, Error */    \
    {KAFKA_STEP_STRING, 0},                                      /* ErrorMessage */                \
    {KAFKA_STEP_FIXED, 2}, {KAFKA_STEP_STRING, 0},               /* AcknowledgeError, its text */  \
    {KAFKA_STEP_FIXED, 4 + 4}, {KAFKA_STEP_TAGS, 0},             /* CurrentLeader */               \
    {KAFKA_STEP_STRING, 0},                                      /* Records */                     \
    {KAFKA_STEP_ARRAY, 0}, {KAFKA_STEP_FIXED, 8 + 8 + 2}, {KAFKA_STEP_TAGS, 0},                    \
    {KAFKA_STEP_CLOSE, 0},                                       /* AcquiredRecords */             \
    {KAFKA_STEP_TAGS, 0}, {KAFKA_STEP_CLOSE, 0},                                                   \
    {KAFKA_STEP_TAGS, 0}, {KAFKA_STEP_CLOSE, 0},                                                   \
    {KAFKA_STEP_END, 0},

#define ACKNOWLEDGE_BODY                                                                           \
    {KAFKA_STEP_ARRAY, 0}, {KAFKA_STEP_FIXED, 16},               /* Responses: TopicId */          \
    {KAFKA_STEP_ARRAY, 0}, {KAFKA_STEP_FIXED, 4 + 2},            /* Partitions: Index, Error */    \
    {KAFKA_STEP_STRING, 0},                                      /* ErrorMessage */                \
    {KAFKA_STEP_FIXED, 4 + 4}, {KAFKA_STEP_TAGS, 0},             /* CurrentLeader */               \
    {KAFKA_STEP_TAGS, 0}, {KAFKA_STEP_CLOSE, 0},                                                   \
    {KAFKA_STEP_TAGS, 0}, {KAFKA_STEP_CLOSE, 0},                                                   \
    {KAFKA_STEP_END, 0},

/* Header tags, ThrottleTimeMs, ErrorCode, ErrorMessage. */
#define HEAD {KAFKA_STEP_TAGS, 0}, {KAFKA_STEP_FIXED, 4 + 2}, {KAFKA_STEP_STRING, 0},
#define LOCK_TIMEOUT {KAFKA_STEP_FIXED, 4}, /* AcquisitionLockTimeoutMs */
/* clang-format on */

static const struct kafka_step fetch_0[] = {HEAD FETCH_BODY};
static const struct kafka_step fetch_1[] = {HEAD LOCK_TIMEOUT FETCH_BODY};
static const struct kafka_step acknowledge_0[] = {HEAD ACKNOWLEDGE_BODY};
static const struct kafka_step acknowledge_2[] = {HEAD LOCK_TIMEOUT ACKNOWLEDGE_BODY};

static const struct kafka_step *fetch_layout(int16_t version)
{
    return version >= 1 ? fetch_1 : fetch_0;
}

static const struct kafka_step *acknowledge_layout(int16_t version)
{
    return version >= 2 ? acknowledge_2 : acknowledge_0;
}

static void put_uvarint(struct kafka_rewrite *r, uint32_t value)
{
    uint8_t bytes[KAFKA_UVARINT_MAX];
    kafka_rewrite_put(r, bytes, kafka_wire_put_uvarint(bytes, value));
}

/* A tag that takes exactly room bytes, with its number and its size. Some rooms (129) cannot be had
 * with a number of one byte, because the size would need one byte more: then it takes two. */
static void put_filler(struct kafka_rewrite *r, struct kafka_tags_used *used, size_t room)
{
    for (size_t width = 1; width <= 2 && width < room; width++) {
        for (size_t size_width = 1; size_width <= 4 && width + size_width <= room; size_width++) {
            uint32_t size = (uint32_t)(room - width - size_width);
            if (kafka_wire_uvarint_size(size) != size_width)
                continue;
            uint32_t number = kafka_tags_unused(used, width == 1 ? 0x7f : 0x3fff);
            if (number == 0)
                continue;
            put_uvarint(r, number);
            put_uvarint(r, size);
            kafka_rewrite_put_zeros(r, size);
            return;
        }
    }
    kafka_rewrite_fail(r, KAFKA_FILTER_EFRAME, "has no unused tag number");
}

/* The part begins with NodeEndpoints; section is what follows them. */
static void replace_endpoints(struct kafka_rewrite *r, struct byte_reader section)
{
    struct kafka_tags_used used;
    struct byte_reader tags = section;

    kafka_tags_collect(&tags, &used);
    uint32_t count = kafka_wire_uvarint(&section);
    put_uvarint(r, 1);
    put_uvarint(r, count + 1);
    kafka_rewrite_put(r, section.at, byte_reader_left(&section));
    put_filler(r, &used, r->size - r->out->size);
    r->copied = r->bytes + r->size;
}

static int rewrite_share(struct kafka_rewrite *r)
{
    kafka_rewrite_node_endpoints(r, true);
    struct byte_reader section = r->in;
    kafka_wire_skip_tags(&r->in);
    if (byte_reader_left(&r->in) > 0)
        kafka_rewrite_fail(r, KAFKA_FILTER_EFRAME, "has bytes after its last field");
    else if (r->neutralised > 0 && !r->in.failed)
        replace_endpoints(r, section);
    return kafka_rewrite_finish(r);
}

const struct kafka_handler kafka_share_fetch_handler = {share_method, fetch_layout, rewrite_share};
const struct kafka_handler kafka_share_acknowledge_handler = {share_method, acknowledge_layout,
                                                              rewrite_share};
