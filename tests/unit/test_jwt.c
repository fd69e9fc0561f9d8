/* Tokens that an issuer has signed: its keys, the signature, the claims. */
#include "../lib/cmocka.h"

#include <openssl/bn.h>
#include <openssl/core_names.h>
#include <openssl/ecdsa.h>
#include <openssl/rsa.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "oidc/claims.h"
#include "oidc/jwt.h"

static const int64_t now = 1800000000;

static struct {
    EVP_PKEY *rsa;
    EVP_PKEY *p256;
    EVP_PKEY *ed25519;
    EVP_PKEY *small; /* RSA of 1024 bits */
} pairs;

/* ---- an issuer, made with OpenSSL's own signing */

static char *encode(const unsigned char *bytes, size_t size)
{
    char *text = malloc(size * 4 / 3 + 8);

    EVP_EncodeBlock((unsigned char *)text, bytes, (int)size);
    text[strcspn(text, "=")] = '\0';
    for (char *at = text; *at; at++)
        *at = (char)(*at == '+' ? '-' : *at == '/' ? '_' : *at);
    return text;
}

static char *encode_number(EVP_PKEY *key, const char *name, int size)
{
    unsigned char bytes[1024];
    BIGNUM *number = NULL;

    assert_int_equal(EVP_PKEY_get_bn_param(key, name, &number), 1);
    int written = size > 0 ? BN_bn2binpad(number, bytes, size) : BN_bn2bin(number, bytes);
    BN_free(number);
    return encode(bytes, (size_t)written);
}

/* more: further members, each with a comma in front. */
static void put_jwk(char *out, size_t size, EVP_PKEY *key, const char *more)
{
    char *a;
    char *b = NULL;

    if (EVP_PKEY_is_a(key, "RSA")) {
        a = encode_number(key, OSSL_PKEY_PARAM_RSA_N, 0);
        b = encode_number(key, OSSL_PKEY_PARAM_RSA_E, 0);
        snprintf(out, size, "{\"kty\":\"RSA\",\"n\":\"%s\",\"e\":\"%s\"%s}", a, b, more);
    } else if (EVP_PKEY_is_a(key, "EC")) {
        a = encode_number(key, OSSL_PKEY_PARAM_EC_PUB_X, 32);
        b = encode_number(key, OSSL_PKEY_PARAM_EC_PUB_Y, 32);
        snprintf(out, size, "{\"kty\":\"EC\",\"crv\":\"P-256\",\"x\":\"%s\",\"y\":\"%s\"%s}", a, b,
                 more);
    } else {
        unsigned char bytes[32];
        size_t written = sizeof bytes;
        EVP_PKEY_get_raw_public_key(key, bytes, &written);
        a = encode(bytes, written);
        snprintf(out, size, "{\"kty\":\"OKP\",\"crv\":\"Ed25519\",\"x\":\"%s\"%s}", a, more);
    }
    free(a);
    free(b);
}

static struct jwk_set *parse_set(const char *text)
{
    char error[200] = "";
    struct jwk_set *set = jwk_set_parse(text, strlen(text), error, sizeof error);

    if (!set)
        fail_msg("%s: %s", error, text);
    return set;
}

static struct jwk_set *set_of(EVP_PKEY *key, const char *more)
{
    char text[3000] = "{\"keys\":[";

    put_jwk(text + strlen(text), sizeof text - strlen(text), key, more);
    strcat(text, "]}");
    return parse_set(text);
}

static void expect_no_key(const char *text, const char *words)
{
    char error[200] = "";

    if (jwk_set_parse(text, strlen(text), error, sizeof error))
        fail_msg("taken: %s", text);
    if (!strstr(error, words))
        fail_msg("no \"%s\" in: %s", words, error);
}

static void expect_unusable(EVP_PKEY *key, const char *more)
{
    char text[3000] = "{\"keys\":[";

    put_jwk(text + strlen(text), sizeof text - strlen(text), key, more);
    strcat(text, "]}");
    expect_no_key(text, "no key that can be used");
}

/* As RFC 7518 has it, for any of the algorithms. */
static size_t sign(EVP_PKEY *key, bool pss, const char *text, unsigned char out[1024])
{
    EVP_MD_CTX *context = EVP_MD_CTX_new();
    EVP_PKEY_CTX *of_key;
    size_t size = 1024;
    bool plain = EVP_PKEY_is_a(key, "ED25519");

    assert_int_equal(EVP_DigestSignInit(context, &of_key, plain ? NULL : EVP_sha256(), NULL, key),
                     1);
    if (pss) {
        EVP_PKEY_CTX_set_rsa_padding(of_key, RSA_PKCS1_PSS_PADDING);
        EVP_PKEY_CTX_set_rsa_pss_saltlen(of_key, 32);
    }
    assert_int_equal(EVP_DigestSign(context, out, &size, (const unsigned char *)text, strlen(text)),
                     1);
    EVP_MD_CTX_free(context);
    if (!EVP_PKEY_is_a(key, "EC"))
        return size;
    const unsigned char *at = out;
    ECDSA_SIG *pair = d2i_ECDSA_SIG(NULL, &at, (long)size);
    BN_bn2binpad(ECDSA_SIG_get0_r(pair), out, 32);
    BN_bn2binpad(ECDSA_SIG_get0_s(pair), out + 32, 32);
    ECDSA_SIG_free(pair);
    return 64;
}

static char *make_token(EVP_PKEY *key, const char *header, const char *claims)
{
    unsigned char signature[1024];
    char *a = encode((const unsigned char *)header, strlen(header));
    char *b = encode((const unsigned char *)claims, strlen(claims));
    char *token = malloc(strlen(a) + strlen(b) + 1500);

    sprintf(token, "%s.%s", a, b);
    size_t size = sign(key, strstr(header, "PS256") != NULL, token, signature);
    char *c = encode(signature, size);
    sprintf(token + strlen(token), ".%s", c);
    free(a);
    free(b);
    free(c);
    return token;
}

/* Whether the key set has a key for the token, and the key has signed it. */
static bool is_verified(const struct jwk_set *set, const char *token)
{
    struct jwt jwt;
    const char *why = jwt_parse(token, strlen(token), &jwt);

    if (why)
        fail_msg("%s: %s", why, token);
    EVP_PKEY *key = jwk_set_find(set, jwt.has_key_id ? jwt.key_id : NULL, jwt.algorithm);
    bool good = key && jwt_verify(&jwt, key);
    jwt_clear(&jwt);
    return good;
}

static void expect_refused(const char *header, const char *words)
{
    char *token = make_token(pairs.rsa, header, "{}");
    struct jwt jwt;
    const char *why = jwt_parse(token, strlen(token), &jwt);

    if (!why)
        fail_msg("taken: %s", header);
    if (!strstr(why, words))
        fail_msg("no \"%s\" in: %s", words, why);
    free(token);
}

/* ---- the tests */

/* RFC 7515, A.3. */
static void the_example_of_the_standard(void **state)
{
    static const char token[] =
        "eyJhbGciOiJFUzI1NiJ9.eyJpc3MiOiJqb2UiLA0KICJleHAiOjEzMDA4MTkzODAsDQogImh0dHA6Ly9leGFtcGxl"
        "LmNvbS9pc19yb290Ijp0cnVlfQ.DtEhU3ljbEg8L38VWAfUAqOyKAM6-Xx-F4GawxaepmXFCgfTjDxw5djxLa8ISl"
        "SApmWQxfKTUJqPP3-Kg6NU1Q";
    static const char keys[] = "{\"keys\":[{\"kty\":\"EC\",\"crv\":\"P-256\","
                               "\"x\":\"f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU\","
                               "\"y\":\"x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0\"}]}";
    struct jwk_set *set = parse_set(keys);
    char changed[sizeof token];

    (void)state;
    assert_true(jwt_is_likely(token, sizeof token - 1));
    assert_true(is_verified(set, token));
    memcpy(changed, token, sizeof token);
    changed[sizeof token - 30] = changed[sizeof token - 30] == 'A' ? 'B' : 'A';
    assert_false(is_verified(set, changed));
    struct jwt jwt;
    assert_null(jwt_parse(token, sizeof token - 1, &jwt));
    assert_string_equal(json_string_value(json_object_get(jwt.claims, "iss")), "joe");
    jwt_clear(&jwt);
    jwk_set_free(set);
}

static void each_algorithm_with_its_key(void **state)
{
    static const char *const headers[] = {"{\"alg\":\"RS256\"}", "{\"alg\":\"PS256\"}",
                                          "{\"alg\":\"ES256\"}", "{\"alg\":\"EdDSA\"}"};
    EVP_PKEY *const keys[] = {pairs.rsa, pairs.rsa, pairs.p256, pairs.ed25519};

    (void)state;
    for (size_t i = 0; i < 4; i++) {
        char *token = make_token(keys[i], headers[i], "{\"sub\":\"x\"}");
        for (size_t with = 0; with < 4; with++) {
            struct jwk_set *set = set_of(keys[with], "");
            assert_int_equal(is_verified(set, token), keys[with] == keys[i]);
            jwk_set_free(set);
        }
        /* Something else was signed. */
        struct jwk_set *set = set_of(keys[i], "");
        char *other = make_token(keys[i], headers[i], "{\"sub\":\"y\"}");
        memcpy(strrchr(token, '.'), strrchr(other, '.'), strlen(strrchr(other, '.')));
        assert_false(is_verified(set, token));
        jwk_set_free(set);
        free(other);
        free(token);
    }
    struct jwk_set *by_new_name = set_of(pairs.ed25519, ",\"alg\":\"Ed25519\"");
    char *edwards = make_token(pairs.ed25519, "{\"alg\":\"Ed25519\"}", "{}");
    assert_true(is_verified(by_new_name, edwards));
    free(edwards);
    jwk_set_free(by_new_name);
    /* The signature of one kind of padding is none of the other. */
    char *token = make_token(pairs.rsa, "{\"alg\":\"RS256\"}", "{}");
    struct jwk_set *only = set_of(pairs.rsa, ",\"alg\":\"PS256\"");
    assert_false(is_verified(only, token));
    jwk_set_free(only);
    free(token);
}

static void what_is_no_token(void **state)
{
    static const char *const texts[] = {"",        ".",        "..",       "a.b",         "a.b.c.d",
                                        "e30.e30", "e30..e30", "e30.e30.", "eyJ.e30.AAAA"};
    struct jwt jwt;

    (void)state;
    for (size_t i = 0; i < sizeof texts / sizeof texts[0]; i++)
        assert_non_null(jwt_parse(texts[i], strlen(texts[i]), &jwt));
    assert_false(jwt_is_likely("ktun_abcdef", 11));
    assert_false(jwt_is_likely("abc.def.ghi", 11));
    assert_false(jwt_is_likely("eyJ.eyJ", 7));
    assert_true(jwt_is_likely("eyJ.eyJ.x", 9));
}

static void headers_that_are_refused(void **state)
{
    (void)state;
    expect_refused("{\"alg\":\"none\"}", "not signed");
    expect_refused("{\"alg\":\"nOnE\"}", "not signed");
    expect_refused("{\"alg\":\"HS256\"}", "shared secret");
    expect_refused("{\"alg\":\"hs512\"}", "shared secret");
    expect_refused("{\"alg\":\"RS1\"}", "other than RS256");
    expect_refused("{\"alg\":\"rs256\"}", "other than RS256");
    expect_refused("{\"alg\":\"ES256K\"}", "other than RS256");
    expect_refused("{\"alg\":\"\"}", "other than RS256");
    expect_refused("{\"alg\":1}", "no alg");
    expect_refused("{}", "no alg");
    expect_refused("[]", "no JSON object");
    expect_refused("{\"alg\":\"RS256\",\"alg\":\"none\"}", "no JSON object");
    expect_refused("{\"alg\":\"RS256\",\"crit\":[\"b64\"],\"b64\":false}", "crit");
    expect_refused("{\"alg\":\"RS256\",\"crit\":[]}", "crit");
    expect_refused("{\"alg\":\"RS256\",\"typ\":\"logout+jwt\"}", "another type");
    expect_refused("{\"alg\":\"RS256\",\"typ\":1}", "another type");
    expect_refused("{\"alg\":\"RS256\",\"kid\":1}", "kid");
}

/* Without a signature a token is nothing, whatever its header says. */
static void tokens_without_a_signature(void **state)
{
    struct jwt jwt;

    (void)state;
    char *token = make_token(pairs.rsa, "{\"alg\":\"none\"}", "{}");
    strrchr(token, '.')[1] = '\0';
    assert_non_null(strstr(jwt_parse(token, strlen(token), &jwt), "alg none"));
    free(token);
    token = make_token(pairs.rsa, "{\"alg\":\"RS256\"}", "{}");
    strrchr(token, '.')[1] = '\0';
    assert_non_null(strstr(jwt_parse(token, strlen(token), &jwt), "signature that is none"));
    free(token);
}

static void which_key(void **state)
{
    char text[9000] = "{\"keys\":[";
    char *at;

    (void)state;
    put_jwk(text + strlen(text), 3000, pairs.rsa, ",\"kid\":\"one\",\"use\":\"sig\"");
    strcat(text, ",");
    put_jwk(text + strlen(text), 3000, pairs.p256, ",\"kid\":\"two\",\"key_ops\":[\"verify\"]");
    strcat(text, ",{\"kty\":\"oct\",\"k\":\"AAAA\",\"kid\":\"three\"},1,null,{}]}");
    struct jwk_set *set = parse_set(text);
    assert_int_equal(jwk_set_count(set), 2);
    assert_non_null(jwk_set_find(set, "one", JWT_RS256));
    assert_non_null(jwk_set_find(set, "two", JWT_ES256));
    assert_null(jwk_set_find(set, "one", JWT_ES256));
    assert_null(jwk_set_find(set, "three", JWT_RS256));
    assert_null(jwk_set_find(set, "On", JWT_RS256));
    /* The only one of its kind needs no name. */
    assert_non_null(jwk_set_find(set, NULL, JWT_PS256));
    assert_null(jwk_set_find(set, NULL, JWT_EDDSA));
    jwk_set_free(set);
    /* Of several, which one is it? */
    at = strstr(text, ",{\"kty\":\"oct\"");
    *at++ = ',';
    put_jwk(at, 3000, pairs.rsa, ",\"kid\":\"four\"");
    strcat(text, "]}");
    set = parse_set(text);
    assert_int_equal(jwk_set_count(set), 3);
    assert_null(jwk_set_find(set, NULL, JWT_RS256));
    assert_non_null(jwk_set_find(set, "four", JWT_RS256));
    jwk_set_free(set);
}

static void keys_that_are_left_out(void **state)
{
    (void)state;
    expect_unusable(pairs.small, "");
    expect_unusable(pairs.rsa, ",\"use\":\"enc\"");
    expect_unusable(pairs.rsa, ",\"use\":1");
    expect_unusable(pairs.rsa, ",\"key_ops\":[\"encrypt\"]");
    expect_unusable(pairs.rsa, ",\"alg\":\"RS512\"");
    expect_unusable(pairs.rsa, ",\"alg\":\"ES256\"");
    expect_unusable(pairs.p256, ",\"alg\":\"RS256\"");
    expect_unusable(pairs.rsa, ",\"kid\":7");
    expect_no_key("{\"keys\":[{\"kty\":\"EC\",\"crv\":\"P-256\",\"x\":\"AAAA\",\"y\":\"AAAA\"}]}",
                  "no key");
    /* No point of the curve. */
    expect_no_key("{\"keys\":[{\"kty\":\"EC\",\"crv\":\"P-256\","
                  "\"x\":\"AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAE\","
                  "\"y\":\"AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAE\"}]}",
                  "no key");
    expect_no_key("{\"keys\":[{\"kty\":\"RSA\",\"n\":\"AQAB\",\"e\":\"AQAB\"}]}", "no key");
    expect_no_key("{\"keys\":[]}", "no key");
    expect_no_key("{\"keys\":{}}", "no array");
    expect_no_key("{}", "no array");
    expect_no_key("[]", "no JSON object");
    expect_no_key("<html>", "no JSON object");
    expect_no_key("", "no JSON object");
}

/* ---- claims */

static struct {
    const char *audiences[2];
    const char *required[3];
    struct config_list audience_list;
    struct config_list required_list;
    struct claims_rules rules;
} asked;

static void ask_for(const char *identity, const char *required)
{
    asked.audiences[0] = "tunnel";
    asked.audiences[1] = "other";
    asked.audience_list = (struct config_list){asked.audiences, 2};
    asked.required[0] = required;
    asked.required_list = (struct config_list){asked.required, required ? 1 : 0};
    asked.rules = (struct claims_rules){.issuer = "https://issuer.example",
                                        .audiences = &asked.audience_list,
                                        .identity = identity,
                                        .required = &asked.required_list};
}

static bool admit(const char *text, char identity[HTTP_IDENTITY_MAX], int64_t *until,
                  char reason[CLAIMS_REASON_MAX])
{
    json_t *claims = json_loads(text, 0, NULL);

    assert_non_null(claims);
    bool admitted = claims_admit(claims, &asked.rules, now, identity, until, reason);
    json_decref(claims);
    return admitted;
}

#define FINE "\"iss\":\"https://issuer.example\",\"aud\":\"tunnel\""
#define EXP ",\"exp\":1800000300"

static void expect_admitted(const char *text, const char *who)
{
    char identity[HTTP_IDENTITY_MAX] = "";
    char reason[CLAIMS_REASON_MAX] = "";
    int64_t until = 0;

    if (!admit(text, identity, &until, reason))
        fail_msg("%s: %s", reason, text);
    assert_string_equal(identity, who);
    assert_true(until > now);
}

static void expect_excluded(const char *text, const char *words)
{
    char identity[HTTP_IDENTITY_MAX] = "";
    char reason[CLAIMS_REASON_MAX] = "";
    int64_t until;

    if (admit(text, identity, &until, reason))
        fail_msg("admitted: %s", text);
    if (!strstr(reason, words))
        fail_msg("no \"%s\" in: %s", words, reason);
}

static void times(void **state)
{
    char identity[HTTP_IDENTITY_MAX];
    char reason[CLAIMS_REASON_MAX];
    int64_t until;

    (void)state;
    ask_for("sub", NULL);
    assert_true(admit("{" FINE ",\"sub\":\"x\",\"exp\":1800000300}", identity, &until, reason));
    assert_int_equal(until, 1800000300 + CLAIMS_LEEWAY_S);
    expect_admitted("{" FINE ",\"sub\":\"x\",\"exp\":1799999971}", "x"); /* within the leeway */
    expect_excluded("{" FINE ",\"sub\":\"x\",\"exp\":1799999970}", "expired");
    expect_excluded("{" FINE ",\"sub\":\"x\"}", "no end");
    expect_excluded("{" FINE ",\"sub\":\"x\",\"exp\":\"1800000300\"}", "no number");
    expect_excluded("{" FINE ",\"sub\":\"x\",\"exp\":null}", "no number");
    expect_excluded("{" FINE ",\"sub\":\"x\",\"exp\":1e300}", "no number");
    expect_admitted("{" FINE ",\"sub\":\"x\",\"exp\":1800000300.5}", "x");
    expect_admitted("{" FINE EXP ",\"sub\":\"x\",\"nbf\":1800000030}", "x");
    expect_excluded("{" FINE EXP ",\"sub\":\"x\",\"nbf\":1800000031}", "not valid yet");
    expect_excluded("{" FINE EXP ",\"sub\":\"x\",\"nbf\":\"\"}", "no number");
    expect_admitted("{" FINE EXP ",\"sub\":\"x\",\"iat\":1800000030}", "x");
    expect_excluded("{" FINE EXP ",\"sub\":\"x\",\"iat\":1800000031}", "future");
}

static void issuers_and_audiences(void **state)
{
    (void)state;
    ask_for("sub", NULL);
    expect_admitted(
        "{\"iss\":\"https://issuer.example\",\"aud\":[1,\"x\",\"other\"],\"sub\":\"x\"" EXP "}",
        "x");
    expect_excluded("{\"iss\":\"https://issuer.example\",\"aud\":\"tunnels\",\"sub\":\"x\"" EXP "}",
                    "another audience (aud): tunnels");
    expect_excluded("{\"iss\":\"https://issuer.example\",\"aud\":[],\"sub\":\"x\"" EXP "}",
                    "another audience");
    expect_excluded("{\"iss\":\"https://issuer.example\",\"sub\":\"x\"" EXP "}",
                    "another audience (aud): missing");
    expect_excluded("{\"iss\":\"https://issuer.example/\",\"aud\":\"tunnel\",\"sub\":\"x\"" EXP "}",
                    "another");
    expect_excluded("{\"iss\":[\"https://issuer.example\"],\"aud\":\"tunnel\",\"sub\":\"x\"" EXP
                    "}",
                    "another");
}

static void claims_that_are_required(void **state)
{
    (void)state;
    ask_for("sub", "repository=example/*");
    expect_admitted("{" FINE EXP ",\"sub\":\"x\",\"repository\":\"example/a\"}", "x");
    expect_admitted("{" FINE EXP ",\"sub\":\"x\",\"repository\":[\"q\",\"example/a\"]}", "x");
    expect_excluded("{" FINE EXP ",\"sub\":\"x\",\"repository\":\"mallory/example/a\"}",
                    "the token's claim repository is mallory/example/a");
    expect_excluded("{" FINE EXP ",\"sub\":\"x\",\"repository\":[\"q\"]}", "a list of others");
    expect_excluded("{" FINE EXP ",\"sub\":\"x\",\"repository\":{}}", "neither text nor");
    expect_excluded("{" FINE EXP ",\"sub\":\"x\"}", "repository is missing");
    expect_excluded("{" FINE EXP ",\"sub\":\"x\",\"repository\":\"\\u001b[1m\"}", "\\u001b");
    ask_for("sub", "ref_protected=true");
    expect_admitted("{" FINE EXP ",\"sub\":\"x\",\"ref_protected\":\"true\"}", "x");
    expect_admitted("{" FINE EXP ",\"sub\":\"x\",\"ref_protected\":true}", "x");
    expect_excluded("{" FINE EXP ",\"sub\":\"x\",\"ref_protected\":false}", "is false");
    ask_for("sub", "id=12?");
    expect_admitted("{" FINE EXP ",\"sub\":\"x\",\"id\":123}", "x");
    expect_excluded("{" FINE EXP ",\"sub\":\"x\",\"id\":12}", "is 12,");
    expect_excluded("{" FINE EXP ",\"sub\":\"x\",\"id\":123.0}", "neither");
}

static void identities(void **state)
{
    char claims[900];
    char name[400];

    (void)state;
    ask_for("ci:{project}@{ref}", NULL);
    expect_admitted("{" FINE EXP ",\"project\":\"a/b\",\"ref\":7}", "ci:a/b@7");
    expect_excluded("{" FINE EXP ",\"project\":\"a/b\"}", "lacks a claim");
    expect_excluded("{" FINE EXP ",\"project\":\"\",\"ref\":7}", "lacks a claim");
    expect_excluded("{" FINE EXP ",\"project\":[\"a\"],\"ref\":7}", "lacks a claim");
    expect_excluded("{" FINE EXP ",\"project\":\"a\\nb\",\"ref\":7}", "control character");
    ask_for("sub", NULL);
    memset(name, 'n', sizeof name);
    name[255] = '\0';
    snprintf(claims, sizeof claims, "{" FINE EXP ",\"sub\":\"%s\"}", name);
    expect_admitted(claims, name);
    snprintf(claims, sizeof claims, "{" FINE EXP ",\"sub\":\"%sn\"}", name);
    expect_excluded(claims, "more than 255 bytes");
}

static void what_people_write(void **state)
{
    (void)state;
    assert_null(claims_check_identity("sub"));
    assert_null(claims_check_identity("https://example.com/team"));
    assert_null(claims_check_identity("{sub}"));
    assert_null(claims_check_identity("ci:{project_path}:{ref}"));
    assert_non_null(claims_check_identity(""));
    assert_non_null(claims_check_identity("ci:{}"));
    assert_non_null(claims_check_identity("ci:{sub"));
    assert_non_null(claims_check_identity("ci:}{sub}"));
    assert_non_null(claims_check_identity("sub}"));
    assert_null(claims_check_required("sub=*"));
    assert_null(claims_check_required("workflow=Build and test"));
    assert_non_null(claims_check_required("sub"));
    assert_non_null(claims_check_required("=x"));
    assert_non_null(claims_check_required("sub="));
}

static int make_pairs(void **state)
{
    (void)state;
    pairs.rsa = EVP_RSA_gen(2048);
    pairs.small = EVP_RSA_gen(1024);
    pairs.p256 = EVP_EC_gen("P-256");
    pairs.ed25519 = EVP_PKEY_Q_keygen(NULL, NULL, "ED25519");
    return pairs.rsa && pairs.p256 && pairs.ed25519 && pairs.small ? 0 : -1;
}

static int free_pairs(void **state)
{
    (void)state;
    EVP_PKEY_free(pairs.rsa);
    EVP_PKEY_free(pairs.small);
    EVP_PKEY_free(pairs.p256);
    EVP_PKEY_free(pairs.ed25519);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_example_of_the_standard),
        cmocka_unit_test(each_algorithm_with_its_key),
        cmocka_unit_test(what_is_no_token),
        cmocka_unit_test(headers_that_are_refused),
        cmocka_unit_test(tokens_without_a_signature),
        cmocka_unit_test(which_key),
        cmocka_unit_test(keys_that_are_left_out),
        cmocka_unit_test(times),
        cmocka_unit_test(issuers_and_audiences),
        cmocka_unit_test(claims_that_are_required),
        cmocka_unit_test(identities),
        cmocka_unit_test(what_people_write),
    };

    return cmocka_run_group_tests(tests, make_pairs, free_pairs);
}
