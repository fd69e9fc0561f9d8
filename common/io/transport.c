#include "io/transport.h"

#include <assert.h>
#include <errno.h>
#include <openssl/err.h>
#include <openssl/x509.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "io/socket.h"
#include "io/worker.h"

#ifndef MSG_NOSIGNAL
#define MSG_NOSIGNAL 0 /* macOS: SO_NOSIGPIPE is set instead */
#endif

enum {
    /* A batch encrypted: a record adds at most 5 + 256 bytes (RFC 8446, 5.2), and OpenSSL may add
     * an answer to a key update. */
    BATCHES = 4,
    OUT_SIZE = BATCHES * (64 * 1024 + 8 * 512),
    OUT_SMALL = 8 * 1024, /* a handshake, an answer, what an idle link says */
    READ_AHEAD = 64 * 1024,
    /* Reads of the socket for one call: TLS has messages that yield nothing (key updates), and who
     * sends them as fast as they are understood would keep everybody else waiting. */
    READS_A_CALL = 8,
};

struct transport {
    struct transport *below; /* NULL: the socket */
    int fd;                  /* below's, if there is one */
    SSL *ssl;
    BIO_METHOD *method;
    uint8_t *out; /* NULL while nothing is on its way */
    size_t out_capacity;
    size_t out_fill;
    size_t out_sent;
    bool ended;
    int broken;   /* what a read has failed with: the kernel says it once, then it says the end */
    bool ending;  /* transport_shutdown() was called: the socket ends when all is with the kernel */
    bool drained; /* the kernel had less than was asked for: another recv() would only say so again
                   */
    unsigned reads; /* of the socket in this call */
    bool unread;    /* another transport_read() would yield something without waiting */
    enum tls_failure failure;
    struct tls_verdict verdict;
    char protection[64];
    char certificate[300];
    char error[TRANSPORT_ERROR_MAX];
};

/* ---- what is under the TLS: as recv() and send() */

static ssize_t receive(struct transport *transport, void *bytes, size_t size)
{
    struct transport *below = transport->below;

    if (!below)
        return recv(transport->fd, bytes, size, 0);
    long got = transport_read(below, bytes, size);
    if (got > 0)
        return got;
    if (got == TRANSPORT_EOF)
        return 0;
    errno = got == TRANSPORT_BLOCKED ? EAGAIN : EPROTO;
    return -1;
}

static ssize_t transmit(struct transport *transport, const uint8_t *bytes, size_t size)
{
    struct transport *below = transport->below;

    if (!below)
        return send(transport->fd, bytes, size, MSG_NOSIGNAL);
    if (size > WORKER_WRITE_SIZE)
        size = WORKER_WRITE_SIZE;
    int result = transport_flush(below);
    if (result == 1 && transport_commit(below, bytes, size) != 0)
        result = TRANSPORT_ERROR;
    if (result == 1 && transport_flush(below) != TRANSPORT_ERROR)
        return (ssize_t)size;
    errno = result == TRANSPORT_BLOCKED ? EAGAIN : EPROTO;
    return -1;
}

/* Why receive() or transmit() failed. */
static const char *reason_below(const struct transport *transport)
{
    return transport->below && transport->below->error[0] ? transport->below->error
                                                          : strerror(errno);
}

static bool has_unsent(const struct transport *transport)
{
    return transport->out_sent < transport->out_fill;
}

/* Room to append, from the beginning when nothing is on its way. false: there are OUT_SIZE bytes
 * already. */
static bool prepare_out(struct transport *transport, size_t size)
{
    if (!has_unsent(transport))
        transport->out_fill = transport->out_sent = 0;
    if (size > OUT_SIZE - transport->out_fill)
        return false;
    if (transport->out && size <= transport->out_capacity - transport->out_fill)
        return true;
    size_t capacity = transport->out_fill + size <= OUT_SMALL ? OUT_SMALL : OUT_SIZE;
    uint8_t *out = realloc(transport->out, capacity);
    if (!out)
        abort();
    transport->out = out;
    transport->out_capacity = capacity;
    return true;
}

static int bio_write(BIO *bio, const char *bytes, int size)
{
    struct transport *transport = BIO_get_data(bio);

    BIO_clear_retry_flags(bio);
    if (!prepare_out(transport, (size_t)size)) {
        errno = ENOBUFS;
        return -1;
    }
    memcpy(transport->out + transport->out_fill, bytes, (size_t)size);
    transport->out_fill += (size_t)size;
    return size;
}

static int bio_read(BIO *bio, char *bytes, int size)
{
    struct transport *transport = BIO_get_data(bio);

    BIO_clear_retry_flags(bio);
    if (transport->drained || transport->reads == READS_A_CALL) {
        BIO_set_retry_read(bio);
        return -1;
    }
    if (transport->broken != 0) {
        errno = transport->broken;
        return -1;
    }
    transport->reads++;
    ssize_t got = receive(transport, bytes, (size_t)size);
    transport->drained = got > 0 && got < size;
    if (got < 0 && (errno == EAGAIN || errno == EWOULDBLOCK || errno == EINTR))
        BIO_set_retry_read(bio);
    else if (got < 0)
        transport->broken = errno;
    if (got == 0)
        transport->ended = true;
    return (int)got;
}

static long bio_control(BIO *bio, int command, long number, void *pointer)
{
    struct transport *transport = BIO_get_data(bio);

    (void)number;
    (void)pointer;
    switch (command) {
    case BIO_CTRL_FLUSH:
    case BIO_CTRL_DUP:
        return 1;
    case BIO_CTRL_EOF:
        return transport->ended;
    default:
        return 0;
    }
}

/* Whatever the verdict: people want to know whose certificate it was. */
static int on_verify(int verdict, X509_STORE_CTX *store)
{
    SSL *ssl = X509_STORE_CTX_get_ex_data(store, SSL_get_ex_data_X509_STORE_CTX_idx());
    struct transport *transport = BIO_get_data(SSL_get_rbio(ssl));
    X509 *certificate = X509_STORE_CTX_get0_cert(store);
    struct tls_certificate_text text;

    if (!verdict)
        tls_verdict_note(&transport->verdict, store);
    if (!certificate)
        return verdict;
    tls_certificate_describe(certificate, &text);
    snprintf(transport->certificate, sizeof transport->certificate,
             "%s, issued by %s, valid until %s", text.subject, text.issuer, text.until);
    return verdict;
}

/* The type has no index of its own: nobody looks for it by type, and a process has no more than 127
 * of them. */
static void set_up_tls(struct transport *transport)
{
    SSL *ssl = transport->ssl;
    BIO_METHOD *method = BIO_meth_new(BIO_TYPE_SOURCE_SINK, "link");
    BIO *bio;

    if (!method)
        abort();
    BIO_meth_set_write(method, bio_write);
    BIO_meth_set_read(method, bio_read);
    BIO_meth_set_ctrl(method, bio_control);
    transport->method = method;
    bio = BIO_new(method);
    if (!bio)
        abort();
    BIO_set_data(bio, transport);
    BIO_set_init(bio, 1);
    SSL_set_bio(ssl, bio, bio);
    SSL_set_mode(ssl, SSL_MODE_ENABLE_PARTIAL_WRITE | SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER);
    SSL_set_read_ahead(ssl, 1);
    SSL_set_default_read_buffer_len(ssl, READ_AHEAD);
}

static void note_protection(struct transport *transport)
{
    if (transport->ssl)
        snprintf(transport->protection, sizeof transport->protection, "%s %s",
                 SSL_get_version(transport->ssl), SSL_get_cipher(transport->ssl));
    else
        snprintf(transport->protection, sizeof transport->protection, "plain");
}

struct transport *transport_new(int fd)
{
    struct transport *transport = calloc(1, sizeof *transport);

    if (!transport)
        abort();
    transport->fd = fd;
    note_protection(transport);
    return transport;
}

static struct transport *new_tls(int fd, SSL_CTX *context)
{
    struct transport *transport = transport_new(fd);

    transport->ssl = SSL_new(context);
    if (!transport->ssl)
        abort();
    transport->unread = true; /* read ahead with the end of the handshake */
    set_up_tls(transport);
    return transport;
}

struct transport *transport_new_client(int fd, SSL_CTX *context, const char *name)
{
    struct transport *transport = new_tls(fd, context);
    SSL *ssl = transport->ssl;

    tls_expect_peer(ssl, name);
    SSL_set_connect_state(ssl);
    SSL_set_verify(ssl, SSL_get_verify_mode(ssl), on_verify);
    return transport;
}

struct transport *transport_new_server(int fd, SSL_CTX *context)
{
    struct transport *transport = new_tls(fd, context);

    SSL_set_accept_state(transport->ssl);
    SSL_set_options(transport->ssl, SSL_OP_CLEANSE_PLAINTEXT);
    return transport;
}

void transport_stop_wiping(struct transport *transport)
{
    if (transport->ssl)
        SSL_clear_options(transport->ssl, SSL_OP_CLEANSE_PLAINTEXT);
}

/* Puts TLS's close_notify behind all that was written. */
static void close_tls(struct transport *transport)
{
    SSL_shutdown(transport->ssl);
    ERR_clear_error();
}

/* All but the descriptor. */
static void release(struct transport *transport)
{
    if (transport->ssl) {
        SSL_free(transport->ssl);
        BIO_meth_free(transport->method);
    }
    free(transport->out);
    free(transport);
}

struct transport *transport_secure(struct transport *below, SSL_CTX *context, const char *name)
{
    struct transport *transport = transport_new_client(below->fd, context, name);

    /* What TLS below has not sent yet, an answer to a key update, goes before anything of ours. */
    if (below->ssl)
        transport->below = below;
    else
        release(below);
    return transport;
}

int transport_take_fd(struct transport *transport)
{
    int fd = transport->fd;

    assert(!transport->ssl && !transport_busy(transport));
    release(transport);
    return fd;
}

void transport_free(struct transport *transport)
{
    if (!transport)
        return;
    if (transport->ssl && !transport_busy(transport)) {
        close_tls(transport);
        transport_flush(transport);
    }
    if (transport->below)
        transport_free(transport->below);
    else
        close(transport->fd);
    release(transport);
}

void transport_reset(struct transport *transport)
{
    if (!transport)
        return;
    if (transport->below)
        transport_reset(transport->below);
    else
        socket_reset(transport->fd);
    release(transport);
}

void transport_shutdown(struct transport *transport)
{
    assert(!transport_busy(transport));
    if (transport->ssl)
        close_tls(transport);
    transport->ending = true;
    transport_flush(transport);
}

int transport_fd(const struct transport *transport)
{
    return transport->fd;
}

const char *transport_protection(const struct transport *transport)
{
    return transport->protection;
}

const char *transport_certificate(const struct transport *transport)
{
    return transport->certificate;
}

X509 *transport_client_certificate(const struct transport *transport)
{
    if (!transport->ssl || SSL_get_verify_result(transport->ssl) != X509_V_OK)
        return NULL;
    return SSL_get_peer_certificate(transport->ssl);
}

const struct tls_verdict *transport_verdict(const struct transport *transport)
{
    return &transport->verdict;
}

const char *transport_error(const struct transport *transport)
{
    return transport->error;
}

static long fail_errno(struct transport *transport)
{
    snprintf(transport->error, sizeof transport->error, "%s", reason_below(transport));
    return TRANSPORT_ERROR;
}

static long fail_tls(struct transport *transport)
{
    unsigned long code = ERR_peek_last_error();

    transport->failure = tls_failure_of(transport->ssl, code);
    if (code != 0)
        tls_describe(code, transport->error, sizeof transport->error);
    else
        snprintf(transport->error, sizeof transport->error, "%s", reason_below(transport));
    ERR_clear_error();
    return TRANSPORT_ERROR;
}

static void begin_call(struct transport *transport)
{
    transport->drained = false;
    transport->reads = 0;
}

int transport_handshake(struct transport *transport)
{
    begin_call(transport);
    ERR_clear_error();
    errno = 0;
    int result = SSL_do_handshake(transport->ssl);
    int error = SSL_get_error(transport->ssl, result);
    /* An alert that says why it failed is sent as well. */
    int sent = transport_flush(transport);

    if (result == 1) {
        note_protection(transport);
        return sent == TRANSPORT_ERROR ? TRANSPORT_ERROR : 1;
    }
    if (error == SSL_ERROR_WANT_READ || error == SSL_ERROR_WANT_WRITE)
        return sent == TRANSPORT_ERROR ? TRANSPORT_ERROR : TRANSPORT_BLOCKED;
    if (transport->ended) {
        ERR_clear_error();
        return TRANSPORT_EOF;
    }
    fail_tls(transport);
    if (SSL_get_verify_result(transport->ssl) != X509_V_OK)
        snprintf(transport->error, sizeof transport->error, "%s",
                 X509_verify_cert_error_string(SSL_get_verify_result(transport->ssl)));
    return TRANSPORT_ERROR;
}

enum tls_failure transport_failure(const struct transport *transport)
{
    return transport->failure;
}

static long read_plain(struct transport *transport, uint8_t *buffer, size_t size, int flags)
{
    ssize_t got = recv(transport->fd, buffer, size, flags);

    if (got > 0)
        return got;
    if (got == 0)
        return TRANSPORT_EOF;
    if (errno == EAGAIN || errno == EWOULDBLOCK || errno == EINTR)
        return TRANSPORT_BLOCKED;
    return fail_errno(transport);
}

static long read_tls(struct transport *transport, int (*read)(SSL *, void *, int), uint8_t *buffer,
                     size_t size)
{
    ERR_clear_error();
    errno = 0;
    int got = read(transport->ssl, buffer, (int)size);
    if (got > 0)
        return got;
    switch (SSL_get_error(transport->ssl, got)) {
    case SSL_ERROR_WANT_READ:
    case SSL_ERROR_WANT_WRITE:
        return TRANSPORT_BLOCKED;
    case SSL_ERROR_ZERO_RETURN:
        return TRANSPORT_EOF;
    default:
        if (!transport->ended)
            return fail_tls(transport);
        ERR_clear_error();
        return TRANSPORT_EOF;
    }
}

long transport_read(struct transport *transport, uint8_t *buffer, size_t size)
{
    size_t fill = 0;
    long got = 0;

    begin_call(transport);
    /* A TLS record yields at most 16 KiB; plain TCP fills the buffer at once. */
    do {
        got = transport->ssl ? read_tls(transport, SSL_read, buffer + fill, size - fill)
                             : read_plain(transport, buffer + fill, size - fill, 0);
        if (got > 0)
            fill += (size_t)got;
    } while (got > 0 && transport->ssl && fill < size);
    /* An end or an error comes again with the next call. SSL_has_pending() would be true for a part
     * of a record as well, for which there is nothing to do but wait. */
    transport->unread = transport->ssl && fill > 0 && got != TRANSPORT_BLOCKED;
    return fill > 0 ? (long)fill : got;
}

long transport_peek(struct transport *transport, uint8_t *buffer, size_t size)
{
    begin_call(transport);
    return transport->ssl ? read_tls(transport, SSL_peek, buffer, size)
                          : read_plain(transport, buffer, size, MSG_PEEK);
}

bool transport_pending(const struct transport *transport)
{
    return transport->unread || (transport->below && transport_pending(transport->below));
}

bool transport_has_room(const struct transport *transport)
{
    return !has_unsent(transport) || OUT_SIZE - transport->out_fill >= OUT_SIZE / BATCHES;
}

bool transport_busy(const struct transport *transport)
{
    return has_unsent(transport) || (transport->below && transport_busy(transport->below));
}

static void put_plain(struct transport *transport, const uint8_t *bytes, size_t size)
{
    if (!prepare_out(transport, size))
        abort(); /* there was room: transport_commit() */
    memcpy(transport->out + transport->out_fill, bytes, size);
    transport->out_fill += size;
}

int transport_commit(struct transport *transport, const uint8_t *bytes, size_t size)
{
    assert(transport_has_room(transport) && size <= WORKER_WRITE_SIZE);
    if (!transport->ssl) {
        put_plain(transport, bytes, size);
        return 0;
    }
    ERR_clear_error();
    while (size > 0) {
        int put = SSL_write(transport->ssl, bytes, (int)size);
        if (put <= 0)
            return (int)fail_tls(transport);
        bytes += put;
        size -= (size_t)put;
    }
    return 0;
}

/* All is with the kernel: now what is below may end. */
static int end_writing(struct transport *transport)
{
    transport->ending = false;
    if (!transport->below) {
        shutdown(transport->fd, SHUT_WR);
        return 1;
    }
    transport_shutdown(transport->below);
    return transport_busy(transport->below) ? TRANSPORT_BLOCKED : 1;
}

int transport_flush(struct transport *transport)
{
    while (has_unsent(transport)) {
        ssize_t sent = transmit(transport, transport->out + transport->out_sent,
                                transport->out_fill - transport->out_sent);
        if (sent < 0) {
            if (errno == EINTR)
                continue;
            if (errno == EAGAIN || errno == EWOULDBLOCK)
                return TRANSPORT_BLOCKED;
            return (int)fail_errno(transport);
        }
        transport->out_sent += (size_t)sent;
    }
    int result = transport->below ? transport_flush(transport->below) : 1;
    return result == 1 && transport->ending ? end_writing(transport) : result;
}

void transport_relax(struct transport *transport)
{
    if (transport_busy(transport))
        return;
    free(transport->out);
    transport->out = NULL;
    transport->out_fill = transport->out_sent = 0;
    if (transport->below)
        transport_relax(transport->below);
}
