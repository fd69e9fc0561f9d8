#include "oidc/jwk.h"

#include <jansson.h>
#include <openssl/bn.h>
#include <openssl/core_names.h>
#include <openssl/ec.h>
#include <openssl/err.h>
#include <openssl/param_build.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/base64url.h"
#include "base/memory.h"

enum {
    RSA_BITS_MIN = 2048,
    RSA_BITS_MAX = 8192,
    NUMBER_MAX = RSA_BITS_MAX / 8,
    POINT_HALF = 32, /* a coordinate of P-256, a key of Ed25519 */
};

struct jwk {
    char *id; /* NULL: it has none */
    bool serves[JWT_ALGORITHMS];
    EVP_PKEY *key;
};

struct jwk_set {
    struct jwk *keys;
    size_t count;
};

static const char *const algorithm_names[JWT_ALGORITHMS] = {
    [JWT_RS256] = "RS256", [JWT_PS256] = "PS256", [JWT_ES256] = "ES256", [JWT_EDDSA] = "EdDSA"};

bool jwt_algorithm_find(const char *name, enum jwt_algorithm *algorithm)
{
    /* Its name since RFC 9864. */
    if (strcmp(name, "Ed25519") == 0)
        name = algorithm_names[JWT_EDDSA];
    for (size_t i = 0; i < JWT_ALGORITHMS; i++) {
        if (strcmp(algorithm_names[i], name) != 0)
            continue;
        *algorithm = (enum jwt_algorithm)i;
        return true;
    }
    return false;
}

/* ---- one key */

/* The bytes of a member; false: it is not there, or no such encoding. */
static bool read_bytes(const json_t *jwk, const char *name, uint8_t *out, size_t room, size_t *size)
{
    const json_t *member = json_object_get(jwk, name);

    return json_is_string(member) &&
           base64url_decode(json_string_value(member), json_string_length(member), out, room, size);
}

static const char *text_of(const json_t *jwk, const char *name)
{
    const char *text = json_string_value(json_object_get(jwk, name));

    return text ? text : "";
}

/* NULL: OpenSSL does not take it. */
static EVP_PKEY *build_key(const char *type, OSSL_PARAM_BLD *build)
{
    OSSL_PARAM *parameters = OSSL_PARAM_BLD_to_param(build);
    EVP_PKEY_CTX *context = EVP_PKEY_CTX_new_from_name(NULL, type, NULL);
    EVP_PKEY *key = NULL;

    if (!parameters || !context || EVP_PKEY_fromdata_init(context) != 1 ||
        EVP_PKEY_fromdata(context, &key, EVP_PKEY_PUBLIC_KEY, parameters) != 1)
        key = NULL;
    EVP_PKEY_CTX_free(context);
    OSSL_PARAM_free(parameters);
    ERR_clear_error();
    return key;
}

static EVP_PKEY *read_rsa(const json_t *jwk)
{
    uint8_t modulus[NUMBER_MAX];
    uint8_t exponent[8];
    size_t modulus_size;
    size_t exponent_size;

    /* A large exponent would make each look at a signature dear. */
    if (!read_bytes(jwk, "n", modulus, sizeof modulus, &modulus_size) ||
        !read_bytes(jwk, "e", exponent, sizeof exponent, &exponent_size) || exponent_size == 0)
        return NULL;
    BIGNUM *n = BN_bin2bn(modulus, (int)modulus_size, NULL);
    BIGNUM *e = BN_bin2bn(exponent, (int)exponent_size, NULL);
    OSSL_PARAM_BLD *build = OSSL_PARAM_BLD_new();
    if (!n || !e || !build)
        abort();
    EVP_PKEY *key = NULL;
    if (BN_num_bits(n) >= RSA_BITS_MIN && BN_is_odd(n) && BN_is_odd(e) && !BN_is_one(e) &&
        OSSL_PARAM_BLD_push_BN(build, OSSL_PKEY_PARAM_RSA_N, n) == 1 &&
        OSSL_PARAM_BLD_push_BN(build, OSSL_PKEY_PARAM_RSA_E, e) == 1)
        key = build_key("RSA", build);
    OSSL_PARAM_BLD_free(build);
    BN_free(n);
    BN_free(e);
    return key;
}

static EVP_PKEY *read_p256(const json_t *jwk)
{
    uint8_t point[1 + 2 * POINT_HALF] = {POINT_CONVERSION_UNCOMPRESSED};
    size_t x;
    size_t y;

    if (strcmp(text_of(jwk, "crv"), "P-256") != 0 ||
        !read_bytes(jwk, "x", point + 1, POINT_HALF, &x) ||
        !read_bytes(jwk, "y", point + 1 + POINT_HALF, POINT_HALF, &y) || x != POINT_HALF ||
        y != POINT_HALF)
        return NULL;
    OSSL_PARAM_BLD *build = OSSL_PARAM_BLD_new();
    if (!build)
        abort();
    EVP_PKEY *key = NULL;
    if (OSSL_PARAM_BLD_push_utf8_string(build, OSSL_PKEY_PARAM_GROUP_NAME, "prime256v1", 0) == 1 &&
        OSSL_PARAM_BLD_push_octet_string(build, OSSL_PKEY_PARAM_PUB_KEY, point, sizeof point) == 1)
        key = build_key("EC", build);
    OSSL_PARAM_BLD_free(build);
    return key;
}

static EVP_PKEY *read_ed25519(const json_t *jwk)
{
    uint8_t bytes[POINT_HALF];
    size_t size;

    if (strcmp(text_of(jwk, "crv"), "Ed25519") != 0 ||
        !read_bytes(jwk, "x", bytes, sizeof bytes, &size) || size != sizeof bytes)
        return NULL;
    EVP_PKEY *key = EVP_PKEY_new_raw_public_key(EVP_PKEY_ED25519, NULL, bytes, sizeof bytes);
    ERR_clear_error();
    return key;
}

/* Whether a key is for signatures, as far as it says what it is for (RFC 7517, 4.2 and 4.3). */
static bool is_for_signatures(const json_t *jwk)
{
    const json_t *use = json_object_get(jwk, "use");
    const json_t *operations = json_object_get(jwk, "key_ops");
    bool verifies = !operations;

    for (size_t i = 0; i < json_array_size(operations); i++) {
        const char *operation = json_string_value(json_array_get(operations, i));
        verifies = verifies || (operation && strcmp(operation, "verify") == 0);
    }
    return verifies && (!use || strcmp(text_of(jwk, "use"), "sig") == 0);
}

/* Narrows down what the type of key could do to what the set says that it does. */
static bool take_algorithms(const json_t *jwk, struct jwk *key)
{
    enum jwt_algorithm only;

    if (!json_object_get(jwk, "alg"))
        return true;
    if (!jwt_algorithm_find(text_of(jwk, "alg"), &only) || !key->serves[only])
        return false;
    memset(key->serves, 0, sizeof key->serves);
    key->serves[only] = true;
    return true;
}

/* false: it is none for us. */
static bool read_jwk(const json_t *jwk, struct jwk *key)
{
    const char *type = text_of(jwk, "kty");
    const json_t *id = json_object_get(jwk, "kid");

    *key = (struct jwk){0};
    if (!is_for_signatures(jwk) ||
        (id && (!json_is_string(id) || json_string_length(id) > JWK_ID_MAX)))
        return false;
    if (strcmp(type, "RSA") == 0)
        key->serves[JWT_RS256] = key->serves[JWT_PS256] = true;
    else if (strcmp(type, "EC") == 0)
        key->serves[JWT_ES256] = true;
    else if (strcmp(type, "OKP") == 0)
        key->serves[JWT_EDDSA] = true;
    else
        return false;
    if (!take_algorithms(jwk, key))
        return false;
    key->key = strcmp(type, "RSA") == 0  ? read_rsa(jwk)
               : strcmp(type, "EC") == 0 ? read_p256(jwk)
                                         : read_ed25519(jwk);
    if (!key->key)
        return false;
    key->id = id ? memory_text(json_string_value(id)) : NULL;
    return true;
}

/* ---- the set */

static void take_keys(struct jwk_set *set, const json_t *keys)
{
    for (size_t i = 0; i < json_array_size(keys) && set->count < JWK_SET_MAX; i++)
        if (read_jwk(json_array_get(keys, i), &set->keys[set->count]))
            set->count++;
}

struct jwk_set *jwk_set_parse(const char *text, size_t size, char *error, size_t error_size)
{
    json_t *root = json_loadb(text, size, JSON_REJECT_DUPLICATES, NULL);
    const json_t *keys = json_object_get(root, "keys");
    struct jwk_set *set = NULL;

    if (!json_is_object(root)) {
        snprintf(error, error_size, "is no JSON object");
    } else if (!json_is_array(keys)) {
        snprintf(error, error_size, "has no array \"keys\"");
    } else {
        set = memory_new(sizeof *set);
        set->keys = memory_new_array(JWK_SET_MAX, sizeof *set->keys);
        take_keys(set, keys);
        if (set->count == 0) {
            snprintf(error, error_size,
                     "has no key that can be used: RSA of 2048 bits or more, P-256, or Ed25519");
            jwk_set_free(set);
            set = NULL;
        }
    }
    json_decref(root);
    return set;
}

void jwk_set_free(struct jwk_set *set)
{
    if (!set)
        return;
    for (size_t i = 0; i < set->count; i++) {
        free(set->keys[i].id);
        EVP_PKEY_free(set->keys[i].key);
    }
    free(set->keys);
    free(set);
}

size_t jwk_set_count(const struct jwk_set *set)
{
    return set ? set->count : 0;
}

EVP_PKEY *jwk_set_find(const struct jwk_set *set, const char *id, enum jwt_algorithm algorithm)
{
    EVP_PKEY *found = NULL;
    size_t fitting = 0;

    for (size_t i = 0; i < jwk_set_count(set); i++) {
        const struct jwk *key = &set->keys[i];
        if (!key->serves[algorithm])
            continue;
        if (id && key->id && strcmp(key->id, id) == 0)
            return key->key;
        found = key->key;
        fitting++;
    }
    return !id && fitting == 1 ? found : NULL;
}
