/*
 * Who is at the other end of a Kafka client's connection, for a person who looks: the client id
 * that its first request names, the software, if that request is ApiVersions v3 or later (KIP-511),
 * as it is with most clients, and the user, if the client logs in with PLAIN or SCRAM.
 *
 * Looks at requests up to the first that is no part of a login, of the first one at KAFKA_PEEK_MAX
 * bytes at the most; bytes that are not Kafka tell nothing. Texts are printable ASCII, shortened,
 * "" if there is none. Nothing that comes behind a user's name is kept.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { KAFKA_PEEK_MAX = 320, KAFKA_PEEK_TEXT = 64, KAFKA_PEEK_USER = 128 };

struct kafka_peek {
    struct kafka_peek_look *look; /* NULL: it has not begun, or is over */
    bool done;                    /* nothing more to learn */
    char client_id[KAFKA_PEEK_TEXT + 1];
    char software[KAFKA_PEEK_TEXT + 1];
    char software_version[KAFKA_PEEK_TEXT + 1];
    char user[KAFKA_PEEK_USER + 1]; /* of whom the client says that it is */
};

void kafka_peek_init(struct kafka_peek *peek);
/* The next bytes from the client, in any split. */
void kafka_peek_requests(struct kafka_peek *peek, const uint8_t *bytes, size_t size);
/* Looks no more; the texts stay. */
void kafka_peek_end(struct kafka_peek *peek);
