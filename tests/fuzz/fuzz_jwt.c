/*
 * A token that somebody presents, and an issuer's keys. Input: the key set up to the first line
 * end, then the token.
 */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "check.h"
#include "oidc/claims.h"
#include "oidc/jwt.h"

static const char *audience_items[] = {"tunnel"};
static const char *required_items[] = {"sub=*", "n=?*"};
static const struct config_list audiences = {audience_items, 1};
static const struct config_list required = {required_items, 2};
static const struct claims_rules rules = {.issuer = "https://issuer.example",
                                          .audiences = &audiences,
                                          .identity = "ci:{sub}",
                                          .required = &required};

/* Whatever the claims say, without a look at the signature. */
static void judge_claims(const json_t *claims)
{
    char identity[HTTP_IDENTITY_MAX] = "";
    char reason[CLAIMS_REASON_MAX] = "";
    int64_t until = 0;
    bool admitted = claims_admit(claims, &rules, 1000000, identity, &until, reason);

    CHECK(admitted == (reason[0] == '\0'));
    CHECK(!admitted || (identity_check(identity, strlen(identity)) == NULL && until > 1000000));
    CHECK(!admitted || claims_are_of(claims, &rules));
}

static void judge_token(const char *token, size_t size, const struct jwk_set *keys)
{
    struct jwt jwt;
    const char *why = jwt_parse(token, size, &jwt);

    if (why)
        return;
    CHECK(jwt.signed_text == token && jwt.signed_size < size && token[jwt.signed_size] == '.');
    CHECK(json_is_object(jwt.claims) && jwt.signature_size > 0);
    EVP_PKEY *key = jwk_set_find(keys, jwt.has_key_id ? jwt.key_id : NULL, jwt.algorithm);
    if (key)
        jwt_verify(&jwt, key);
    judge_claims(jwt.claims);
    jwt_clear(&jwt);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    char *text = malloc(size + 1);
    char error[200] = "";

    memcpy(text, data, size);
    text[size] = '\n';
    size_t set_size = (size_t)((char *)memchr(text, '\n', size + 1) - text);
    struct jwk_set *keys = jwk_set_parse(text, set_size, error, sizeof error);
    CHECK((keys == NULL) == (error[0] != '\0'));
    CHECK(!keys || (jwk_set_count(keys) > 0 && jwk_set_count(keys) <= JWK_SET_MAX));
    if (set_size < size) {
        jwt_is_likely(text + set_size + 1, size - set_size - 1);
        judge_token(text + set_size + 1, size - set_size - 1, keys);
    }
    jwk_set_free(keys);
    free(text);
    return 0;
}
