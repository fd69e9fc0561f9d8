/*
 * What the claims of a token (RFC 7519, 4) must say so that it lets somebody in here, and whom. The
 * time comes in as an argument.
 *
 * Rules name claims at the top of the token. Where one is a list, it fits if one of its members
 * does.
 */
#pragma once

#include <jansson.h>

#include "config/config.h"
#include "identity.h"

/* For clocks that differ. */
#define CLAIMS_LEEWAY_S 30
#define CLAIMS_REASON_MAX 400

struct claims_rules {
    const char *issuer;                  /* exactly */
    const struct config_list *audiences; /* one of them */
    /* A claim's name; or text in which each {CLAIM} stands for that claim: "ci:{project_path}". */
    const char *identity;
    const struct config_list *required; /* CLAIM=PATTERN (base/pattern.h), all of them */
};

/* Checks what people have written: NULL, or what is wrong with it, a sentence part. */
const char *claims_check_identity(const char *text);
const char *claims_check_required(const char *text);

/* Whether the token is from the issuer, as far as it says so itself. */
bool claims_are_of(const json_t *claims, const struct claims_rules *rules);
/*
 * After the signature. True: identity is filled in, and *until, when the token is over, seconds
 * since 1970. Else reason holds a sentence, which may quote claims, never the token.
 */
bool claims_admit(const json_t *claims, const struct claims_rules *rules, int64_t now,
                  char identity[HTTP_IDENTITY_MAX], int64_t *until, char reason[CLAIMS_REASON_MAX]);
