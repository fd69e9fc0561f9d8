#include "broker_login/login_exchange.h"

#include <stdio.h>
#include <string.h>

#include "base/redact.h"

static enum login_step fail_exchange_with(struct login_exchange *exchange,
                                          enum login_failure failure, const char *why)
{
    char text[LOGIN_REASON_MAX];

    /* A broker may repeat what it was told, now or on another connection. */
    snprintf(text, sizeof text, "%s", why);
    redact(text, strlen(text), exchange->sasl.credentials.secret, exchange->reason,
           sizeof exchange->reason);
    exchange->failure = failure;
    return LOGIN_FAILED;
}

static enum login_step after_sasl(struct login_exchange *exchange, enum sasl_step step)
{
    switch (step) {
    case SASL_SEND:
        return LOGIN_SEND;
    case SASL_DONE:
        return LOGIN_DONE;
    case SASL_EREFUSED:
        return fail_exchange_with(exchange, LOGIN_REFUSED, exchange->sasl.reason);
    default:
        return fail_exchange_with(exchange, LOGIN_IMPOSSIBLE, exchange->sasl.reason);
    }
}

enum login_step login_exchange_begin(struct login_exchange *exchange,
                                     const struct sasl_credentials *credentials,
                                     const uint8_t random[SASL_NONCE_RANDOM + 4])
{
    char nonce[SASL_NONCE_SIZE];

    exchange->handshaken = false;
    exchange->lifetime_ms = 0;
    exchange->reason[0] = '\0';
    memcpy(&exchange->correlation_id, random + SASL_NONCE_RANDOM, sizeof exchange->correlation_id);
    sasl_nonce_encode(random, nonce);
    return after_sasl(exchange, sasl_exchange_begin(&exchange->sasl, credentials, nonce));
}

size_t login_exchange_request(const struct login_exchange *exchange, uint8_t *buffer)
{
    if (!exchange->handshaken)
        return kafka_login_handshake_request(
            buffer, exchange->correlation_id,
            sasl_mechanism_name(exchange->sasl.credentials.mechanism));
    return kafka_login_authenticate_request(buffer, exchange->correlation_id,
                                            exchange->sasl.message, exchange->sasl.message_size);
}

/* The next request has another id: an answer that comes twice does not count for it. */
static void step_correlation_id(struct login_exchange *exchange)
{
    exchange->correlation_id = (int32_t)((uint32_t)exchange->correlation_id + 1);
}

static enum login_step answer_handshake(struct login_exchange *exchange, const uint8_t *bytes,
                                        size_t size)
{
    switch (kafka_login_handshake_response(
        bytes, size, exchange->correlation_id,
        sasl_mechanism_name(exchange->sasl.credentials.mechanism), exchange->reason)) {
    case KAFKA_LOGIN_MORE:
        return LOGIN_MORE;
    case KAFKA_LOGIN_OK:
        exchange->handshaken = true;
        step_correlation_id(exchange);
        return LOGIN_SEND;
    case KAFKA_LOGIN_EREFUSED:
        return fail_exchange_with(exchange, LOGIN_REFUSED, exchange->reason);
    default:
        return fail_exchange_with(exchange, LOGIN_IMPOSSIBLE, exchange->reason);
    }
}

static enum login_step answer_authenticate(struct login_exchange *exchange, const uint8_t *bytes,
                                           size_t size)
{
    struct kafka_login_answer answer;

    switch (kafka_login_authenticate_response(bytes, size, exchange->correlation_id,
                                              exchange->sasl.credentials.secret, &answer,
                                              exchange->reason)) {
    case KAFKA_LOGIN_MORE:
        return LOGIN_MORE;
    case KAFKA_LOGIN_OK:
        step_correlation_id(exchange);
        exchange->lifetime_ms = answer.lifetime_ms;
        return after_sasl(
            exchange, sasl_exchange_answer(&exchange->sasl, answer.message, answer.message_size));
    case KAFKA_LOGIN_EREFUSED:
        return fail_exchange_with(exchange, LOGIN_REFUSED, exchange->reason);
    default:
        return fail_exchange_with(exchange, LOGIN_IMPOSSIBLE, exchange->reason);
    }
}

enum login_step login_exchange_answer(struct login_exchange *exchange, const uint8_t *bytes,
                                      size_t size)
{
    return exchange->handshaken ? answer_authenticate(exchange, bytes, size)
                                : answer_handshake(exchange, bytes, size);
}

void login_exchange_wipe(struct login_exchange *exchange)
{
    sasl_exchange_wipe(&exchange->sasl);
}
