#include "kafka/rewrite.h"

#include <assert.h>

void kafka_rewrite_start(struct kafka_rewrite *r, const uint8_t *bytes, size_t size, size_t skip)
{
    assert(skip <= size);
    r->bytes = bytes;
    r->size = size;
    r->copied = bytes;
    byte_reader_init(&r->in, bytes + skip, size - skip);
    r->out->size = 0;
    r->wanted->size = 0;
    r->rewritten = r->neutralised = r->blanked = r->judged = 0;
    r->error = 0;
    r->reason = NULL;
}

void kafka_rewrite_fail(struct kafka_rewrite *r, int error, const char *reason)
{
    if (r->error == 0) {
        r->error = error;
        r->reason = reason;
    }
    r->in.failed = true;
}

void kafka_rewrite_put(struct kafka_rewrite *r, const void *bytes, size_t size)
{
    if (r->error == 0 && !kafka_buffer_append(r->out, bytes, size, r->max))
        kafka_rewrite_fail(r, KAFKA_FILTER_ELIMIT, "is too large to be rewritten");
}

void kafka_rewrite_put_zeros(struct kafka_rewrite *r, size_t size)
{
    static const uint8_t zeros[256];

    for (; size > sizeof zeros; size -= sizeof zeros)
        kafka_rewrite_put(r, zeros, sizeof zeros);
    kafka_rewrite_put(r, zeros, size);
}

static void copy_to(struct kafka_rewrite *r, const uint8_t *end)
{
    kafka_rewrite_put(r, r->copied, (size_t)(end - r->copied));
    r->copied = end;
}

void kafka_rewrite_copy(struct kafka_rewrite *r)
{
    if (!r->in.failed)
        copy_to(r, r->in.at);
}

static void put_endpoint(struct kafka_rewrite *r, const uint8_t *at, const char *host, size_t size,
                         int32_t port)
{
    uint8_t number[KAFKA_UVARINT_MAX];

    copy_to(r, at);
    if (r->flexible) {
        kafka_rewrite_put(r, number, kafka_wire_put_uvarint(number, (uint32_t)size + 1));
    } else {
        byte_store_u16(number, (uint16_t)size);
        kafka_rewrite_put(r, number, 2);
    }
    kafka_rewrite_put(r, host, size);
    byte_store_u32(number, (uint32_t)port);
    kafka_rewrite_put(r, number, 4);
    r->copied = r->in.at;
}

static void want(struct kafka_rewrite *r, enum kafka_endpoint_type type, int32_t node)
{
    struct kafka_wanted wanted = {type, node};

    if (!kafka_buffer_append(r->wanted, &wanted, sizeof wanted, r->max))
        kafka_rewrite_fail(r, KAFKA_FILTER_ELIMIT, "names too many nodes");
}

void kafka_rewrite_endpoint(struct kafka_rewrite *r, enum kafka_endpoint_type type, int32_t node)
{
    const uint8_t *at = r->in.at;
    struct kafka_address real, local = {0};

    real.host = (const char *)kafka_wire_string(&r->in, r->flexible, &real.host_size);
    real.port = (int32_t)byte_reader_u32(&r->in);
    if (r->in.failed || real.host_size == 0)
        return;
    if (!kafka_address_is_usable(node, &real)) {
        if (r->callbacks->unusable)
            r->callbacks->unusable(r->context, type, node, &real);
        r->blanked++;
        put_endpoint(r, at, "", 0, -1);
        return;
    }
    int answer = r->callbacks->map(r->context, type, node, &real, &local);
    if (answer < 0) {
        kafka_rewrite_fail(r, KAFKA_FILTER_EADDRESS,
                           "names a node that cannot be given an address");
    } else if (answer > 0) {
        want(r, type, node);
    } else {
        assert(local.host_size > 0 && local.host_size <= 255);
        r->rewritten++;
        put_endpoint(r, at, local.host, local.host_size, local.port);
    }
}

/* For an address that is about to be erased: only the caller's address book hears of it. */
static void see_endpoint(struct kafka_rewrite *r, int32_t node)
{
    struct kafka_address real;

    real.host = (const char *)kafka_wire_string(&r->in, r->flexible, &real.host_size);
    real.port = (int32_t)byte_reader_u32(&r->in);
    if (!r->in.failed && kafka_address_is_usable(node, &real) && r->callbacks->seen)
        r->callbacks->seen(r->context, KAFKA_ENDPOINT_BROKER, node, &real);
}

void kafka_rewrite_node_endpoints(struct kafka_rewrite *r, bool forget)
{
    size_t size;

    for (uint32_t count = kafka_wire_count(&r->in, true); count > 0 && !r->in.failed; count--) {
        int32_t node = (int32_t)byte_reader_u32(&r->in);
        if (forget) {
            see_endpoint(r, node);
            r->neutralised++;
        } else {
            kafka_rewrite_endpoint(r, KAFKA_ENDPOINT_BROKER, node);
        }
        kafka_wire_string(&r->in, true, &size); /* Rack */
        kafka_wire_skip_tags(&r->in);
    }
}

int kafka_rewrite_finish(struct kafka_rewrite *r)
{
    if (r->in.failed && r->error == 0)
        kafka_rewrite_fail(r, KAFKA_FILTER_EFRAME, "has a field that extends beyond its end");
    if (r->error == 0 && r->wanted->size == 0) {
        if (r->copied == r->bytes)
            return KAFKA_REWRITE_SAME;
        copy_to(r, r->bytes + r->size);
        if (r->error == 0)
            return KAFKA_REWRITE_CHANGED;
    }
    return r->error != 0 ? r->error : KAFKA_REWRITE_BLOCKED;
}
