/*
 * Who is at the other end of a Kafka client's connection, for a person who looks: the client id
 * that its first request names, and the software, if that request is ApiVersions v3 or later
 * (KIP-511), as it is with most clients.
 *
 * Looks at the first KAFKA_PEEK_MAX bytes of the connection at the most; bytes that are not Kafka
 * tell nothing. Texts are printable ASCII, shortened, "" if there is none.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { KAFKA_PEEK_MAX = 320, KAFKA_PEEK_TEXT = 64 };

struct kafka_peek {
    uint8_t bytes[KAFKA_PEEK_MAX];
    size_t size;
    bool done; /* nothing more to learn */
    char client_id[KAFKA_PEEK_TEXT + 1];
    char software[KAFKA_PEEK_TEXT + 1];
    char software_version[KAFKA_PEEK_TEXT + 1];
};

void kafka_peek_init(struct kafka_peek *peek);
/* The next bytes from the client, in any split. */
void kafka_peek_requests(struct kafka_peek *peek, const uint8_t *bytes, size_t size);
