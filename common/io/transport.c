#include "io/transport.h"

#include <assert.h>
#include <errno.h>
#include <openssl/err.h>
#include <openssl/x509.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <unistd.h>

#include "base/bytes.h"
#include "base/memory.h"
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
    AHEAD_SMALL = 4 * 1024,
    /* Reads of the socket for one call: TLS has messages that yield nothing (key updates), and who
     * sends them as fast as they are understood would keep everybody else waiting. */
    READS_A_CALL = 8,
    RECORD = SSL3_RT_MAX_PLAIN_LENGTH,
    RECORD_ROOM = RECORD + 512,
    /* To encrypt a record of its own costs about as much as to copy so many bytes. */
    GATHERED_MAX = 4 * 1024,
};

/* What only a transport with TLS has: a plain one is small, for there may be thousands. */
struct transport_tls {
    SSL *ssl;
    BIO_METHOD *method;
    bool ended;
    int broken;   /* what a read has failed with: the kernel says it once, then it says the end */
    bool drained; /* the kernel had less than was asked for: another recv() would only say so again
                   */
    unsigned reads; /* of the socket in this call */
    uint8_t *ahead; /* read, and not asked for yet; NULL: nothing is */
    size_t ahead_capacity;
    size_t ahead_wanted; /* the capacity of the next one */
    size_t ahead_at;
    size_t ahead_fill;
    bool answered; /* something was written, if only of the handshake */
    bool closed;   /* close_notify was written: nothing of ours follows it */
    bool unread;   /* another transport_read() would yield something without waiting */
    enum tls_failure failure;
    struct tls_verdict verdict;
    char protection[64];
    char certificate[300];
    char error[TRANSPORT_ERROR_MAX]; /* "": see the transport's own */
};

struct transport {
    struct transport_tls *tls; /* NULL: plain */
    struct transport *below;   /* NULL: the socket */
    int fd;                    /* below's, if there is one */
    int error;                 /* the socket's last one, an errno */
    bool ending;  /* transport_shutdown() was called: the socket ends when all is with the kernel */
    bool guarded; /* out has secrets in it, or had */
    uint8_t *out; /* NULL while nothing is on its way */
    size_t out_capacity;
    size_t out_fill;
    size_t out_sent;
};

static bool must_wait(void)
{
    return errno == EAGAIN || errno == EWOULDBLOCK || errno == EINTR;
}

/* ---- what is under the TLS: as readv() and send() */

static ssize_t receive_below(struct transport *transport, const struct iovec *spaces, size_t count)
{
    struct transport *below = transport->below;

    if (!below)
        return readv(transport->fd, spaces, (int)count);
    long got = transport_readv(below, spaces, count);
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

/* Why receive_below() or transmit() failed. */
static const char *reason_below(const struct transport *transport)
{
    const char *reason = transport->below ? transport_error(transport->below) : "";

    return reason[0] ? reason : strerror(errno);
}

/* As readv(). For one piece, which is all that a small message needs, the kernel does less. */
static ssize_t receive_plain(int fd, const struct iovec *spaces, size_t count)
{
    return count == 1 ? recv(fd, spaces[0].iov_base, spaces[0].iov_len, 0)
                      : readv(fd, spaces, (int)count);
}

static bool has_unsent(const struct transport *transport)
{
    return transport->out_sent < transport->out_fill;
}

static void free_out(struct transport *transport)
{
    if (transport->guarded && transport->out)
        byte_wipe(transport->out, transport->out_capacity);
    free(transport->out);
    transport->out = NULL;
}

static void grow_out(struct transport *transport, size_t capacity)
{
    if (!transport->guarded) {
        transport->out = memory_grow(transport->out, capacity);
    } else {
        uint8_t *out = memory_raw(capacity);
        if (transport->out)
            memcpy(out, transport->out, transport->out_fill);
        free_out(transport);
        transport->out = out;
    }
    transport->out_capacity = capacity;
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
    size_t most = transport->tls ? OUT_SIZE : WORKER_WRITE_SIZE;
    size_t capacity = transport->out_fill + size <= OUT_SMALL ? OUT_SMALL : most;
    grow_out(transport, capacity);
    return true;
}

/* Copies what leaves later. There is room. */
static void put_out(struct transport *transport, const void *bytes, size_t size)
{
    memcpy(transport->out + transport->out_fill, bytes, size);
    transport->out_fill += size;
}

static int bio_write(BIO *bio, const char *bytes, int size)
{
    struct transport *transport = BIO_get_data(bio);

    BIO_clear_retry_flags(bio);
    /* OpenSSL would still answer a key update. */
    if (transport->tls->closed)
        return size;
    if (!prepare_out(transport, (size_t)size)) {
        errno = ENOBUFS;
        return -1;
    }
    put_out(transport, bytes, (size_t)size);
    transport->tls->answered = true;
    return size;
}

/* Copies what has been read ahead. Returns how much. */
static size_t take_ahead(struct transport_tls *tls, char *bytes, size_t size)
{
    size_t have = tls->ahead_fill - tls->ahead_at;

    if (size > have)
        size = have;
    if (size > 0)
        memcpy(bytes, tls->ahead + tls->ahead_at, size);
    tls->ahead_at += size;
    return size;
}

/* Nothing is in it. */
static void resize_ahead(struct transport_tls *tls, size_t capacity)
{
    free(tls->ahead);
    tls->ahead = capacity > 0 ? memory_raw(capacity) : NULL;
    tls->ahead_capacity = capacity;
    tls->ahead_at = tls->ahead_fill = 0;
}

/* As much as came lately: what is seldom used, or by little, is small. */
static void adapt_ahead(struct transport_tls *tls)
{
    if (tls->ahead_fill == tls->ahead_capacity)
        tls->ahead_wanted = READ_AHEAD;
    else if (tls->ahead_fill < AHEAD_SMALL)
        tls->ahead_wanted = AHEAD_SMALL;
}

/* Reads into bytes, and ahead what comes behind them, when nothing is ahead. As readv(). */
static ssize_t read_ahead(struct transport *transport, char *bytes, size_t size)
{
    struct transport_tls *tls = transport->tls;

    if (tls->ahead_capacity < tls->ahead_wanted)
        resize_ahead(tls, tls->ahead_wanted);
    tls->ahead_at = tls->ahead_fill = 0;
    const struct iovec spaces[] = {{bytes, size}, {tls->ahead, tls->ahead_capacity}};
    ssize_t got = receive_below(transport, spaces, 2);
    tls->drained = got > 0 && (size_t)got < size + tls->ahead_capacity;
    if (got > (ssize_t)size) {
        tls->ahead_fill = (size_t)got - size;
        got = (ssize_t)size;
    }
    if (got > 0)
        adapt_ahead(tls);
    return got;
}

/* OpenSSL asks for the head of a record, and then for the rest of it: what it has in its buffer is
 * never more than one. Else it would move what is behind a record to the front, with each one. */
static int bio_read(BIO *bio, char *bytes, int size)
{
    struct transport *transport = BIO_get_data(bio);
    struct transport_tls *tls = transport->tls;
    size_t have = take_ahead(tls, bytes, (size_t)size);
    bool spent = tls->drained || tls->reads == READS_A_CALL;

    BIO_clear_retry_flags(bio);
    if (have == (size_t)size || (have > 0 && (spent || tls->broken != 0)))
        return (int)have;
    if (spent) {
        BIO_set_retry_read(bio);
        return -1;
    }
    if (tls->broken != 0) {
        errno = tls->broken;
        return -1;
    }
    tls->reads++;
    ssize_t got = read_ahead(transport, bytes + have, (size_t)size - have);
    bool blocked = got < 0 && must_wait();
    if (got < 0 && !blocked)
        tls->broken = errno;
    if (got > 0 || have > 0)
        return (int)have + (got > 0 ? (int)got : 0);
    if (blocked)
        BIO_set_retry_read(bio);
    if (got == 0)
        tls->ended = true;
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
        return transport->tls->ended;
    default:
        return 0;
    }
}

static struct transport *transport_of_store(X509_STORE_CTX *store)
{
    SSL *ssl = X509_STORE_CTX_get_ex_data(store, SSL_get_ex_data_X509_STORE_CTX_idx());

    return BIO_get_data(SSL_get_rbio(ssl));
}

/* Of a client that must show a certificate. */
static int on_verify_client(int verdict, X509_STORE_CTX *store)
{
    if (!verdict)
        tls_verdict_note(&transport_of_store(store)->tls->verdict, store);
    return verdict;
}

/* Whatever the verdict: people want to know whose certificate it was. */
static int on_verify(int verdict, X509_STORE_CTX *store)
{
    struct transport *transport = transport_of_store(store);
    X509 *certificate = X509_STORE_CTX_get0_cert(store);
    struct tls_certificate_text text;

    if (!verdict)
        tls_verdict_note(&transport->tls->verdict, store);
    if (!certificate)
        return verdict;
    tls_certificate_describe(certificate, &text);
    snprintf(transport->tls->certificate, sizeof transport->tls->certificate,
             "%s, issued by %s, valid until %s", text.subject, text.issuer, text.until);
    return verdict;
}

/* The type has no index of its own: nobody looks for it by type, and a process has no more than 127
 * of them. */
static void set_up_tls(struct transport *transport)
{
    SSL *ssl = transport->tls->ssl;
    BIO_METHOD *method = BIO_meth_new(BIO_TYPE_SOURCE_SINK, "link");
    BIO *bio;

    if (!method)
        abort();
    BIO_meth_set_write(method, bio_write);
    BIO_meth_set_read(method, bio_read);
    BIO_meth_set_ctrl(method, bio_control);
    transport->tls->method = method;
    bio = BIO_new(method);
    if (!bio)
        abort();
    BIO_set_data(bio, transport);
    BIO_set_init(bio, 1);
    SSL_set_bio(ssl, bio, bio);
    SSL_set_mode(ssl, SSL_MODE_ENABLE_PARTIAL_WRITE | SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER);
}

struct transport *transport_new(int fd)
{
    struct transport *transport = memory_new(sizeof *transport);

    transport->fd = fd;
    return transport;
}

/* A socket's transport gets TLS itself; over one that has it, another one. What TLS below has not
 * sent yet, an answer to a key update, goes before anything of ours. */
static struct transport *add_tls(struct transport *below, SSL_CTX *context)
{
    struct transport *transport = below->tls ? transport_new(below->fd) : below;
    struct transport_tls *tls = memory_new(sizeof *tls);

    transport->tls = tls;
    if (transport != below)
        transport->below = below;
    tls->ssl = SSL_new(context);
    if (!tls->ssl)
        abort();
    tls->unread = true; /* read ahead with the end of the handshake */
    tls->ahead_wanted = AHEAD_SMALL;
    set_up_tls(transport);
    return transport;
}

struct transport *transport_secure(struct transport *below, SSL_CTX *context, const char *name)
{
    struct transport *transport = add_tls(below, context);
    SSL *ssl = transport->tls->ssl;

    tls_expect_peer(ssl, name);
    SSL_set_connect_state(ssl);
    SSL_set_verify(ssl, SSL_get_verify_mode(ssl), on_verify);
    return transport;
}

struct transport *transport_secure_server(struct transport *below, SSL_CTX *context)
{
    struct transport *transport = add_tls(below, context);
    SSL *ssl = transport->tls->ssl;

    SSL_set_accept_state(ssl);
    SSL_set_options(ssl, SSL_OP_CLEANSE_PLAINTEXT);
    if (SSL_get_verify_mode(ssl) != SSL_VERIFY_NONE)
        SSL_set_verify(ssl, SSL_get_verify_mode(ssl), on_verify_client);
    return transport;
}

void transport_stop_wiping(struct transport *transport)
{
    if (transport->tls)
        SSL_clear_options(transport->tls->ssl, SSL_OP_CLEANSE_PLAINTEXT);
}

/* Puts TLS's close_notify behind all that was written. */
static void close_tls(struct transport *transport)
{
    SSL_shutdown(transport->tls->ssl);
    transport->tls->closed = true;
    ERR_clear_error();
}

/* All but the descriptor. */
static void release_tls(struct transport *transport)
{
    if (transport->tls) {
        SSL_free(transport->tls->ssl);
        BIO_meth_free(transport->tls->method);
        free(transport->tls->ahead);
        free(transport->tls);
    }
    free_out(transport);
    free(transport);
}

void transport_free(struct transport *transport)
{
    if (!transport)
        return;
    if (transport->tls && !transport_busy(transport)) {
        close_tls(transport);
        transport_flush(transport);
    }
    if (transport->below)
        transport_free(transport->below);
    else
        close(transport->fd);
    release_tls(transport);
}

void transport_reset(struct transport *transport)
{
    if (!transport)
        return;
    if (transport->below)
        transport_reset(transport->below);
    else
        socket_reset(transport->fd);
    release_tls(transport);
}

void transport_shutdown(struct transport *transport)
{
    assert(!transport_busy(transport));
    if (transport->tls)
        close_tls(transport);
    transport->ending = true;
    transport_flush(transport);
}

int transport_fd(const struct transport *transport)
{
    return transport->fd;
}

bool transport_is_secure(const struct transport *transport)
{
    return transport->tls && transport->tls->protection[0];
}

const char *transport_protection(const struct transport *transport)
{
    return transport_is_secure(transport) ? transport->tls->protection : "plain";
}

const char *transport_certificate(const struct transport *transport)
{
    return transport->tls ? transport->tls->certificate : "";
}

X509 *transport_client_certificate(const struct transport *transport)
{
    if (!transport->tls || SSL_get_verify_result(transport->tls->ssl) != X509_V_OK)
        return NULL;
    return SSL_get_peer_certificate(transport->tls->ssl);
}

const struct tls_verdict *transport_verdict(const struct transport *transport)
{
    static const struct tls_verdict none;

    return transport->tls ? &transport->tls->verdict : &none;
}

const char *transport_error(const struct transport *transport)
{
    if (transport->tls)
        return transport->tls->error;
    return transport->error != 0 ? strerror(transport->error) : "";
}

static long fail_errno(struct transport *transport)
{
    if (transport->tls)
        snprintf(transport->tls->error, sizeof transport->tls->error, "%s",
                 reason_below(transport));
    else
        transport->error = errno;
    return TRANSPORT_ERROR;
}

static long fail_transport_tls(struct transport *transport)
{
    struct transport_tls *tls = transport->tls;
    unsigned long code = ERR_peek_last_error();

    tls->failure = tls_failure_of(tls->ssl, code);
    if (code != 0)
        tls_describe(code, tls->error, sizeof tls->error);
    else
        snprintf(tls->error, sizeof tls->error, "%s", reason_below(transport));
    ERR_clear_error();
    return TRANSPORT_ERROR;
}

/* What is in the thread's queue of errors would be taken for the next call's. It is looked at for
 * each record; to clear what is empty costs as much as to copy 4 KiB. */
static void clear_errors(void)
{
    if (ERR_peek_error() != 0)
        ERR_clear_error();
}

static void begin_call(struct transport *transport)
{
    transport->tls->drained = false;
    transport->tls->reads = 0;
}

/* Which certificate of the chain it is, also where its CA's list of revoked ones is what is wrong.
 */
static void explain_verify(struct transport_tls *tls)
{
    const struct tls_certificate_text *at = &tls->verdict.certificate;
    const char *what = X509_verify_cert_error_string(SSL_get_verify_result(tls->ssl));

    if (at->subject[0] || at->issuer[0])
        snprintf(tls->error, sizeof tls->error, "%s (%.48s, issued by %.48s)", what, at->subject,
                 at->issuer);
    else
        snprintf(tls->error, sizeof tls->error, "%s", what);
}

int transport_handshake(struct transport *transport)
{
    struct transport_tls *tls = transport->tls;

    if (!tls)
        return 1;
    begin_call(transport);
    ERR_clear_error();
    errno = 0;
    int result = SSL_do_handshake(tls->ssl);
    int error = SSL_get_error(tls->ssl, result);
    /* An alert that says why it failed is sent as well. */
    int sent = transport_flush(transport);

    if (result == 1) {
        snprintf(tls->protection, sizeof tls->protection, "%s %s", SSL_get_version(tls->ssl),
                 SSL_get_cipher(tls->ssl));
        tls_forget_key_exchange(tls->ssl);
        return sent == TRANSPORT_ERROR ? TRANSPORT_ERROR : 1;
    }
    if (error == SSL_ERROR_WANT_READ || error == SSL_ERROR_WANT_WRITE)
        return sent == TRANSPORT_ERROR ? TRANSPORT_ERROR : TRANSPORT_BLOCKED;
    if (tls->ended) {
        ERR_clear_error();
        return TRANSPORT_EOF;
    }
    fail_transport_tls(transport);
    if (SSL_get_verify_result(tls->ssl) != X509_V_OK)
        explain_verify(tls);
    return TRANSPORT_ERROR;
}

bool transport_has_answered(const struct transport *transport)
{
    return transport->tls && transport->tls->answered;
}

enum tls_failure transport_failure(const struct transport *transport)
{
    return transport->tls ? transport->tls->failure : TLS_FAILURE_OTHER;
}

/* What the system has answered to a read of the socket. */
static long plain_result(struct transport *transport, ssize_t got)
{
    if (got > 0)
        return got;
    if (got == 0)
        return TRANSPORT_EOF;
    return must_wait() ? TRANSPORT_BLOCKED : fail_errno(transport);
}

static long read_tls(struct transport *transport, int (*read)(SSL *, void *, int), uint8_t *buffer,
                     size_t size)
{
    struct transport_tls *tls = transport->tls;

    clear_errors();
    errno = 0;
    int got = read(tls->ssl, buffer, (int)size);
    if (got > 0)
        return got;
    switch (SSL_get_error(tls->ssl, got)) {
    case SSL_ERROR_WANT_READ:
    case SSL_ERROR_WANT_WRITE:
        return TRANSPORT_BLOCKED;
    case SSL_ERROR_ZERO_RETURN:
        return TRANSPORT_EOF;
    default:
        if (!tls->ended)
            return fail_transport_tls(transport);
        ERR_clear_error();
        return TRANSPORT_EOF;
    }
}

/* A record yields at most 16 KiB: goes on until the space is full. Returns what the last read has
 * said. */
static long fill_space(struct transport *transport, const struct iovec *space, size_t *fill)
{
    size_t at = 0;
    long got = 1;

    while (got > 0 && at < space->iov_len) {
        got = read_tls(transport, SSL_read, (uint8_t *)space->iov_base + at, space->iov_len - at);
        at += got > 0 ? (size_t)got : 0;
    }
    *fill += at;
    return got;
}

long transport_readv(struct transport *transport, const struct iovec *spaces, size_t count)
{
    size_t fill = 0;
    long got = 1;

    if (!transport->tls)
        return plain_result(transport, receive_plain(transport->fd, spaces, count));
    begin_call(transport);
    for (size_t i = 0; i < count && got > 0; i++)
        got = fill_space(transport, &spaces[i], &fill);
    /* An end or an error comes again with the next call. SSL_has_pending() would be true for a part
     * of a record as well, for which there is nothing to do but wait. */
    transport->tls->unread = fill > 0 && got != TRANSPORT_BLOCKED;
    return fill > 0 ? (long)fill : got;
}

long transport_read(struct transport *transport, uint8_t *buffer, size_t size)
{
    const struct iovec space = {buffer, size};

    return transport_readv(transport, &space, 1);
}

long transport_peek(struct transport *transport, uint8_t *buffer, size_t size)
{
    if (!transport->tls)
        return plain_result(transport, recv(transport->fd, buffer, size, MSG_PEEK));
    begin_call(transport);
    return read_tls(transport, SSL_peek, buffer, size);
}

long transport_discard(struct transport *transport)
{
    uint8_t bytes[4096];

    return plain_result(transport, recv(transport->fd, bytes, sizeof bytes, 0));
}

bool transport_pending(const struct transport *transport)
{
    return (transport->tls && transport->tls->unread) ||
           (transport->below && transport_pending(transport->below));
}

bool transport_has_room(const struct transport *transport)
{
    return !has_unsent(transport) ||
           (transport->tls && OUT_SIZE - transport->out_fill >= OUT_SIZE / BATCHES);
}

bool transport_busy(const struct transport *transport)
{
    return has_unsent(transport) || (transport->below && transport_busy(transport->below));
}

/* ---- plain: straight from the caller's memory */

/* Bytes that the kernel took, 0 if none now; or TRANSPORT_ERROR. */
static long send_plain(struct transport *transport, const struct iovec *spans, size_t count)
{
    const struct msghdr message = {.msg_iov = (struct iovec *)(uintptr_t)spans,
                                   .msg_iovlen = count};
    /* As in receive_plain(). */
    ssize_t sent = count == 1
                       ? send(transport->fd, spans[0].iov_base, spans[0].iov_len, MSG_NOSIGNAL)
                       : sendmsg(transport->fd, &message, MSG_NOSIGNAL);

    if (sent >= 0)
        return sent;
    return must_wait() ? 0 : fail_errno(transport);
}

static long write_plain(struct transport *transport, const struct iovec *spans, size_t count)
{
    int flushed = transport_flush(transport);

    if (flushed != 1 || count == 0)
        return flushed == TRANSPORT_ERROR ? TRANSPORT_ERROR : 0;
    return send_plain(transport, spans, count);
}

/* What the kernel does not take waits here; after an error too, so that the next flush has one. */
static int commit_plain(struct transport *transport, const struct iovec *spans, size_t count,
                        size_t size)
{
    long result = write_plain(transport, spans, count);
    size_t sent = result > 0 ? (size_t)result : 0;

    if (sent < size)
        prepare_out(transport, size - sent); /* there is room: nothing is on its way */
    for (; sent < size; spans++) {
        size_t skip = sent < spans->iov_len ? sent : spans->iov_len;
        put_out(transport, (const uint8_t *)spans->iov_base + skip, spans->iov_len - skip);
        sent -= skip;
        size -= spans->iov_len;
    }
    return result < 0 ? TRANSPORT_ERROR : 0;
}

/* ---- TLS */

static int encrypt_bytes(struct transport *transport, const uint8_t *bytes, size_t size)
{
    clear_errors();
    while (size > 0) {
        int put = SSL_write(transport->tls->ssl, bytes, (int)size);
        if (put <= 0)
            return (int)fail_transport_tls(transport);
        bytes += put;
        size -= (size_t)put;
    }
    return 0;
}

/* A position in a caller's spans. */
struct reader {
    const struct iovec *spans;
    size_t count;
    size_t skip; /* of the first one */
};

static struct iovec first_span(const struct reader *reader)
{
    return (struct iovec){(uint8_t *)reader->spans->iov_base + reader->skip,
                          reader->spans->iov_len - reader->skip};
}

static void skip_bytes(struct reader *reader, size_t size)
{
    reader->skip += size;
    if (reader->skip == reader->spans->iov_len) {
        reader->spans++;
        reader->count--;
        reader->skip = 0;
    }
}

/* Steps over the bytes for a record: a span's own, as many as a record holds; or several short
 * spans, copied together. */
static struct iovec next_record(struct reader *reader, uint8_t gathered[RECORD])
{
    struct iovec record = first_span(reader);

    if (record.iov_len > RECORD)
        record.iov_len = RECORD;
    skip_bytes(reader, record.iov_len);
    if (record.iov_len >= GATHERED_MAX)
        return record;
    while (reader->count > 0) {
        struct iovec span = first_span(reader);
        if (span.iov_len >= GATHERED_MAX || record.iov_len + span.iov_len > RECORD)
            break;
        if (record.iov_base != gathered)
            memcpy(gathered, record.iov_base, record.iov_len);
        memcpy(gathered + record.iov_len, span.iov_base, span.iov_len);
        record = (struct iovec){gathered, record.iov_len + span.iov_len};
        skip_bytes(reader, span.iov_len);
    }
    return record;
}

/* A batch has a short header before each run of bytes: its records are full, whatever that copies,
 * but what is in one piece is not copied. */
static struct iovec full_record(struct reader *reader, uint8_t gathered[RECORD])
{
    struct iovec record = first_span(reader);
    size_t fill = 0;

    if (reader->count == 1 || record.iov_len >= RECORD) {
        record.iov_len = record.iov_len < RECORD ? record.iov_len : RECORD;
        skip_bytes(reader, record.iov_len);
        return record;
    }
    while (reader->count > 0 && fill < RECORD) {
        struct iovec span = first_span(reader);
        size_t part = span.iov_len < RECORD - fill ? span.iov_len : RECORD - fill;
        memcpy(gathered + fill, span.iov_base, part);
        fill += part;
        skip_bytes(reader, part);
    }
    return (struct iovec){gathered, fill};
}

static bool has_record_room(const struct transport *transport)
{
    return !has_unsent(transport) || OUT_SIZE - transport->out_fill >= RECORD_ROOM;
}

static long write_tls(struct transport *transport, const struct iovec *spans, size_t count)
{
    struct reader reader = {spans, count, 0};
    uint8_t gathered[RECORD];
    size_t taken = 0;

    do {
        while (reader.count > 0 && has_record_room(transport)) {
            struct iovec record = next_record(&reader, gathered);
            if (encrypt_bytes(transport, record.iov_base, record.iov_len) != 0)
                return TRANSPORT_ERROR;
            taken += record.iov_len;
        }
        if (transport_flush(transport) == TRANSPORT_ERROR)
            return TRANSPORT_ERROR;
    } while (reader.count > 0 && has_record_room(transport));
    return (long)taken;
}

long transport_writev(struct transport *transport, const struct iovec *spans, size_t count)
{
    return transport->tls ? write_tls(transport, spans, count)
                          : write_plain(transport, spans, count);
}

static int commit_tls(struct transport *transport, const struct iovec *spans, size_t count)
{
    struct reader reader = {spans, count, 0};
    uint8_t gathered[RECORD];

    while (reader.count > 0) {
        struct iovec record = full_record(&reader, gathered);
        if (encrypt_bytes(transport, record.iov_base, record.iov_len) != 0)
            return TRANSPORT_ERROR;
    }
    return 0;
}

int transport_commitv(struct transport *transport, const struct iovec *spans, size_t count)
{
    size_t size = 0;

    for (size_t i = 0; i < count; i++)
        size += spans[i].iov_len;
    assert(transport_has_room(transport) && size <= WORKER_WRITE_SIZE);
    return transport->tls ? commit_tls(transport, spans, count)
                          : commit_plain(transport, spans, count, size);
}

int transport_commit(struct transport *transport, const uint8_t *bytes, size_t size)
{
    const struct iovec span = {(void *)(uintptr_t)bytes, size};

    return transport_commitv(transport, &span, 1);
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

/* OpenSSL's buffers for one record each way, unless something is in them. */
static void relax_tls(struct transport_tls *tls)
{
    if (tls->ahead_at < tls->ahead_fill)
        return;
    resize_ahead(tls, 0);
    /* Some versions would also free what has a record's head in it, but not its rest. */
    if (SSL_has_pending(tls->ssl) || strcmp(SSL_rstate_string(tls->ssl), "RH") != 0)
        return;
    /* OpenSSL 3.5 would wipe a buffer that it has freed before; what was read is wiped already. */
    uint64_t wiping = SSL_get_options(tls->ssl) & SSL_OP_CLEANSE_PLAINTEXT;
    SSL_clear_options(tls->ssl, wiping);
    SSL_free_buffers(tls->ssl);
    SSL_set_options(tls->ssl, wiping);
}

void transport_guard(struct transport *transport)
{
    transport->guarded = true;
}

void transport_relax(struct transport *transport)
{
    if (transport->tls)
        relax_tls(transport->tls);
    if (transport_busy(transport))
        return;
    free_out(transport);
    transport->guarded = false;
    transport->out_fill = transport->out_sent = 0;
    if (transport->below)
        transport_relax(transport->below);
}
