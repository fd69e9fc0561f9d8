/*
 * Where the requests of a guarded connection are: what is held until it is known whether the broker
 * may have it. Belongs to the filter (filter.c), which drives it.
 */
#pragma once

#include "kafka/guard_requests.h"

enum kafka_guard_phase {
    KAFKA_GUARD_HEAD,  /* before or in the head of a request */
    KAFKA_GUARD_BODY,  /* the rest passes */
    KAFKA_GUARD_LOOK,  /* held until it is judged */
    KAFKA_GUARD_LATE,  /* the same, but too large to be held: what is allowed so far passes */
    KAFKA_GUARD_WHOLE, /* held whole, to be rewritten */
    KAFKA_GUARD_DROP,  /* kept from the broker */
};

enum {
    KAFKA_GUARD_HOLD_MAX = 4 << 20, /* bytes of a request that is judged */
    KAFKA_GUARD_NOTES_MAX =
        4 << 20, /* of answers, and parts of answers, that wait for their turn */
};

struct kafka_guard_flow {
    struct kafka_guard_requests judge;
    enum kafka_guard_phase phase;
    struct kafka_buffer held; /* the request at hand, from its length on */
    struct kafka_buffer out;  /* what the broker gets of it, or the client */
    size_t body;              /* where the request's body begins in the frame */
    bool spent;               /* what is in held has been handed on */
    size_t head_size;         /* of head, so far */
    bool heads;               /* the response at hand says its session in head */
    uint8_t head[KAFKA_GUARD_SESSION_HEAD];
};
