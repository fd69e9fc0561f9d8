/*
 * A signed JSON Web Token (RFC 7519) in its compact form (RFC 7515), as somebody presents it who
 * has not logged in: taking it apart, and verifying its signature. Bytes and keys come in as
 * arguments: no network here, no clock.
 *
 * Nothing in a token counts before jwt_verify() has said so. What the signature does not tell is up
 * to claims.h.
 */
#pragma once

#include <jansson.h>
#include <stdint.h>

#include "oidc/jwk.h"

/* Of RSA with JWK's most bits. */
#define JWT_SIGNATURE_MAX 1024

struct jwt {
    enum jwt_algorithm algorithm;
    bool has_key_id;
    char key_id[JWK_ID_MAX + 1];
    json_t *claims;          /* an object */
    const char *signed_text; /* of the token itself, which must live as long */
    size_t signed_size;
    uint8_t signature[JWT_SIGNATURE_MAX];
    size_t signature_size;
};

/* Whether it has a JWT's outer form; others are tokens of another kind. */
bool jwt_is_likely(const char *token, size_t size);
/* NULL, and *jwt is to be given to jwt_clear(). Or why it is not taken: a part of a sentence that
 * follows "the token", static, and *jwt needs nothing. */
const char *jwt_parse(const char *token, size_t size, struct jwt *jwt);
void jwt_clear(struct jwt *jwt);
/* Whether the key, which is one for the token's algorithm, has signed it. */
bool jwt_verify(const struct jwt *jwt, EVP_PKEY *key);
