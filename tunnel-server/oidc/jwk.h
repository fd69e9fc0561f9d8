/*
 * The public keys of an issuer: a JSON Web Key Set (RFC 7517). Bytes come in as arguments: no
 * network here, no clock.
 *
 * Of a set are taken keys that can verify what is allowed here (jwt.h): RSA of 2048 to 8192 bits,
 * P-256, Ed25519. Others are left out: a set may hold them for others.
 */
#pragma once

#include <openssl/evp.h>
#include <stdbool.h>
#include <stddef.h>

#define JWK_ID_MAX 255
#define JWK_SET_MAX 100

/* By what a token may be signed. "none", and whatever takes a secret that both ends have (HS256),
 * are not among them. */
enum jwt_algorithm {
    JWT_RS256,
    JWT_PS256,
    JWT_ES256,
    JWT_EDDSA,
};
#define JWT_ALGORITHMS 4

/* By its name (RFC 7518, 3.1; RFC 8037; RFC 9864); false: it is none of them. */
bool jwt_algorithm_find(const char *name, enum jwt_algorithm *algorithm);

struct jwk_set;

/* NULL: error holds a sentence part, "is no JSON object". */
struct jwk_set *jwk_set_parse(const char *text, size_t size, char *error, size_t error_size);
/* NULL is fine. */
void jwk_set_free(struct jwk_set *set);
/* Keys that were taken. */
size_t jwk_set_count(const struct jwk_set *set);
/* The key of that id for that algorithm. Without an id (NULL): the only one there is for it. NULL:
 * there is none. */
EVP_PKEY *jwk_set_find(const struct jwk_set *set, const char *id, enum jwt_algorithm algorithm);
