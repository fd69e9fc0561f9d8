#include "kafka/bootstrap.h"

#include "kafka/api.h"
#include "kafka/sniff.h"
#include "kafka/wire.h"

enum { METADATA_VERSION = 1, DESCRIBE_CLUSTER_VERSION = 1, NO_VERSION = INT16_MAX };
/* Of Kafka's Errors.java. */
enum {
    UNKNOWN_SERVER_ERROR = -1,
    MISMATCHED_ENDPOINT_TYPE = 114,
    UNSUPPORTED_ENDPOINT_TYPE = 115,
    ERROR_MAX = 255, /* with room for those to come */
};
/* Bytes of an entry of ApiVersions: key, lowest and highest version; in flexible versions tags. */
enum { VERSIONS_ENTRY = 6, VERSIONS_ENTRY_FLEXIBLE = 7 };

static const char client_id[] = "kafka-tunnel";

const char *kafka_bootstrap_api(enum kafka_endpoint_type type)
{
    return type == KAFKA_ENDPOINT_CONTROLLER ? "DescribeCluster" : "Metadata";
}

size_t kafka_bootstrap_request(enum kafka_endpoint_type type, uint8_t *buffer,
                               int32_t correlation_id)
{
    bool controllers = type == KAFKA_ENDPOINT_CONTROLLER;
    struct byte_writer w;

    byte_writer_init(&w, buffer, KAFKA_BOOTSTRAP_REQUEST_MAX);
    byte_writer_u32(&w, 0);
    byte_writer_u16(&w, controllers ? KAFKA_KEY_DESCRIBE_CLUSTER : KAFKA_KEY_METADATA);
    byte_writer_u16(&w, controllers ? DESCRIBE_CLUSTER_VERSION : METADATA_VERSION);
    byte_writer_u32(&w, (uint32_t)correlation_id);
    byte_writer_u16(&w, sizeof client_id - 1);
    byte_writer_bytes(&w, client_id, sizeof client_id - 1);
    if (controllers) {
        byte_writer_u8(&w, 0); /* no tags in the header */
        byte_writer_u8(&w, 0); /* IncludeClusterAuthorizedOperations */
        byte_writer_u8(&w, KAFKA_ENDPOINT_CONTROLLER);
        byte_writer_u8(&w, 0); /* no tags */
    } else {
        byte_writer_u32(&w, 0); /* Topics: none, where null would be all */
    }
    byte_store_u32(buffer, (uint32_t)(byte_writer_size(&w) - 4));
    return byte_writer_size(&w);
}

static enum kafka_bootstrap_result fail_bootstrap(const char **reason, const char *why)
{
    *reason = why;
    return KAFKA_BOOTSTRAP_EFRAME;
}

/* {NodeId, Host, Port, Rack} of Metadata and DescribeCluster; reports them, if there is anybody to
 * report to. */
static bool read_nodes(struct byte_reader r, bool flexible,
                       void (*node)(void *, int32_t, const struct kafka_address *), void *context)
{
    size_t size;

    for (uint32_t count = kafka_wire_count(&r, flexible); count > 0 && !r.failed; count--) {
        struct kafka_address address;
        int32_t id = (int32_t)byte_reader_u32(&r);
        address.host = (const char *)kafka_wire_string(&r, flexible, &address.host_size);
        address.port = (int32_t)byte_reader_u32(&r);
        kafka_wire_string(&r, flexible, &size); /* Rack */
        if (flexible)
            kafka_wire_skip_tags(&r);
        if (node && !r.failed && kafka_address_is_usable(id, &address))
            node(context, id, &address);
    }
    return !r.failed;
}

/* A DescribeCluster response from the tags of its header to ControllerId. What it holds is told by
 * EndpointType alone: NULL, or why there are no controllers in it. */
static const char *read_describe_cluster(struct byte_reader *r)
{
    size_t size;

    kafka_wire_skip_tags(r);
    byte_reader_u32(r); /* ThrottleTimeMs */
    uint16_t error = byte_reader_u16(r);
    kafka_wire_string(r, true, &size); /* ErrorMessage */
    uint8_t type = byte_reader_u8(r);
    kafka_wire_string(r, true, &size); /* ClusterId */
    byte_reader_u32(r);                /* ControllerId */
    if (r->failed)
        return "the broker's DescribeCluster response is malformed";
    if (error == MISMATCHED_ENDPOINT_TYPE || error == UNSUPPORTED_ENDPOINT_TYPE)
        return "it is a broker, and only controllers say where controllers are";
    if (error != 0)
        return "it answered a DescribeCluster request with an error";
    if (type != KAFKA_ENDPOINT_CONTROLLER)
        return "it answered a DescribeCluster request for controllers with something else";
    return NULL;
}

/* OK: the response is whole and one to this request; *r is behind the correlation id. */
static enum kafka_bootstrap_result read_header(const uint8_t *bytes, size_t size,
                                               int32_t correlation_id, struct byte_reader *r,
                                               const char **reason)
{
    enum kafka_sniff sniffed = kafka_sniff(bytes, size);

    if (sniffed != KAFKA_SNIFF_KAFKA && sniffed != KAFKA_SNIFF_MORE)
        return fail_bootstrap(reason, kafka_sniff_broker_advice(sniffed));
    if (size < 4)
        return KAFKA_BOOTSTRAP_MORE;
    int32_t length = (int32_t)byte_load_u32(bytes);
    if (length < 4 || length > KAFKA_BOOTSTRAP_RESPONSE_MAX - 4)
        return fail_bootstrap(reason, "the broker's answer has an invalid length");
    if (size - 4 < (size_t)length)
        return KAFKA_BOOTSTRAP_MORE;
    byte_reader_init(r, bytes + 4, (size_t)length);
    if ((int32_t)byte_reader_u32(r) != correlation_id)
        return fail_bootstrap(reason, "the broker's answer does not match the request");
    return KAFKA_BOOTSTRAP_OK;
}

enum kafka_bootstrap_result kafka_bootstrap_response(
    enum kafka_endpoint_type type, const uint8_t *bytes, size_t size, int32_t correlation_id,
    void (*node)(void *context, int32_t node, const struct kafka_address *address), void *context,
    const char **reason)
{
    bool controllers = type == KAFKA_ENDPOINT_CONTROLLER;
    struct byte_reader r;
    enum kafka_bootstrap_result result = read_header(bytes, size, correlation_id, &r, reason);

    if (result != KAFKA_BOOTSTRAP_OK)
        return result;
    const char *why = controllers ? read_describe_cluster(&r) : NULL;
    if (why)
        return fail_bootstrap(reason, why);
    if (!read_nodes(r, controllers, NULL, NULL))
        return fail_bootstrap(reason, controllers
                                          ? "the broker's DescribeCluster response is malformed"
                                          : "the broker's Metadata response is malformed");
    read_nodes(r, controllers, node, context);
    return KAFKA_BOOTSTRAP_OK;
}

static void count_node(void *context, int32_t node, const struct kafka_address *address)
{
    uint32_t *left = context;

    (void)node;
    (void)address;
    --*left;
}

uint32_t kafka_bootstrap_unusable(enum kafka_endpoint_type type, const uint8_t *bytes, size_t size)
{
    bool controllers = type == KAFKA_ENDPOINT_CONTROLLER;
    struct byte_reader r;

    byte_reader_init(&r, bytes + 8, size - 8);
    if (controllers && read_describe_cluster(&r))
        return 0;
    struct byte_reader nodes = r;
    uint32_t left = kafka_wire_count(&nodes, controllers);
    read_nodes(r, controllers, count_node, &left);
    return left;
}

size_t kafka_bootstrap_versions_request(uint8_t *buffer, int32_t correlation_id)
{
    struct byte_writer w;

    byte_writer_init(&w, buffer, KAFKA_BOOTSTRAP_REQUEST_MAX);
    byte_writer_u32(&w, 0);
    byte_writer_u16(&w, KAFKA_KEY_API_VERSIONS);
    byte_writer_u16(&w, 0);
    byte_writer_u32(&w, (uint32_t)correlation_id);
    byte_writer_u16(&w, sizeof client_id - 1);
    byte_writer_bytes(&w, client_id, sizeof client_id - 1);
    byte_store_u32(buffer, (uint32_t)(byte_writer_size(&w) - 4));
    return byte_writer_size(&w);
}

enum kafka_bootstrap_result kafka_bootstrap_versions_response(const uint8_t *bytes, size_t size,
                                                              int32_t correlation_id,
                                                              struct kafka_bootstrap_apis *apis,
                                                              const char **reason)
{
    struct byte_reader r;
    enum kafka_bootstrap_result result = read_header(bytes, size, correlation_id, &r, reason);

    if (result != KAFKA_BOOTSTRAP_OK)
        return result;
    uint16_t error = byte_reader_u16(&r);
    *apis = (struct kafka_bootstrap_apis){.count = byte_reader_u32(&r)};
    if (r.failed || apis->count > byte_reader_left(&r) / VERSIONS_ENTRY)
        return fail_bootstrap(reason, "the broker's ApiVersions response is malformed");
    for (uint32_t i = 0; i < apis->count; i++) {
        uint16_t key = byte_reader_u16(&r);
        byte_reader_u32(&r); /* the lowest and the highest version */
        apis->metadata |= key == KAFKA_KEY_METADATA;
        apis->describe_cluster |= key == KAFKA_KEY_DESCRIBE_CLUSTER;
    }
    return error == 0 ? KAFKA_BOOTSTRAP_OK
                      : fail_bootstrap(reason, "it answered an ApiVersions request with an error");
}

size_t kafka_bootstrap_proof_request(uint8_t *buffer, int32_t correlation_id)
{
    struct byte_writer w;

    byte_writer_init(&w, buffer, KAFKA_BOOTSTRAP_REQUEST_MAX);
    byte_writer_u32(&w, 0);
    byte_writer_u16(&w, KAFKA_KEY_API_VERSIONS);
    byte_writer_u16(&w, NO_VERSION);
    byte_writer_u32(&w, (uint32_t)correlation_id);
    byte_writer_u16(&w, sizeof client_id - 1);
    byte_writer_bytes(&w, client_id, sizeof client_id - 1);
    byte_writer_u8(&w, 0); /* no tags in the header */
    /* As in version 3, for whoever reads on: ClientSoftwareName, ClientSoftwareVersion, no tags. */
    byte_writer_u8(&w, sizeof client_id);
    byte_writer_bytes(&w, client_id, sizeof client_id - 1);
    byte_writer_u8(&w, 2);
    byte_writer_u8(&w, '1');
    byte_writer_u8(&w, 0);
    byte_store_u32(buffer, (uint32_t)(byte_writer_size(&w) - 4));
    return byte_writer_size(&w);
}

/* Whether the rest is a list of APIs, as version 0 has it or, from a broker that takes any version,
 * as the flexible ones do. */
static bool is_list_of_apis(const struct byte_reader *r)
{
    struct byte_reader plain = *r;
    struct byte_reader flexible = *r;
    uint32_t count = byte_reader_u32(&plain);

    if (!plain.failed && count <= byte_reader_left(&plain) / VERSIONS_ENTRY)
        return true;
    count = kafka_wire_count(&flexible, true);
    return !flexible.failed && count > 0 &&
           count <= byte_reader_left(&flexible) / VERSIONS_ENTRY_FLEXIBLE;
}

enum kafka_bootstrap_result kafka_bootstrap_proof_response(const uint8_t *bytes, size_t size,
                                                           int32_t correlation_id,
                                                           const char **reason)
{
    struct byte_reader r;
    enum kafka_bootstrap_result result = read_header(bytes, size, correlation_id, &r, reason);

    if (result == KAFKA_BOOTSTRAP_MORE && size >= 4 &&
        byte_load_u32(bytes) > KAFKA_BOOTSTRAP_PROOF_MAX - 4)
        return fail_bootstrap(reason, "its answer is not an ApiVersions response");
    if (result != KAFKA_BOOTSTRAP_OK)
        return result;
    int16_t error = (int16_t)byte_reader_u16(&r);
    /* Behind an error it is the version that was asked for, or 0, or neither (librdkafka's mock
     * brokers): what counts is that the request was read. */
    if (r.failed || error < UNKNOWN_SERVER_ERROR || error > ERROR_MAX ||
        (error == 0 && !is_list_of_apis(&r)))
        return fail_bootstrap(reason, "its answer is not an ApiVersions response");
    if (size > (size_t)4 + byte_load_u32(bytes))
        return fail_bootstrap(reason, "it sent more than it was asked for");
    return KAFKA_BOOTSTRAP_OK;
}
