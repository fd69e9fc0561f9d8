/*
 * Small messages on many connections at once: each connection has so many under way, and sends the
 * next when one is back. One thread, so that the near end costs no more than it must.
 */
#include "load.h"
#include "sock.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

enum {
    MAX_EVENTS = 256,
    UNDER_WAY_MOST = 16 * 1024, /* bytes of a connection: any socket takes them at once */
};

struct talker {
    int fd;
    uint64_t received; /* bytes */
};

struct exchange {
    const struct load_options *options;
    int epoll;
    struct talker *talkers;
    uint64_t done; /* messages that are back, of all connections */
    uint8_t bytes[UNDER_WAY_MOST];
};

static int fail_exchange(const char *what)
{
    fprintf(stderr, "load exchange: %s: %s\n", what,
            errno == 0 ? "the connection was closed" : strerror(errno));
    return -1;
}

static int send_messages(struct exchange *exchange, const struct talker *talker, uint64_t count)
{
    size_t size = (size_t)exchange->options->size * count;
    ssize_t sent = send(talker->fd, exchange->bytes, size, MSG_NOSIGNAL);

    if (sent == (ssize_t)size)
        return 0;
    errno = sent < 0 ? errno : ENOBUFS;
    return fail_exchange("write");
}

/* What is back, and as many new ones. */
static int take_answers(struct exchange *exchange, struct talker *talker)
{
    const uint64_t size = (uint64_t)exchange->options->size;
    ssize_t got = recv(talker->fd, exchange->bytes, sizeof(exchange->bytes), MSG_DONTWAIT);

    if (got < 0 && (errno == EAGAIN || errno == EINTR))
        return 0;
    if (got <= 0) {
        errno = got == 0 ? 0 : errno;
        return fail_exchange("read");
    }
    uint64_t back = (talker->received + (uint64_t)got) / size - talker->received / size;
    talker->received += (uint64_t)got;
    exchange->done += back;
    return back == 0 ? 0 : send_messages(exchange, talker, back);
}

static int exchange_until(struct exchange *exchange, uint64_t end_ns)
{
    struct epoll_event events[MAX_EVENTS];

    for (uint64_t now_ns; (now_ns = sock_now_ns()) < end_ns;) {
        int wait_ms = (int)((end_ns - now_ns) / 1000000) + 1;
        int count = epoll_wait(exchange->epoll, events, MAX_EVENTS, wait_ms);
        for (int i = 0; i < count; i++)
            if (take_answers(exchange, events[i].data.ptr) != 0)
                return -1;
    }
    return 0;
}

static int open_all(struct exchange *exchange)
{
    const struct load_options *options = exchange->options;
    char mode = LOAD_ECHO;

    exchange->epoll = epoll_create1(EPOLL_CLOEXEC);
    for (int i = 0; i < options->streams; i++) {
        struct talker *talker = &exchange->talkers[i];
        struct epoll_event event = {.events = EPOLLIN, .data.ptr = talker};
        talker->fd = sock_connect(&options->address);
        if (talker->fd < 0 || sock_write_all(talker->fd, &mode, 1) != 0)
            return -1;
        if (epoll_ctl(exchange->epoll, EPOLL_CTL_ADD, talker->fd, &event) != 0)
            return fail_exchange("epoll");
    }
    for (int i = 0; i < options->streams; i++)
        if (send_messages(exchange, &exchange->talkers[i], (uint64_t)options->in_flight) != 0)
            return -1;
    return 0;
}

/* The connection that got the most through, in times the one that got the least. */
static double unfairness(const struct exchange *exchange)
{
    uint64_t least = UINT64_MAX, most = 0;

    for (int i = 0; i < exchange->options->streams; i++) {
        uint64_t received = exchange->talkers[i].received;
        least = received < least ? received : least;
        most = received > most ? received : most;
    }
    return (double)most / (double)(least > 0 ? least : 1);
}

static int exchange_all(struct exchange *exchange)
{
    const struct load_options *options = exchange->options;

    if (open_all(exchange) != 0 ||
        exchange_until(exchange, sock_now_ns() + (uint64_t)(options->warmup * 1e9)) != 0)
        return -1;
    printf("{\"started\":true}\n");
    fflush(stdout);
    uint64_t start_ns = sock_now_ns(), before = exchange->done;
    if (exchange_until(exchange, start_ns + (uint64_t)(options->seconds * 1e9)) != 0)
        return -1;
    uint64_t done = exchange->done - before;
    printf("{\"round_trips\":%llu,\"per_s\":%.1f,\"most_to_least\":%.2f}\n",
           (unsigned long long)done, (double)done * 1e9 / (double)(sock_now_ns() - start_ns),
           unfairness(exchange));
    return 0;
}

int load_exchange(const struct load_options *options)
{
    struct exchange *exchange = calloc(1, sizeof(*exchange));
    int failed = -1;

    if (options->size * options->in_flight > UNDER_WAY_MOST) {
        fprintf(stderr, "load exchange: at most %d bytes can be under way on a connection\n",
                UNDER_WAY_MOST);
        free(exchange);
        return 1;
    }
    if (exchange != NULL) {
        exchange->options = options;
        exchange->talkers = calloc((size_t)options->streams, sizeof(*exchange->talkers));
        if (exchange->talkers != NULL)
            failed = exchange_all(exchange);
        free(exchange->talkers); /* the descriptors are closed with the process */
    }
    free(exchange);
    return failed ? 1 : 0;
}
