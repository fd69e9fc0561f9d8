/* What a source of tokens answers that asks somebody else for them: a key pair. */
#pragma once

#include <stdbool.h>

struct token_result {
    const char *token; /* NULL: there is none. Until the callback returns, then it is wiped */
    /* Without a token: */
    const char *hop;    /* "auth", or where the way to the token's issuer ended (http/client.h) */
    int status;         /* of HTTP; 0: none */
    const char *reason; /* what is wrong, and what to do about it */
    bool refused;       /* asking again soon is of no use: somebody has to do something */
};

typedef void (*token_callback)(void *context, const struct token_result *result);
