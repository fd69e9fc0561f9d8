/*
 * Protecting records of TLS 1.3 (RFC 8446, 5.2), straight from the caller's memory to where they
 * wait for the socket.
 *
 * OpenSSL encrypts each record in a buffer of its own: it copies the bytes there, and the next
 * record overwrites it, so whoever sends several records by one system call copies them once more.
 * But with kernel TLS it leaves protection to what is below it: when it comes to the keys for data,
 * it gives the BIO key, nonce and sequence number (BIO_CTRL_SET_KTLS), and from then on it writes
 * every record of its own, an alert or an answer to a key update, as plain bytes whose type it has
 * announced. Here the program does what the kernel would do. Data need not go through OpenSSL then:
 * the sequence numbers of all records are the sealer's.
 *
 * OpenSSL 3.0 does not say which keys follow a key update, and cannot take protection back. So the
 * secret that all keys come from (RFC 8446, 7.2) is needed as well, which is told as a line of a
 * key log (the NSS key log format; it is written nowhere).
 *
 * What OpenSSL asks of a BIO for that is Linux's interface (include/uapi/linux/tls.h), with numbers
 * that openssl/bio.h reserves. An OpenSSL without it never asks, and protects records itself.
 */
#pragma once

#include <openssl/evp.h>
#include <openssl/ssl.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Asked of a BIO, beside BIO_CTRL_GET_KTLS_SEND, which says whether it has taken the keys. */
enum tls_seal_control {
    TLS_SEAL_KEYS = 72,   /* number: not 0 for sending; pointer: for tls_sealer_new() */
    TLS_SEAL_TYPE = 74,   /* number: the type of the record that is written next */
    TLS_SEAL_NO_TYPE = 75 /* that is data */
};

/* What a record holds at the most, and what its header, type and tag add to that. */
#define TLS_SEAL_PLAIN_MAX ((size_t)SSL3_RT_MAX_PLAIN_LENGTH)
#define TLS_SEAL_ADDED ((size_t)SSL3_RT_HEADER_LENGTH + 1 + 16)

struct tls_sealer;

/* The secret of what one end sends. */
struct tls_seal_secret {
    uint8_t bytes[EVP_MAX_MD_SIZE];
    size_t size; /* 0: unknown */
};

/* Lets OpenSSL hand the keys over. Before the handshake, during which tell() gets the lines for
 * tls_seal_read_secret(), with any SSL of the same context. */
void tls_seal_offer(SSL *ssl, void (*tell)(const SSL *ssl, const char *line));
/* false: the line is about something else. */
bool tls_seal_read_secret(const char *line, bool server, struct tls_seal_secret *secret);
/* NULL: not for TLS 1.3 with AES-GCM, or the secret does not go with it, or this OpenSSL has no
 * such interface. */
struct tls_sealer *tls_sealer_new(const void *keys, const struct tls_seal_secret *secret);
void tls_sealer_free(struct tls_sealer *sealer);

/* Begins a record of that many bytes, at most TLS_SEAL_PLAIN_MAX, at out, which has room for
 * TLS_SEAL_ADDED more. */
void tls_seal_begin(struct tls_sealer *sealer, uint8_t type, size_t size, uint8_t *out);
/* The bytes, in as many pieces as they come. */
void tls_seal_add(struct tls_sealer *sealer, const void *bytes, size_t size);
/* When all are added. Returns the size of the record. */
size_t tls_seal_end(struct tls_sealer *sealer);

/* Whether a record of OpenSSL's own says that the next one has other keys. */
bool tls_seal_is_key_update(uint8_t type, const void *bytes, size_t size);
/* They follow from the secret. */
void tls_seal_update_keys(struct tls_sealer *sealer);
