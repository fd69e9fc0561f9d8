/*
 * What a client may do, as the filter (filter.h) asks its owner: which APIs, and with which topics,
 * groups and transactional ids.
 *
 * A request that is denied does not reach the broker. It is answered with the error that a broker
 * with such rights would give, in the request's own version, after the answers to the requests
 * before it. Topics are named by id as well (KIP-516): ids are learnt from Metadata responses.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum kafka_resource {
    KAFKA_TOPIC,
    KAFKA_GROUP,
    KAFKA_TRANSACTIONAL_ID,
    KAFKA_RESOURCES, /* none of them */
};

enum { KAFKA_TOPIC_ID_SIZE = 16 };

/* A request that was denied. */
struct kafka_denied {
    int16_t api_key;
    int16_t version;
    enum kafka_resource resource; /* KAFKA_RESOURCES: the API as such */
    const char *name;             /* of the resource, printable ASCII, shortened; "" if none */
    const char *client_id;        /* as kafka_filter_client_id() */
};

struct kafka_guard {
    /* Whether everything is allowed, so that nothing is looked at. Asked for each request. */
    bool (*open)(void *context);
    /* Another number whenever what is allowed may have changed. */
    uint64_t (*generation)(void *context);
    bool (*api)(void *context, int16_t api_key);
    /* Whether the API may be used with some names of the resource only. */
    bool (*limits)(void *context, int16_t api_key, enum kafka_resource resource);
    bool (*resource)(void *context, int16_t api_key, enum kafka_resource resource, const char *name,
                     size_t size);
    /* The name of a topic, for as long as the call that asks; NULL: not known. */
    const char *(*topic)(void *context, const uint8_t id[KAFKA_TOPIC_ID_SIZE], size_t *size);
    /* A Metadata response has told the name of a topic that the client may see. */
    void (*learnt)(void *context, const uint8_t id[KAFKA_TOPIC_ID_SIZE], const char *name,
                   size_t size);
    void (*denied)(void *context, const struct kafka_denied *denied);
};
