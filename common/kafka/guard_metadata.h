/*
 * Metadata under a guard: what may not be seen is taken out of the request, so that the broker does
 * not create it, and is in the response as a topic that is denied: the note has these topics, ready
 * for the response. Topics that the client has not named are left out of the response.
 */
#pragma once

#include "kafka/guard_requests.h"
#include "kafka/rewrite.h"

enum {
    KAFKA_GUARD_METADATA_MAX = 4 << 20, /* bytes of a request */
    KAFKA_GUARD_TOPICS_MAX = 65536,     /* topics that one may name */
};

/* Makes of a whole request frame what the broker gets, in out. *note: for the response, allocated.
 * 0, or negative with g->reason. */
int kafka_guard_metadata_request(struct kafka_guard_requests *g, const uint8_t *frame, size_t size,
                                 size_t body, struct kafka_buffer *out, struct kafka_note **note);

/* Goes on where the brokers of a response end. note: of its request. */
void kafka_guard_metadata_response(struct kafka_guard_requests *g, struct kafka_rewrite *r,
                                   const struct kafka_note *note);
