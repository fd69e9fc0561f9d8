#include "credentials/snowflake_jwt.h"

#include <ctype.h>
#include <jansson.h>
#include <openssl/sha.h>
#include <openssl/x509.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/memory.h"
#include "config/secret.h"
#include "tls/pem.h"

enum { KEY_BITS_MIN = 2048 };

static const char GRANT[] = "urn:ietf:params:oauth:grant-type:jwt-bearer";

/* ---- names */

static bool ends_with(const char *text, const char *end)
{
    size_t size = strlen(text);
    size_t end_size = strlen(end);

    return size >= end_size && strcmp(text + size - end_size, end) == 0;
}

const char *snowflake_check_account(const char *account)
{
    static const char allowed[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
                                  "0123456789_-.";

    if (strstr(account, "://") || ends_with(account, ".snowflakecomputing.com"))
        return "give the account's identifier alone, without https:// and .snowflakecomputing.com";
    if (strlen(account) > SNOWFLAKE_ACCOUNT_MAX)
        return "is too long for an account";
    if (account[strspn(account, allowed)] != '\0')
        return "an account identifier has only letters, digits, _, - and dots";
    if (!isalnum((unsigned char)account[0]) || strstr(account, "..") || ends_with(account, "."))
        return "is not an account identifier, such as myorg-account1 or xy12345.us-east-2.aws";
    return NULL;
}

static bool has_control_in_claim(const char *text)
{
    for (; *text; text++)
        if ((unsigned char)*text < 0x20 || *text == 0x7f)
            return true;
    return false;
}

const char *snowflake_check_user(const char *user)
{
    json_t *text;

    if (strlen(user) > SNOWFLAKE_USER_MAX)
        return "is too long for a user";
    if (has_control_in_claim(user))
        return "a user's name has no control characters";
    text = json_string(user);
    json_decref(text);
    return text ? NULL : "is not valid UTF-8";
}

const char *snowflake_check_role(const char *role)
{
    if (strlen(role) > SNOWFLAKE_ROLE_MAX)
        return "is too long for a role";
    if (has_control_in_claim(role) || strchr(role, ' '))
        return "a role name must not contain spaces or control characters";
    return NULL;
}

/* Only ASCII letters: what Snowflake does to others is not known. */
static void copy_upper(const char *from, size_t size, char *to)
{
    for (size_t i = 0; i < size; i++)
        to[i] = (char)(from[i] >= 'a' && from[i] <= 'z' ? from[i] - 'a' + 'A' : from[i]);
    to[size] = '\0';
}

void snowflake_claim_account(const char *account, char out[SNOWFLAKE_ACCOUNT_MAX + 1])
{
    /* A replicated account (NAME-SUFFIX.global) ends at the hyphen, any other at the dot. */
    size_t size = strcspn(account, strstr(account, ".global") ? "-" : ".");

    copy_upper(account, size, out);
}

void snowflake_claim_user(const char *user, char out[SNOWFLAKE_USER_MAX + 1])
{
    copy_upper(user, strlen(user), out);
}

void snowflake_account_host(const char *account, char out[SNOWFLAKE_HOST_MAX])
{
    snprintf(out, SNOWFLAKE_HOST_MAX, "%s.snowflakecomputing.com", account);
    /* An underscore is valid in an account's name and not in a host's. */
    for (char *at = out; *at; at++)
        *at = (char)(*at == '_' ? '-' : tolower((unsigned char)*at));
}

/* ---- the key */

EVP_PKEY *snowflake_read_key(const char *pem, size_t size, const char *passphrase, const char **why)
{
    bool locked;
    EVP_PKEY *key = pem_read_key(pem, size, passphrase, &locked, why);

    if (locked)
        *why = "is encrypted: give --private-key-passphrase-file, or the passphrase in "
               "TUNNEL_PRIVATE_KEY_PASSPHRASE";
    if (!key)
        return NULL;
    if (EVP_PKEY_get_base_id(key) != EVP_PKEY_RSA)
        *why = "is not an RSA key; Snowflake accepts only RSA: openssl genrsa 2048";
    else if (EVP_PKEY_get_bits(key) < KEY_BITS_MIN)
        *why = "is an RSA key of less than 2048 bits, which Snowflake does not accept";
    if (*why) {
        EVP_PKEY_free(key);
        return NULL;
    }
    return key;
}

void snowflake_fingerprint(EVP_PKEY *key, char out[SNOWFLAKE_FINGERPRINT_MAX])
{
    unsigned char *der = NULL;
    int size = i2d_PUBKEY(key, &der);
    unsigned char digest[SHA256_DIGEST_LENGTH];
    static const char kind[] = "SHA256:";

    if (size <= 0 || EVP_Digest(der, (size_t)size, digest, NULL, EVP_sha256(), NULL) != 1)
        abort();
    memcpy(out, kind, sizeof kind);
    EVP_EncodeBlock((unsigned char *)out + sizeof kind - 1, digest, sizeof digest);
    OPENSSL_free(der);
}

/* ---- the JWT */

/* Base64 with the alphabet of URLs and without padding (RFC 7515 section 2); returns its size. */
static size_t encode_base64url(const unsigned char *bytes, size_t size, char *out)
{
    size_t encoded = (size_t)EVP_EncodeBlock((unsigned char *)out, bytes, (int)size);

    while (encoded > 0 && out[encoded - 1] == '=')
        encoded--;
    for (size_t i = 0; i < encoded; i++)
        out[i] = (char)(out[i] == '+' ? '-' : out[i] == '/' ? '_' : out[i]);
    out[encoded] = '\0';
    return encoded;
}

static size_t base64_room(size_t size)
{
    return (size + 2) / 3 * 4 + 1;
}

static char *make_claims(EVP_PKEY *key, const char *account, const char *user, int64_t now)
{
    char account_name[SNOWFLAKE_ACCOUNT_MAX + 1];
    char user_name[SNOWFLAKE_USER_MAX + 1];
    char fingerprint[SNOWFLAKE_FINGERPRINT_MAX];
    char subject[sizeof account_name + sizeof user_name];
    char issuer[sizeof subject + sizeof fingerprint];

    snowflake_claim_account(account, account_name);
    snowflake_claim_user(user, user_name);
    snowflake_fingerprint(key, fingerprint);
    snprintf(subject, sizeof subject, "%s.%s", account_name, user_name);
    snprintf(issuer, sizeof issuer, "%s.%s", subject, fingerprint);
    json_t *claims = json_pack("{s:s, s:s, s:I, s:I}", "iss", issuer, "sub", subject, "iat",
                               (json_int_t)now, "exp", (json_int_t)(now + SNOWFLAKE_JWT_LIFE_S));
    char *text = claims ? json_dumps(claims, JSON_COMPACT) : NULL;
    if (!text)
        abort();
    json_decref(claims);
    return text;
}

/* The signature of text, for OPENSSL_free(). */
static unsigned char *sign(EVP_PKEY *key, const char *text, size_t size, size_t *signature_size)
{
    EVP_MD_CTX *context = EVP_MD_CTX_new();
    unsigned char *signature = NULL;

    if (!context || EVP_DigestSignInit(context, NULL, EVP_sha256(), NULL, key) != 1 ||
        EVP_DigestSign(context, NULL, signature_size, (const unsigned char *)text, size) != 1 ||
        !(signature = OPENSSL_malloc(*signature_size)) ||
        EVP_DigestSign(context, signature, signature_size, (const unsigned char *)text, size) != 1)
        abort();
    EVP_MD_CTX_free(context);
    return signature;
}

char *snowflake_jwt(EVP_PKEY *key, const char *account, const char *user, int64_t now)
{
    static const char header[] = "{\"alg\":\"RS256\",\"typ\":\"JWT\"}";
    char *claims = make_claims(key, account, user, now);
    size_t room = base64_room(sizeof header) + base64_room(strlen(claims)) +
                  base64_room((size_t)EVP_PKEY_get_size(key));
    char *jwt = memory_raw(room + 2);
    size_t signature_size;
    size_t size;

    size = encode_base64url((const unsigned char *)header, sizeof header - 1, jwt);
    jwt[size++] = '.';
    size += encode_base64url((const unsigned char *)claims, strlen(claims), jwt + size);
    unsigned char *signature = sign(key, jwt, size, &signature_size);
    jwt[size++] = '.';
    encode_base64url(signature, signature_size, jwt + size);
    OPENSSL_free(signature);
    free(claims);
    return jwt;
}

/* ---- the form */

/* Returns what follows behind the text, percent-encoded (RFC 3986 section 2.1). */
static char *put_encoded(char *at, const char *text)
{
    static const char digits[] = "0123456789ABCDEF";

    for (; *text; text++) {
        unsigned char c = (unsigned char)*text;
        if (isalnum(c) || strchr("-._~", c)) {
            *at++ = (char)c;
        } else {
            *at++ = '%';
            *at++ = digits[c >> 4];
            *at++ = digits[c & 15];
        }
    }
    *at = '\0';
    return at;
}

static char *put_claim_text(char *at, const char *text)
{
    return stpcpy(at, text);
}

char *snowflake_token_form(const char *jwt, const char *role, const char *endpoint_host)
{
    size_t size =
        100 + 3 * (sizeof GRANT + strlen(endpoint_host) + (role ? strlen(role) : 0) + strlen(jwt));
    char *form = memory_raw(size);
    char *at = form;

    at = put_encoded(put_claim_text(at, "grant_type="), GRANT);
    at = put_claim_text(at, "&scope=");
    if (role) {
        at = put_encoded(at, "session:role:");
        at = put_encoded(at, role);
        at = put_encoded(at, " ");
    }
    at = put_encoded(at, endpoint_host);
    put_encoded(put_claim_text(at, "&assertion="), jwt);
    return form;
}
