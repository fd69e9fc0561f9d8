/* The far end: one thread, one epoll loop, so that it needs no more of the CPU than the bytes do.
 */
#include "load.h"
#include "sock.h"

#include <assert.h>
#include <endian.h>
#include <errno.h>
#include <netinet/tcp.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

enum { ACK_INTERVAL_MS = 10, MAX_EVENTS = 256 };

struct conn {
    int fd;
    int mode;    /* enum load_mode, 0 until the first byte has come */
    int checked; /* the mode, apart from that: LOAD_CHECKED_* is never in `mode` */
    uint32_t interest;
    uint64_t received, sent; /* sent: of a source */

    /* What could not be written yet: an echo, or an 8-byte count. NULL when there is nothing. */
    uint8_t *pending;
    size_t pending_offset, pending_length;

    /* A sink with bytes that it has not reported yet is in the server's list. */
    int unreported;
    struct conn *next_unreported;
};

/* One of the two loops. A connection belongs to one at a time. */
struct server {
    int epoll, signals;
    int listener;        /* -1 in the bulk loop */
    struct server *bulk; /* where bulk streams go; NULL in the bulk loop */
    struct conn *unreported;
    uint64_t reported_at_ns;
    uint8_t blocks[2 * LOAD_BLOCK];
    uint8_t received[LOAD_BLOCK];
};

/* What to wait for follows from the connection's state alone. */
static void update_interest(const struct server *server, struct conn *conn)
{
    uint32_t interest = EPOLLIN;
    if (conn->mode == LOAD_SOURCE)
        interest = EPOLLIN | EPOLLOUT;
    else if (conn->pending != NULL)
        interest = conn->mode == LOAD_SINK ? EPOLLIN | EPOLLOUT : EPOLLOUT;
    if (interest == conn->interest)
        return;
    struct epoll_event event = {.events = interest, .data.ptr = conn};
    int failed = epoll_ctl(server->epoll, EPOLL_CTL_MOD, conn->fd, &event);
    assert(!failed);
    (void)failed;
    conn->interest = interest;
}

static void drop(struct server *server, struct conn *conn)
{
    for (struct conn **link = &server->unreported; *link != NULL; link = &(*link)->next_unreported)
        if (*link == conn) {
            *link = conn->next_unreported;
            break;
        }
    close(conn->fd);
    free(conn->pending);
    free(conn);
}

/* Writes what it can and keeps the rest. 0, or -1 when the connection is gone. */
static int send_bytes(struct conn *conn, const uint8_t *bytes, size_t length)
{
    assert(conn->pending == NULL);
    ssize_t written = send(conn->fd, bytes, length, MSG_NOSIGNAL);
    if (written < 0 && errno != EAGAIN && errno != EINTR)
        return -1;
    size_t done = written < 0 ? 0 : (size_t)written;
    if (done == length)
        return 0;
    conn->pending = malloc(length - done);
    if (conn->pending == NULL)
        return -1;
    memcpy(conn->pending, bytes + done, length - done);
    conn->pending_offset = 0;
    conn->pending_length = length - done;
    return 0;
}

static int flush_pending(struct conn *conn)
{
    ssize_t written = send(conn->fd, conn->pending + conn->pending_offset,
                           conn->pending_length - conn->pending_offset, MSG_NOSIGNAL);
    if (written < 0)
        return errno == EAGAIN || errno == EINTR ? 0 : -1;
    conn->pending_offset += (size_t)written;
    if (conn->pending_offset == conn->pending_length) {
        free(conn->pending);
        conn->pending = NULL;
    }
    return 0;
}

static int send_count(struct conn *conn)
{
    uint64_t count = htobe64(conn->received);
    return send_bytes(conn, (const uint8_t *)&count, sizeof(count));
}

static int take_bytes(struct server *server, struct conn *conn, const uint8_t *bytes, size_t length)
{
    if (conn->checked &&
        load_find_difference(server->blocks, conn->received, bytes, length) != NULL) {
        fprintf(stderr, "load serve: bytes arrived changed, from byte %llu of a stream on\n",
                (unsigned long long)conn->received);
        return -1;
    }
    conn->received += length;
    if (conn->mode == LOAD_ECHO)
        return length == 0 ? 0 : send_bytes(conn, bytes, length);
    if (conn->mode == LOAD_SINK && length > 0 && !conn->unreported) {
        conn->unreported = 1;
        conn->next_unreported = server->unreported;
        server->unreported = conn;
    }
    return 0;
}

/* The first byte, and only that: what follows is for whoever serves the connection from then on.
 * 0, or -1 when the connection is over; *moved is set when it belongs to the other loop now. */
static int read_mode(struct server *server, struct conn *conn, int *moved)
{
    uint8_t mode;
    ssize_t got = read(conn->fd, &mode, 1);
    if (got < 0)
        return errno == EAGAIN || errno == EINTR ? 0 : -1;
    if (got == 0 || memchr("eskhSK", mode, 6) == NULL)
        return -1;
    conn->checked = mode == LOAD_CHECKED_SOURCE || mode == LOAD_CHECKED_SINK;
    if (conn->checked)
        mode = mode == LOAD_CHECKED_SOURCE ? LOAD_SOURCE : LOAD_SINK;
    conn->mode = mode;
    if (mode != LOAD_SOURCE && mode != LOAD_SINK)
        return 0;

    conn->interest = mode == LOAD_SOURCE ? EPOLLIN | EPOLLOUT : EPOLLIN;
    struct epoll_event event = {.events = conn->interest, .data.ptr = conn};
    *moved = 1;
    int failed = epoll_ctl(server->epoll, EPOLL_CTL_DEL, conn->fd, NULL) != 0 ||
                 epoll_ctl(server->bulk->epoll, EPOLL_CTL_ADD, conn->fd, &event) != 0;
    assert(!failed);
    (void)failed;
    return 0;
}

/* 0, or -1 when the connection is over. */
static int readable(struct server *server, struct conn *conn)
{
    /* The answer to an echo is kept whole when the client does not read it: bound that. */
    size_t most = conn->mode == LOAD_SINK ? LOAD_BLOCK : LOAD_BLOCK / 4;
    ssize_t got = read(conn->fd, server->received, most);

    if (got < 0)
        return errno == EAGAIN || errno == EINTR ? 0 : -1;
    if (got == 0) {
        if (conn->mode == LOAD_ANSWER)
            send_count(conn);
        return -1;
    }
    return take_bytes(server, conn, server->received, (size_t)got);
}

static int writable(const struct server *server, struct conn *conn)
{
    if (conn->pending != NULL)
        return flush_pending(conn);
    if (conn->mode != LOAD_SOURCE)
        return 0;
    size_t offset = conn->checked ? conn->sent % LOAD_BLOCK : 0;
    ssize_t written = send(conn->fd, server->blocks + offset, LOAD_BLOCK, MSG_NOSIGNAL);
    if (written > 0)
        conn->sent += (uint64_t)written;
    return written < 0 && errno != EAGAIN && errno != EINTR ? -1 : 0;
}

static void serve_conn(struct server *server, struct conn *conn, uint32_t events)
{
    int over = 0, moved = 0;
    if (conn->mode == 0)
        over = read_mode(server, conn, &moved);
    if (moved)
        return;
    if (events & EPOLLOUT)
        over = writable(server, conn);
    if (over == 0 && conn->mode != 0 && (events & (EPOLLIN | EPOLLHUP | EPOLLERR)) &&
        (conn->pending == NULL || conn->mode == LOAD_SINK))
        over = readable(server, conn);
    if (over == 0 && (events & EPOLLERR))
        over = -1;
    if (over == 0)
        update_interest(server, conn);
    else
        drop(server, conn);
}

static int accept_all(const struct server *server)
{
    int fd, on = 1;
    while ((fd = accept4(server->listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC)) >= 0) {
        struct conn *conn = calloc(1, sizeof(*conn));
        struct epoll_event event = {.events = EPOLLIN, .data.ptr = conn};
        setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
        if (conn == NULL || epoll_ctl(server->epoll, EPOLL_CTL_ADD, fd, &event) != 0) {
            perror("load serve: new connection");
            free(conn);
            close(fd);
            return -1;
        }
        conn->fd = fd;
        conn->interest = EPOLLIN;
    }
    if (errno == EAGAIN || errno == EINTR || errno == ECONNABORTED)
        return 0;
    perror("load serve: accept");
    return -1;
}

static void report_counts(struct server *server, uint64_t now_ns)
{
    struct conn *conn = server->unreported;
    server->unreported = NULL;
    server->reported_at_ns = now_ns;
    while (conn != NULL) {
        struct conn *next = conn->next_unreported;
        conn->unreported = 0;
        conn->next_unreported = NULL;
        if (conn->pending != NULL) { /* the count before this one is not out yet */
            conn->unreported = 1;
            conn->next_unreported = server->unreported;
            server->unreported = conn;
        } else if (send_count(conn) == 0) {
            update_interest(server, conn);
        } else {
            drop(server, conn);
        }
        conn = next;
    }
}

static int loop(struct server *server)
{
    struct epoll_event events[MAX_EVENTS];
    for (;;) {
        int timeout = server->unreported != NULL ? ACK_INTERVAL_MS : -1;
        int count = epoll_wait(server->epoll, events, MAX_EVENTS, timeout);
        for (int i = 0; i < count; i++) {
            if (events[i].data.ptr == &server->signals)
                return 0;
            if (events[i].data.ptr != &server->listener)
                serve_conn(server, events[i].data.ptr, events[i].events);
            else if (accept_all(server) != 0)
                return 1;
        }
        if (server->unreported != NULL) {
            uint64_t now_ns = sock_now_ns();
            if (now_ns - server->reported_at_ns >= ACK_INTERVAL_MS * 1000000u)
                report_counts(server, now_ns);
        }
    }
}

static void *bulk_thread(void *argument)
{
    loop(argument);
    return NULL;
}

/* A loop that ends with the signals; listener may be -1. NULL when it cannot be made. */
static struct server *new_server(int listener, int signals, struct server *bulk)
{
    struct server *server = calloc(1, sizeof(*server));
    if (server == NULL)
        return NULL;
    server->bulk = bulk;
    server->listener = listener;
    server->signals = signals;
    server->epoll = epoll_create1(EPOLL_CLOEXEC);
    struct epoll_event listening = {.events = EPOLLIN, .data.ptr = &server->listener};
    struct epoll_event signalled = {.events = EPOLLIN, .data.ptr = &server->signals};
    if (server->epoll < 0 || epoll_ctl(server->epoll, EPOLL_CTL_ADD, signals, &signalled) != 0 ||
        (listener >= 0 && epoll_ctl(server->epoll, EPOLL_CTL_ADD, listener, &listening) != 0)) {
        free(server);
        return NULL;
    }
    load_fill_blocks(server->blocks);
    return server;
}

static void free_server(struct server *server)
{
    if (server != NULL) {
        close(server->epoll);
        free(server);
    }
}

int load_serve(const struct load_options *options)
{
    uint16_t port;
    pthread_t thread;
    int result = 1, signals = sock_signal_fd();
    int listener = sock_listen(&options->address, &port);
    struct server *bulk = new_server(-1, signals, NULL);
    struct server *front = new_server(listener, signals, bulk);

    if (signals >= 0 && listener >= 0 && bulk != NULL && front != NULL &&
        pthread_create(&thread, NULL, bulk_thread, bulk) == 0) {
        printf("{\"listening\":%u}\n", port);
        fflush(stdout);
        result = loop(front);
        if (result == 0)
            pthread_join(thread, NULL);
    } else {
        fprintf(stderr, "load serve: cannot start\n");
    }
    if (result == 0) {
        free_server(front);
        free_server(bulk);
    }
    return result;
}
