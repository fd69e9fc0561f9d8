/*
 * Rewriting the part of one response that was held: a whole frame, the prefix of one, or its tail.
 *
 * The part is never decoded and encoded again: what is not an address is copied as it came, so
 * unknown tags, padded varints and fields of later versions survive. A handler reads fields with
 * r->in and calls kafka_rewrite_endpoint() where an address stands; errors stick, in r->in.failed
 * and r->error, and kafka_rewrite_finish() turns them into the result.
 *
 * A rewrite may be run again over the same part, when the map did not know all nodes.
 */
#pragma once

#include "kafka/addresses.h"
#include "kafka/buffer.h"
#include "kafka/wire.h"

struct kafka_guard_requests;
struct kafka_note;
struct kafka_sasl;

enum kafka_rewrite_result {
    KAFKA_REWRITE_SAME = 0,    /* forward the part as it is */
    KAFKA_REWRITE_CHANGED = 1, /* forward r->out instead */
    KAFKA_REWRITE_BLOCKED = 2, /* r->wanted lists what the map does not know */
    /* negative: KAFKA_FILTER_E..., r->reason says why */
};

struct kafka_rewrite {
    int16_t version;
    bool flexible;
    const uint8_t *bytes; /* the part */
    size_t size;
    struct byte_reader in; /* from the byte after the correlation id, or from the tail's first */
    const uint8_t *copied; /* what is before this is in out */
    struct kafka_buffer *out;
    struct kafka_buffer *wanted; /* of struct kafka_wanted */
    size_t max;                  /* bytes in either buffer */
    const struct kafka_filter_callbacks *callbacks;
    void *context;
    struct kafka_sasl *sasl;
    struct kafka_guard_requests *guard; /* NULL: everything is allowed */
    const struct kafka_note *note;      /* of the request; NULL: none */
    uint32_t rewritten;                 /* addresses, by what became of them */
    uint32_t neutralised;
    uint32_t blanked;
    uint32_t judged; /* topics, by the guard */
    int error;
    const char *reason;
};

/* size starts with the first byte of the part; skip: bytes before the first field. */
void kafka_rewrite_start(struct kafka_rewrite *r, const uint8_t *bytes, size_t size, size_t skip);

/* Reads a Host and the Port after it, and puts in their place what the map says.
 * An empty host is a placeholder and stays. A host that no client could dial, and that no node can
 * be found for (node < 0, port outside 1 to 65535), is blanked: never forwarded, never mapped. */
void kafka_rewrite_endpoint(struct kafka_rewrite *r, enum kafka_endpoint_type type, int32_t node);

/* Reads NodeEndpoints[] of Produce, Fetch, ShareFetch and ShareAcknowledge (KIP-951) and rewrites
 * or, with forget, only tells the caller's seen() about them. */
void kafka_rewrite_node_endpoints(struct kafka_rewrite *r, bool forget);

/* Copies up to the reader's place. */
void kafka_rewrite_copy(struct kafka_rewrite *r);
/* Appends these bytes to out. */
void kafka_rewrite_put(struct kafka_rewrite *r, const void *bytes, size_t size);
void kafka_rewrite_put_zeros(struct kafka_rewrite *r, size_t size);
void kafka_rewrite_fail(struct kafka_rewrite *r, int error, const char *reason);

/* Ends a handler: an enum kafka_rewrite_result or an error. */
int kafka_rewrite_finish(struct kafka_rewrite *r);
