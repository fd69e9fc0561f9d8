/*
 * The byte pipe under a link: a socket, with or without TLS. Also under a request while it is made
 * or answered, and under a connection to a broker that speaks TLS.
 *
 * TLS goes through a BIO of our own: records of one batch are collected in one buffer and leave in
 * one send(), received bytes are read ahead in large pieces.
 *
 * Writing is by batches: transport_commit() encrypts one whole, so nothing is ever half encrypted,
 * and transport_flush() hands several to the kernel in one call.
 */
#pragma once

#include <openssl/ssl.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "tls/tls_verdict.h"

struct transport;

/* Plain TCP. fd belongs to the transport from now on, as with all of these. */
struct transport *transport_new(int fd);
/*
 * A TLS client over a connected socket, which must get through transport_handshake() first. The
 * server's certificate must be for name, a host name or an IP literal.
 */
struct transport *transport_new_client(int fd, SSL_CTX *context, const char *name);
/* A TLS server over an accepted socket; it must get through transport_handshake() first. What has
 * been read is overwritten in OpenSSL's buffers, for a request may hold a token. */
struct transport *transport_new_server(int fd, SSL_CTX *context);
/* From here on it is not: that takes time, and what comes now is in our own buffers as well. */
void transport_stop_wiping(struct transport *transport);
/*
 * TLS over a connection that exists already, as after a proxy's answer to CONNECT; over one that
 * has TLS itself as well. Takes below, on which nothing may be on its way. Then as above.
 */
struct transport *transport_secure(struct transport *below, SSL_CTX *context, const char *name);
/* 1: done; TRANSPORT_BLOCKED: again when the socket is readable, or writable if transport_busy();
 * TRANSPORT_EOF: the peer closed; TRANSPORT_ERROR: transport_failure() and transport_error() tell.
 */
int transport_handshake(struct transport *transport);
/* What kind of failure of TLS's the last TRANSPORT_ERROR was. */
enum tls_failure transport_failure(const struct transport *transport);
/* With TLS_FAILURE_TRUST or _DATES: what is wrong with the peer's certificates. */
const struct tls_verdict *transport_verdict(const struct transport *transport);

/* During the handshake of a client and after it: the certificate that the server has shown, such as
 * "CN=example.com, issued by CN=Some CA, valid until 2027-01-31"; "" if there was none. */
const char *transport_certificate(const struct transport *transport);
/* A server's view: the certificate that the client has shown, if it was asked for one and that has
 * been verified, else NULL. The caller frees it (X509_free). */
X509 *transport_client_certificate(const struct transport *transport);

/* Ends a plain transport on which nothing is on its way; the descriptor is the caller's again. */
int transport_take_fd(struct transport *transport);
/* Sends TLS's close_notify if it can, and closes. */
void transport_free(struct transport *transport);
/* Closes so that the peer sees a reset, never a clean end. */
void transport_reset(struct transport *transport);
/* Nothing more will be written: TLS's close_notify, then the socket's end of file. Not while busy.
 * The kernel may have no room for close_notify: busy afterwards, and transport_flush() goes on. An
 * end of file without it would break off what the peer sends (OpenSSL 3, for one, writes no more).
 */
void transport_shutdown(struct transport *transport);

int transport_fd(const struct transport *transport);
/* "TLSv1.3 TLS_AES_128_GCM_SHA256", or "plain" */
const char *transport_protection(const struct transport *transport);

enum transport_result {
    TRANSPORT_BLOCKED = 0,
    TRANSPORT_EOF = -1,
    TRANSPORT_ERROR = -2,
};

/* Reads until buffer is full or nothing more is there. > 0: bytes; else a transport_result. */
long transport_read(struct transport *transport, uint8_t *buffer, size_t size);
/* As transport_read(), but the bytes stay, and there may be more of them. Whoever takes a part of
 * them only, and gives the transport to somebody else, reads exactly that part. */
long transport_peek(struct transport *transport, uint8_t *buffer, size_t size);
#define TRANSPORT_ERROR_MAX 160
/* What the last TRANSPORT_ERROR was about; ends with the transport. */
const char *transport_error(const struct transport *transport);

/* Whether bytes are still on their way to the kernel. */
bool transport_busy(const struct transport *transport);
/* Whether another batch can be committed. */
bool transport_has_room(const struct transport *transport);
/* Encrypts a batch (at most WORKER_WRITE_SIZE bytes) for transport_flush(). Needs room. 0 or
 * TRANSPORT_ERROR. */
int transport_commit(struct transport *transport, const uint8_t *bytes, size_t size);
/* 1: everything is with the kernel; TRANSPORT_BLOCKED; TRANSPORT_ERROR. */
int transport_flush(struct transport *transport);
/* The next transport_read() has something to say that no event will announce. */
bool transport_pending(const struct transport *transport);
/* Free memory that an idle connection does not need. */
void transport_relax(struct transport *transport);
