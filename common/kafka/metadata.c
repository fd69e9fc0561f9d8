/*
 * Metadata responses (key 3): Brokers[] {NodeId, Host, Port, Rack (v1+)} near the start.
 *
 * Only the prefix through Brokers is held, so a response of any size streams through. The prefix is
 * the same in v3-8 and in v9 and all later versions; what follows it does not matter here.
 */
#include "kafka/api.h"
#include "kafka/guard_metadata.h"
#include "kafka/rewrite.h"

static enum kafka_method metadata_method(int16_t version)
{
    (void)version;
    return KAFKA_HOLD_PREFIX;
}

/* clang-format off */
static const struct kafka_step layout_0[] = {
    {KAFKA_STEP_ARRAY32, 0},                           /* Brokers */
    {KAFKA_STEP_FIXED, 4}, {KAFKA_STEP_STRING16, 0},   /* NodeId, Host */
    {KAFKA_STEP_FIXED, 4},                             /* Port */
    {KAFKA_STEP_CLOSE, 0}, {KAFKA_STEP_END, 0},
};

#define BROKERS_1                                                                                  \
    {KAFKA_STEP_ARRAY32, 0},                           /* Brokers */                               \
    {KAFKA_STEP_FIXED, 4}, {KAFKA_STEP_STRING16, 0},   /* NodeId, Host */                          \
    {KAFKA_STEP_FIXED, 4}, {KAFKA_STEP_STRING16, 0},   /* Port, Rack */                            \
    {KAFKA_STEP_CLOSE, 0}, {KAFKA_STEP_END, 0},

static const struct kafka_step layout_1[] = {BROKERS_1};
static const struct kafka_step layout_3[] = {
    {KAFKA_STEP_FIXED, 4},                             /* ThrottleTimeMs */
    BROKERS_1
};

static const struct kafka_step layout_9[] = {
    {KAFKA_STEP_TAGS, 0}, {KAFKA_STEP_FIXED, 4},       /* of the header; ThrottleTimeMs */
    {KAFKA_STEP_ARRAY, 0},                             /* Brokers */
    {KAFKA_STEP_FIXED, 4}, {KAFKA_STEP_STRING, 0},     /* NodeId, Host */
    {KAFKA_STEP_FIXED, 4}, {KAFKA_STEP_STRING, 0},     /* Port, Rack */
    {KAFKA_STEP_TAGS, 0}, {KAFKA_STEP_CLOSE, 0}, {KAFKA_STEP_END, 0},
};
/* clang-format on */

static const struct kafka_step *metadata_version_layout(int16_t version)
{
    if (version == 0)
        return layout_0;
    if (version < 3)
        return layout_1;
    return version < 9 ? layout_3 : layout_9;
}

static int rewrite_metadata(struct kafka_rewrite *r)
{
    size_t size;

    if (r->flexible)
        kafka_wire_skip_tags(&r->in);
    if (r->version >= 3)
        byte_reader_u32(&r->in); /* ThrottleTimeMs */
    for (uint32_t count = kafka_wire_count(&r->in, r->flexible); count > 0 && !r->in.failed;
         count--) {
        int32_t node = (int32_t)byte_reader_u32(&r->in);
        kafka_rewrite_endpoint(r, KAFKA_ENDPOINT_BROKER, node);
        if (r->version >= 1)
            kafka_wire_string(&r->in, r->flexible, &size); /* Rack */
        if (r->flexible)
            kafka_wire_skip_tags(&r->in);
    }
    if (r->guard && r->note && !r->in.failed)
        kafka_guard_metadata_response(r->guard, r, r->note);
    return kafka_rewrite_finish(r);
}

const struct kafka_handler kafka_metadata_handler = {metadata_method, metadata_version_layout,
                                                     rewrite_metadata};
