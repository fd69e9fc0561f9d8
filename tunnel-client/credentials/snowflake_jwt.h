/*
 * Key-pair authentication at Snowflake: the JSON Web Token (RFC 7519, signed by RS256, RFC 7518
 * section 3.3) that proves who asks, and the request for which it is made. No files, no network, no
 * clock: bytes and the time come in as arguments.
 *
 * Keys and JWTs are secrets. What a function returns as a secret is the caller's, to be given to
 * secret_free().
 */
#pragma once

#include <openssl/evp.h>
#include <stddef.h>
#include <stdint.h>

/* Snowflake takes no JWT that lives longer than an hour. Ours is used at once: the rest is patience
 * with a clock that is slow. */
#define SNOWFLAKE_JWT_LIFE_S (10 * 60)
#define SNOWFLAKE_ACCOUNT_MAX 200
#define SNOWFLAKE_USER_MAX 255
#define SNOWFLAKE_ROLE_MAX 255
/* "SHA256:" and the base64 of 32 bytes. */
#define SNOWFLAKE_FINGERPRINT_MAX 64
#define SNOWFLAKE_HOST_MAX (SNOWFLAKE_ACCOUNT_MAX + sizeof ".snowflakecomputing.com")

/*
 * Each returns NULL, or a static sentence that says what is wrong with what a person wrote. An
 * account is an identifier without a host's domain (myorg-account1, xy12345.us-east-2.aws), a role
 * is a name without blanks: it becomes part of a list that is split at blanks.
 */
const char *snowflake_check_account(const char *account);
const char *snowflake_check_user(const char *user);
const char *snowflake_check_role(const char *role);

/* How a JWT names a valid account: its first part alone, in upper case. */
void snowflake_claim_account(const char *account, char out[SNOWFLAKE_ACCOUNT_MAX + 1]);
/* The same of a valid user: in upper case. */
void snowflake_claim_user(const char *user, char out[SNOWFLAKE_USER_MAX + 1]);
/* The host that serves a valid account. */
void snowflake_account_host(const char *account, char out[SNOWFLAKE_HOST_MAX]);

/*
 * Reads a private key: PEM of PKCS#8 or PKCS#1, perhaps encrypted. Nobody is asked for a
 * passphrase: it is given, or NULL. Returns the key, RSA of 2048 bits at least, for
 * EVP_PKEY_free(); or NULL, with *why a static sentence part: "is encrypted, and ...".
 */
EVP_PKEY *snowflake_read_key(const char *pem, size_t size, const char *passphrase,
                             const char **why);

/* By which Snowflake shows the public key (RSA_PUBLIC_KEY_FP of DESC USER); no secret. */
void snowflake_fingerprint(EVP_PKEY *key, char out[SNOWFLAKE_FINGERPRINT_MAX]);

/* The JWT of a user, good from now (seconds since 1970) on. Aborts without memory. */
char *snowflake_jwt(EVP_PKEY *key, const char *account, const char *user, int64_t now);

/*
 * The form to be posted to /oauth/token (application/x-www-form-urlencoded): a token for the
 * service at endpoint_host, with role, or with the user's default role if it is NULL. It holds the
 * JWT and is a secret as well.
 */
char *snowflake_token_form(const char *jwt, const char *role, const char *endpoint_host);
