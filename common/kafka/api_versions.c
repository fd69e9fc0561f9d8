/*
 * ApiVersions responses (key 18, KIP-35, KIP-511): ApiKeys[] {ApiKey, MinVersion, MaxVersion}.
 *
 * MaxVersion of the APIs that carry addresses is lowered to the last version known here, in place,
 * and that of all APIs where a guard must understand what is asked (guard.h);
 * all else stays, MinVersions too: librdkafka reads features out of them, and does not log in where
 * SaslHandshake v0 is not offered, although it uses v1. (Produce must never go below 12: Java turns
 * transactions V2 on without looking at it, KIP-890.)
 * The response header never has tags. Error 35 comes with the v0 body, whatever was asked for, and
 * stays byte for byte, because clients look at its bytes to tell.
 */
#include "kafka/api.h"
#include "kafka/rewrite.h"
#include "kafka/shapes.h"

enum { UNSUPPORTED_VERSION = 35, NEWEST_KNOWN = 5 };

static enum kafka_method api_versions_method(int16_t version)
{
    (void)version;
    return KAFKA_HOLD_FRAME;
}

static void clamp(struct kafka_rewrite *r)
{
    int16_t key = (int16_t)byte_reader_u16(&r->in);
    int16_t min = (int16_t)byte_reader_u16(&r->in);
    const uint8_t *at = r->in.at;
    int16_t max = (int16_t)byte_reader_u16(&r->in);
    const struct kafka_api *api = kafka_api_find(key);
    int16_t known = api ? api->known_max : KAFKA_API_NONE;
    uint8_t bytes[2];

    /* What is not understood is denied, where not everything is allowed. */
    if (r->guard && kafka_shapes_newest(key) >= 0)
        known = kafka_shapes_newest(key);
    if (r->in.failed || known == KAFKA_API_NONE)
        return;
    /* A broker that has forgotten all versions known here: no honest range can be made of it. */
    if (max <= known || min > known)
        return;
    byte_store_u16(bytes, (uint16_t)known);
    kafka_rewrite_put(r, r->copied, (size_t)(at - r->copied));
    kafka_rewrite_put(r, bytes, 2);
    r->copied = r->in.at;
}

static int rewrite_api_versions(struct kafka_rewrite *r)
{
    int16_t error = (int16_t)byte_reader_u16(&r->in);

    if (error == UNSUPPORTED_VERSION && !r->in.failed)
        return KAFKA_REWRITE_SAME;
    for (uint32_t count = kafka_wire_count(&r->in, r->flexible); count > 0 && !r->in.failed;
         count--) {
        clamp(r);
        if (r->flexible)
            kafka_wire_skip_tags(&r->in);
    }
    /* There is no address in it, so a newer layout may pass as it is. */
    if (r->in.failed && r->error == 0 && r->version > NEWEST_KNOWN)
        return KAFKA_REWRITE_SAME;
    return kafka_rewrite_finish(r);
}

const struct kafka_handler kafka_api_versions_handler = {api_versions_method, NULL,
                                                         rewrite_api_versions};
