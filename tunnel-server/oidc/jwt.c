#include "oidc/jwt.h"

#include <openssl/ecdsa.h>
#include <openssl/err.h>
#include <openssl/rsa.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "base/base64url.h"
#include "base/bytes.h"
#include "base/memory.h"

enum { P256_HALF = 32, P256_SIGNATURE_MAX = 80 };

/* header.claims.signature */
struct jwt_parts {
    const char *text[3];
    size_t size[3];
};

static bool split_parts(const char *token, size_t size, struct jwt_parts *parts)
{
    const char *end = token + size;

    for (size_t i = 0; i < 3; i++) {
        const char *dot = memchr(token, '.', (size_t)(end - token));
        if ((dot == NULL) != (i == 2))
            return false;
        parts->text[i] = token;
        parts->size[i] = (size_t)((dot ? dot : end) - token);
        token = dot ? dot + 1 : end;
    }
    return true;
}

bool jwt_is_likely(const char *token, size_t size)
{
    struct jwt_parts parts;

    /* What a JSON object begins with, in base64. */
    return split_parts(token, size, &parts) && parts.size[0] >= 3 &&
           memcmp(parts.text[0], "ey", 2) == 0;
}

/* A part as a JSON object; NULL: it is none. */
static json_t *read_object(const char *text, size_t size)
{
    size_t room = BASE64URL_DECODED_MAX(size);
    uint8_t *bytes = memory_raw(room);
    size_t decoded;
    json_t *object = NULL;

    if (base64url_decode(text, size, bytes, room, &decoded))
        object = json_loadb((const char *)bytes, decoded, JSON_REJECT_DUPLICATES, NULL);
    byte_wipe(bytes, room);
    free(bytes);
    if (json_is_object(object))
        return object;
    json_decref(object);
    return NULL;
}

/* Tokens of other kinds that an issuer signs with the same keys are none to log in with (RFC 8725,
 * 3.11). */
static bool is_login_type(const json_t *type)
{
    const char *text = json_string_value(type);

    return !type || (text && (strcasecmp(text, "JWT") == 0 || strcasecmp(text, "at+jwt") == 0 ||
                              strcasecmp(text, "application/at+jwt") == 0));
}

static const char *take_jwt_header(const json_t *header, struct jwt *jwt)
{
    const json_t *id = json_object_get(header, "kid");
    const char *algorithm = json_string_value(json_object_get(header, "alg"));

    if (!algorithm)
        return "has no alg in its header";
    if (strcasecmp(algorithm, "none") == 0)
        return "is not signed (alg none)";
    if (strncasecmp(algorithm, "HS", 2) == 0)
        return "is signed with a shared secret (alg HS256 or similar), which is not accepted";
    if (!jwt_algorithm_find(algorithm, &jwt->algorithm))
        return "has an alg other than RS256, PS256, ES256 and EdDSA";
    /* What must be understood (RFC 7515, 4.1.11): nothing is. */
    if (json_object_get(header, "crit"))
        return "has extensions in its header (crit) that are not known here";
    if (!is_login_type(json_object_get(header, "typ")))
        return "is of another type (typ) than those for logging in";
    if (!id)
        return NULL;
    if (!json_is_string(id) || json_string_length(id) > JWK_ID_MAX)
        return "has a kid that is no text of at most 255 bytes";
    jwt->has_key_id = true;
    memcpy(jwt->key_id, json_string_value(id), json_string_length(id) + 1);
    return NULL;
}

static const char *take_parts(const struct jwt_parts *parts, struct jwt *jwt)
{
    json_t *header = read_object(parts->text[0], parts->size[0]);
    const char *why = header ? take_jwt_header(header, jwt) : "has a header that is no JSON object";

    json_decref(header);
    if (why)
        return why;
    if (!base64url_decode(parts->text[2], parts->size[2], jwt->signature, sizeof jwt->signature,
                          &jwt->signature_size) ||
        jwt->signature_size == 0)
        return "has a signature that is none";
    jwt->claims = read_object(parts->text[1], parts->size[1]);
    return jwt->claims ? NULL : "has claims that are no JSON object";
}

const char *jwt_parse(const char *token, size_t size, struct jwt *jwt)
{
    struct jwt_parts parts;
    const char *why;

    *jwt = (struct jwt){0};
    if (!split_parts(token, size, &parts))
        return "is no JSON Web Token";
    jwt->signed_text = token;
    jwt->signed_size = parts.size[0] + 1 + parts.size[1];
    why = take_parts(&parts, jwt);
    if (why)
        jwt_clear(jwt);
    return why;
}

void jwt_clear(struct jwt *jwt)
{
    json_decref(jwt->claims);
    byte_wipe(jwt->signature, jwt->signature_size);
    *jwt = (struct jwt){0};
}

/* ---- the signature */

/* Two numbers of equal size (RFC 7518, 3.4), as OpenSSL wants them: DER. 0: they are not that. */
static size_t encode_ecdsa(const struct jwt *jwt, unsigned char out[P256_SIGNATURE_MAX])
{
    if (jwt->signature_size != (size_t)2 * P256_HALF)
        return 0;
    ECDSA_SIG *pair = ECDSA_SIG_new();
    BIGNUM *r = BN_bin2bn(jwt->signature, P256_HALF, NULL);
    BIGNUM *s = BN_bin2bn(jwt->signature + P256_HALF, P256_HALF, NULL);
    if (!pair || !r || !s || ECDSA_SIG_set0(pair, r, s) != 1)
        abort();
    int size = i2d_ECDSA_SIG(pair, NULL);
    if (size > 0 && size <= P256_SIGNATURE_MAX)
        size = i2d_ECDSA_SIG(pair, &out);
    else
        size = 0;
    ECDSA_SIG_free(pair);
    return size > 0 ? (size_t)size : 0;
}

static bool set_pss(EVP_PKEY_CTX *context)
{
    return EVP_PKEY_CTX_set_rsa_padding(context, RSA_PKCS1_PSS_PADDING) == 1 &&
           EVP_PKEY_CTX_set_rsa_mgf1_md(context, EVP_sha256()) == 1 &&
           EVP_PKEY_CTX_set_rsa_pss_saltlen(context, RSA_PSS_SALTLEN_DIGEST) == 1;
}

bool jwt_verify(const struct jwt *jwt, EVP_PKEY *key)
{
    unsigned char der[P256_SIGNATURE_MAX];
    const unsigned char *signature = jwt->signature;
    size_t size = jwt->signature_size;
    EVP_MD_CTX *context = EVP_MD_CTX_new();
    EVP_PKEY_CTX *of_key = NULL; /* the context's */

    if (!context)
        abort();
    if (jwt->algorithm == JWT_ES256) {
        signature = der;
        size = encode_ecdsa(jwt, der);
    }
    const EVP_MD *digest = jwt->algorithm == JWT_EDDSA ? NULL : EVP_sha256();
    bool good = size > 0 && EVP_DigestVerifyInit(context, &of_key, digest, NULL, key) == 1 &&
                (jwt->algorithm != JWT_PS256 || set_pss(of_key)) &&
                EVP_DigestVerify(context, signature, size, (const unsigned char *)jwt->signed_text,
                                 jwt->signed_size) == 1;
    EVP_MD_CTX_free(context);
    ERR_clear_error();
    return good;
}
