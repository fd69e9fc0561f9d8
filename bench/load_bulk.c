/* Saturating streams in one direction, measured where the bytes arrive. */
#include "load.h"
#include "sock.h"

#include <endian.h>
#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

enum { STALL_S = 20 }; /* no byte for this long: the measurement has failed */

struct stream {
    uint64_t sent;
    uint64_t arrived; /* up: as the server counted it; down: as we read it */
    uint64_t arrived_at_ns;
    uint8_t count[8]; /* a count that has come in part */
    size_t count_length;
};

struct bulk {
    int up, check, nstreams;
    struct stream *streams;
    struct pollfd *fds; /* one for each stream, then the signals */
    int stopping;       /* up: nothing more is written */
    uint64_t arrived;   /* sum over the streams */
    uint64_t arrived_at_ns;
    uint64_t longest_pause_ns; /* of any stream */
    uint8_t blocks[2 * LOAD_BLOCK];
    uint8_t received[LOAD_BLOCK];
};

void load_fill_blocks(uint8_t *blocks)
{
    uint32_t random = 1;
    for (size_t i = 0; i < LOAD_BLOCK; i++)
        blocks[i] = (uint8_t)((random = random * 1664525u + 1013904223u) >> 24);
    memcpy(blocks + LOAD_BLOCK, blocks, LOAD_BLOCK);
}

const uint8_t *load_find_difference(const uint8_t *blocks, uint64_t offset, const uint8_t *bytes,
                                    size_t length)
{
    const uint8_t *expected = blocks + offset % LOAD_BLOCK;
    if (memcmp(expected, bytes, length) == 0)
        return NULL;
    while (*expected == *bytes) {
        expected++;
        bytes++;
    }
    return bytes;
}

/* 0, or -1 after saying why the stream ended. */
static int fail(const char *what)
{
    fprintf(stderr, "load bulk: %s: %s\n", what,
            errno == 0 ? "the connection was closed" : strerror(errno));
    return -1;
}

static void note_arrival(struct bulk *bulk, struct stream *stream, uint64_t arrived)
{
    uint64_t now_ns = sock_now_ns();
    if (arrived == stream->arrived)
        return;
    if (now_ns - stream->arrived_at_ns > bulk->longest_pause_ns)
        bulk->longest_pause_ns = now_ns - stream->arrived_at_ns;
    bulk->arrived += arrived - stream->arrived;
    stream->arrived = arrived;
    stream->arrived_at_ns = now_ns;
}

/* A stream of counts: the newest complete one is what the server has. */
static int read_counts(struct bulk *bulk, int i)
{
    struct stream *stream = &bulk->streams[i];
    uint8_t bytes[8 * 512];
    ssize_t got = read(bulk->fds[i].fd, bytes, sizeof(bytes));
    if (got < 0 && (errno == EAGAIN || errno == EINTR))
        return 0;
    if (got <= 0) {
        errno = got == 0 ? 0 : errno;
        return fail("read");
    }
    for (ssize_t at = 0; at < got; at++) {
        uint64_t count;
        stream->count[stream->count_length++] = bytes[at];
        if (stream->count_length < sizeof(count))
            continue;
        stream->count_length = 0;
        memcpy(&count, stream->count, sizeof(count));
        note_arrival(bulk, stream, be64toh(count));
    }
    return 0;
}

static int read_block(struct bulk *bulk, int i)
{
    struct stream *stream = &bulk->streams[i];
    ssize_t got = read(bulk->fds[i].fd, bulk->received, LOAD_BLOCK);
    if (got < 0 && (errno == EAGAIN || errno == EINTR))
        return 0;
    if (got <= 0) {
        errno = got == 0 ? 0 : errno;
        return fail("read");
    }
    if (bulk->check &&
        load_find_difference(bulk->blocks, stream->arrived, bulk->received, (size_t)got)) {
        fprintf(stderr, "load bulk: bytes arrived changed, from byte %llu of a stream on\n",
                (unsigned long long)stream->arrived);
        return -1;
    }
    note_arrival(bulk, stream, stream->arrived + (uint64_t)got);
    return 0;
}

static int write_block(struct bulk *bulk, int i)
{
    size_t offset = bulk->check ? bulk->streams[i].sent % LOAD_BLOCK : 0;
    ssize_t written = send(bulk->fds[i].fd, bulk->blocks + offset, LOAD_BLOCK, MSG_NOSIGNAL);
    if (written < 0)
        return errno == EAGAIN || errno == EINTR ? 0 : fail("write");
    bulk->streams[i].sent += (uint64_t)written;
    return 0;
}

/* One turn. 0 = go on, 1 = a signal came, -1 = failed. */
static int turn(struct bulk *bulk)
{
    uint64_t before = bulk->arrived;
    for (int i = 0; i < bulk->nstreams; i++)
        bulk->fds[i].events = bulk->up && !bulk->stopping ? POLLIN | POLLOUT : POLLIN;
    if (poll(bulk->fds, (nfds_t)bulk->nstreams + 1, 100) < 0 && errno != EINTR)
        return fail("poll");

    for (int i = 0; i < bulk->nstreams; i++) {
        short ready = bulk->fds[i].revents;
        if ((ready & (POLLIN | POLLHUP | POLLERR)) &&
            (bulk->up ? read_counts(bulk, i) : read_block(bulk, i)) != 0)
            return -1;
        if ((ready & POLLOUT) && write_block(bulk, i) != 0)
            return -1;
    }

    uint64_t now_ns = sock_now_ns();
    if (bulk->arrived != before)
        bulk->arrived_at_ns = now_ns;
    else if (now_ns - bulk->arrived_at_ns > STALL_S * 1000000000ull) {
        fprintf(stderr, "load bulk: no byte arrived for %d s\n", STALL_S);
        return -1;
    }
    return bulk->fds[bulk->nstreams].revents != 0;
}

/* Runs until bytes arrive at or after until_ns. 0 = time is over, 1 = a signal came, -1 = failed.
 */
static int run_until(struct bulk *bulk, uint64_t until_ns)
{
    int result = 0;
    while (result == 0 && bulk->arrived_at_ns < until_ns)
        result = turn(bulk);
    return result;
}

/* Also of the streams on which nothing has come since. */
static uint64_t longest_pause_ns(const struct bulk *bulk)
{
    uint64_t longest_ns = bulk->longest_pause_ns, now_ns = sock_now_ns();
    for (int i = 0; i < bulk->nstreams; i++)
        if (now_ns - bulk->streams[i].arrived_at_ns > longest_ns)
            longest_ns = now_ns - bulk->streams[i].arrived_at_ns;
    return longest_ns;
}

static int measure(struct bulk *bulk, const struct load_options *options)
{
    uint64_t start_ns = sock_now_ns();
    bulk->arrived_at_ns = start_ns;
    if (run_until(bulk, start_ns + (uint64_t)(options->warmup * 1e9)) < 0)
        return -1;
    uint64_t from_ns = bulk->arrived_at_ns, from = bulk->arrived;
    bulk->longest_pause_ns = 0;
    for (int i = 0; i < bulk->nstreams; i++)
        bulk->streams[i].arrived_at_ns = from_ns;
    printf("{\"started\":true}\n");
    fflush(stdout);

    int ended = run_until(bulk, from_ns + (uint64_t)(options->seconds * 1e9));
    if (ended < 0)
        return -1;
    /* A signal may come in the middle of a pause, which belongs to the measurement. */
    uint64_t until_ns = ended > 0 ? sock_now_ns() : bulk->arrived_at_ns;
    double seconds = (double)(until_ns - from_ns) / 1e9;
    uint64_t bytes = bulk->arrived - from;
    printf("{\"bytes\":%llu,\"seconds\":%.6f,\"gbit_per_s\":%.4f,\"longest_pause_ms\":%.1f}\n",
           (unsigned long long)bytes, seconds,
           seconds > 0 ? (double)bytes * 8 / 1e9 / seconds : 0.0,
           (double)longest_pause_ns(bulk) / 1e6);
    fflush(stdout);
    return 0;
}

/* What was sent is to arrive: a tunnel that loses the tail must not look fast. */
static int drain(struct bulk *bulk)
{
    uint64_t sent = 0;
    bulk->stopping = 1;
    for (int i = 0; i < bulk->nstreams; i++)
        sent += bulk->streams[i].sent;
    while (bulk->arrived < sent)
        if (turn(bulk) < 0)
            return -1;
    return 0;
}

static int open_streams(struct bulk *bulk, const struct load_options *options)
{
    char mode = bulk->up ? LOAD_SINK : LOAD_SOURCE;
    if (bulk->check)
        mode = bulk->up ? LOAD_CHECKED_SINK : LOAD_CHECKED_SOURCE;
    for (int i = 0; i < bulk->nstreams; i++) {
        int fd = sock_connect(&options->address);
        if (fd < 0)
            return -1;
        bulk->fds[i].fd = fd;
        if (sock_write_all(fd, &mode, 1) != 0 || sock_set_nonblocking(fd) != 0)
            return -1;
    }
    return 0;
}

int load_bulk(const struct load_options *options, int up)
{
    size_t nstreams = (size_t)options->streams;
    struct bulk *bulk = calloc(1, sizeof(*bulk));
    struct stream *streams = calloc(nstreams, sizeof(*streams));
    struct pollfd *fds = calloc(nstreams + 1, sizeof(*fds));
    int failed = -1;

    if (bulk != NULL && streams != NULL && fds != NULL) {
        bulk->up = up;
        bulk->check = options->check;
        bulk->nstreams = options->streams;
        bulk->streams = streams;
        bulk->fds = fds;
        load_fill_blocks(bulk->blocks);
        for (size_t i = 0; i < nstreams; i++)
            fds[i].fd = -1;
        fds[nstreams] = (struct pollfd){.fd = sock_signal_fd(), .events = POLLIN};
        failed = open_streams(bulk, options);
        if (!failed)
            failed = measure(bulk, options);
        if (!failed && up)
            failed = drain(bulk);
        for (size_t i = 0; i <= nstreams; i++)
            if (fds[i].fd >= 0)
                close(fds[i].fd);
    }
    free(fds);
    free(streams);
    free(bulk);
    return failed ? 1 : 0;
}
