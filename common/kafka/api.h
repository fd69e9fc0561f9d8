/*
 * One table of all Kafka APIs: what they are called, and what the filter does with their responses.
 *
 * Names, keys and flexible versions are those of the message schemas in Apache Kafka
 * (clients/src/main/resources/common/message), up to 4.4.
 */
#pragma once

#include "kafka/walk.h"

#include <stdbool.h>
#include <stdint.h>

enum {
    KAFKA_KEY_PRODUCE = 0,
    KAFKA_KEY_FETCH = 1,
    KAFKA_KEY_METADATA = 3,
    KAFKA_KEY_FIND_COORDINATOR = 10,
    KAFKA_KEY_SASL_HANDSHAKE = 17,
    KAFKA_KEY_API_VERSIONS = 18,
    KAFKA_KEY_SASL_AUTHENTICATE = 36,
    KAFKA_KEY_DESCRIBE_CLUSTER = 60,
    KAFKA_KEY_SHARE_FETCH = 78,
    KAFKA_KEY_SHARE_ACKNOWLEDGE = 79,
};

/* What a response goes through. */
enum kafka_method {
    KAFKA_PASS,        /* nothing */
    KAFKA_HOLD_PREFIX, /* held up to the end of the layout, rewritten; the rest streams */
    KAFKA_HOLD_FRAME,  /* held whole */
    KAFKA_HOLD_TAIL,   /* streams up to the end of the layout; the rest is held, keeps its size */
};

struct kafka_rewrite;

/* One per API that is not simply passed; each lives in the file of its API. */
struct kafka_handler {
    enum kafka_method (*method)(int16_t version);
    /* From the byte after the correlation id; for KAFKA_HOLD_PREFIX and KAFKA_HOLD_TAIL. */
    const struct kafka_step *(*layout)(int16_t version);
    /* See rewrite.h. */
    int (*rewrite)(struct kafka_rewrite *r);
};

extern const struct kafka_handler kafka_produce_handler;
extern const struct kafka_handler kafka_fetch_handler;
extern const struct kafka_handler kafka_metadata_handler;
extern const struct kafka_handler kafka_find_coordinator_handler;
extern const struct kafka_handler kafka_sasl_handshake_handler;
extern const struct kafka_handler kafka_api_versions_handler;
extern const struct kafka_handler kafka_describe_cluster_handler;
extern const struct kafka_handler kafka_share_fetch_handler;
extern const struct kafka_handler kafka_share_acknowledge_handler;

enum { KAFKA_API_NONE = -1 };

struct kafka_api {
    const char *name;
    int16_t key;
    int16_t first_flexible; /* KAFKA_API_NONE: no version is */
    int16_t known_max;      /* the last version whose addresses are known; NONE: carries none */
    const struct kafka_handler *handler; /* NULL: passed */
    uint8_t uses; /* enum kafka_use; 0: only between brokers and controllers */
};

/* NULL for a key that Apache Kafka does not define: a vendor's, or a newer one. Passed. */
const struct kafka_api *kafka_api_find(int16_t key);
const char *kafka_api_name(int16_t key);
bool kafka_api_flexible(const struct kafka_api *api, int16_t version);
