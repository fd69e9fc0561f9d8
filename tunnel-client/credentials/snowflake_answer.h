/*
 * What Snowflake's token endpoint has answered: a token, or what a person has to do so that there
 * will be one. No network, no clock.
 */
#pragma once

#include <stddef.h>
#include <stdint.h>

#define SNOWFLAKE_SENTENCE_MAX 900

/* Who asked whom for what. */
struct snowflake_question {
    const char *url; /* of the token endpoint's host: https://HOST[:PORT] */
    const char *account;
    const char *user;
    const char *role; /* NULL: the user's default role */
    const char *fingerprint;
    const char *endpoint_host; /* of the service */
};

/* An HTTP answer, and when it came (seconds since 1970). */
struct snowflake_answer {
    int status;
    const char *location; /* "" if there is none */
    int64_t date;         /* its Date header; 0: there is none */
    const char *body;
    size_t body_size;
    int64_t now;
};

enum snowflake_verdict {
    SNOWFLAKE_TOKEN,   /* the body is a token, after secret_trim() */
    SNOWFLAKE_REFUSED, /* nothing changes until a person does something */
    SNOWFLAKE_BUSY,    /* a fault of the other side that may pass: 429, 5xx */
};

/* sentence: what is wrong and what to do, unless there is a token. No secret is in it, whatever the
 * answer holds. */
enum snowflake_verdict snowflake_answer_read(const struct snowflake_answer *answer,
                                             const struct snowflake_question *question,
                                             char sentence[SNOWFLAKE_SENTENCE_MAX]);

/* NULL, or a static sentence part that says why these bytes are none of Snowflake's tokens: "is
 * ...". It is stricter than secret_check_token(): what gives them out is known. */
const char *snowflake_token_check(const char *token, size_t size);
/* The exp claim of a token that is a JWT (RFC 7519 section 4.1.4), seconds since 1970; 0: it says
 * nothing of the kind. */
int64_t snowflake_token_expiry(const char *token, size_t size);
