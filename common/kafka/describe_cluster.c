/*
 * DescribeCluster responses (key 60, KIP-700): Brokers[] {BrokerId, Host, Port, Rack, IsFenced
 * (v2+)}. In v1+ EndpointType says whether they are brokers or controllers (KIP-919).
 */
#include "kafka/api.h"
#include "kafka/rewrite.h"

static enum kafka_method describe_cluster_method(int16_t version)
{
    (void)version;
    return KAFKA_HOLD_FRAME;
}

static int rewrite_describe_cluster(struct kafka_rewrite *r)
{
    enum kafka_endpoint_type type = KAFKA_ENDPOINT_BROKER;
    size_t size;

    kafka_wire_skip_tags(&r->in);
    byte_reader_bytes(&r->in, 4 + 2);       /* ThrottleTimeMs, ErrorCode */
    kafka_wire_string(&r->in, true, &size); /* ErrorMessage */
    if (r->version >= 1 && byte_reader_u8(&r->in) == KAFKA_ENDPOINT_CONTROLLER)
        type = KAFKA_ENDPOINT_CONTROLLER;
    kafka_wire_string(&r->in, true, &size); /* ClusterId */
    byte_reader_u32(&r->in);                /* ControllerId */
    for (uint32_t count = kafka_wire_count(&r->in, true); count > 0 && !r->in.failed; count--) {
        int32_t node = (int32_t)byte_reader_u32(&r->in);
        kafka_rewrite_endpoint(r, type, node);
        kafka_wire_string(&r->in, true, &size); /* Rack */
        if (r->version >= 2)
            byte_reader_u8(&r->in); /* IsFenced */
        kafka_wire_skip_tags(&r->in);
    }
    byte_reader_u32(&r->in); /* ClusterAuthorizedOperations */
    kafka_wire_skip_tags(&r->in);
    return kafka_rewrite_finish(r);
}

const struct kafka_handler kafka_describe_cluster_handler = {describe_cluster_method, NULL,
                                                             rewrite_describe_cluster};
