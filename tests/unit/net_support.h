/*
 * What the suites of the room `io/` share: workers with real event loops in the test's own process,
 * sockets on loopback, chance, and time that passes without waiting.
 *
 * Chance is seeded. A suite that fails prints its seed; KAFKA_TUNNEL_TEST_SEED=N repeats that run.
 * Every test begins with the same seed, so that it does the same when it runs alone.
 */
#pragma once

#include "../lib/cmocka.h"

#include "io/resolver.h"
#include "io/socket.h"
#include "io/transport.h"
#include "io/worker.h"
#include "tls/tls_files.h"

/* ---- a suite */

/* As cmocka_unit_test(): with workers of its own, and nothing may be left of it: no descriptor, no
 * chunk, no byte of a budget, no error in OpenSSL's queue. */
#define NET_TEST(function) cmocka_unit_test_setup_teardown(function, net_set_up, net_tear_down)
int net_set_up(void **state);
int net_tear_down(void **state);
/* Around cmocka_run_group_tests(): setup and teardown of the group, and the last word. */
int net_begin(void **state);
int net_end(void **state);
int net_report(int failed);
/* KAFKA_TUNNEL_TEST_ONLY: a pattern of the tests that are to run. */
void net_choose(void);
/* Counts what OpenSSL allocates: before it does. */
void net_count_tls_memory(void);
#define NET_RUN(tests)                                                                             \
    (net_count_tls_memory(), net_choose(),                                                         \
     net_report(cmocka_run_group_tests(tests, net_begin, net_end)))

/* ---- workers */

extern struct net {
    struct log log;
    char lines[4 * LOG_LINE_MAX]; /* what was logged; what does not fit is left out */
    struct worker near;           /* most tests need one only */
    struct worker far;
    /* What the test does between two turns of the loops: moves bytes by hand. NULL: nothing. */
    void (*step)(void *context);
    void *context;
    unsigned turn_us; /* how long a turn takes by the clock that else stands still */
} net;

/* One step and one turn of each loop, without waiting. */
void net_turn(void);
/* Turns until the condition holds; fails the test when that takes too long. */
#define NET_UNTIL(condition)                                                                       \
    do {                                                                                           \
        for (uint64_t net_limit = net_patience(); !(condition); net_turn())                        \
            net_check_patience(net_limit, #condition, __FILE__, __LINE__);                         \
    } while (0)
/* So many turns: for what must not happen. */
void net_turns(unsigned count);
uint64_t net_patience(void);
void net_check_patience(uint64_t limit, const char *condition, const char *file, int line);

/* Time stands still, for libevent's timers too, but for this. A test that wants that begins with
 * NET_NEEDS_JUMPS(): elsewhere than on Linux time passes as it does. */
void net_jump_ms(uint64_t milliseconds);
#if defined __linux__ && defined __LP64__
#define NET_NEEDS_JUMPS() ((void)0)
#else
#define NET_NEEDS_JUMPS() skip()
#endif

/* ---- chance */

/* 0 to below - 1. */
uint32_t net_random(uint32_t below);
/* 1 to most, small ones often. */
size_t net_piece(size_t most);

/* ---- bytes of streams: each number is an endless stream of its own */

void net_fill(uint32_t stream, uint64_t offset, uint8_t *bytes, size_t size);
void net_expect(uint32_t stream, uint64_t offset, const uint8_t *bytes, size_t size);

/* ---- sockets, all of them non-blocking */

/* Unix sockets whose buffers are small. */
void net_pair(int ends[2]);
/* TCP on loopback, where a reset can be told from an end of file. */
void net_tcp_pair(int ends[2]);
/* A TCP listener at a free port of 127.0.0.1. */
int net_listener(struct socket_address *address, int backlog);
/* A port of 127.0.0.1 at which nobody listens. */
void net_closed_port(struct socket_address *address);
/* A listener whose queue is full, so that who connects hangs. fds must be closed. */
enum { NET_HANGING_FDS = 8 };
void net_hanging_port(struct socket_address *address, int fds[NET_HANGING_FDS]);
/* Accepts; -1: nobody is there. */
int net_accept(int listener);
bool net_is_readable(int fd);
bool net_is_writable(int fd);
void net_close_all(int *fds, size_t count);

/* Joins two sockets and moves bytes in pieces of any size. */
struct net_wire {
    int ends[2];
    uint64_t carried[2]; /* bytes that have come in at that end */
    uint64_t cut_after;  /* so many bytes, both ways together: then it is cut. UINT64_MAX: never */
    bool is_cut;
    uint64_t spoils[2]; /* the byte at that offset is changed. UINT64_MAX: none is */
    bool stalled[2];    /* nothing is taken at that end */
    size_t piece;       /* the largest piece */
    struct net_wire_way {
        uint8_t bytes[16384];
        size_t at;
        size_t fill;
        bool ended;
    } ways[2];
};
/* ends: what is at the wire's ends, and the caller's. tcp: else Unix sockets. */
void net_wire_open(struct net_wire *wire, int ends[2], bool tcp);
/* false: nothing has moved. */
bool net_wire_step(struct net_wire *wire);
/* Closes both ends; with TCP, reset: so that the others see a reset. */
void net_wire_cut(struct net_wire *wire, bool reset);

/* The far end of a TCP connection: sends a stream and checks the one that comes. */
struct net_peer {
    int fd; /* -1: closed */
    uint32_t out;
    uint32_t in;
    uint64_t to_send;
    uint64_t sent;
    uint64_t received;
    bool reads;
    bool finishes; /* its side, when all is sent */
    bool finished;
    bool ended; /* the end of file has come */
    int error;  /* or this, instead */
};
void net_peer_open(struct net_peer *peer, int fd, uint32_t out, uint32_t in, uint64_t to_send);
void net_peer_step(struct net_peer *peer);
void net_peer_close(struct net_peer *peer);
void net_peer_reset(struct net_peer *peer);

/* ---- names */

/* For resolver_replace(): nobody knows the name. */
int net_no_such_name(const char *host, const char *service, const struct addrinfo *hints,
                     struct addrinfo **found);

/* ---- TLS */

/* For localhost; clients trust it, and no other. Both contexts end with the suite. */
SSL_CTX *net_tls_server(void);
SSL_CTX *net_tls_client(void);
/* A client that trusts another authority. */
SSL_CTX *net_tls_stranger(void);
const struct tls_material *net_tls_material(void);
/* What OpenSSL has allocated and not freed: bytes that it has asked for. */
size_t net_tls_memory(void);
