/* The byte pipe under a link: plain, with TLS, with TLS in TLS; every stream of bytes cut anywhere.
 *
 * Who reads here waits for the socket as the loop does: it looks when the socket is readable or
 * transport_pending() says so, and flushes when it is writable. What has to come after another
 * event would not come. */
#include "net_support.h"

#include <errno.h>
#include <openssl/err.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "../lib/certificate.h"

enum { TOTAL = 400 * 1000, SPANS = 20 };

/* One end of a pipe, and the stream in each direction. */
struct side {
    struct transport *transport;
    uint32_t out;
    uint32_t in;
    uint64_t to_send;
    uint64_t sent; /* committed */
    uint64_t received;
    bool finished; /* shut down, after the last byte */
    bool ended;    /* by the other one */
};

static struct pipe {
    struct net_wire wire;
    struct side sides[2];
    /* TLS in TLS: a server for the outer one, and a socket to the server for the inner one. */
    struct side proxy;
    int inner;
    uint8_t *buffer;
    bool relaxes;
} pipes;

static void step_wire(void *context)
{
    struct pipe *pipe = context;

    net_wire_step(&pipe->wire);
}

/* Both ends have their TLS; what a handshake's failure is about is looked at elsewhere. */
static bool shake(struct side *side)
{
    int result = transport_handshake(side->transport);

    if (result != 1)
        assert_int_equal(result, TRANSPORT_BLOCKED);
    if (result != 1 && transport_busy(side->transport))
        transport_flush(side->transport);
    return result == 1;
}

static void shake_both(struct side *a, struct side *b)
{
    bool done[2] = {false, false};

    for (uint64_t limit = net_patience(); !done[0] || !done[1]; net_turn()) {
        if (!done[0])
            done[0] = shake(a);
        if (!done[1])
            done[1] = shake(b);
        net_check_patience(limit, "the handshake ends", __FILE__, __LINE__);
    }
}

enum kind { PLAIN, TLS12, TLS13, TLS13_AES_256, TLS13_CHACHA20, KINDS };

static const char *const protections[KINDS] = {
    "plain", "TLSv1.2 ", "TLSv1.3 TLS_AES_128_GCM_SHA256", "TLSv1.3 TLS_AES_256_GCM_SHA384",
    "TLSv1.3 TLS_CHACHA20_POLY1305_SHA256"};
static const char *const suites[KINDS] = {"TLS_AES_128_GCM_SHA256", "TLS_AES_128_GCM_SHA256",
                                          "TLS_AES_128_GCM_SHA256", "TLS_AES_256_GCM_SHA384",
                                          "TLS_CHACHA20_POLY1305_SHA256"};

static void choose_tls(enum kind kind)
{
    SSL_CTX_set_max_proto_version(net_tls_server(), kind == TLS12 ? TLS1_2_VERSION : 0);
    assert_int_equal(SSL_CTX_set_ciphersuites(net_tls_server(), suites[kind]), 1);
}

static void open_pipe(enum kind kind, bool tcp)
{
    int ends[2];

    memset(&pipes, 0, sizeof pipes);
    pipes.inner = -1;
    pipes.buffer = calloc(1, WORKER_LINK_READ_SIZE);
    assert_non_null(pipes.buffer);
    net_wire_open(&pipes.wire, ends, tcp);
    net.step = step_wire;
    net.context = &pipes;
    choose_tls(kind);
    pipes.sides[0].transport =
        kind == PLAIN ? transport_new(ends[0])
                      : transport_secure(transport_new(ends[0]), net_tls_client(), "localhost");
    pipes.sides[1].transport =
        kind == PLAIN ? transport_new(ends[1])
                      : transport_secure_server(transport_new(ends[1]), net_tls_server());
    for (uint32_t i = 0; i < 2; i++) {
        pipes.sides[i].out = i;
        pipes.sides[i].in = 1 - i;
    }
    if (kind != PLAIN)
        shake_both(&pipes.sides[0], &pipes.sides[1]);
    for (int i = 0; i < 2; i++)
        assert_memory_equal(transport_protection(pipes.sides[i].transport), protections[kind],
                            strlen(protections[kind]));
    assert_string_equal(transport_error(pipes.sides[0].transport), "");
}

static void close_pipe(void)
{
    for (int i = 0; i < 2; i++)
        transport_free(pipes.sides[i].transport);
    transport_free(pipes.proxy.transport);
    if (pipes.inner >= 0)
        close(pipes.inner);
    net_wire_cut(&pipes.wire, false);
    free(pipes.buffer);
}

/* ---- moving bytes */

static void flush(struct side *side)
{
    int result = transport_flush(side->transport);

    if (result == TRANSPORT_ERROR)
        fail_msg("%s", transport_error(side->transport));
    assert_int_equal(result == 1, !transport_busy(side->transport));
}

/* One batch, if there is room. */
static void commit(struct side *side, size_t most)
{
    uint64_t left = side->to_send - side->sent;

    if (left == 0 || !transport_has_room(side->transport))
        return;
    size_t size = net_piece(left < most ? (size_t)left : most);
    net_fill(side->out, side->sent, pipes.buffer, size);
    assert_int_equal(transport_commit(side->transport, pipes.buffer, size), 0);
    side->sent += size;
}

/* Cuts bytes into spans anywhere. Returns how many. */
static size_t cut_spans(struct iovec spans[SPANS], uint8_t *bytes, size_t size)
{
    size_t count = 0;

    while (size > 0) {
        size_t some = count == SPANS - 1 ? size : net_piece(size);
        spans[count++] = (struct iovec){bytes, some};
        bytes += some;
        size -= some;
    }
    return count;
}

static bool is_plain(const struct side *side)
{
    return strcmp(transport_protection(side->transport), "plain") == 0;
}

/* What is not taken is offered again. Returns how much was. */
static size_t write_spans(struct side *side, size_t most)
{
    struct iovec spans[SPANS];
    uint64_t left = side->to_send - side->sent;
    size_t size = left > 0 ? net_piece(left < most ? (size_t)left : most) : 0;
    bool busy = transport_busy(side->transport);

    net_fill(side->out, side->sent, pipes.buffer, size);
    size_t count = cut_spans(spans, pipes.buffer, size);
    long taken = transport_writev(side->transport, spans, count);
    if (taken == TRANSPORT_ERROR)
        fail_msg("%s", transport_error(side->transport));
    assert_in_range(taken, 0, size);
    if (is_plain(side) && !busy)
        assert_false(transport_busy(side->transport));
    side->sent += (uint64_t)taken;
    return (size_t)taken;
}

static void step_send(struct side *side)
{
    bool busy = transport_busy(side->transport);

    if (busy && net_is_writable(transport_fd(side->transport)))
        flush(side);
    if (side->finished)
        return;
    if (net_random(2) == 0)
        write_spans(side, WORKER_LINK_READ_SIZE);
    for (uint32_t batches = net_random(4); batches > 0; batches--)
        commit(side, WORKER_WRITE_SIZE);
    if (!busy && transport_busy(side->transport))
        flush(side);
    if (side->sent == side->to_send && !transport_busy(side->transport)) {
        side->finished = true;
        transport_shutdown(side->transport);
    }
    if (pipes.relaxes && net_random(2) == 0)
        transport_relax(side->transport);
}

/* Looks first, and finds the same when it reads. */
static void peek(struct side *side)
{
    long seen = transport_peek(side->transport, pipes.buffer, net_piece(WORKER_LINK_READ_SIZE));

    if (seen <= 0)
        return;
    net_expect(side->in, side->received, pipes.buffer, (size_t)seen);
    size_t part = net_piece((size_t)seen);
    assert_int_equal(transport_read(side->transport, pipes.buffer, part), part);
    net_expect(side->in, side->received, pipes.buffer, part);
    side->received += part;
}

static bool has_something(const struct side *side)
{
    return transport_pending(side->transport) || net_is_readable(transport_fd(side->transport));
}

static long receive(struct side *side, size_t most)
{
    struct iovec spaces[SPANS];
    long got = net_random(2) == 0 ? transport_read(side->transport, pipes.buffer, most)
                                  : transport_readv(side->transport, spaces,
                                                    cut_spans(spaces, pipes.buffer, most));

    if (got > 0) {
        net_expect(side->in, side->received, pipes.buffer, (size_t)got);
        side->received += (uint64_t)got;
    }
    return got;
}

static void step_receive(struct side *side)
{
    if (side->ended || !has_something(side))
        return;
    if (net_random(8) == 0) {
        peek(side);
        return;
    }
    long got = receive(side, net_piece(WORKER_LINK_READ_SIZE));
    if (got == TRANSPORT_EOF)
        side->ended = true;
    else if (got == TRANSPORT_ERROR)
        fail_msg("%s", transport_error(side->transport));
}

/* What the proxy's end of TLS in TLS hands on, both ways. */
static void step_proxy(void)
{
    struct transport *outer = pipes.proxy.transport;
    uint8_t bytes[8192];

    if (transport_busy(outer) && net_is_writable(transport_fd(outer)))
        transport_flush(outer);
    if (transport_has_room(outer)) {
        ssize_t got = recv(pipes.inner, bytes, net_piece(sizeof bytes), 0);
        if (got > 0) {
            assert_int_equal(transport_commit(outer, bytes, (size_t)got), 0);
            transport_flush(outer);
        } else if (got == 0 && !transport_busy(outer) && !pipes.proxy.finished) {
            pipes.proxy.finished = true;
            transport_shutdown(outer);
        }
    }
    if (pipes.proxy.ended || !has_something(&pipes.proxy) || !net_is_writable(pipes.inner))
        return;
    long got = transport_peek(outer, bytes, sizeof bytes);
    if (got == TRANSPORT_EOF) {
        pipes.proxy.ended = true;
        shutdown(pipes.inner, SHUT_WR);
    } else {
        ssize_t put = got > 0 ? send(pipes.inner, bytes, (size_t)got, MSG_NOSIGNAL) : 0;
        if (put > 0)
            assert_int_equal(transport_read(outer, bytes, (size_t)put), put);
    }
}

static void step_pipe(void *context)
{
    step_wire(context);
    if (pipes.proxy.transport)
        step_proxy();
    for (int i = 0; i < 2; i++) {
        step_send(&pipes.sides[i]);
        step_receive(&pipes.sides[i]);
    }
}

/* Both ways at once, then both end. */
static void exchange(uint64_t there, uint64_t back)
{
    struct side *a = &pipes.sides[0];
    struct side *b = &pipes.sides[1];

    a->to_send = there;
    b->to_send = back;
    net.step = step_pipe;
    NET_UNTIL(a->ended && b->ended && a->finished && b->finished);
    assert_int_equal(a->received, back);
    assert_int_equal(b->received, there);
    /* Nobody has a second end. */
    for (int i = 0; i < 2; i++)
        assert_int_equal(receive(&pipes.sides[i], 1), TRANSPORT_EOF);
}

static void exchange_as(enum kind kind, bool relaxes)
{
    open_pipe(kind, net_random(2) == 0);
    pipes.relaxes = relaxes;
    exchange(net_piece(TOTAL), TOTAL);
    close_pipe();
}

static void bytes_go_both_ways(void **state)
{
    (void)state;
    for (enum kind kind = PLAIN; kind < KINDS; kind++) {
        exchange_as(kind, false);
        exchange_as(kind, true);
    }
}

/* One record each way: most of what an idle connection would take. */
static void an_idle_one_has_no_buffers(void **state)
{
    enum { RECORD = 16 * 1024 };

    (void)state;
    for (enum kind kind = TLS12; kind <= TLS13; kind++) {
        open_pipe(kind, false);
        struct side *a = &pipes.sides[0], *b = &pipes.sides[1];
        net_fill(a->out, 0, pipes.buffer, 100);
        assert_int_equal(transport_commit(a->transport, pipes.buffer, 100), 0);
        a->sent = 100;
        flush(a);
        NET_UNTIL((step_receive(b), b->received == 100));
        const size_t used = net_tls_memory();
        for (int i = 0; i < 2; i++)
            transport_relax(pipes.sides[i].transport);
        assert_true(used - net_tls_memory() >= 3 * RECORD);
        exchange(RECORD, RECORD);
        close_pipe();
    }
}

static SSL *shaken[2];

static void note_end(const SSL *ssl, int where, int value)
{
    (void)value;
    if (where & SSL_CB_HANDSHAKE_DONE)
        shaken[SSL_is_server(ssl)] = (SSL *)(uintptr_t)ssl;
}

static void expect_empty(EVP_PKEY *key)
{
    uint8_t bytes[2048];
    size_t size = sizeof bytes;

    assert_int_equal(EVP_PKEY_get_raw_public_key(key, bytes, &size), 0);
    ERR_clear_error();
    EVP_PKEY_free(key);
}

/* Nothing that follows the handshake needs the keys of its key exchange. */
static void none_has_keys_of_its_handshake(void **state)
{
    (void)state;
    for (enum kind kind = TLS12; kind <= TLS13; kind++) {
        EVP_PKEY *key;
        int found = 0;
        SSL_CTX_set_info_callback(net_tls_client(), note_end);
        SSL_CTX_set_info_callback(net_tls_server(), note_end);
        open_pipe(kind, false);
        SSL_CTX_set_info_callback(net_tls_client(), NULL);
        SSL_CTX_set_info_callback(net_tls_server(), NULL);
        for (int i = 0; i < 2; i++) {
            for (int own = 0; own < 2; own++) {
                long has =
                    own ? SSL_get_tmp_key(shaken[i], &key) : SSL_get_peer_tmp_key(shaken[i], &key);
                if (has == 1)
                    expect_empty(key);
                found += has == 1;
            }
            if (kind == TLS13)
                assert_int_equal(SSL_key_update(shaken[i], SSL_KEY_UPDATE_REQUESTED), 1);
        }
        assert_true(found > 0);
        exchange(TOTAL / 8, TOTAL / 8);
        close_pipe();
    }
}

static void one_byte_at_a_time(void **state)
{
    (void)state;
    for (enum kind kind = PLAIN; kind <= TLS13; kind++) {
        open_pipe(kind, false);
        pipes.wire.piece = 1;
        exchange(300, 200);
        close_pipe();
    }
}

/* A proxy that is spoken to with TLS, and a server behind it. */
static void open_tls_in_tls(void)
{
    int between[2];

    open_pipe(TLS13, false);
    pipes.proxy.transport = pipes.sides[1].transport;
    net_pair(between);
    pipes.inner = between[0];
    pipes.sides[1].transport = transport_secure_server(transport_new(between[1]), net_tls_server());
    pipes.sides[0].transport =
        transport_secure(pipes.sides[0].transport, net_tls_client(), "localhost");
    bool done[2] = {false, false};
    for (uint64_t limit = net_patience(); !done[0] || !done[1]; net_turn()) {
        step_proxy();
        for (int i = 0; i < 2; i++)
            if (!done[i])
                done[i] = shake(&pipes.sides[i]);
        net_check_patience(limit, "the inner handshake ends", __FILE__, __LINE__);
    }
}

static void tls_in_tls(void **state)
{
    (void)state;
    for (int relaxes = 0; relaxes < 2; relaxes++) {
        open_tls_in_tls();
        pipes.relaxes = relaxes;
        exchange(TOTAL, TOTAL);
        close_pipe();
    }
}

/* A plain connection that becomes TLS after a proxy's answer is an ordinary TLS connection. */
static void tls_after_plain(void **state)
{
    (void)state;
    open_pipe(PLAIN, false);
    int fd = transport_fd(pipes.sides[1].transport);
    pipes.sides[0].transport =
        transport_secure(pipes.sides[0].transport, net_tls_client(), "localhost");
    struct transport *server = transport_secure_server(transport_new(dup(fd)), net_tls_server());
    transport_free(pipes.sides[1].transport);
    pipes.sides[1].transport = server;
    shake_both(&pipes.sides[0], &pipes.sides[1]);
    exchange(TOTAL / 10, TOTAL / 10);
    close_pipe();
}

/* ---- batches */

/* The sizes at which records and batches end. */
static void batches_of_every_size(void **state)
{
    static const size_t sizes[] = {1,     2,     16383, 16384, 16385, 32767, 32768,
                                   32769, 49152, 49153, 65535, 65536, 5};
    const size_t count = sizeof sizes / sizeof sizes[0];

    (void)state;
    for (enum kind kind = PLAIN; kind <= TLS13; kind++) {
        open_pipe(kind, false);
        struct side *a = &pipes.sides[0];
        struct side *b = &pipes.sides[1];
        for (size_t i = 0; i < count;) {
            if (transport_has_room(a->transport) && net_random(3) > 0) {
                net_fill(a->out, a->sent, pipes.buffer, sizes[i]);
                assert_int_equal(transport_commit(a->transport, pipes.buffer, sizes[i]), 0);
                a->sent += sizes[i++];
            }
            if (net_random(2) == 0)
                flush(a);
            net_wire_step(&pipes.wire);
            step_receive(b);
        }
        a->to_send = a->sent;
        exchange(a->sent, 0);
        close_pipe();
    }
}

/* Whoever does not read: so many whole batches are taken, then there is no room, and nothing is
 * lost. */
static void a_peer_that_does_not_read(void **state)
{
    (void)state;
    for (enum kind kind = PLAIN; kind <= TLS13; kind++) {
        open_pipe(kind, false);
        struct side *a = &pipes.sides[0];
        unsigned batches = 0;
        pipes.wire.stalled[0] = true;
        for (; transport_has_room(a->transport); batches++) {
            net_fill(a->out, a->sent, pipes.buffer, WORKER_WRITE_SIZE);
            assert_int_equal(transport_commit(a->transport, pipes.buffer, WORKER_WRITE_SIZE), 0);
            a->sent += WORKER_WRITE_SIZE;
            assert_int_equal(transport_flush(a->transport), TRANSPORT_BLOCKED);
            assert_true(transport_busy(a->transport));
        }
        /* Of the first one some is with the kernel, which makes no room. */
        assert_int_equal(batches, kind == PLAIN ? 1 : 4);
        for (int i = 0; i < 3; i++) {
            transport_relax(a->transport);
            assert_int_equal(transport_flush(a->transport), TRANSPORT_BLOCKED);
            assert_false(transport_has_room(a->transport));
        }
        pipes.wire.stalled[0] = false;
        exchange(a->sent, TOTAL / 10);
        close_pipe();
    }
}

/* The same with spans: what the kernel has no room for is left to the caller by a plain transport,
 * which keeps nothing; one with TLS takes as much as it has room for. */
static void a_peer_that_does_not_read_spans(void **state)
{
    (void)state;
    for (enum kind kind = PLAIN; kind <= TLS13; kind++) {
        open_pipe(kind, net_random(2) == 0);
        struct side *a = &pipes.sides[0];
        size_t last = 1;
        pipes.wire.stalled[0] = true;
        a->to_send = UINT64_MAX;
        while (last > 0)
            last = write_spans(a, WORKER_LINK_READ_SIZE);
        assert_int_equal(transport_busy(a->transport), kind != PLAIN);
        assert_int_equal(write_spans(a, 1), 0);
        pipes.wire.stalled[0] = false;
        exchange(a->sent + TOTAL / 10, TOTAL / 10);
        close_pipe();
    }
}

/* Bytes that TLS adds to spans of these sizes, in records. */
static void expect_records(enum kind kind, bool batch, const size_t *sizes, size_t count,
                           unsigned records)
{
    const uint64_t overhead = kind == TLS12 ? 5 + 8 + 16 : 5 + 1 + 16;
    struct side *a = &pipes.sides[0];
    struct side *b = &pipes.sides[1];
    struct iovec spans[SPANS];
    uint64_t before = pipes.wire.carried[0];
    size_t size = 0;

    for (size_t i = 0; i < count; i++) {
        spans[i] = (struct iovec){pipes.buffer + size, sizes[i]};
        size += sizes[i];
    }
    net_fill(a->out, a->sent, pipes.buffer, size);
    if (batch)
        assert_int_equal(transport_commitv(a->transport, spans, count), 0);
    else
        assert_int_equal(transport_writev(a->transport, spans, count), size);
    a->sent += size;
    for (uint64_t limit = net_patience(); b->received < a->sent; net_turn()) {
        if (transport_busy(a->transport))
            flush(a);
        receive(b, WORKER_LINK_READ_SIZE);
        net_check_patience(limit, "all is received", __FILE__, __LINE__);
    }
    assert_int_equal(pipes.wire.carried[0] - before, size + records * overhead);
}

/* Short spans share a record; long ones are cut into whole records, which nothing is copied for. */
static void spans_in_records(void **state)
{
    static const size_t all_short[] = {100, 1, 4095, 0, 7, 100, 100};
    static const size_t more_than_one[] = {4000, 4000, 4000, 4000, 4000};
    static const size_t long_one[] = {16384 * 3 + 5};
    static const size_t rest_and_short[] = {16384 + 5, 10, 20};
    static const size_t between[] = {10, 20, 16376, 30, 4096, 40};

    (void)state;
    for (enum kind kind = TLS12; kind <= TLS13; kind++) {
        open_pipe(kind, false);
        expect_records(kind, false, all_short, 7, 1);
        expect_records(kind, false, more_than_one, 5, 2);
        expect_records(kind, false, long_one, 1, 4);
        expect_records(kind, false, rest_and_short, 3, 2);
        expect_records(kind, false, between, 6, 5);
        close_pipe();
    }
}

/* A batch's records are full, though there is a header before each run of its bytes. */
static void batches_in_records(void **state)
{
    static const size_t one[] = {65536};
    static const size_t with_headers[] = {22, 16384, 22, 16384, 100};
    static const size_t short_ones[] = {22, 100, 22, 0, 100};

    (void)state;
    for (enum kind kind = TLS12; kind <= TLS13; kind++) {
        open_pipe(kind, false);
        expect_records(kind, true, one, 1, 4);
        expect_records(kind, true, with_headers, 5, 3);
        expect_records(kind, true, short_ones, 5, 1);
        close_pipe();
    }
}

/* Who has said its last word reads past TLS what still comes, to the end. */
static void what_comes_is_discarded(void **state)
{
    (void)state;
    for (enum kind kind = PLAIN; kind <= TLS13; kind++) {
        open_pipe(kind, false);
        struct side *a = &pipes.sides[0];
        struct transport *b = pipes.sides[1].transport;
        uint64_t dropped = 0;
        long got;
        net_fill(a->out, 0, pipes.buffer, 1000);
        assert_int_equal(transport_commit(a->transport, pipes.buffer, 1000), 0);
        flush(a);
        transport_shutdown(a->transport);
        uint64_t limit = net_patience();
        for (; (got = transport_discard(b)) != TRANSPORT_EOF; net_turn()) {
            assert_in_range(got, TRANSPORT_BLOCKED, 5000);
            dropped += (uint64_t)got;
            net_check_patience(limit, "the end comes", __FILE__, __LINE__);
        }
        assert_in_range(dropped, 1000 + (kind != PLAIN), 2000 + (kind != PLAIN) * 2000);
        close_pipe();
    }
}

/* Room comes back when all is gone, not before. */
static void room_comes_back(void **state)
{
    (void)state;
    open_pipe(TLS13, false);
    struct side *a = &pipes.sides[0];
    struct side *b = &pipes.sides[1];
    while (transport_has_room(a->transport)) {
        net_fill(a->out, a->sent, pipes.buffer, WORKER_WRITE_SIZE);
        assert_int_equal(transport_commit(a->transport, pipes.buffer, WORKER_WRITE_SIZE), 0);
        a->sent += WORKER_WRITE_SIZE;
    }
    for (uint64_t limit = net_patience(); transport_flush(a->transport) != 1;) {
        assert_false(transport_has_room(a->transport));
        net_wire_step(&pipes.wire);
        step_receive(b);
        net_check_patience(limit, "all is sent", __FILE__, __LINE__);
    }
    assert_true(transport_has_room(a->transport));
    assert_false(transport_busy(a->transport));
    exchange(a->sent, 0);
    close_pipe();
}

/* ---- ends */

/* Who has ended its side still gets what comes. */
static void half_closed(void **state)
{
    (void)state;
    for (enum kind kind = PLAIN; kind <= TLS13; kind++) {
        open_pipe(kind, net_random(2) == 0);
        struct side *a = &pipes.sides[0];
        struct side *b = &pipes.sides[1];
        transport_shutdown(a->transport);
        a->finished = true;
        NET_UNTIL(has_something(b) && receive(b, 1) == TRANSPORT_EOF);
        exchange(0, TOTAL / 4);
        close_pipe();
    }
}

/* The kernel is full when one side ends: its close_notify waits like any other bytes, and goes
 * before the end of file. Without it the other side could write no more. */
static void an_end_that_waits_for_room(void **state)
{
    (void)state;
    for (enum kind kind = TLS12; kind <= TLS13; kind++) {
        open_pipe(kind, false);
        struct side *a = &pipes.sides[0];
        pipes.wire.stalled[0] = true;
        do {
            net_fill(a->out, a->sent, pipes.buffer, 1);
            assert_int_equal(transport_commit(a->transport, pipes.buffer, 1), 0);
            a->sent++;
        } while (transport_flush(a->transport) == 1);
        /* As little room as possible for what is busy. */
        pipes.wire.stalled[0] = false;
        pipes.wire.piece = 1;
        for (uint64_t limit = net_patience(); transport_flush(a->transport) != 1; net_turn()) {
            step_receive(&pipes.sides[1]);
            net_check_patience(limit, "all is sent", __FILE__, __LINE__);
        }
        transport_shutdown(a->transport);
        a->finished = true;
        assert_true(transport_busy(a->transport));
        pipes.wire.piece = sizeof pipes.wire.ways[0].bytes;
        exchange(a->sent, TOTAL / 4);
        close_pipe();
    }
}

/* A peer that uses OpenSSL by itself, over a socket of its own. */
static SSL *raw_peer(int fd, bool server)
{
    SSL *ssl = SSL_new(server ? net_tls_server() : net_tls_client());

    assert_non_null(ssl);
    assert_int_equal(SSL_set_fd(ssl, fd), 1);
    if (server)
        SSL_set_accept_state(ssl);
    else
        SSL_set_connect_state(ssl);
    return ssl;
}

static void shake_raw(struct transport *transport, SSL *peer)
{
    for (int i = 0; i < 10; i++) {
        SSL_do_handshake(peer);
        ERR_clear_error();
        if (transport_handshake(transport) == 1 && SSL_is_init_finished(peer))
            return;
    }
    fail_msg("no handshake");
}

/* Both that end in good order say so to a TLS peer before the end of file. */
static void a_clean_end_is_told(void **state)
{
    (void)state;
    for (int how = 0; how < 2; how++) {
        int ends[2];
        char byte;
        net_pair(ends);
        struct transport *transport =
            transport_secure(transport_new(ends[0]), net_tls_client(), "localhost");
        SSL *peer = raw_peer(ends[1], true);
        shake_raw(transport, peer);
        /* A close with something unread is a reset: tickets have come. */
        assert_int_equal(transport_read(transport, (uint8_t *)&byte, 1), TRANSPORT_BLOCKED);
        if (how == 0)
            transport_shutdown(transport);
        else
            transport_free(transport);
        assert_int_equal(SSL_read(peer, &byte, 1), 0);
        assert_int_equal(SSL_get_error(peer, 0), SSL_ERROR_ZERO_RETURN);
        assert_int_equal(recv(ends[1], &byte, 1, 0), 0);
        if (how == 0)
            transport_free(transport);
        SSL_free(peer);
        close(ends[1]);
    }
}

/* Whoever has ended can still be asked to update its keys. It must not answer (RFC 8446, 6.1), and
 * the socket would not take the answer; what the peer says then still comes. */
static void keys_are_updated_after_the_end(void **state)
{
    (void)state;
    int ends[2];
    uint8_t byte = 0;

    net_pair(ends);
    choose_tls(TLS13);
    struct transport *transport =
        transport_secure(transport_new(ends[0]), net_tls_client(), "localhost");
    SSL *peer = raw_peer(ends[1], true);
    shake_raw(transport, peer);
    transport_shutdown(transport);
    for (int i = 0; i < 3; i++) {
        assert_int_equal(SSL_key_update(peer, SSL_KEY_UPDATE_REQUESTED), 1);
        assert_int_equal(SSL_write(peer, "x", 1), 1);
        assert_int_equal(transport_read(transport, &byte, 1), 1);
        assert_int_equal(byte, 'x');
        assert_false(transport_busy(transport));
        assert_int_equal(transport_flush(transport), 1);
    }
    assert_int_equal(SSL_read(peer, &byte, 1), 0);
    assert_int_equal(SSL_get_error(peer, 0), SSL_ERROR_ZERO_RETURN);
    assert_int_equal(recv(ends[1], &byte, 1, 0), 0);
    transport_free(transport);
    SSL_free(peer);
    close(ends[1]);
}

/* While bytes are on their way a goodbye has no place among them. */
static void an_end_while_busy(void **state)
{
    (void)state;
    open_pipe(TLS13, false);
    struct side *b = &pipes.sides[1];
    pipes.sides[0].to_send = WORKER_WRITE_SIZE;
    while (!transport_busy(pipes.sides[0].transport)) {
        net_fill(0, pipes.sides[0].sent, pipes.buffer, WORKER_WRITE_SIZE);
        transport_commit(pipes.sides[0].transport, pipes.buffer, WORKER_WRITE_SIZE);
        pipes.sides[0].sent += WORKER_WRITE_SIZE;
        transport_flush(pipes.sides[0].transport);
    }
    transport_free(pipes.sides[0].transport);
    pipes.sides[0].transport = NULL;
    long got = 0;
    for (uint64_t limit = net_patience(); got >= 0; net_turn()) {
        got = has_something(b) ? receive(b, WORKER_LINK_READ_SIZE) : 0;
        net_check_patience(limit, "the end comes", __FILE__, __LINE__);
    }
    assert_int_equal(got, TRANSPORT_EOF);
    assert_true(b->received < pipes.sides[0].sent);
    close_pipe();
}

static void a_reset_is_an_error(void **state)
{
    (void)state;
    for (enum kind kind = PLAIN; kind <= TLS13; kind++) {
        open_pipe(kind, true);
        struct transport *b = pipes.sides[1].transport;
        long got;
        transport_reset(pipes.sides[0].transport);
        pipes.sides[0].transport = NULL;
        NET_UNTIL(pipes.wire.is_cut);
        while ((got = transport_read(b, pipes.buffer, 100)) > 0)
            ;
        assert_int_equal(got, TRANSPORT_ERROR);
        assert_string_equal(transport_error(b), strerror(ECONNRESET));
        const struct iovec span = {pipes.buffer, 1};
        assert_int_equal(transport_writev(b, &span, 1), TRANSPORT_ERROR);
        /* Without TLS it goes to the kernel at once. */
        assert_int_equal(transport_commit(b, pipes.buffer, 1), kind == PLAIN ? TRANSPORT_ERROR : 0);
        assert_int_equal(transport_flush(b), TRANSPORT_ERROR);
        assert_string_equal(transport_error(b), strerror(EPIPE));
        close_pipe();
    }
}

/* A read that yields bytes may meet the reset as well, which the kernel does not tell twice. */
static void a_reset_right_behind_bytes(void **state)
{
    enum { ALL = 3000 }; /* which a socket holds: what is not there yet is lost with the reset */

    (void)state;
    for (int peeks = 0; peeks < 2; peeks++) {
        open_pipe(TLS13, true);
        struct side *b = &pipes.sides[1];
        pipes.sides[0].to_send = ALL;
        /* In pieces: there may be no room for more before some have gone. */
        for (uint64_t limit = net_patience(); pipes.sides[0].sent < ALL; net_turn()) {
            commit(&pipes.sides[0], ALL);
            flush(&pipes.sides[0]);
            net_check_patience(limit, "all is committed", __FILE__, __LINE__);
        }
        NET_UNTIL(transport_flush(pipes.sides[0].transport) == 1 && pipes.wire.ways[0].fill == 0 &&
                  !net_is_readable(pipes.wire.ends[0]));
        NET_UNTIL(receive(b, 1) == 1);
        transport_reset(pipes.sides[0].transport);
        pipes.sides[0].transport = NULL;
        NET_UNTIL(pipes.wire.is_cut);
        long got;
        while ((got = receive(b, WORKER_LINK_READ_SIZE)) > 0)
            if (peeks)
                transport_peek(b->transport, pipes.buffer, 1);
        assert_int_equal(b->received, ALL);
        assert_int_equal(got, TRANSPORT_ERROR);
        assert_string_equal(transport_error(b->transport), strerror(ECONNRESET));
        assert_int_equal(receive(b, 1), TRANSPORT_ERROR);
        close_pipe();
    }
}

static void a_reset_through_tls_in_tls(void **state)
{
    (void)state;
    open_tls_in_tls();
    struct transport *inner = pipes.sides[0].transport;
    long got;
    transport_reset(pipes.proxy.transport);
    pipes.proxy.transport = NULL;
    /* Unix sockets: an end of file without a word from either TLS. */
    NET_UNTIL((got = transport_read(inner, pipes.buffer, 100)) < 0);
    assert_int_equal(got, TRANSPORT_EOF);
    close_pipe();
}

/* The TLS with the proxy is broken, the one within does not know: what the outer one does not take
 * is not taken for sent. */
static void what_does_not_go_below(void **state)
{
    (void)state;
    open_tls_in_tls();
    struct transport *inner = pipes.sides[0].transport;
    long got;
    pipes.sides[0].to_send = pipes.sides[1].to_send = 1;
    pipes.wire.spoils[1] = pipes.wire.carried[1] + 10;
    commit(&pipes.sides[1], 1);
    flush(&pipes.sides[1]);
    for (uint64_t limit = net_patience();
         (got = transport_read(inner, pipes.buffer, 100)) == TRANSPORT_BLOCKED; net_turn()) {
        step_proxy();
        net_check_patience(limit, "the error comes", __FILE__, __LINE__);
    }
    assert_int_equal(got, TRANSPORT_ERROR);
    commit(&pipes.sides[0], 1);
    assert_int_equal(transport_flush(inner), TRANSPORT_ERROR);
    assert_string_not_equal(transport_error(inner), "");
    close_pipe();
}

/* Cut anywhere: what came whole is there, then the end, or a reset, and it stays. */
static void cut_anywhere(void **state)
{
    (void)state;
    for (int i = 0; i < 30; i++) {
        open_pipe((enum kind)net_random(3), true);
        struct side *a = &pipes.sides[0];
        struct side *b = &pipes.sides[1];
        pipes.wire.cut_after = pipes.wire.carried[0] + pipes.wire.carried[1] + net_piece(TOTAL / 2);
        a->to_send = TOTAL;
        long got = 0;
        for (uint64_t limit = net_patience(); got >= 0; net_turn()) {
            if (!pipes.wire.is_cut)
                commit(a, WORKER_WRITE_SIZE);
            transport_flush(a->transport);
            got = has_something(b) ? receive(b, net_piece(WORKER_LINK_READ_SIZE)) : 0;
            net_check_patience(limit, "the end comes", __FILE__, __LINE__);
        }
        assert_true(pipes.wire.is_cut);
        assert_true(b->received <= a->sent);
        assert_true(got == TRANSPORT_EOF || got == TRANSPORT_ERROR);
        assert_true(receive(b, 1) < 0);
        close_pipe();
    }
}

/* ---- handshakes that fail */

/* What the client says, and what the server does. */
static int shake_until_over(struct transport *client, struct transport *server)
{
    int result = TRANSPORT_BLOCKED;
    int other = TRANSPORT_BLOCKED;
    uint64_t limit = net_patience();

    for (; result == TRANSPORT_BLOCKED; net_turn()) {
        if (other == TRANSPORT_BLOCKED)
            other = transport_handshake(server);
        result = transport_handshake(client);
        net_check_patience(limit, "the handshake is over", __FILE__, __LINE__);
    }
    return result;
}

static void expect_failure(SSL_CTX *context, const char *name, enum tls_failure failure,
                           const char *error, const char *alert)
{
    int ends[2];
    struct net_wire wire;
    uint8_t byte;
    long got;

    net_wire_open(&wire, ends, false);
    struct transport *client = transport_secure(transport_new(ends[0]), context, name);
    struct transport *server = transport_secure_server(transport_new(ends[1]), net_tls_server());
    int result = TRANSPORT_BLOCKED;
    int other = TRANSPORT_BLOCKED;
    for (uint64_t limit = net_patience(); result == TRANSPORT_BLOCKED; net_wire_step(&wire)) {
        if (other == TRANSPORT_BLOCKED)
            other = transport_handshake(server);
        result = transport_handshake(client);
        net_check_patience(limit, "the handshake is over", __FILE__, __LINE__);
    }
    assert_int_equal(result, TRANSPORT_ERROR);
    assert_int_equal(transport_failure(client), failure);
    assert_non_null(strstr(transport_error(client), error));
    assert_non_null(strstr(transport_certificate(client), "CN=localhost, issued by CN=localhost"));
    /* The server hears why. */
    transport_free(client);
    while (net_wire_step(&wire))
        ;
    got =
        other == TRANSPORT_BLOCKED ? transport_handshake(server) : transport_read(server, &byte, 1);
    assert_int_equal(got, TRANSPORT_ERROR);
    assert_int_equal(transport_failure(server), TLS_FAILURE_ALERT);
    if (!strstr(transport_error(server), alert))
        fail_msg("no \"%s\" in: %s", alert, transport_error(server));
    transport_free(server);
    net_wire_cut(&wire, false);
}

/* A certificate that was valid until a minute ago. */
static SSL_CTX *out_of_date(X509 **certificate)
{
    const struct tls_material *material = net_tls_material();
    SSL_CTX *context = SSL_CTX_new(TLS_client_method());

    *certificate = X509_dup(material->certificate);
    X509_gmtime_adj(X509_getm_notAfter(*certificate), -60);
    assert_true(X509_sign(*certificate, material->key, EVP_sha256()) > 0);
    SSL_CTX_set_verify(context, SSL_VERIFY_PEER, NULL);
    X509_STORE_add_cert(SSL_CTX_get_cert_store(context), *certificate);
    return context;
}

static void certificates_that_do_not_do(void **state)
{
    X509 *old;
    SSL_CTX *context = out_of_date(&old);

    (void)state;
    expect_failure(net_tls_client(), "elsewhere.example", TLS_FAILURE_NAME, "hostname mismatch",
                   "bad certificate");
    expect_failure(net_tls_client(), "127.0.0.1", TLS_FAILURE_NAME, "IP address mismatch",
                   "bad certificate");
    expect_failure(net_tls_stranger(), "localhost", TLS_FAILURE_TRUST, "self", "unknown CA");
    SSL_CTX_use_certificate(net_tls_server(), old);
    expect_failure(context, "localhost", TLS_FAILURE_DATES, "expired", "certificate expired");
    SSL_CTX_use_certificate(net_tls_server(), net_tls_material()->certificate);
    SSL_CTX_free(context);
    X509_free(old);
}

static void what_the_verdict_knows(void **state)
{
    int ends[2];

    (void)state;
    net_pair(ends);
    struct transport *client =
        transport_secure(transport_new(ends[0]), net_tls_stranger(), "localhost");
    struct transport *server = transport_secure_server(transport_new(ends[1]), net_tls_server());
    assert_int_equal(shake_until_over(client, server), TRANSPORT_ERROR);
    const struct tls_verdict *verdict = transport_verdict(client);
    assert_int_equal(verdict->error, X509_V_ERR_DEPTH_ZERO_SELF_SIGNED_CERT);
    assert_int_equal(verdict->depth, 0);
    assert_int_equal(verdict->sent, 1);
    assert_string_equal(verdict->certificate.subject, "CN=localhost");
    transport_free(client);
    transport_free(server);
}

static SSL_CTX *client_that_shows(const struct tls_material *material)
{
    SSL_CTX *context = SSL_CTX_new(TLS_client_method());

    SSL_CTX_use_certificate(context, material->certificate);
    SSL_CTX_use_PrivateKey(context, material->key);
    SSL_CTX_set_verify(context, SSL_VERIFY_PEER, NULL);
    X509_STORE_add_cert(SSL_CTX_get_cert_store(context), net_tls_material()->certificate);
    return context;
}

/* The server demands a certificate. alert: why it does not take what it is shown. */
static void show(SSL_CTX *demanding, SSL_CTX *context, const char *alert)
{
    int ends[2];
    uint8_t byte;

    net_pair(ends);
    struct transport *client = transport_secure(transport_new(ends[0]), context, "localhost");
    struct transport *server = transport_secure_server(transport_new(ends[1]), demanding);
    /* With TLS 1.3 the client is done before it is judged. */
    assert_int_equal(shake_until_over(client, server), 1);
    int judged = transport_handshake(server);
    X509 *certificate = transport_client_certificate(server);
    assert_int_equal(judged, alert ? TRANSPORT_ERROR : 1);
    if (!alert) {
        assert_int_equal(X509_cmp(certificate, net_tls_material()->certificate), 0);
    } else {
        assert_null(certificate);
        assert_int_equal(transport_read(client, &byte, 1), TRANSPORT_ERROR);
        assert_int_equal(transport_failure(client), TLS_FAILURE_ALERT);
        assert_non_null(strstr(transport_error(client), alert));
    }
    X509_free(certificate);
    transport_free(client);
    transport_free(server);
}

static void certificates_of_clients(void **state)
{
    const struct tls_material *material = net_tls_material();
    struct tls_material *other = certificate_make(0);
    SSL_CTX *demanding = SSL_CTX_new(TLS_server_method());
    SSL_CTX *known = client_that_shows(material);
    SSL_CTX *unknown = client_that_shows(other);

    (void)state;
    SSL_CTX_use_certificate(demanding, material->certificate);
    SSL_CTX_use_PrivateKey(demanding, material->key);
    SSL_CTX_set_verify(demanding, SSL_VERIFY_PEER | SSL_VERIFY_FAIL_IF_NO_PEER_CERT, NULL);
    X509_STORE_add_cert(SSL_CTX_get_cert_store(demanding), material->certificate);
    show(demanding, known, NULL);
    show(demanding, unknown, "unknown CA");
    show(demanding, net_tls_client(), "certificate required");
    SSL_CTX_free(demanding);
    SSL_CTX_free(known);
    SSL_CTX_free(unknown);
    tls_material_free(other);
}

/* A server that shows no certificate to ask about, and one that was not asked for. */
static void no_certificate_of_a_client(void **state)
{
    (void)state;
    open_pipe(TLS13, false);
    assert_null(transport_client_certificate(pipes.sides[1].transport));
    assert_non_null(strstr(transport_certificate(pipes.sides[0].transport), "valid until 20"));
    close_pipe();
    open_pipe(PLAIN, false);
    assert_null(transport_client_certificate(pipes.sides[1].transport));
    assert_string_equal(transport_certificate(pipes.sides[0].transport), "");
    close_pipe();
}

static int shake_with(const void *bytes, size_t size, bool server, enum tls_failure *failure)
{
    int ends[2];
    struct net_wire wire;
    size_t put = 0;
    int result = TRANSPORT_BLOCKED;

    net_wire_open(&wire, ends, false);
    struct transport *transport =
        server ? transport_secure_server(transport_new(ends[0]), net_tls_server())
               : transport_secure(transport_new(ends[0]), net_tls_client(), "localhost");
    for (uint64_t limit = net_patience(); result == TRANSPORT_BLOCKED;) {
        if (put < size) {
            ssize_t some = send(ends[1], (const char *)bytes + put, size - put, MSG_NOSIGNAL);
            put += some > 0 ? (size_t)some : 0;
        } else {
            shutdown(ends[1], SHUT_WR);
        }
        net_wire_step(&wire);
        result = transport_handshake(transport);
        net_check_patience(limit, "the handshake is over", __FILE__, __LINE__);
    }
    *failure = transport_failure(transport);
    transport_free(transport);
    close(ends[1]);
    net_wire_cut(&wire, false);
    return result;
}

static void garbage_instead_of_tls(void **state)
{
    static const char plain[] = "HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n";
    static const char kafka[] = "\x00\x00\x00\x1d\x00\x12\x00\x03\x00\x00\x00\x01 some client id";
    enum tls_failure failure;

    (void)state;
    for (int i = 0; i < 20; i++) {
        bool server = i % 2;
        assert_int_equal(shake_with(plain, sizeof plain - 1, server, &failure), TRANSPORT_ERROR);
        if (!server)
            assert_int_equal(failure, TLS_FAILURE_NOT_TLS);
        assert_int_equal(shake_with(kafka, sizeof kafka - 1, server, &failure), TRANSPORT_ERROR);
        uint8_t noise[300];
        size_t size = 1 + net_random(sizeof noise);
        net_fill(net_random(1000), 0, noise, size);
        int result = shake_with(noise, size, server, &failure);
        assert_true(result == TRANSPORT_ERROR || result == TRANSPORT_EOF);
    }
    assert_int_equal(shake_with("", 0, true, &failure), TRANSPORT_EOF);
    assert_int_equal(shake_with("", 0, false, &failure), TRANSPORT_EOF);
}

/* A handshake whose connection is cut at any byte fails at both ends, with a word or an end. */
static void a_handshake_cut_anywhere(void **state)
{
    (void)state;
    for (int i = 0; i < 40; i++) {
        struct net_wire wire;
        int ends[2];
        int results[2] = {TRANSPORT_BLOCKED, TRANSPORT_BLOCKED};
        net_wire_open(&wire, ends, net_random(2) == 0);
        struct transport *both[2] = {
            transport_secure(transport_new(ends[0]), net_tls_client(), "localhost"),
            transport_secure_server(transport_new(ends[1]), net_tls_server())};
        wire.cut_after = 1 + net_random(900);
        for (uint64_t limit = net_patience();
             results[0] == TRANSPORT_BLOCKED || results[1] == TRANSPORT_BLOCKED;) {
            net_wire_step(&wire);
            for (int end = 0; end < 2; end++)
                if (results[end] == TRANSPORT_BLOCKED)
                    results[end] = transport_handshake(both[end]);
            net_check_patience(limit, "the handshake is over", __FILE__, __LINE__);
        }
        /* Cut behind its last byte a client may be done, which is true. */
        assert_int_not_equal(results[1], 1);
        for (int end = 0; end < 2; end++) {
            if (results[end] == TRANSPORT_ERROR)
                assert_string_not_equal(transport_error(both[end]), "");
            transport_free(both[end]);
        }
    }
}

/* ---- after the handshake */

/* A record that was changed on its way ends the connection; nothing of it is delivered. */
static void garbage_within_tls(void **state)
{
    (void)state;
    for (int i = 0; i < 20; i++) {
        open_pipe(i % 2 ? TLS13 : TLS12, false);
        struct side *a = &pipes.sides[0];
        struct side *b = &pipes.sides[1];
        size_t size = net_piece(40000);
        net_fill(0, 0, pipes.buffer, size);
        transport_commit(a->transport, pipes.buffer, size);
        long got = 0;
        pipes.wire.spoils[0] = pipes.wire.carried[0] + net_random((uint32_t)size);
        for (uint64_t limit = net_patience(); got >= 0; net_turn()) {
            transport_flush(a->transport);
            if (!transport_busy(a->transport))
                shutdown(transport_fd(a->transport), SHUT_WR);
            got = has_something(b) ? receive(b, WORKER_LINK_READ_SIZE) : 0;
            net_check_patience(limit, "the end comes", __FILE__, __LINE__);
        }
        assert_true(b->received < size);
        close_pipe();
    }
}

/* What came with the last bytes of the handshake needs no event of its own. */
static void read_ahead_with_the_handshake(void **state)
{
    (void)state;
    int ends[2];
    char hello[] = "early";

    net_pair(ends);
    struct transport *server = transport_secure_server(transport_new(ends[0]), net_tls_server());
    SSL *client = raw_peer(ends[1], false);
    for (uint64_t limit = net_patience(); !SSL_is_init_finished(client);) {
        SSL_do_handshake(client);
        if (!SSL_is_init_finished(client))
            transport_handshake(server);
        net_check_patience(limit, "the handshake is over", __FILE__, __LINE__);
    }
    /* The client's Finished and its first bytes lie in the socket together. */
    assert_int_equal(SSL_write(client, hello, 5), 5);
    assert_int_equal(transport_handshake(server), 1);
    /* OpenSSL 3.0 has read both, and no event of the socket tells; 3.5 leaves the second there. */
    assert_true(transport_pending(server));
    assert_int_equal(transport_peek(server, (uint8_t *)hello, 2), 2);
    assert_true(transport_pending(server));
    assert_int_equal(transport_read(server, (uint8_t *)hello, 2), 2);
    assert_true(transport_pending(server));
    assert_int_equal(transport_read(server, (uint8_t *)hello, 5), 3);
    assert_memory_equal(hello, "rly", 3);
    assert_int_equal(transport_read(server, (uint8_t *)hello, 5), TRANSPORT_BLOCKED);
    assert_false(transport_pending(server));
    SSL_free(client);
    transport_free(server);
    close(ends[1]);
}

/* Plain bytes are with the kernel until they are read: the socket tells. */
static void nothing_is_pending_without_tls(void **state)
{
    (void)state;
    uint8_t bytes[100] = {0};
    int ends[2];

    net_pair(ends);
    struct transport *transport = transport_new(ends[0]);
    assert_false(transport_pending(transport));
    assert_int_equal(send(ends[1], bytes, sizeof bytes, 0), sizeof bytes);
    assert_int_equal(transport_read(transport, bytes, 60), 60);
    assert_false(transport_pending(transport));
    assert_true(net_is_readable(ends[0]));
    assert_int_equal(transport_read(transport, bytes, 60), 40);
    assert_int_equal(transport_read(transport, bytes, 60), TRANSPORT_BLOCKED);
    transport_free(transport);
    close(ends[1]);
}

/* Messages that yield nothing do not keep a call busy for as long as they come; what is behind them
 * comes all the same. */
static void a_flood_of_key_updates(void **state)
{
    (void)state;
    int ends[2];
    uint8_t bytes[100];
    long got = 0;
    unsigned sent = 0;

    net_pair(ends);
    SSL_CTX_set_max_proto_version(net_tls_server(), 0);
    struct transport *client =
        transport_secure(transport_new(ends[0]), net_tls_client(), "localhost");
    SSL *server = raw_peer(ends[1], true);
    shake_raw(client, server);
    for (uint64_t limit = net_patience(); got <= 0;) {
        for (; sent < 200; sent++) {
            SSL_key_update(server,
                           sent % 3 ? SSL_KEY_UPDATE_NOT_REQUESTED : SSL_KEY_UPDATE_REQUESTED);
            if (SSL_do_handshake(server) != 1)
                break;
        }
        if (sent == 200 && SSL_write(server, "x", 1) == 1)
            sent++;
        SSL_read(server, bytes, sizeof bytes);
        ERR_clear_error();
        bool ready = transport_pending(client) || net_is_readable(ends[0]);
        got = ready ? transport_read(client, bytes, sizeof bytes) : 0;
        assert_true(got >= 0);
        if (transport_busy(client))
            assert_int_not_equal(transport_flush(client), TRANSPORT_ERROR);
        net_check_patience(limit, "the byte comes", __FILE__, __LINE__);
    }
    assert_int_equal(got, 1);
    assert_int_equal(bytes[0], 'x');
    SSL_free(server);
    transport_free(client);
    close(ends[1]);
}

/* Whoever is asked for new keys says so, and goes on with them: OpenSSL at the other end reads what
 * comes before and after, and the end. */
static void data_after_key_updates(void **state)
{
    (void)state;
    for (enum kind kind = TLS13; kind < KINDS; kind++) {
        int ends[2];
        uint8_t bytes[4096];
        uint64_t sent = 0;
        uint64_t read = 0;

        choose_tls(kind);
        net_pair(ends);
        struct transport *client =
            transport_secure(transport_new(ends[0]), net_tls_client(), "localhost");
        SSL *server = raw_peer(ends[1], true);
        shake_raw(client, server);
        for (int update = 0; update < 20; update++) {
            net_fill(0, sent, bytes, sizeof bytes);
            assert_int_equal(transport_commit(client, bytes, sizeof bytes), 0);
            assert_int_equal(transport_flush(client), 1);
            sent += sizeof bytes;
            assert_int_equal(SSL_key_update(server, SSL_KEY_UPDATE_REQUESTED), 1);
            assert_int_equal(SSL_do_handshake(server), 1);
            assert_int_equal(transport_read(client, bytes, sizeof bytes), TRANSPORT_BLOCKED);
            assert_int_equal(transport_flush(client), 1);
            while (read < sent) {
                int got = SSL_read(server, bytes, sizeof bytes);
                assert_true(got > 0);
                net_expect(0, read, bytes, (size_t)got);
                read += (uint64_t)got;
            }
        }
        transport_shutdown(client);
        assert_int_equal(SSL_read(server, bytes, sizeof bytes), 0);
        assert_int_equal(SSL_get_shutdown(server) & SSL_RECEIVED_SHUTDOWN, SSL_RECEIVED_SHUTDOWN);
        SSL_free(server);
        transport_free(client);
        close(ends[1]);
    }
}

/* Not after close_notify, and not when TLS has failed: the peer would see only noise. */
static void nothing_is_written_after_the_end(void **state)
{
    (void)state;
    for (enum kind kind = TLS12; kind < KINDS; kind++) {
        open_pipe(kind, false);
        struct transport *a = pipes.sides[0].transport;
        transport_shutdown(a);
        assert_int_equal(transport_commit(a, pipes.buffer, 1), TRANSPORT_ERROR);
        assert_string_not_equal(transport_error(a), "");
        close_pipe();

        open_pipe(kind, false);
        long got;
        struct transport *b = pipes.sides[1].transport;
        pipes.wire.spoils[0] = pipes.wire.carried[0] + 10;
        assert_int_equal(transport_commit(pipes.sides[0].transport, pipes.buffer, 100), 0);
        transport_flush(pipes.sides[0].transport);
        NET_UNTIL((got = transport_read(b, pipes.buffer, 100)) != TRANSPORT_BLOCKED);
        assert_int_equal(got, TRANSPORT_ERROR);
        assert_int_equal(transport_commit(b, pipes.buffer, 1), TRANSPORT_ERROR);
        assert_string_not_equal(transport_error(b), "");
        close_pipe();
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        NET_TEST(data_after_key_updates),
        NET_TEST(nothing_is_written_after_the_end),
        NET_TEST(bytes_go_both_ways),
        NET_TEST(an_idle_one_has_no_buffers),
        NET_TEST(none_has_keys_of_its_handshake),
        NET_TEST(one_byte_at_a_time),
        NET_TEST(tls_in_tls),
        NET_TEST(tls_after_plain),
        NET_TEST(batches_of_every_size),
        NET_TEST(a_peer_that_does_not_read),
        NET_TEST(a_peer_that_does_not_read_spans),
        NET_TEST(spans_in_records),
        NET_TEST(batches_in_records),
        NET_TEST(what_comes_is_discarded),
        NET_TEST(room_comes_back),
        NET_TEST(half_closed),
        NET_TEST(an_end_that_waits_for_room),
        NET_TEST(a_clean_end_is_told),
        NET_TEST(keys_are_updated_after_the_end),
        NET_TEST(an_end_while_busy),
        NET_TEST(a_reset_is_an_error),
        NET_TEST(a_reset_right_behind_bytes),
        NET_TEST(a_reset_through_tls_in_tls),
        NET_TEST(what_does_not_go_below),
        NET_TEST(cut_anywhere),
        NET_TEST(certificates_that_do_not_do),
        NET_TEST(what_the_verdict_knows),
        NET_TEST(certificates_of_clients),
        NET_TEST(no_certificate_of_a_client),
        NET_TEST(garbage_instead_of_tls),
        NET_TEST(a_handshake_cut_anywhere),
        NET_TEST(garbage_within_tls),
        NET_TEST(read_ahead_with_the_handshake),
        NET_TEST(nothing_is_pending_without_tls),
        NET_TEST(a_flood_of_key_updates),
    };

    return NET_RUN(tests);
}
