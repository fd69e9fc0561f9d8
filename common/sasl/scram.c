#include "sasl/scram.h"

#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <stdio.h>
#include <string.h>

#include "base/bytes.h"
#include "base/printable.h"
#include "base/redact.h"

enum { SERVER_NONCE_MAX = 512, BASE64_DIGEST_SIZE = 89 /* of 64 bytes, and a NUL */ };

/* What a server-first-message says; text points into it. */
struct server_first {
    const char *nonce;
    size_t nonce_size;
    uint8_t salt[SASL_SALT_MAX];
    size_t salt_size;
    uint32_t iterations;
};

static enum sasl_step fail_scram(struct sasl_exchange *exchange, const char *why)
{
    snprintf(exchange->reason, sizeof exchange->reason, "%s", why);
    return SASL_EFAILED;
}

static const EVP_MD *digest_of(const struct sasl_exchange *exchange)
{
    return exchange->credentials.mechanism == SASL_SCRAM_SHA_256 ? EVP_sha256() : EVP_sha512();
}

static size_t digest_size(const struct sasl_exchange *exchange)
{
    return exchange->credentials.mechanism == SASL_SCRAM_SHA_256 ? 32 : 64;
}

/* Strictly: what is not exactly the encoding of some bytes is none. The number of bytes; 0: it is
 * none, or does not fit. */
static size_t decode_base64(const char *text, size_t size, uint8_t *out, size_t capacity)
{
    unsigned char bytes[3 * (SASL_SALT_MAX / 3 + 2)];
    unsigned char again[4 * (SASL_SALT_MAX / 3 + 2) + 1];

    if (size == 0 || size % 4 != 0 || size >= sizeof again || size / 4 * 3 > sizeof bytes)
        return 0;
    int decoded = EVP_DecodeBlock(bytes, (const unsigned char *)text, (int)size);
    if (decoded <= 0)
        return 0;
    size_t length = (size_t)decoded - (text[size - 1] == '=') - (text[size - 2] == '=');
    if (length == 0 || length > capacity)
        return 0;
    /* EVP_DecodeBlock() is lenient with padding and spaces. */
    if (EVP_EncodeBlock(again, bytes, (int)length) != (int)size || memcmp(again, text, size) != 0)
        return 0;
    memcpy(out, bytes, length);
    return length;
}

/* Appends text to message of capacity bytes, of which *size are used. */
static bool append_sasl(void *message, size_t capacity, size_t *size, const char *text,
                        size_t length)
{
    if (capacity - *size < length)
        return false;
    memcpy((char *)message + *size, text, length);
    *size += length;
    return true;
}

/* saslname of RFC 5802, 5.1: ',' and '=' would end the attribute. */
static bool append_name(char *message, size_t capacity, size_t *size, const char *name)
{
    bool fits = true;

    for (; *name && fits; name++) {
        const char *escaped = *name == ',' ? "=2C" : *name == '=' ? "=3D" : NULL;
        fits = escaped ? append_sasl(message, capacity, size, escaped, 3)
                       : append_sasl(message, capacity, size, name, 1);
    }
    return fits;
}

enum sasl_step sasl_scram_first(struct sasl_exchange *exchange, const char *nonce)
{
    static const char header[] = "n,,"; /* no channel binding, no other identity */
    static const char token[] = ",tokenauth=true";
    size_t size = 0;
    char *bare = exchange->first_bare;
    const size_t capacity = sizeof exchange->first_bare;

    snprintf(exchange->nonce, sizeof exchange->nonce, "%s", nonce);
    bool fits = append_sasl(bare, capacity, &size, "n=", 2) &&
                append_name(bare, capacity, &size, exchange->credentials.user) &&
                append_sasl(bare, capacity, &size, ",r=", 3) &&
                append_sasl(bare, capacity, &size, exchange->nonce, strlen(exchange->nonce));
    if (fits && exchange->credentials.delegation_token)
        fits = append_sasl(bare, capacity, &size, token, sizeof token - 1);
    if (!fits)
        return fail_scram(exchange, "the user's name is too long");
    exchange->first_bare_size = size;
    exchange->message_size = 0;
    append_sasl(exchange->message, sizeof exchange->message, &exchange->message_size, header,
                sizeof header - 1);
    append_sasl(exchange->message, sizeof exchange->message, &exchange->message_size, bare, size);
    return SASL_SEND;
}

/* The attribute "x=value" that text begins with, and steps over it and its comma. false: it is
 * another one, or none. */
static bool take_attribute(const char **text, size_t *left, char name, const char **value,
                           size_t *size)
{
    if (*left < 2 || (*text)[0] != name || (*text)[1] != '=')
        return false;
    *value = *text + 2;
    const char *comma = memchr(*value, ',', *left - 2);
    *size = comma ? (size_t)(comma - *value) : *left - 2;
    size_t taken = 2 + *size + (comma ? 1 : 0);
    *text += taken;
    *left -= taken;
    return true;
}

/* "e=..." in place of what was to come (RFC 5802, 7); servers say it in either round. */
static bool is_refusal(struct sasl_exchange *exchange, const char *answer, size_t size)
{
    const char *value;
    size_t length;
    char said[61];

    if (!take_attribute(&answer, &size, 'e', &value, &length))
        return false;
    redact(value, length, exchange->credentials.secret, said, sizeof said);
    snprintf(exchange->reason, sizeof exchange->reason, "it refused: %s", said);
    printable_columns(exchange->reason);
    return true;
}

/* Of at most six digits, none of them a leading zero; 0: it is no such number. */
static uint32_t read_iterations(const char *text, size_t size)
{
    uint32_t number = 0;

    if (size == 0 || size > 6 || text[0] == '0')
        return 0;
    for (size_t i = 0; i < size; i++) {
        if (text[i] < '0' || text[i] > '9')
            return 0;
        number = number * 10 + (uint32_t)(text[i] - '0');
    }
    return number;
}

/* NULL, or what is wrong with it. */
static const char *read_server_first(const struct sasl_exchange *exchange, const char *text,
                                     size_t left, struct server_first *first)
{
    const char *value;
    size_t size;
    size_t own = strlen(exchange->nonce);

    if (take_attribute(&text, &left, 'm', &value, &size))
        return "it demands a SCRAM extension that is not known here";
    if (!take_attribute(&text, &left, 'r', &first->nonce, &first->nonce_size))
        return "its first SCRAM message is malformed";
    if (first->nonce_size <= own || first->nonce_size > SERVER_NONCE_MAX ||
        memcmp(first->nonce, exchange->nonce, own) != 0)
        return "its SCRAM message does not continue this login's nonce";
    if (!take_attribute(&text, &left, 's', &value, &size) ||
        (first->salt_size = decode_base64(value, size, first->salt, sizeof first->salt)) == 0)
        return "its SCRAM message has no valid salt";
    if (!take_attribute(&text, &left, 'i', &value, &size))
        return "its SCRAM message has no number of iterations";
    first->iterations = read_iterations(value, size);
    if (first->iterations < SASL_ITERATIONS_MIN || first->iterations > SASL_ITERATIONS_MAX)
        return "it asks for a number of SCRAM iterations outside 4096 to 65536";
    return NULL;
}

static bool hmac(const struct sasl_exchange *exchange, const uint8_t *key, const void *text,
                 size_t size, uint8_t *out)
{
    return HMAC(digest_of(exchange), key, (int)digest_size(exchange), text, size, out, NULL) !=
           NULL;
}

static bool derive_keys(const struct sasl_exchange *exchange, const struct server_first *first,
                        struct sasl_scram_keys *keys)
{
    const struct sasl_credentials *credentials = &exchange->credentials;
    uint8_t salted[SASL_DIGEST_MAX];

    *keys = (struct sasl_scram_keys){.mechanism = credentials->mechanism,
                                     .iterations = first->iterations,
                                     .salt_size = first->salt_size};
    memcpy(keys->salt, first->salt, first->salt_size);
    keys->known = PKCS5_PBKDF2_HMAC(credentials->secret, (int)strlen(credentials->secret),
                                    first->salt, (int)first->salt_size, (int)first->iterations,
                                    digest_of(exchange), (int)digest_size(exchange), salted) == 1 &&
                  hmac(exchange, salted, "Client Key", 10, keys->client_key) &&
                  hmac(exchange, salted, "Server Key", 10, keys->server_key);
    byte_wipe(salted, sizeof salted);
    return keys->known;
}

static bool keys_are_for(const struct sasl_scram_keys *keys, const struct sasl_exchange *exchange,
                         const struct server_first *first)
{
    return keys->known && keys->mechanism == exchange->credentials.mechanism &&
           keys->iterations == first->iterations && keys->salt_size == first->salt_size &&
           memcmp(keys->salt, first->salt, first->salt_size) == 0;
}

/* AuthMessage of RFC 5802, 3, is signed for both sides: the client's proof, the server's signature.
 */
static bool sign_scram(struct sasl_exchange *exchange, const struct sasl_scram_keys *keys,
                       const char *auth, size_t auth_size, uint8_t proof[SASL_DIGEST_MAX])
{
    uint8_t stored_key[SASL_DIGEST_MAX];
    const size_t size = digest_size(exchange);

    bool done =
        EVP_Digest(keys->client_key, size, stored_key, NULL, digest_of(exchange), NULL) == 1 &&
        hmac(exchange, stored_key, auth, auth_size, proof) &&
        hmac(exchange, keys->server_key, auth, auth_size, exchange->server_signature);
    byte_wipe(stored_key, sizeof stored_key);
    for (size_t i = 0; i < size; i++)
        proof[i] ^= keys->client_key[i];
    return done;
}

enum sasl_step sasl_scram_final(struct sasl_exchange *exchange, const char *answer, size_t size)
{
    struct server_first first;
    struct sasl_scram_keys fresh = {0};
    struct sasl_scram_keys *keys = exchange->credentials.keys ? exchange->credentials.keys : &fresh;
    char auth[sizeof exchange->first_bare + SASL_ANSWER_MAX + SERVER_NONCE_MAX + 16];
    uint8_t proof[SASL_DIGEST_MAX] = {0};
    char encoded[BASE64_DIGEST_SIZE];
    size_t auth_size = 0;

    if (is_refusal(exchange, answer, size))
        return SASL_EREFUSED;
    const char *why = read_server_first(exchange, answer, size, &first);
    if (why)
        return fail_scram(exchange, why);
    /* What is signed: the first message of each side, and this one as far as it goes by now; "biws"
     * is "n,,". */
    bool fits = append_sasl(auth, sizeof auth, &auth_size, exchange->first_bare,
                            exchange->first_bare_size) &&
                append_sasl(auth, sizeof auth, &auth_size, ",", 1) &&
                append_sasl(auth, sizeof auth, &auth_size, answer, size) &&
                append_sasl(auth, sizeof auth, &auth_size, ",", 1);
    const size_t final_at = auth_size;
    fits = fits && append_sasl(auth, sizeof auth, &auth_size, "c=biws,r=", 9) &&
           append_sasl(auth, sizeof auth, &auth_size, first.nonce, first.nonce_size);
    if (!fits)
        return fail_scram(exchange, "its first SCRAM message is too long");
    bool signed_both =
        (keys_are_for(keys, exchange, &first) || derive_keys(exchange, &first, keys)) &&
        sign_scram(exchange, keys, auth, auth_size, proof);
    byte_wipe(&fresh, sizeof fresh);
    if (!signed_both)
        return fail_scram(exchange, "OpenSSL could not compute the SCRAM proof");
    EVP_EncodeBlock((unsigned char *)encoded, proof, (int)digest_size(exchange));
    exchange->message_size = 0;
    append_sasl(exchange->message, sizeof exchange->message, &exchange->message_size,
                auth + final_at, auth_size - final_at);
    append_sasl(exchange->message, sizeof exchange->message, &exchange->message_size, ",p=", 3);
    append_sasl(exchange->message, sizeof exchange->message, &exchange->message_size, encoded,
                strlen(encoded));
    return SASL_SEND;
}

enum sasl_step sasl_scram_verify(struct sasl_exchange *exchange, const char *answer, size_t size)
{
    const char *value;
    size_t length;
    uint8_t signature[SASL_DIGEST_MAX];

    if (is_refusal(exchange, answer, size))
        return SASL_EREFUSED;
    if (!take_attribute(&answer, &size, 'v', &value, &length) ||
        decode_base64(value, length, signature, sizeof signature) != digest_size(exchange))
        return fail_scram(exchange, "its last SCRAM message is malformed");
    if (!byte_equal_secret(signature, exchange->server_signature, digest_size(exchange)))
        return fail_scram(exchange, "its SCRAM signature is wrong: it does not know the password, "
                                    "and may not be the broker it claims to be");
    return SASL_DONE;
}
