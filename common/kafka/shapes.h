/*
 * How the requests of clients and the answers to them are laid out, in every version of every API:
 * rows that generate-shapes writes from Apache Kafka's message schemas (shapes_table.c).
 *
 * A field says what it is for the guard by its role. What is tagged is in no row: it is skipped,
 * and never written. An array has its elements' rows behind it, up to END; so has a struct. The
 * last END has a role if a tag there has one.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum kafka_shape_type {
    KAFKA_SHAPE_END,
    KAFKA_SHAPE_FIXED,  /* size bytes */
    KAFKA_SHAPE_STRING, /* INT16 length, or UVARINT length + 1 in flexible versions */
    KAFKA_SHAPE_BYTES,  /* INT32 length, or UVARINT length + 1; records as well */
    KAFKA_SHAPE_ARRAY,  /* of structs */
    KAFKA_SHAPE_LIST,   /* of one field without tags */
    KAFKA_SHAPE_STRUCT,
};

enum kafka_role {
    KAFKA_ROLE_NONE,
    KAFKA_ROLE_ERROR,
    KAFKA_ROLE_TOPIC_NAME,
    KAFKA_ROLE_TOPIC_ID,
    KAFKA_ROLE_REGEX, /* of topics */
    KAFKA_ROLE_GROUP,
    KAFKA_ROLE_TRANSACTIONAL_ID,
    KAFKA_ROLE_KEY, /* of FindCoordinator; what it names, KEY_TYPE says */
    KAFKA_ROLE_KEY_TYPE,
    KAFKA_ROLE_RESOURCE_TYPE, /* of configurations; says what RESOURCE_NAME is */
    KAFKA_ROLE_RESOURCE_NAME,
    KAFKA_ROLE_SESSION_ID, /* of Fetch */
    KAFKA_ROLE_MEMBER,     /* whose share session it is, in the group */
    KAFKA_ROLE_SESSION_EPOCH,
    KAFKA_ROLE_CREATED_TOPIC, /* a topic that the broker creates if there is none */
    KAFKA_ROLE_ACL_TYPE,      /* says what ACL_NAME is */
    KAFKA_ROLE_ACL_NAME,
    KAFKA_ROLE_ACL_PATTERN, /* how ACL_NAME is meant */
    KAFKA_ROLE_REPLICA_ID,  /* who asks, if a broker does */
    KAFKA_ROLE_PARTITION,
    KAFKA_ROLE_COPY, /* an answer repeats it */
    KAFKA_ROLE_COPY_TOO,
    /* Of arrays: an answer's has an element for each element of the request's. */
    KAFKA_ROLE_TOPICS,
    KAFKA_ROLE_PARTITIONS,
    KAFKA_ROLE_GROUPS,
    KAFKA_ROLE_TRANSACTIONS,
    KAFKA_ROLE_KEYS,
    KAFKA_ROLE_RESOURCES,
    KAFKA_ROLE_ENTRIES,
    KAFKA_ROLE_PARTS,
};

struct kafka_shape {
    uint8_t type;
    uint8_t size; /* of FIXED: bytes; of what has rows behind it: how many, END and itself too */
    uint8_t role;
    uint8_t first; /* versions that have it */
    uint8_t last;
    uint8_t null_first; /* versions in which it may be null; 255 to 0: none */
    uint8_t null_last;
    int32_t initial; /* in an answer, where nothing else is known; of others than FIXED: -1 null */
};

enum kafka_denial_kind {
    KAFKA_DENIAL_CLUSTER,
    KAFKA_DENIAL_TOPIC,
    KAFKA_DENIAL_GROUP,
    KAFKA_DENIAL_TRANSACTIONAL_ID,
    KAFKA_DENIAL_SESSION, /* of Fetch: one that this client did not begin here */
    KAFKA_DENIAL_SHARE_SESSION,
    KAFKA_DENIAL_KINDS,
};

struct kafka_shapes {
    const struct kafka_shape *request;
    const struct kafka_shape *answer;
    uint8_t oldest;
    uint8_t newest;
    uint8_t first_flexible; /* 255: none is */
    uint8_t denial;         /* kind: what the answer says if the API is denied */
    uint8_t beside;         /* error code of what is allowed beside what is denied; 0: the same */
    uint8_t about_all;      /* kinds, bits: what it is about all of, if it names none */
};

/* NULL: not understood. */
const struct kafka_shapes *kafka_shapes_find(int16_t key, int16_t version);
/* -1: no version is understood. */
int16_t kafka_shapes_newest(int16_t key);

static inline bool kafka_shape_is_in(const struct kafka_shape *row, int16_t version)
{
    return version >= row->first && version <= row->last;
}

static inline bool kafka_shape_may_be_null(const struct kafka_shape *row, int16_t version)
{
    return version >= row->null_first && version <= row->null_last;
}

static inline bool kafka_shape_has_rows(const struct kafka_shape *row)
{
    return row->type >= KAFKA_SHAPE_ARRAY;
}

static inline const struct kafka_shape *kafka_shape_after(const struct kafka_shape *row)
{
    return row + (kafka_shape_has_rows(row) ? row->size : 1);
}
