/*
 * The byte pipe: a socket, with or without TLS, or TLS in TLS. Whoever has bytes to move has one
 * from the first byte on, and never asks which kind it is.
 *
 * What is copied, beside what the kernel does:
 *
 * - Plain, transport_readv() and transport_writev(): nothing. One system call each, from and to the
 *   caller's memory; what the kernel does not take stays with the caller.
 * - Plain, transport_commitv(): what the kernel does not take now, and no more.
 * - TLS, reading: from the record that OpenSSL has decrypted in place, in a buffer of its own, into
 *   the caller's memory. One system call reads the rest of the record that is being read straight
 *   into OpenSSL's buffer, and 4 KiB ahead, or 64 KiB where much comes; what was read ahead is
 *   copied there, a record at a time. (To let OpenSSL read ahead itself costs more: it moves all
 *   that is behind a record to the front of its buffer, with each record.)
 * - TLS, writing: OpenSSL copies the bytes of each record into a buffer of its own, where it
 *   encrypts them; from there our BIO copies the record behind those that leave with it in one
 *   send(). OpenSSL is best fed with whole records of 16 KiB in one piece, so short spans are
 *   copied together first, and a batch that is not in one piece is copied into whole records.
 *
 * There are two ways to write. transport_writev() takes what it has room for and hands it to the
 * kernel. Batches are taken whole: transport_commitv() encrypts one, so nothing is ever half
 * encrypted, and transport_flush() hands several to the kernel in one call; without TLS a batch
 * goes to the kernel at once, and there is no room for another while some of it waits.
 */
#pragma once

#include <openssl/ssl.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/uio.h>

#include "tls/tls_verdict.h"

struct transport;

/* Plain TCP. fd belongs to the transport from now on. */
struct transport *transport_new(int fd);
/*
 * TLS over a connection that exists already: as a client over a socket that has just connected, or
 * after a proxy's answer to CONNECT, over one that has TLS itself as well. Takes below, on which
 * nothing may be on its way. Must get through transport_handshake() first. The server's certificate
 * must be for name, a host name or an IP literal.
 */
struct transport *transport_secure(struct transport *below, SSL_CTX *context, const char *name);
/* The same as a server, before a byte is read (the first one may have been peeked at). What has
 * been read is overwritten in OpenSSL's buffers, for a request may hold a token. */
struct transport *transport_secure_server(struct transport *below, SSL_CTX *context);
/* From here on it is not: that takes time, and what comes now is in our own buffers as well. */
void transport_stop_wiping(struct transport *transport);
/* 1: done, or there is no TLS; TRANSPORT_BLOCKED: again when the socket is readable, or writable if
 * transport_busy(); TRANSPORT_EOF: the peer closed; TRANSPORT_ERROR: transport_failure() and
 * transport_error() tell. */
int transport_handshake(struct transport *transport);
/* A server: the client's first message of the TLS handshake has come, and is answered. */
bool transport_has_answered(const struct transport *transport);
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
/* Whether it has TLS, and the handshake is done. */
bool transport_is_secure(const struct transport *transport);
/* "TLSv1.3 TLS_AES_128_GCM_SHA256", or "plain" */
const char *transport_protection(const struct transport *transport);

enum transport_result {
    TRANSPORT_BLOCKED = 0,
    TRANSPORT_EOF = -1,
    TRANSPORT_ERROR = -2,
};

/* Reads until buffer is full or nothing more is there. > 0: bytes; else a transport_result. */
long transport_read(struct transport *transport, uint8_t *buffer, size_t size);
/* The same into several places, one after another. */
long transport_readv(struct transport *transport, const struct iovec *spaces, size_t count);
/* As transport_read(), but the bytes stay, and there may be more of them. Whoever takes a part of
 * them only, and gives the transport to somebody else, reads exactly that part. */
long transport_peek(struct transport *transport, uint8_t *buffer, size_t size);
/* Reads from the socket and forgets, without a look at it, not even TLS's: for whoever has said its
 * last word. As transport_read(). */
long transport_discard(struct transport *transport);
#define TRANSPORT_ERROR_MAX 160
/* What the last TRANSPORT_ERROR was about; ends with the transport. */
const char *transport_error(const struct transport *transport);

/* Whether bytes are still on their way to the kernel. */
bool transport_busy(const struct transport *transport);
/* Whether another batch can be committed. */
bool transport_has_room(const struct transport *transport);
/* Writes what the spans point at, one after another, as far as there is room now. >= 0: so many
 * bytes were taken, and all are with the kernel unless the transport is busy afterwards; when some
 * were not, again when the socket is writable. TRANSPORT_ERROR: nothing more can be written, and
 * whether some of these bytes have left is not known. */
long transport_writev(struct transport *transport, const struct iovec *spans, size_t count);
/* Takes a batch (at most WORKER_WRITE_SIZE bytes) for transport_flush(), encrypted. Needs room. 0
 * or TRANSPORT_ERROR. */
int transport_commitv(struct transport *transport, const struct iovec *spans, size_t count);
/* The same for bytes that are in one piece. */
int transport_commit(struct transport *transport, const uint8_t *bytes, size_t size);
/* 1: everything is with the kernel; TRANSPORT_BLOCKED; TRANSPORT_ERROR. */
int transport_flush(struct transport *transport);
/* The next transport_read() has something to say that no event will announce. */
bool transport_pending(const struct transport *transport);
/* What is written from now on until transport_relax() holds secrets: copies of it that are made on
 * its way are overwritten. */
void transport_guard(struct transport *transport);
/* Frees memory that an idle connection does not need: our buffers, and OpenSSL's. What is used
 * again costs some allocations. */
void transport_relax(struct transport *transport);
