/*
 * delay-relay: relays TCP connections and hands every byte on after a fixed delay.
 *
 *     delay-relay --listen 127.0.0.1:0 --target 127.0.0.1:PORT --delay-ms 25
 *
 * prints {"listening":PORT}. It reads as fast as it can, so TCP on either side sees a short path
 * and only the bytes are late: the programs at the two ends meet their own windows and round trips,
 * not TCP's. 25 ms each way is a round trip of 50 ms. With --delay-ms 0 it is a plain relay.
 *
 * What is on its way is held in chunks from a free list (last in, first out: what was just written
 * is still in the cache), at most --buffer-kb a direction; beyond that it stops reading. Its
 * default is more than a fast path can have in flight (256 MiB), and without a delay what stays in
 * the cache (512 KiB). An end of file travels as a chunk without bytes; a reset is passed on at
 * once.
 */
#include "sock.h"

#include <assert.h>
#include <errno.h>
#include <getopt.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/timerfd.h>
#include <sys/uio.h>
#include <unistd.h>

enum { CHUNK = 256 * 1024, MAX_CHUNKS = 16384, BATCH = 16, MAX_EVENTS = 256, READS = 4 };

struct chunk {
    struct chunk *next;
    uint64_t due_ns;
    size_t offset, length; /* length 0: end of file */
    uint8_t bytes[CHUNK];
};

/* One direction of a connection: from end[from] to end[1 - from]. */
struct pipe {
    struct chunk *head, **tail;
    size_t queued, nchunks;
    int ended;   /* end of file was read */
    int flushed; /* ... and passed on */
    int blocked; /* the receiver's socket is full */
    int waiting; /* in the relay's list */
    struct pipe *previous, *next;
    struct conn *conn;
};

struct end {
    int fd;
    uint32_t interest;
    struct conn *conn;
};

struct conn {
    struct end ends[2];
    struct pipe pipes[2]; /* pipes[i] reads from ends[i] */
    int over;
    struct conn *next_over;
};

struct relay {
    int epoll, listener, timer, signals;
    struct sockaddr_in target;
    uint64_t delay_ns;
    size_t limit;         /* bytes a direction */
    struct pipe *waiting; /* pipes with chunks that only time holds up */
    struct chunk *free;
    struct conn *over; /* to be freed when the turn's events are done with */
};

static struct chunk *take_chunk(struct relay *relay)
{
    struct chunk *chunk = relay->free;
    if (chunk != NULL)
        relay->free = chunk->next;
    else
        chunk = malloc(sizeof(*chunk));
    return chunk;
}

static void give_chunk(struct relay *relay, struct chunk *chunk)
{
    chunk->next = relay->free;
    relay->free = chunk;
}

/* A pipe is in the waiting list exactly when it has chunks and its receiver can take some. */
static void update_waiting(struct relay *relay, struct pipe *pipe)
{
    int waiting = pipe->head != NULL && !pipe->blocked && !pipe->conn->over;
    if (waiting == pipe->waiting)
        return;
    pipe->waiting = waiting;
    if (waiting) {
        pipe->previous = NULL;
        pipe->next = relay->waiting;
        if (pipe->next != NULL)
            pipe->next->previous = pipe;
        relay->waiting = pipe;
    } else {
        if (pipe->previous != NULL)
            pipe->previous->next = pipe->next;
        else
            relay->waiting = pipe->next;
        if (pipe->next != NULL)
            pipe->next->previous = pipe->previous;
    }
}

static void update_interest(struct relay *relay, struct conn *conn)
{
    for (int i = 0; i < 2; i++) {
        struct end *end = &conn->ends[i];
        const struct pipe *out = &conn->pipes[i], *in = &conn->pipes[1 - i];
        int full = out->queued >= relay->limit || out->nchunks >= MAX_CHUNKS;
        uint32_t interest =
            (out->ended || full ? 0 : (uint32_t)EPOLLIN) | (in->blocked ? (uint32_t)EPOLLOUT : 0);
        if (interest == end->interest)
            continue;
        struct epoll_event event = {.events = interest, .data.ptr = end};
        int failed = epoll_ctl(relay->epoll, EPOLL_CTL_MOD, end->fd, &event);
        assert(!failed);
        (void)failed;
        end->interest = interest;
    }
}

/* Closes both ends; with a reset when the connection did not come to its end in order. */
static void finish(struct relay *relay, struct conn *conn, int reset)
{
    struct linger abort_now = {.l_onoff = 1, .l_linger = 0};
    if (conn->over)
        return;
    conn->over = 1;
    for (int i = 0; i < 2; i++) {
        struct pipe *pipe = &conn->pipes[i];
        update_waiting(relay, pipe);
        while (pipe->head != NULL) {
            struct chunk *chunk = pipe->head;
            pipe->head = chunk->next;
            give_chunk(relay, chunk);
        }
        if (reset)
            setsockopt(conn->ends[i].fd, SOL_SOCKET, SO_LINGER, &abort_now, sizeof(abort_now));
        close(conn->ends[i].fd);
    }
    conn->next_over = relay->over;
    relay->over = conn;
}

/* Reads what is there, a bounded number of times. 0, or -1 when the connection is broken. */
static int fill(struct relay *relay, struct pipe *pipe, int fd, uint64_t now_ns)
{
    for (int i = 0; i < READS && !pipe->ended; i++) {
        struct chunk *chunk = take_chunk(relay);
        if (chunk == NULL)
            return -1;
        ssize_t got = read(fd, chunk->bytes, CHUNK);
        if (got < 0) {
            give_chunk(relay, chunk);
            return errno == EAGAIN || errno == EINTR ? 0 : -1;
        }
        chunk->next = NULL;
        chunk->due_ns = now_ns + relay->delay_ns;
        chunk->offset = 0;
        chunk->length = (size_t)got;
        *pipe->tail = chunk;
        pipe->tail = &chunk->next;
        pipe->queued += (size_t)got;
        pipe->nchunks++;
        pipe->ended = got == 0;
        if (got < CHUNK)
            break;
    }
    return 0;
}

static void consume(struct relay *relay, struct pipe *pipe, size_t bytes)
{
    pipe->queued -= bytes;
    while (bytes > 0) {
        struct chunk *chunk = pipe->head;
        size_t part = chunk->length - chunk->offset;
        if (part > bytes) {
            chunk->offset += bytes;
            return;
        }
        bytes -= part;
        pipe->head = chunk->next;
        pipe->nchunks--;
        give_chunk(relay, chunk);
    }
    if (pipe->head == NULL)
        pipe->tail = &pipe->head;
}

/* Writes what is due. 0, or -1 when the connection is broken. */
static int flush(struct relay *relay, struct pipe *pipe, int fd, uint64_t now_ns)
{
    while (pipe->head != NULL && pipe->head->due_ns <= now_ns && !pipe->flushed) {
        struct iovec parts[BATCH];
        int count = 0;
        size_t length = 0;
        if (pipe->head->length == 0) {
            shutdown(fd, SHUT_WR);
            pipe->flushed = 1;
            return 0;
        }
        for (struct chunk *chunk = pipe->head; chunk != NULL && count < BATCH;
             chunk = chunk->next) {
            if (chunk->due_ns > now_ns || chunk->length == 0)
                break;
            parts[count].iov_base = chunk->bytes + chunk->offset;
            parts[count].iov_len = chunk->length - chunk->offset;
            length += parts[count++].iov_len;
        }
        ssize_t written = writev(fd, parts, count);
        if (written < 0 && errno != EAGAIN && errno != EINTR)
            return -1;
        consume(relay, pipe, written < 0 ? 0 : (size_t)written);
        if (written < 0 || (size_t)written < length) {
            pipe->blocked = 1;
            return 0;
        }
    }
    return 0;
}

/* After anything happened on a connection: move what can move, then see what to wait for. */
static void settle(struct relay *relay, struct conn *conn, int broken, uint64_t now_ns)
{
    for (int i = 0; i < 2 && !broken; i++)
        if (!conn->pipes[i].blocked)
            broken = flush(relay, &conn->pipes[i], conn->ends[1 - i].fd, now_ns) != 0;
    if (broken) {
        finish(relay, conn, 1);
    } else if (conn->pipes[0].flushed && conn->pipes[1].flushed) {
        finish(relay, conn, 0);
    } else {
        for (int i = 0; i < 2; i++) {
            struct pipe *pipe = &conn->pipes[i];
            if (pipe->flushed && pipe->head != NULL) {
                give_chunk(relay, pipe->head);
                pipe->head = NULL;
            }
            update_waiting(relay, pipe);
        }
        update_interest(relay, conn);
    }
}

static void serve_end(struct relay *relay, struct end *end, uint32_t events, uint64_t now_ns)
{
    struct conn *conn = end->conn;
    int i = end == &conn->ends[1], broken = 0;
    if (conn->over)
        return;
    if (events & EPOLLOUT)
        conn->pipes[1 - i].blocked = 0;
    if ((events & (EPOLLIN | EPOLLHUP)) && (end->interest & EPOLLIN))
        broken = fill(relay, &conn->pipes[i], end->fd, now_ns) != 0;
    if (events & EPOLLERR)
        broken = 1;
    settle(relay, conn, broken, now_ns);
}

static int accept_one(struct relay *relay, int fd)
{
    int on = 1;
    struct conn *conn = calloc(1, sizeof(*conn));
    int upstream = sock_connect(&relay->target);

    if (conn == NULL || upstream < 0 || sock_set_nonblocking(upstream) != 0) {
        free(conn);
        if (upstream >= 0)
            close(upstream);
        close(fd);
        return -1;
    }
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
    for (int i = 0; i < 2; i++) {
        conn->ends[i] = (struct end){.fd = i == 0 ? fd : upstream, .conn = conn};
        conn->pipes[i].conn = conn;
        conn->pipes[i].tail = &conn->pipes[i].head;
        struct epoll_event event = {.events = EPOLLIN, .data.ptr = &conn->ends[i]};
        if (epoll_ctl(relay->epoll, EPOLL_CTL_ADD, conn->ends[i].fd, &event) != 0)
            perror("delay-relay: epoll_ctl");
        conn->ends[i].interest = EPOLLIN;
    }
    return 0;
}

static void accept_all(struct relay *relay)
{
    int fd;
    while ((fd = accept4(relay->listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC)) >= 0)
        accept_one(relay, fd);
    if (errno != EAGAIN && errno != EINTR && errno != ECONNABORTED)
        perror("delay-relay: accept");
}

static void set_timer(const struct relay *relay)
{
    uint64_t due_ns = UINT64_MAX;
    for (const struct pipe *pipe = relay->waiting; pipe != NULL; pipe = pipe->next)
        if (pipe->head->due_ns < due_ns)
            due_ns = pipe->head->due_ns;
    struct itimerspec when = {{0, 0}, {0, 0}}; /* all zero: disarmed */
    if (due_ns != UINT64_MAX) {
        when.it_value.tv_sec = (time_t)(due_ns / 1000000000u);
        when.it_value.tv_nsec = (long)(due_ns % 1000000000u);
    }
    timerfd_settime(relay->timer, TFD_TIMER_ABSTIME, &when, NULL);
}

static void flush_due(struct relay *relay)
{
    uint64_t now_ns = sock_now_ns();
    struct pipe *next;
    for (struct pipe *pipe = relay->waiting; pipe != NULL; pipe = next) {
        next = pipe->next;
        if (pipe->head->due_ns > now_ns)
            continue;
        /* settle() may take both pipes of the connection out of the list. */
        if (next != NULL && next->conn == pipe->conn)
            next = next->next;
        settle(relay, pipe->conn, 0, now_ns);
    }
}

static void free_over(struct relay *relay)
{
    while (relay->over != NULL) {
        struct conn *conn = relay->over;
        relay->over = conn->next_over;
        free(conn);
    }
}

static int loop(struct relay *relay)
{
    struct epoll_event events[MAX_EVENTS];
    for (;;) {
        set_timer(relay);
        int count = epoll_wait(relay->epoll, events, MAX_EVENTS, -1);
        uint64_t now_ns = sock_now_ns();
        for (int i = 0; i < count; i++) {
            if (events[i].data.ptr == &relay->signals)
                return 0;
            if (events[i].data.ptr == &relay->listener)
                accept_all(relay);
            else if (events[i].data.ptr != &relay->timer)
                serve_end(relay, events[i].data.ptr, events[i].events, now_ns);
        }
        flush_due(relay);
        free_over(relay);
    }
}

static int watch(const struct relay *relay, int fd, void *which)
{
    struct epoll_event event = {.events = EPOLLIN, .data.ptr = which};
    return fd < 0 || epoll_ctl(relay->epoll, EPOLL_CTL_ADD, fd, &event) != 0;
}

static int usage(void)
{
    fputs("usage: delay-relay --listen HOST:PORT --target HOST:PORT [--delay-ms MS]"
          " [--buffer-kb KB]\n",
          stderr);
    return 2;
}

int main(int argc, char **argv)
{
    static const struct option table[] = {
        {"listen", required_argument, NULL, 'l'},
        {"target", required_argument, NULL, 't'},
        {"delay-ms", required_argument, NULL, 'd'},
        {"buffer-kb", required_argument, NULL, 'b'},
        {NULL, 0, NULL, 0},
    };
    struct relay relay = {0};
    struct sockaddr_in listen_address = {0};
    uint16_t port;
    int letter;

    while ((letter = getopt_long(argc, argv, "", table, NULL)) != -1) {
        if ((letter == 'l' && sock_parse(optarg, &listen_address) != 0) ||
            (letter == 't' && sock_parse(optarg, &relay.target) != 0) || letter == '?')
            return usage();
        if (letter == 'd')
            relay.delay_ns = (uint64_t)(strtod(optarg, NULL) * 1e6);
        if (letter == 'b')
            relay.limit = (size_t)strtoul(optarg, NULL, 10) << 10;
    }
    if (listen_address.sin_family != AF_INET || relay.target.sin_family != AF_INET ||
        optind != argc)
        return usage();
    if (relay.limit == 0)
        relay.limit = relay.delay_ns > 0 ? 256u << 20 : 512u << 10;

    sock_prepare_process();
    relay.epoll = epoll_create1(EPOLL_CLOEXEC);
    relay.listener = sock_listen(&listen_address, &port);
    relay.signals = sock_signal_fd();
    relay.timer = timerfd_create(CLOCK_MONOTONIC, TFD_NONBLOCK | TFD_CLOEXEC);
    if (relay.epoll < 0 || watch(&relay, relay.listener, &relay.listener) ||
        watch(&relay, relay.signals, &relay.signals) || watch(&relay, relay.timer, &relay.timer)) {
        perror("delay-relay: cannot start");
        return 1;
    }
    printf("{\"listening\":%u}\n", port);
    fflush(stdout);
    int result = loop(&relay);
    while (relay.free != NULL) /* connections that are still open end with the process */
        free(take_chunk(&relay));
    return result;
}
