/*
 * The requests by which a client logs in at a broker: SaslHandshake (v1), then SaslAuthenticate
 * (v1) once for each message of the mechanism (KIP-43, KIP-152, KIP-368). What the messages say is
 * not known here.
 *
 * Every broker since Kafka 2.2 takes both versions.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum {
    KAFKA_LOGIN_HEAD_MAX = 64,           /* bytes of a request, the message aside */
    KAFKA_LOGIN_RESPONSE_MAX = 16 * 1024 /* bytes; a longer response is an error */
};

/* Each encodes a request with its length into buffer, of KAFKA_LOGIN_HEAD_MAX bytes and, for the
 * second, message_size more; its size. */
size_t kafka_login_handshake_request(uint8_t *buffer, int32_t correlation_id,
                                     const char *mechanism);
size_t kafka_login_authenticate_request(uint8_t *buffer, int32_t correlation_id,
                                        const uint8_t *message, size_t message_size);

struct kafka_login_answer {
    const uint8_t *message; /* of the mechanism, for the client; among the response's bytes */
    size_t message_size;
    int64_t lifetime_ms; /* until the broker wants another login; 0: never */
};

enum kafka_login_result {
    KAFKA_LOGIN_EREFUSED = -2, /* the broker says no */
    KAFKA_LOGIN_EFRAME = -1,   /* it is no answer to this request, or malformed */
    KAFKA_LOGIN_OK = 0,
    KAFKA_LOGIN_MORE = 1, /* call again with all bytes so far and more */
};

/* bytes: all that has come since the request was sent, and size of them. On failure, reason, of
 * KAFKA_LOGIN_REASON_MAX bytes, is a part of a sentence about the broker. It may have the broker's
 * words in it, made printable. */
#define KAFKA_LOGIN_REASON_MAX 240
enum kafka_login_result kafka_login_handshake_response(const uint8_t *bytes, size_t size,
                                                       int32_t correlation_id,
                                                       const char *mechanism,
                                                       char reason[KAFKA_LOGIN_REASON_MAX]);
/* secret: what the request has said and a broker may repeat; it is left out of the reason. */
enum kafka_login_result kafka_login_authenticate_response(const uint8_t *bytes, size_t size,
                                                          int32_t correlation_id,
                                                          const char *secret,
                                                          struct kafka_login_answer *answer,
                                                          char reason[KAFKA_LOGIN_REASON_MAX]);

/* A broker's answer to a client's SaslHandshake or SaslAuthenticate: no. words: what the client's
 * people should know; at most KAFKA_LOGIN_WORDS_MAX bytes. SaslHandshake has no place for a
 * message: they are the only mechanism that is enabled, which clients print. Encodes it with its
 * length into buffer, of KAFKA_LOGIN_REFUSAL_MAX bytes; its size. */
enum { KAFKA_LOGIN_WORDS_MAX = 120, KAFKA_LOGIN_REFUSAL_MAX = KAFKA_LOGIN_WORDS_MAX + 40 };
size_t kafka_login_refusal(uint8_t *buffer, bool handshake, int16_t version, int32_t correlation_id,
                           const char *words);
