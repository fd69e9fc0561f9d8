/*
 * Asking an authorization server for a token as a client with credentials of its own (RFC 6749,
 * 4.4), as Kafka's clients do (KIP-768): what is sent, and what the answer says. No network, no
 * clock.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct token_client {
    const char *id;
    const char *secret;
    bool in_body;         /* id and secret are in the body ("post"), else in the header ("basic") */
    const char *scope;    /* NULL: the server's default */
    const char *audience; /* NULL: it is not named */
};

/* The request's body, application/x-www-form-urlencoded, to be given to secret_free(). */
char *token_request_body(const struct token_client *client);
/* "Authorization: Basic ...", to be given to secret_free(); NULL: there is none. */
char *token_request_header(const struct token_client *client);

/* An answer, and when it came (seconds since 1970). */
struct token_answer {
    int status;
    const char *location; /* of a redirect; "": there is none */
    const char *body;
    size_t body_size;
    int64_t now;
};

enum token_verdict {
    TOKEN_GIVEN,
    TOKEN_REFUSED, /* nothing changes until a person does something */
    TOKEN_BUSY,    /* a fault of the other side that may pass: 429, 5xx */
};

#define TOKEN_SENTENCE_MAX 500

/* TOKEN_GIVEN: *token is to be given to secret_free(), and *lasts_s says for how long it is valid;
 * 0: nobody knows. Else sentence says what is wrong with what url has answered, without any secret
 * of the client's, whatever the answer holds. */
enum token_verdict token_answer_read(const struct token_answer *answer,
                                     const struct token_client *client, const char *url,
                                     char **token, int64_t *lasts_s,
                                     char sentence[TOKEN_SENTENCE_MAX]);

/* How long a token lasts from now on that is a JWT with an exp claim (RFC 7519, 4.1.4), at least a
 * second; 0: it does not say. Nothing is verified: brokers do that. */
int64_t token_lifetime(const char *token, int64_t now);
