#include "net_support.h"

#include <errno.h>
#include <event2/event.h>
#include <fcntl.h>
#include <openssl/err.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "../lib/certificate.h"
#include "io/clock.h"

enum {
    PATIENCE_S = 100, /* valgrind on a busy machine */
    DESCRIPTORS = 512,
    WORKER_MEMORY = 16 << 20,
    SOCKET_BUFFER = 8 * 1024,
};

struct net net;

static uint32_t seed;
static uint64_t chance;
static bool descriptors[DESCRIPTORS];
static struct tls_material *material;
static SSL_CTX *server_context;
static SSL_CTX *client_context;
static SSL_CTX *stranger_context;
static size_t tls_memory;

/* ---- time */

#if defined __linux__ && defined __LP64__
#include <sys/syscall.h>

static uint64_t now_ns;

/* Stands in for the C library's, in this process: libevent has its time from here as well. What is
 * monotonic stands still but for jumps. */
int clock_gettime(clockid_t clock, struct timespec *now)
{
    int result = (int)syscall(SYS_clock_gettime, clock, now);

    if (result != 0 || (clock != CLOCK_MONOTONIC && clock != CLOCK_MONOTONIC_COARSE))
        return result;
    if (now_ns == 0)
        now_ns = (uint64_t)now->tv_sec * 1000000000 + (uint64_t)now->tv_nsec;
    now->tv_sec = (time_t)(now_ns / 1000000000);
    now->tv_nsec = (long)(now_ns % 1000000000);
    return 0;
}

static void pass_us(uint64_t us)
{
    now_ns += us * 1000;
}
#else
static void pass_us(uint64_t us)
{
    (void)us;
}
#endif

void net_jump_ms(uint64_t milliseconds)
{
    pass_us(milliseconds * 1000);
}

/* ---- chance */

static void begin_chance(void)
{
    chance = seed * UINT64_C(0x9e3779b97f4a7c15) + 1;
}

/* splitmix64 */
static uint64_t mix(uint64_t z)
{
    z = (z ^ (z >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
    z = (z ^ (z >> 27)) * UINT64_C(0x94d049bb133111eb);
    return z ^ (z >> 31);
}

uint32_t net_random(uint32_t below)
{
    chance += UINT64_C(0x9e3779b97f4a7c15);
    return (uint32_t)((mix(chance) >> 32) % below);
}

size_t net_piece(size_t most)
{
    static const uint32_t some[] = {1, 8, 200, 4096, 20000, 70000};
    uint32_t limit = some[net_random(sizeof some / sizeof some[0])];

    return 1 + net_random(limit < most ? limit : (uint32_t)most);
}

/* ---- bytes of streams */

static uint8_t byte_of(uint32_t stream, uint64_t offset)
{
    return (uint8_t)(mix(((uint64_t)stream << 40) + offset / 8 + 1) >> (offset % 8 * 8));
}

void net_fill(uint32_t stream, uint64_t offset, uint8_t *bytes, size_t size)
{
    for (size_t i = 0; i < size; i++)
        bytes[i] = byte_of(stream, offset + i);
}

void net_expect(uint32_t stream, uint64_t offset, const uint8_t *bytes, size_t size)
{
    for (size_t i = 0; i < size; i++)
        if (bytes[i] != byte_of(stream, offset + i))
            fail_msg("stream %u: another byte at offset %llu", (unsigned)stream,
                     (unsigned long long)(offset + i));
}

/* ---- a suite */

static void keep_line(void *context, const char *line, size_t size)
{
    size_t fill = strlen(net.lines);

    (void)context;
    if (fill + size < sizeof net.lines) {
        memcpy(net.lines + fill, line, size);
        net.lines[fill + size] = '\0';
    }
}

/* Whether one is open that was not at the beginning, or the other way round. A look-up's thread
 * may still be about to close its own. */
static int changed_descriptor(void)
{
    for (int fd = 0; fd < DESCRIPTORS; fd++)
        if ((fcntl(fd, F_GETFD) >= 0) != descriptors[fd])
            return fd;
    return -1;
}

int net_set_up(void **state)
{
    const struct log_settings settings = {.level = LOG_LEVEL_DEBUG, .sink = keep_line};

    (void)state;
    begin_chance();
    for (int fd = 0; fd < DESCRIPTORS; fd++)
        descriptors[fd] = fcntl(fd, F_GETFD) >= 0;
    memset(&net, 0, sizeof net);
    log_init(&net.log, &settings);
    return worker_init(&net.near, &net.log, WORKER_MEMORY) &&
                   worker_init(&net.far, &net.log, WORKER_MEMORY)
               ? 0
               : -1;
}

static void end_worker(struct worker *worker)
{
    assert_int_equal(worker->pool.allocated, 0);
    assert_int_equal(worker->budget.receive.used, 0);
    assert_int_equal(worker->budget.send.used, 0);
    assert_true(list_empty(&worker->turn_ends));
    assert_true(list_empty(&worker->later));
    worker_clear(worker);
}

int net_tear_down(void **state)
{
    (void)state;
    net.step = NULL;
    end_worker(&net.near);
    end_worker(&net.far);
    assert_int_equal(ERR_peek_error(), 0);
    for (time_t limit = time(NULL) + 5; changed_descriptor() >= 0; sched_yield())
        if (time(NULL) > limit)
            fail_msg("descriptor %d is open now and was not, or the other way round",
                     changed_descriptor());
    return 0;
}

/* In front of each allocation of OpenSSL's. */
union allocation {
    size_t size;
    max_align_t alignment;
};

static void *tls_allocate(size_t size, const char *file, int line)
{
    union allocation *allocation = malloc(sizeof *allocation + size);

    (void)file;
    (void)line;
    if (!allocation)
        return NULL;
    allocation->size = size;
    tls_memory += size;
    return allocation + 1;
}

static void tls_free(void *memory, const char *file, int line)
{
    union allocation *allocation = memory;

    (void)file;
    (void)line;
    if (!allocation)
        return;
    tls_memory -= allocation[-1].size;
    free(allocation - 1);
}

static void *tls_reallocate(void *memory, size_t size, const char *file, int line)
{
    void *moved = size > 0 ? tls_allocate(size, file, line) : NULL;

    if (memory && moved) {
        size_t before = ((union allocation *)memory)[-1].size;
        memcpy(moved, memory, before < size ? before : size);
    }
    if (moved || size == 0)
        tls_free(memory, file, line);
    return moved;
}

void net_count_tls_memory(void)
{
    if (CRYPTO_set_mem_functions(tls_allocate, tls_reallocate, tls_free) != 1)
        abort();
}

size_t net_tls_memory(void)
{
    return tls_memory;
}

void net_choose(void)
{
    const char *pattern = getenv("KAFKA_TUNNEL_TEST_ONLY");

    if (pattern && *pattern)
        cmocka_set_test_filter(pattern);
}

int net_begin(void **state)
{
    const char *given = getenv("KAFKA_TUNNEL_TEST_SEED");

    (void)state;
    signal(SIGPIPE, SIG_IGN);
    seed = given ? (uint32_t)strtoul(given, NULL, 10)
                 : (uint32_t)mix((uint64_t)time(NULL) * 100000 + (uint64_t)getpid());
    return 0;
}

int net_end(void **state)
{
    (void)state;
    tls_material_free(material);
    SSL_CTX_free(server_context);
    SSL_CTX_free(client_context);
    SSL_CTX_free(stranger_context);
    return 0;
}

int net_report(int failed)
{
    if (failed != 0)
        print_error("KAFKA_TUNNEL_TEST_SEED=%u repeats it\n", (unsigned)seed);
    return failed;
}

/* ---- workers */

/* Seconds of the real clock, which do not jump. */
uint64_t net_patience(void)
{
    return (uint64_t)time(NULL) + PATIENCE_S;
}

void net_check_patience(uint64_t limit, const char *condition, const char *file, int line)
{
    if (time(NULL) <= (time_t)limit)
        return;
    print_error("%s: this did not come true: %s (seed %u)\n", net.lines, condition, (unsigned)seed);
    _fail(file, line);
}

void net_turn(void)
{
    pass_us(net.turn_us);
    if (net.step)
        net.step(net.context);
    event_base_loop(net.near.base, EVLOOP_NONBLOCK);
    event_base_loop(net.far.base, EVLOOP_NONBLOCK);
}

void net_turns(unsigned count)
{
    while (count-- > 0)
        net_turn();
}

/* ---- sockets */

static void make_nonblocking(int fd)
{
    assert_true(fd >= 0);
    assert_int_equal(fcntl(fd, F_SETFL, O_NONBLOCK), 0);
}

void net_pair(int ends[2])
{
    const int size = SOCKET_BUFFER;

    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, ends), 0);
    for (int i = 0; i < 2; i++) {
        make_nonblocking(ends[i]);
        setsockopt(ends[i], SOL_SOCKET, SO_SNDBUF, &size, sizeof size);
        setsockopt(ends[i], SOL_SOCKET, SO_RCVBUF, &size, sizeof size);
    }
}

int net_listener(struct socket_address *address, int backlog)
{
    int listener = socket_new(AF_INET);

    assert_true(listener >= 0 && socket_parse("127.0.0.1", 0, address));
    assert_int_equal(bind(listener, (struct sockaddr *)&address->storage, address->size), 0);
    assert_int_equal(listen(listener, backlog), 0);
    assert_int_equal(getsockname(listener, (struct sockaddr *)&address->storage, &address->size),
                     0);
    return listener;
}

/* Nothing may wait in the system for an acknowledgement: that comes by its clock, not by ours. */
int net_accept(int listener)
{
    struct socket_address peer;
    int fd = socket_accept(listener, &peer);

    if (fd >= 0)
        socket_tune(fd);
    return fd;
}

static int connect_to(const struct socket_address *address)
{
    int fd = socket_new(AF_INET);

    assert_true(fd >= 0);
    if (connect(fd, (const struct sockaddr *)&address->storage, address->size) != 0)
        assert_int_equal(errno, EINPROGRESS);
    return fd;
}

void net_tcp_pair(int ends[2])
{
    struct socket_address address;
    int listener = net_listener(&address, 1);

    ends[0] = connect_to(&address);
    ends[1] = net_accept(listener);
    assert_true(ends[1] >= 0);
    socket_tune(ends[0]);
    close(listener);
}

void net_closed_port(struct socket_address *address)
{
    close(net_listener(address, 1));
}

void net_hanging_port(struct socket_address *address, int fds[NET_HANGING_FDS])
{
    fds[0] = net_listener(address, 0);
    for (int i = 1; i < NET_HANGING_FDS; i++)
        fds[i] = connect_to(address);
}

static bool is_ready(int fd, short events)
{
    struct pollfd look = {.fd = fd, .events = events};

    return poll(&look, 1, 0) == 1;
}

bool net_is_readable(int fd)
{
    return is_ready(fd, POLLIN);
}

bool net_is_writable(int fd)
{
    return is_ready(fd, POLLOUT);
}

void net_close_all(int *fds, size_t count)
{
    for (size_t i = 0; i < count; i++)
        close(fds[i]);
}

/* ---- wires */

void net_wire_open(struct net_wire *wire, int ends[2], bool tcp)
{
    memset(wire, 0, sizeof *wire);
    wire->cut_after = wire->spoils[0] = wire->spoils[1] = UINT64_MAX;
    wire->piece = sizeof wire->ways[0].bytes;
    for (int i = 0; i < 2; i++) {
        int pair[2];
        if (tcp)
            net_tcp_pair(pair);
        else
            net_pair(pair);
        wire->ends[i] = pair[0];
        ends[i] = pair[1];
    }
}

void net_wire_cut(struct net_wire *wire, bool reset)
{
    if (wire->is_cut)
        return;
    wire->is_cut = true;
    for (int i = 0; i < 2; i++) {
        if (reset)
            socket_reset(wire->ends[i]);
        else
            close(wire->ends[i]);
    }
}

/* One piece in, at that end. */
static bool take(struct net_wire *wire, int end)
{
    struct net_wire_way *way = &wire->ways[end];

    if (way->ended || way->fill > 0 || wire->stalled[end])
        return false;
    ssize_t got = recv(wire->ends[end], way->bytes, net_piece(wire->piece), 0);
    if (got > 0) {
        way->fill = (size_t)got;
        way->at = 0;
        if (wire->spoils[end] - wire->carried[end] < way->fill)
            way->bytes[wire->spoils[end] - wire->carried[end]] ^= 0x55;
        wire->carried[end] += (uint64_t)got;
        return true;
    }
    /* A reset is passed on as such by whoever sees it next: this wire is cut. */
    if (got < 0 && errno != EAGAIN) {
        net_wire_cut(wire, errno == ECONNRESET);
        return true;
    }
    way->ended = got == 0;
    return way->ended;
}

/* One piece out, at the other end. */
static bool give(struct net_wire *wire, int end)
{
    struct net_wire_way *way = &wire->ways[end];
    int other = wire->ends[1 - end];

    if (wire->is_cut || way->fill == 0)
        return false;
    ssize_t put = send(other, way->bytes + way->at, net_piece(way->fill), MSG_NOSIGNAL);
    if (put < 0 && errno == ECONNRESET)
        net_wire_cut(wire, true);
    else if (put < 0 && errno != EAGAIN)
        put = (ssize_t)way->fill; /* nobody is there any more, who may have sent something */
    if (put <= 0)
        return wire->is_cut;
    way->at += (size_t)put;
    way->fill -= (size_t)put;
    return true;
}

bool net_wire_step(struct net_wire *wire)
{
    bool moved = false;

    for (int end = 0; end < 2 && !wire->is_cut; end++) {
        struct net_wire_way *way = &wire->ways[end];
        bool had_ended = way->ended;
        moved |= take(wire, end);
        if (!wire->is_cut && wire->carried[0] + wire->carried[1] >= wire->cut_after) {
            net_wire_cut(wire, net_random(2) == 0);
            return true;
        }
        moved |= give(wire, end);
        if (!wire->is_cut && way->ended && !had_ended)
            shutdown(wire->ends[1 - end], SHUT_WR);
    }
    return moved;
}

/* ---- names */

int net_no_such_name(const char *host, const char *service, const struct addrinfo *hints,
                     struct addrinfo **found)
{
    (void)host;
    (void)service;
    (void)hints;
    (void)found;
    return EAI_NONAME;
}

/* ---- peers */

void net_peer_open(struct net_peer *peer, int fd, uint32_t out, uint32_t in, uint64_t to_send)
{
    *peer = (struct net_peer){
        .fd = fd, .out = out, .in = in, .to_send = to_send, .reads = true, .finishes = true};
}

static void peer_send(struct net_peer *peer)
{
    uint8_t bytes[65536];
    uint64_t left = peer->to_send - peer->sent;

    if (left == 0) {
        if (peer->finishes && !peer->finished) {
            peer->finished = true;
            shutdown(peer->fd, SHUT_WR);
        }
        return;
    }
    /* Sending would take a reset's error away from the reads. */
    if (is_ready(peer->fd, 0))
        return;
    size_t size = net_piece(left < sizeof bytes ? (size_t)left : sizeof bytes);
    net_fill(peer->out, peer->sent, bytes, size);
    ssize_t put = send(peer->fd, bytes, size, MSG_NOSIGNAL);
    if (put > 0)
        peer->sent += (uint64_t)put;
}

static void peer_receive(struct net_peer *peer)
{
    uint8_t bytes[65536];
    ssize_t got = recv(peer->fd, bytes, net_piece(sizeof bytes), 0);

    if (got > 0) {
        net_expect(peer->in, peer->received, bytes, (size_t)got);
        peer->received += (uint64_t)got;
    } else if (got == 0) {
        peer->ended = true;
    } else if (errno != EAGAIN) {
        peer->error = errno;
    }
}

void net_peer_step(struct net_peer *peer)
{
    if (peer->fd < 0)
        return;
    if (peer->reads && !peer->ended && peer->error == 0)
        peer_receive(peer);
    if (!peer->finished && peer->error == 0)
        peer_send(peer);
}

void net_peer_close(struct net_peer *peer)
{
    if (peer->fd >= 0)
        close(peer->fd);
    peer->fd = -1;
}

void net_peer_reset(struct net_peer *peer)
{
    socket_reset(peer->fd);
    peer->fd = -1;
}

/* ---- TLS */

/* Without the system's authorities, whose reading takes longer than most tests. */
static SSL_CTX *client_that_trusts(X509 *certificate)
{
    SSL_CTX *context = SSL_CTX_new(TLS_client_method());

    assert_non_null(context);
    tls_harden(context, NULL);
    SSL_CTX_set_verify(context, SSL_VERIFY_PEER, NULL);
    assert_int_equal(X509_STORE_add_cert(SSL_CTX_get_cert_store(context), certificate), 1);
    return context;
}

static void make_contexts(void)
{
    if (material)
        return;
    material = certificate_make(1);
    server_context = SSL_CTX_new(TLS_server_method());
    assert_non_null(server_context);
    tls_harden(server_context, NULL);
    SSL_CTX_set_session_cache_mode(server_context, SSL_SESS_CACHE_OFF);
    assert_int_equal(SSL_CTX_use_certificate(server_context, material->certificate), 1);
    assert_int_equal(SSL_CTX_use_PrivateKey(server_context, material->key), 1);
    client_context = client_that_trusts(material->certificate);
    struct tls_material *other = certificate_make(0);
    stranger_context = client_that_trusts(other->certificate);
    tls_material_free(other);
}

SSL_CTX *net_tls_server(void)
{
    make_contexts();
    return server_context;
}

SSL_CTX *net_tls_client(void)
{
    make_contexts();
    return client_context;
}

SSL_CTX *net_tls_stranger(void)
{
    make_contexts();
    return stranger_context;
}

const struct tls_material *net_tls_material(void)
{
    make_contexts();
    return material;
}
