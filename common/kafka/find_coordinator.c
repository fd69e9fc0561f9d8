/*
 * FindCoordinator responses (key 10): NodeId, Host, Port at the top in v0-3; in v4+ in every
 * element of Coordinators[]. A coordinator that was not found has NodeId -1, Host "", Port -1,
 * which stays.
 */
#include "kafka/api.h"
#include "kafka/rewrite.h"

static enum kafka_method find_coordinator_method(int16_t version)
{
    (void)version;
    return KAFKA_HOLD_FRAME;
}

static void rewrite_one(struct kafka_rewrite *r)
{
    size_t size;

    byte_reader_u16(&r->in); /* ErrorCode */
    if (r->version >= 1)
        kafka_wire_string(&r->in, r->flexible, &size); /* ErrorMessage */
    int32_t node = (int32_t)byte_reader_u32(&r->in);
    kafka_rewrite_endpoint(r, KAFKA_ENDPOINT_BROKER, node);
}

static void rewrite_all(struct kafka_rewrite *r)
{
    size_t size;

    for (uint32_t count = kafka_wire_count(&r->in, true); count > 0 && !r->in.failed; count--) {
        kafka_wire_string(&r->in, true, &size); /* Key */
        int32_t node = (int32_t)byte_reader_u32(&r->in);
        kafka_rewrite_endpoint(r, KAFKA_ENDPOINT_BROKER, node);
        byte_reader_u16(&r->in);                /* ErrorCode */
        kafka_wire_string(&r->in, true, &size); /* ErrorMessage */
        kafka_wire_skip_tags(&r->in);
    }
}

static int rewrite_find_coordinator(struct kafka_rewrite *r)
{
    if (r->flexible)
        kafka_wire_skip_tags(&r->in);
    if (r->version >= 1)
        byte_reader_u32(&r->in); /* ThrottleTimeMs */
    if (r->version >= 4)
        rewrite_all(r);
    else
        rewrite_one(r);
    if (r->flexible)
        kafka_wire_skip_tags(&r->in);
    return kafka_rewrite_finish(r);
}

const struct kafka_handler kafka_find_coordinator_handler = {find_coordinator_method, NULL,
                                                             rewrite_find_coordinator};
