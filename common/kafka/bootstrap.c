#include "kafka/bootstrap.h"

#include "kafka/api.h"
#include "kafka/sniff.h"
#include "kafka/wire.h"

#include <string.h>

static const char client_id[] = "kafka-tunnel";

size_t kafka_bootstrap_request(uint8_t *buffer, int32_t correlation_id)
{
    struct byte_writer w;

    byte_writer_init(&w, buffer, KAFKA_BOOTSTRAP_REQUEST_MAX);
    byte_writer_u32(&w, 0);
    byte_writer_u16(&w, KAFKA_KEY_METADATA);
    byte_writer_u16(&w, 1);
    byte_writer_u32(&w, (uint32_t)correlation_id);
    byte_writer_u16(&w, sizeof client_id - 1);
    byte_writer_bytes(&w, client_id, sizeof client_id - 1);
    byte_writer_u32(&w, 0); /* Topics: none, where null would be all */
    byte_store_u32(buffer, (uint32_t)(byte_writer_size(&w) - 4));
    return byte_writer_size(&w);
}

static enum kafka_bootstrap_result fail(const char **reason, const char *why)
{
    *reason = why;
    return KAFKA_BOOTSTRAP_EFRAME;
}

/* Brokers[] {NodeId, Host, Port, Rack}; reports them, if there is anybody to report to. */
static bool read_brokers(struct byte_reader r,
                         void (*broker)(void *, int32_t, const struct kafka_address *),
                         void *context)
{
    size_t size;

    for (uint32_t count = kafka_wire_count(&r, false); count > 0 && !r.failed; count--) {
        struct kafka_address address;
        int32_t node = (int32_t)byte_reader_u32(&r);
        address.host = (const char *)kafka_wire_string(&r, false, &address.host_size);
        address.port = (int32_t)byte_reader_u32(&r);
        kafka_wire_string(&r, false, &size); /* Rack */
        if (broker && !r.failed && node >= 0 && address.host_size > 0 && address.port >= 1 &&
            address.port <= 65535)
            broker(context, node, &address);
    }
    return !r.failed;
}

enum kafka_bootstrap_result kafka_bootstrap_response(
    const uint8_t *bytes, size_t size, int32_t correlation_id,
    void (*broker)(void *context, int32_t node, const struct kafka_address *address), void *context,
    const char **reason)
{
    struct byte_reader r;
    enum kafka_sniff sniffed = kafka_sniff(bytes, size);

    if (sniffed != KAFKA_SNIFF_KAFKA && sniffed != KAFKA_SNIFF_MORE)
        return fail(reason, kafka_sniff_broker_advice(sniffed));
    if (size < 4)
        return KAFKA_BOOTSTRAP_MORE;
    int32_t length = (int32_t)byte_load_u32(bytes);
    if (length < 4 || length > KAFKA_BOOTSTRAP_RESPONSE_MAX - 4)
        return fail(reason, "the broker's answer to a Metadata request has an impossible length");
    if (size - 4 < (size_t)length)
        return KAFKA_BOOTSTRAP_MORE;
    byte_reader_init(&r, bytes + 4, (size_t)length);
    if ((int32_t)byte_reader_u32(&r) != correlation_id)
        return fail(reason, "the broker answered something else than the Metadata request");
    if (!read_brokers(r, NULL, NULL))
        return fail(reason, "the broker's Metadata response is malformed");
    read_brokers(r, broker, context);
    return KAFKA_BOOTSTRAP_OK;
}
