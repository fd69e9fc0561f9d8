/*
 * A login at a broker, sans-I/O: SaslHandshake, then SaslAuthenticate for each message of the
 * mechanism (kafka/login.h carries them, sasl/exchange.h knows what they say).
 *
 * It must end with the broker's consent and, with SCRAM, its signature; there is no other way to
 * LOGIN_DONE.
 */
#pragma once

#include "kafka/login.h"
#include "sasl/exchange.h"

/* Bytes of a request. */
#define LOGIN_REQUEST_MAX (KAFKA_LOGIN_HEAD_MAX + SASL_MESSAGE_MAX)
/* A broker's own words among them. */
#define LOGIN_REASON_MAX KAFKA_LOGIN_REASON_MAX

enum login_step {
    LOGIN_FAILED, /* see reason and failure */
    LOGIN_SEND,   /* login_exchange_request() is to be sent, and its response given */
    LOGIN_MORE,   /* of the response, more must come */
    LOGIN_DONE,   /* see lifetime_ms */
};

/* What is to be thought of a login that failed. */
enum login_failure {
    LOGIN_REFUSED,    /* the broker, or another like it, would say the same again */
    LOGIN_IMPOSSIBLE, /* the broker answers with something else, or is none that we trust */
};

struct login_exchange {
    struct sasl_exchange sasl;
    int32_t correlation_id; /* of the request that is next, or under way */
    bool handshaken;
    int64_t lifetime_ms; /* until the broker wants another login; 0: never */
    enum login_failure failure;
    char reason[LOGIN_REASON_MAX]; /* a part of a sentence about the broker; printable, no secret */
};

/* credentials: what they point at must live as long. random: bytes that nobody can guess, new ones
 * for each login. LOGIN_SEND or LOGIN_FAILED. */
enum login_step login_exchange_begin(struct login_exchange *exchange,
                                     const struct sasl_credentials *credentials,
                                     const uint8_t random[SASL_NONCE_RANDOM + 4]);
/* Writes the request with its length into buffer, of LOGIN_REQUEST_MAX bytes; its size. It has a
 * secret in it: the caller wipes it. */
size_t login_exchange_request(const struct login_exchange *exchange, uint8_t *buffer);
/* bytes: all that has come since the request was sent. */
enum login_step login_exchange_answer(struct login_exchange *exchange, const uint8_t *bytes,
                                      size_t size);
/* Overwrites what is secret in it: to be called at the end, whatever that was. */
void login_exchange_wipe(struct login_exchange *exchange);
