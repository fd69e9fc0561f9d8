/*
 * PEM (RFC 7468) that people give: reading private keys without ever asking a terminal for a
 * passphrase, and saying what a file holds that is not what was wanted.
 *
 * Sentences here are parts that follow a file's name: "is encrypted, and ...". All are static.
 */
#pragma once

#include <openssl/evp.h>
#include <stdbool.h>
#include <stddef.h>

enum pem_wanted { PEM_CERTIFICATE, PEM_KEY, PEM_AUTHORITIES };

/* Why there is nothing of that kind in the bytes: another format, something else in PEM, damage. */
const char *pem_explain(const char *bytes, size_t size, enum pem_wanted wanted);

/* The size of a byte order mark in front, to be stepped over: some editors put one before UTF-8,
 * and OpenSSL does not see the line behind it. */
size_t pem_mark(const char *bytes, size_t size);

/*
 * A private key: PKCS#8 or a traditional format, perhaps encrypted; passphrase may be NULL. Returns
 * it, for EVP_PKEY_free(); or NULL, with the reason in *why. *locked: the key is encrypted and
 * there is no passphrase; the caller knows by which option it is given.
 */
EVP_PKEY *pem_read_key(const char *bytes, size_t size, const char *passphrase, bool *locked,
                       const char **why);

/* As openssl takes a passphrase from a file: its first line, made to end in a NUL in place. NULL,
 * or the reason why there is none. */
const char *pem_passphrase_line(char *text);
