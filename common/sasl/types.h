/*
 * What the mechanisms of SASL share: their names' numbers, bounds, and the state of an exchange.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum sasl_mechanism {
    SASL_PLAIN,
    SASL_SCRAM_SHA_256,
    SASL_SCRAM_SHA_512,
    SASL_OAUTHBEARER,
    SASL_MECHANISMS,
};

enum {
    SASL_USER_MAX = 255,          /* bytes */
    SASL_SECRET_MAX = 16384,      /* bytes: of a password, or of a token */
    SASL_MESSAGE_MAX = 17 * 1024, /* bytes that a client says in a round */
    SASL_ANSWER_MAX = 4096,       /* bytes of a server's that are looked at */
    SASL_SALT_MAX = 128,          /* bytes */
    SASL_DIGEST_MAX = 64,         /* bytes */
    SASL_NONCE_RANDOM = 24,       /* bytes that a nonce is made from */
    SASL_NONCE_SIZE = 33,         /* a nonce and its NUL */
    /* Kafka lets a user be made with 4096 to 16384. Fewer would let whoever listens guess cheaply,
     * and a server that asks for many more keeps this program from everything else. */
    SASL_ITERATIONS_MIN = 4096,
    SASL_ITERATIONS_MAX = 65536,
};

/* What SCRAM derives from a password, which takes milliseconds: kept from one login to the next. As
 * good as the password to whoever has it. All zero at first. */
struct sasl_scram_keys {
    bool known;
    enum sasl_mechanism mechanism;
    uint32_t iterations;
    size_t salt_size;
    uint8_t salt[SASL_SALT_MAX];
    uint8_t client_key[SASL_DIGEST_MAX];
    uint8_t server_key[SASL_DIGEST_MAX];
};

/* What is pointed at must live as long as the exchange. */
struct sasl_credentials {
    enum sasl_mechanism mechanism;
    const char *user;   /* "" with OAUTHBEARER */
    const char *secret; /* the password; with OAUTHBEARER the token */
    /* SCRAM: user and secret are a delegation token's id and HMAC (KIP-48). */
    bool delegation_token;
    /* SCRAM: of these credentials; NULL: derived anew. The caller wipes it when the secret changes.
     */
    struct sasl_scram_keys *keys;
};

enum sasl_step {
    SASL_EREFUSED = -2, /* the server has said no, and reason why */
    SASL_EFAILED = -1,  /* there is no message to send, or the answer is wrong; reason says why */
    SASL_SEND = 0,      /* message is to be sent; the answer goes to sasl_exchange_answer() */
    SASL_DONE = 1,      /* the server has said and shown what it must; nothing is to be sent */
};

struct sasl_exchange {
    struct sasl_credentials credentials;
    unsigned round;
    uint8_t message[SASL_MESSAGE_MAX]; /* has a secret in it */
    size_t message_size;
    char nonce[SASL_NONCE_SIZE];
    /* SCRAM's first message without "n,,", which both sides sign. */
    char first_bare[3 * SASL_USER_MAX + SASL_NONCE_SIZE + 32];
    size_t first_bare_size;
    uint8_t server_signature[SASL_DIGEST_MAX];
    bool refused;     /* OAUTHBEARER: the server has said why, and awaits one byte more */
    char reason[200]; /* a sentence's part, about the server: "it asks for 12 iterations". No
                         secret. */
};
