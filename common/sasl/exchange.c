#include "sasl/exchange.h"

#include <openssl/evp.h>
#include <stdio.h>
#include <string.h>

#include "base/bytes.h"
#include "base/printable.h"
#include "base/redact.h"
#include "sasl/scram.h"

static const char *const names[SASL_MECHANISMS] = {
    [SASL_PLAIN] = "PLAIN",
    [SASL_SCRAM_SHA_256] = "SCRAM-SHA-256",
    [SASL_SCRAM_SHA_512] = "SCRAM-SHA-512",
    [SASL_OAUTHBEARER] = "OAUTHBEARER",
};

const char *sasl_mechanism_name(enum sasl_mechanism mechanism)
{
    return names[mechanism];
}

enum sasl_mechanism sasl_mechanism_find(const char *name)
{
    enum sasl_mechanism mechanism = 0;

    while (mechanism < SASL_MECHANISMS && strcmp(names[mechanism], name) != 0)
        mechanism++;
    return mechanism;
}

void sasl_nonce_encode(const uint8_t random[SASL_NONCE_RANDOM], char nonce[SASL_NONCE_SIZE])
{
    EVP_EncodeBlock((unsigned char *)nonce, random, SASL_NONCE_RANDOM);
}

static enum sasl_step fail_exchange(struct sasl_exchange *exchange, const char *why)
{
    snprintf(exchange->reason, sizeof exchange->reason, "%s", why);
    return SASL_EFAILED;
}

/* What fits is checked before: SASL_MESSAGE_MAX has room for the longest. */
static void put_sasl(struct sasl_exchange *exchange, const char *text, size_t size)
{
    memcpy(exchange->message + exchange->message_size, text, size);
    exchange->message_size += size;
}

/* No other identity than the user's; the name, the password, each behind a NUL. */
static enum sasl_step begin_plain(struct sasl_exchange *exchange)
{
    const struct sasl_credentials *credentials = &exchange->credentials;

    put_sasl(exchange, "", 1);
    put_sasl(exchange, credentials->user, strlen(credentials->user));
    put_sasl(exchange, "", 1);
    put_sasl(exchange, credentials->secret, strlen(credentials->secret));
    return SASL_SEND;
}

static enum sasl_step begin_oauthbearer(struct sasl_exchange *exchange)
{
    static const char before[] = "n,,\1auth=Bearer ";
    static const char after[] = "\1\1";
    const char *token = exchange->credentials.secret;

    /* b64token of RFC 6750, 2.1, or a control character would begin another field. */
    for (const char *at = token; *at; at++)
        if (*at <= ' ' || *at > '~')
            return fail_exchange(exchange, "the token has a character that tokens cannot have");
    put_sasl(exchange, before, sizeof before - 1);
    put_sasl(exchange, token, strlen(token));
    put_sasl(exchange, after, sizeof after - 1);
    return SASL_SEND;
}

enum sasl_step sasl_exchange_begin(struct sasl_exchange *exchange,
                                   const struct sasl_credentials *credentials, const char *nonce)
{
    *exchange = (struct sasl_exchange){.credentials = *credentials, .round = 1};
    if (strlen(credentials->user) > SASL_USER_MAX)
        return fail_exchange(exchange, "the user's name is too long");
    if (strlen(credentials->secret) > SASL_SECRET_MAX)
        return fail_exchange(exchange, "the secret is too long");
    if (credentials->secret[0] == '\0')
        return fail_exchange(exchange, "the secret is empty");
    switch (credentials->mechanism) {
    case SASL_PLAIN:
        return begin_plain(exchange);
    case SASL_OAUTHBEARER:
        return begin_oauthbearer(exchange);
    default:
        return sasl_scram_first(exchange, nonce);
    }
}

/* Success is an empty answer; JSON says why not (RFC 7628, 3.2.2), and the server gives its verdict
 * only after one byte more. */
static enum sasl_step answer_oauthbearer(struct sasl_exchange *exchange, const uint8_t *answer,
                                         size_t size)
{
    char said[120];

    if (exchange->refused)
        return SASL_EREFUSED;
    if (size == 0)
        return SASL_DONE;
    redact((const char *)answer, size, exchange->credentials.secret, said, sizeof said);
    snprintf(exchange->reason, sizeof exchange->reason, "it refused the token: %s", said);
    printable_columns(exchange->reason);
    exchange->refused = true;
    exchange->message_size = 0;
    put_sasl(exchange, "\1", 1);
    return SASL_SEND;
}

enum sasl_step sasl_exchange_answer(struct sasl_exchange *exchange, const uint8_t *answer,
                                    size_t size)
{
    if (size > SASL_ANSWER_MAX)
        return fail_exchange(exchange, "its SASL message is too long");
    /* What was sent is not needed again, and may be the secret. */
    byte_wipe(exchange->message, exchange->message_size);
    switch (exchange->credentials.mechanism) {
    case SASL_PLAIN:
        /* RFC 4616 has no answer. Kafka's is empty, and what another's says changes nothing. */
        return SASL_DONE;
    case SASL_OAUTHBEARER:
        return answer_oauthbearer(exchange, answer, size);
    default:
        break;
    }
    return exchange->round++ == 1 ? sasl_scram_final(exchange, (const char *)answer, size)
                                  : sasl_scram_verify(exchange, (const char *)answer, size);
}

void sasl_exchange_wipe(struct sasl_exchange *exchange)
{
    byte_wipe(exchange->message, exchange->message_size);
    byte_wipe(exchange->server_signature, sizeof exchange->server_signature);
    exchange->message_size = 0;
}
