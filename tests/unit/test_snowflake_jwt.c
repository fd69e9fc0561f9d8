#include "../lib/cmocka.h"

#include <jansson.h>
#include <openssl/pem.h>
#include <openssl/rsa.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../../tunnel-client/credentials/snowflake_answer.h"
#include "../../tunnel-client/credentials/snowflake_jwt.h"
#include "config/secret.h"

static EVP_PKEY *rsa; /* of 2048 bits, for all tests */

static int make_key(void **state)
{
    (void)state;
    rsa = EVP_RSA_gen(2048);
    return rsa ? 0 : -1;
}

static int free_key(void **state)
{
    (void)state;
    EVP_PKEY_free(rsa);
    return 0;
}

/* ---- names */

static void accounts_and_users(void **state)
{
    (void)state;
    static const struct {
        const char *account;
        const char *claim;
        const char *host;
    } cases[] = {
        {"myorg-account1", "MYORG-ACCOUNT1", "myorg-account1.snowflakecomputing.com"},
        {"MyOrg-My_Account", "MYORG-MY_ACCOUNT", "myorg-my-account.snowflakecomputing.com"},
        {"xy12345.us-east-2.aws", "XY12345", "xy12345.us-east-2.aws.snowflakecomputing.com"},
        {"xy12345-abc.global", "XY12345", "xy12345-abc.global.snowflakecomputing.com"},
        {"acme.privatelink", "ACME", "acme.privatelink.snowflakecomputing.com"},
    };

    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        char claim[SNOWFLAKE_ACCOUNT_MAX + 1];
        char host[SNOWFLAKE_HOST_MAX];
        assert_null(snowflake_check_account(cases[i].account));
        snowflake_claim_account(cases[i].account, claim);
        snowflake_account_host(cases[i].account, host);
        assert_string_equal(claim, cases[i].claim);
        assert_string_equal(host, cases[i].host);
    }
    char user[SNOWFLAKE_USER_MAX + 1];
    snowflake_claim_user("tun_User.x@example.com", user);
    assert_string_equal(user, "TUN_USER.X@EXAMPLE.COM");
}

static void names_that_are_none(void **state)
{
    (void)state;
    char longest[SNOWFLAKE_USER_MAX + 2];

    memset(longest, 'a', sizeof longest - 1);
    longest[sizeof longest - 1] = '\0';
    assert_non_null(
        strstr(snowflake_check_account("https://acme.snowflakecomputing.com"), "alone"));
    assert_non_null(strstr(snowflake_check_account("acme.snowflakecomputing.com"), "alone"));
    assert_non_null(snowflake_check_account("acme account"));
    assert_non_null(snowflake_check_account("acme/x"));
    assert_non_null(snowflake_check_account("a..b"));
    assert_non_null(snowflake_check_account("a."));
    assert_non_null(snowflake_check_account(".global"));
    assert_non_null(snowflake_check_account("-x"));
    assert_non_null(snowflake_check_account(longest));
    assert_non_null(snowflake_check_user(longest));
    assert_null(snowflake_check_user(longest + 1));
    assert_non_null(snowflake_check_user("a\nb"));
    assert_non_null(snowflake_check_user("\xff"));
    assert_null(snowflake_check_user("J\"org \\ \xc3\xb6"));
    assert_non_null(snowflake_check_role("TWO WORDS"));
    assert_non_null(snowflake_check_role("a\rb"));
    assert_non_null(snowflake_check_role(longest));
    assert_null(snowflake_check_role("CLIENT_R"));
}

/* ---- JWTs */

/* A part of a JWT, decoded; with a NUL behind it, to be freed. */
static unsigned char *decode(const char *text, size_t size, size_t *decoded)
{
    size_t padded = (size + 3) / 4 * 4;
    char *standard = malloc(padded);
    unsigned char *bytes = malloc(padded + 1);

    memset(standard, '=', padded);
    for (size_t i = 0; i < size; i++) {
        assert_null(strchr("+/=", text[i]));
        standard[i] = (char)(text[i] == '-' ? '+' : text[i] == '_' ? '/' : text[i]);
    }
    int got = EVP_DecodeBlock(bytes, (unsigned char *)standard, (int)padded);
    assert_true(got >= 0);
    *decoded = (size_t)got - (padded - size);
    bytes[*decoded] = '\0';
    free(standard);
    return bytes;
}

static bool is_signed_by(EVP_PKEY *key, const char *jwt)
{
    const char *dot = strrchr(jwt, '.');
    EVP_MD_CTX *context = EVP_MD_CTX_new();
    size_t size;
    unsigned char *signature = decode(dot + 1, strlen(dot + 1), &size);

    assert_int_equal(EVP_DigestVerifyInit(context, NULL, EVP_sha256(), NULL, key), 1);
    bool good = EVP_DigestVerify(context, signature, size, (const unsigned char *)jwt,
                                 (size_t)(dot - jwt)) == 1;
    EVP_MD_CTX_free(context);
    free(signature);
    return good;
}

static json_t *part(const char *jwt, int index)
{
    size_t size;

    while (index-- > 0)
        jwt = strchr(jwt, '.') + 1;
    unsigned char *text = decode(jwt, strcspn(jwt, "."), &size);
    json_t *value = json_loadb((char *)text, size, JSON_REJECT_DUPLICATES, NULL);
    assert_non_null(value);
    free(text);
    return value;
}

static const char *text_of(json_t *object, const char *name)
{
    const char *text = json_string_value(json_object_get(object, name));

    assert_non_null(text);
    return text;
}

/* What verifies them knows the public key only. */
static void jwts_verify_with_the_public_key(void **state)
{
    (void)state;
    const int64_t now = 1795000000;
    char fingerprint[SNOWFLAKE_FINGERPRINT_MAX];
    char issuer[300];
    unsigned char *der = NULL;
    int der_size = i2d_PUBKEY(rsa, &der);
    const unsigned char *at = der;
    EVP_PKEY *public_key = d2i_PUBKEY(NULL, &at, der_size);
    EVP_PKEY *other = EVP_RSA_gen(2048);
    char *jwt = snowflake_jwt(rsa, "acme_x.eu-west-1", "tun\"nel", now);

    assert_true(is_signed_by(public_key, jwt));
    assert_false(is_signed_by(other, jwt));
    json_t *header = part(jwt, 0);
    assert_string_equal(text_of(header, "alg"), "RS256");
    assert_string_equal(text_of(header, "typ"), "JWT");
    json_t *claims = part(jwt, 1);
    snowflake_fingerprint(rsa, fingerprint);
    snprintf(issuer, sizeof issuer, "ACME_X.TUN\"NEL.%s", fingerprint);
    assert_string_equal(text_of(claims, "iss"), issuer);
    assert_string_equal(text_of(claims, "sub"), "ACME_X.TUN\"NEL");
    assert_int_equal(json_integer_value(json_object_get(claims, "iat")), now);
    assert_int_equal(json_integer_value(json_object_get(claims, "exp")),
                     now + SNOWFLAKE_JWT_LIFE_S);
    assert_true(SNOWFLAKE_JWT_LIFE_S <= 3600);
    assert_int_equal(json_object_size(claims), 4);
    assert_int_equal(snowflake_token_expiry(jwt, strlen(jwt)), now + SNOWFLAKE_JWT_LIFE_S);
    json_decref(header);
    json_decref(claims);
    secret_free(jwt);
    OPENSSL_free(der);
    EVP_PKEY_free(public_key);
    EVP_PKEY_free(other);
}

/* The fingerprint as openssl pkey -pubin -outform DER | openssl dgst -sha256 -binary | base64 has
 * it. */
static void fingerprint_of_a_known_key(void **state)
{
    (void)state;
    static const char pem[] = "-----BEGIN PUBLIC KEY-----\n"
                              "MIIBIjANBgkqhkiG9w0BAQEFAAOCAQ8AMIIBCgKCAQEAgsgBgL/0ZRgTvBsSHBR+\n"
                              "xpembU9dCz0PYppCQHJm9CSRCD8jYZ7tTCpB57Aski5Ao+TIokkvLsKczskZej7E\n"
                              "x5A6tT/JwJWcqPdgNLbOR8ZAmtAlnKly6UhR6mZYM1DtDYOKS6s38EbEU4BdmIbB\n"
                              "ERMRO/ZSsLi4zZl/UgjhswKcTMmSUSRjJ9Z1F02TTpf4LmjhXpnBv45lIO7N8juI\n"
                              "iGNTOZjkSGQAVJr/q0o04LcgnG++DTvmgFQ4KJxhBIbhzq1Mb+K6sBP1qYgPEe6Z\n"
                              "kBZKFqkqXGbdwpf0A7XujR/0N7ONFS2c1rZRB/obSPZqQo1eVkqowxoc/87AGIeH\n"
                              "GwIDAQAB\n"
                              "-----END PUBLIC KEY-----\n";
    char fingerprint[SNOWFLAKE_FINGERPRINT_MAX];
    BIO *bio = BIO_new_mem_buf(pem, -1);
    EVP_PKEY *key = PEM_read_bio_PUBKEY(bio, NULL, NULL, NULL);

    assert_non_null(key);
    snowflake_fingerprint(key, fingerprint);
    assert_string_equal(fingerprint, "SHA256:moot7kajUz8VJlWS7fD6PjtzpX0aemRYq5OyNgd94tI=");
    EVP_PKEY_free(key);
    BIO_free(bio);
}

/* ---- keys */

static char *pem_of(EVP_PKEY *key, bool traditional, const EVP_CIPHER *cipher,
                    const char *passphrase)
{
    BIO *bio = BIO_new(BIO_s_mem());
    char *bytes;
    const unsigned char *word = (const unsigned char *)passphrase;
    int size = passphrase ? (int)strlen(passphrase) : 0;

    if (traditional)
        assert_int_equal(
            PEM_write_bio_PrivateKey_traditional(bio, key, cipher, word, size, NULL, NULL), 1);
    else
        assert_int_equal(
            PEM_write_bio_PKCS8PrivateKey(bio, key, cipher, passphrase, size, NULL, NULL), 1);
    long got = BIO_get_mem_data(bio, &bytes);
    char *pem = strndup(bytes, (size_t)got);
    BIO_free(bio);
    return pem;
}

static void expect_key(const char *pem, const char *passphrase, bool same)
{
    const char *why;
    EVP_PKEY *key = snowflake_read_key(pem, strlen(pem), passphrase, &why);

    assert_non_null(key);
    assert_null(why);
    assert_int_equal(EVP_PKEY_eq(key, rsa), same);
    EVP_PKEY_free(key);
}

static void expect_no_key(const char *pem, size_t size, const char *passphrase, const char *words)
{
    const char *why = NULL;

    assert_null(snowflake_read_key(pem, size, passphrase, &why));
    assert_non_null(why);
    if (!strstr(why, words))
        fail_msg("no \"%s\" in: %s", words, why);
}

static void keys_of_every_form(void **state)
{
    (void)state;
    for (int traditional = 0; traditional < 2; traditional++) {
        char *plain = pem_of(rsa, traditional, NULL, NULL);
        expect_key(plain, NULL, true);
        expect_key(plain, "not needed", true);
        char *marked = malloc(strlen(plain) + 4);
        sprintf(marked, "\xef\xbb\xbf%s", plain);
        expect_key(marked, NULL, true);
        free(marked);
        free(plain);
        const EVP_CIPHER *const ciphers[] = {EVP_aes_256_cbc(), EVP_des_ede3_cbc()};
        for (int i = 0; i < 2; i++) {
            char *pem = pem_of(rsa, traditional, ciphers[i], "open sesame");
            expect_key(pem, "open sesame", true);
            expect_no_key(pem, strlen(pem), NULL, "TUNNEL_PRIVATE_KEY_PASSPHRASE");
            expect_no_key(pem, strlen(pem), "open barley", "does not decrypt it");
            expect_no_key(pem, strlen(pem), "\"open sesame\"", "is in quotes");
            expect_no_key(pem, strlen(pem), "", "does not decrypt it");
            free(pem);
        }
    }
}

static void files_that_hold_no_key(void **state)
{
    (void)state;
    static const char openssh[] = "-----BEGIN OPENSSH PRIVATE KEY-----\nAAAA\n"
                                  "-----END OPENSSH PRIVATE KEY-----\n";
    static const char damaged[] = "-----BEGIN PRIVATE KEY-----\nMIIE\n-----END PRIVATE KEY-----\n";
    static const char md5_des[] =
        "-----BEGIN ENCRYPTED PRIVATE KEY-----\n"
        "MF8wGwYJKoZIhvcNAQUDMA4ECHNhbHRzYWx0AgIIAARAAAECAwQFBgcICQoLDA0O\n"
        "DxAREhMUFRYXGBkaGxwdHh8gISIjJCUmJygpKissLS4vMDEyMzQ1Njc4OTo7PD0+\n"
        "Pw==\n"
        "-----END ENCRYPTED PRIVATE KEY-----\n";
    EVP_PKEY *small = EVP_RSA_gen(1024);
    EVP_PKEY *curve = EVP_EC_gen("P-256");
    char *pem = pem_of(rsa, false, NULL, NULL);
    char long_word[5000];

    expect_no_key("", 0, NULL, "is empty");
    expect_no_key("token\n", 6, NULL, "not a private key");
    expect_no_key(openssh, sizeof openssh - 1, NULL, "ssh-keygen -p -m PEM");
    expect_no_key(damaged, sizeof damaged - 1, NULL, "damaged");
    expect_no_key(pem, strlen(pem) / 2, NULL, "damaged");
    for (char *at = pem; (at = strstr(at, "PRIVATE")); at++)
        memcpy(at, "PUBLIC ", 7);
    expect_no_key(pem, strlen(pem), NULL, "not a private key");
    free(pem);
    expect_no_key("-----BEGIN PUBLIC KEY-----\n", 27, NULL, "public key");
    pem = pem_of(small, false, NULL, NULL);
    expect_no_key(pem, strlen(pem), NULL, "2048");
    free(pem);
    pem = pem_of(curve, false, NULL, NULL);
    expect_no_key(pem, strlen(pem), NULL, "only RSA");
    free(pem);
    pem = pem_of(rsa, false, EVP_aes_128_cbc(), "x");
    memset(long_word, 'x', sizeof long_word - 1);
    long_word[sizeof long_word - 1] = '\0';
    expect_no_key(pem, strlen(pem), long_word, "longer");
    free(pem);
    /* As openssl pkcs8 -v1 PBE-MD5-DES writes it; OpenSSL 3 cannot even try the passphrase. */
    expect_no_key(md5_des, sizeof md5_des - 1, "x", "-v2 aes256");
    EVP_PKEY_free(small);
    EVP_PKEY_free(curve);
}

/* ---- the form */

static void forms(void **state)
{
    (void)state;
    char *form = snowflake_token_form("a.b-c_d", "CLIENT_R", "x-y.snowflakecomputing.app");

    assert_string_equal(
        form, "grant_type=urn%3Aietf%3Aparams%3Aoauth%3Agrant-type%3Ajwt-bearer"
              "&scope=session%3Arole%3ACLIENT_R%20x-y.snowflakecomputing.app&assertion=a.b-c_d");
    secret_free(form);
    form = snowflake_token_form("+/=", NULL, "h");
    assert_string_equal(form, "grant_type=urn%3Aietf%3Aparams%3Aoauth%3Agrant-type%3Ajwt-bearer"
                              "&scope=h&assertion=%2B%2F%3D");
    secret_free(form);
    /* Every byte that can be encoded is: the bound of the buffer holds. */
    form = snowflake_token_form("j", "\xc3\xb6&=%\"", "h");
    assert_non_null(strstr(form, "scope=session%3Arole%3A%C3%B6%26%3D%25%22%20h&"));
    secret_free(form);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(accounts_and_users),
        cmocka_unit_test(names_that_are_none),
        cmocka_unit_test(jwts_verify_with_the_public_key),
        cmocka_unit_test(fingerprint_of_a_known_key),
        cmocka_unit_test(keys_of_every_form),
        cmocka_unit_test(files_that_hold_no_key),
        cmocka_unit_test(forms),
    };
    return cmocka_run_group_tests(tests, make_key, free_key);
}
