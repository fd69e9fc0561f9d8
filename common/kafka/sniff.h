/*
 * What a peer speaks, from its first bytes, when it should speak plaintext Kafka.
 *
 * A Kafka connection begins with the INT32 length of a request. Other protocols' first bytes read
 * as lengths of hundreds of megabytes, which no broker accepts as a first request.
 */
#pragma once

#include <stddef.h>
#include <stdint.h>

enum kafka_sniff {
    KAFKA_SNIFF_MORE,  /* could still be either; Kafka itself needs four bytes as well */
    KAFKA_SNIFF_KAFKA, /* or at least none of the others */
    KAFKA_SNIFF_TLS,
    KAFKA_SNIFF_TLS_ALERT,
    KAFKA_SNIFF_HTTP, /* a request, or a response */
    KAFKA_SNIFF_SSH,
    KAFKA_SNIFF_PROXY, /* the PROXY protocol, version 1 or 2 */
};

/* bytes: the first ones of the connection, as many as there are. Four always decide. */
enum kafka_sniff kafka_sniff(const uint8_t *bytes, size_t size);

/* A sentence for a person: a client spoke this to a Kafka listener. "" for KAFKA and MORE. */
const char *kafka_sniff_client_advice(enum kafka_sniff sniffed);
/* The same for what a broker answered. */
const char *kafka_sniff_broker_advice(enum kafka_sniff sniffed);
