/*
 * Requests of our own and their responses. To learn which nodes a cluster has before any client
 * asks: for brokers Metadata (v1, no topics), for controllers DescribeCluster (v1, KIP-919), which
 * is what a KRaft controller answers. To see whether a broker answers at all: ApiVersions (v0). For
 * a connection of its own, not for one whose client sends requests as well; only the proof is for a
 * connection that a client uses afterwards.
 */
#pragma once

#include "kafka/filter.h"

enum {
    KAFKA_BOOTSTRAP_REQUEST_MAX = 64,      /* bytes */
    KAFKA_BOOTSTRAP_PROOF_MAX = 8192,      /* bytes of the proof's response */
    KAFKA_BOOTSTRAP_RESPONSE_MAX = 1 << 20 /* what a caller may hold of the response, bytes */
};

/* What the request is called, for messages. */
const char *kafka_bootstrap_api(enum kafka_endpoint_type type);
/* Encodes the request with its length into buffer of KAFKA_BOOTSTRAP_REQUEST_MAX bytes; its size.
 */
size_t kafka_bootstrap_request(enum kafka_endpoint_type type, uint8_t *buffer,
                               int32_t correlation_id);

enum kafka_bootstrap_result {
    KAFKA_BOOTSTRAP_EFRAME = -1, /* an error, no response to this request, or too large; *reason */
    KAFKA_BOOTSTRAP_OK = 0,      /* every node was reported */
    KAFKA_BOOTSTRAP_MORE = 1,    /* call again with all bytes so far and more */
};

/* bytes: all that has come since the request was sent. node() is called for each node with an
 * address that can be dialled, and only when the whole response is well formed. */
enum kafka_bootstrap_result kafka_bootstrap_response(
    enum kafka_endpoint_type type, const uint8_t *bytes, size_t size, int32_t correlation_id,
    void (*node)(void *context, int32_t node, const struct kafka_address *address), void *context,
    const char **reason);

/* Of a response that kafka_bootstrap_response() has found whole: how many of its nodes it did not
 * report, because their id is below zero or they have no address. */
uint32_t kafka_bootstrap_unusable(enum kafka_endpoint_type type, const uint8_t *bytes, size_t size);

/* What a listener has. */
struct kafka_bootstrap_apis {
    uint32_t count;
    bool metadata;         /* every broker's has it, a controller's does not */
    bool describe_cluster; /* since Kafka 2.8, and controllers' since 3.7 (KIP-919) */
};

/* The same for ApiVersions. */
size_t kafka_bootstrap_versions_request(uint8_t *buffer, int32_t correlation_id);
enum kafka_bootstrap_result kafka_bootstrap_versions_response(const uint8_t *bytes, size_t size,
                                                              int32_t correlation_id,
                                                              struct kafka_bootstrap_apis *apis,
                                                              const char **reason);

/*
 * Proof that the other end speaks Kafka, on a connection whose client will then send requests of
 * its own: ApiVersions in a version that there is not. Every broker since 0.10 answers it in
 * version 0 with UNSUPPORTED_VERSION (KIP-511), and goes on as if it had not been asked. It does
 * not after one that succeeds: a listener with SASL takes only one of those before SaslHandshake,
 * and that is the client's (Kafka's SaslServerAuthenticator; that an unknown version changes
 * nothing is in its SaslAuthenticatorTest.testApiVersionsRequestWithServerUnsupportedVersion).
 *
 * correlation_id must be random: whatever answers with the same one has read the request. Any error
 * code of Kafka's will do. What is behind the response is an error: nobody has asked for it.
 */
size_t kafka_bootstrap_proof_request(uint8_t *buffer, int32_t correlation_id);
enum kafka_bootstrap_result kafka_bootstrap_proof_response(const uint8_t *bytes, size_t size,
                                                           int32_t correlation_id,
                                                           const char **reason);
