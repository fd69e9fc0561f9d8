/*
 * Small messages at fixed times, whether or not the ones before have come back: what waits behind
 * something else shows in full. (One round trip after another, as in load_ping(), asks less often
 * the slower the answers are.)
 */
#include "load.h"
#include "sock.h"

#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

enum { LAST_ANSWER_S = 30 }; /* how long is waited for what is not back at the end */

struct talker {
    int fd;
    uint64_t first_ns;       /* when its first message is due */
    uint64_t sent, received; /* bytes */
};

struct talk {
    size_t size;          /* bytes a message */
    uint64_t interval_ns; /* between the messages of a talker */
    uint64_t due;         /* messages each talker sends in all */
    int ntalkers;
    struct talker *talkers;
    struct pollfd *fds; /* one for each talker, then the signals */
    uint64_t *samples;
    size_t nsamples;
};

static int say_why(const char *what)
{
    fprintf(stderr, "load messages: %s: %s\n", what,
            errno == 0 ? "the connection was closed" : strerror(errno));
    return -1;
}

/* Every message is different, so that a lost, doubled or swapped one shows. */
static uint8_t byte_at(const struct talk *talk, uint64_t offset)
{
    return (uint8_t)(offset / talk->size * 31 + offset % talk->size);
}

static uint64_t due_ns(const struct talk *talk, const struct talker *talker, uint64_t number)
{
    return talker->first_ns + number * talk->interval_ns;
}

/* What is due and fits into the socket. 0 or -1. */
static int send_due(struct talk *talk, struct talker *talker, uint64_t now_ns)
{
    uint8_t message[65536];
    for (;;) {
        uint64_t number = talker->sent / talk->size;
        size_t offset = talker->sent % talk->size;
        if (number >= talk->due || due_ns(talk, talker, number) > now_ns)
            return 0;
        for (size_t i = offset; i < talk->size; i++)
            message[i] = byte_at(talk, number * talk->size + i);
        ssize_t sent = send(talker->fd, message + offset, talk->size - offset, MSG_NOSIGNAL);
        if (sent < 0)
            return errno == EAGAIN || errno == EINTR ? 0 : say_why("write");
        talker->sent += (uint64_t)sent;
    }
}

static int receive(struct talk *talk, struct talker *talker)
{
    uint8_t bytes[65536];
    ssize_t got = read(talker->fd, bytes, sizeof(bytes));
    if (got < 0 && (errno == EAGAIN || errno == EINTR))
        return 0;
    if (got <= 0) {
        errno = got == 0 ? 0 : errno;
        return say_why("read");
    }
    uint64_t now_ns = sock_now_ns();
    for (ssize_t i = 0; i < got; i++) {
        if (talker->received >= talker->sent || bytes[i] != byte_at(talk, talker->received)) {
            fprintf(stderr, "load messages: byte %llu is not the one that was sent\n",
                    (unsigned long long)talker->received);
            return -1;
        }
        if (++talker->received % talk->size == 0)
            talk->samples[talk->nsamples++] =
                now_ns - due_ns(talk, talker, talker->received / talk->size - 1);
    }
    return 0;
}

/* The next time a message is due, at most a second from now. */
static uint64_t next_due_ns(const struct talk *talk, uint64_t now_ns)
{
    uint64_t next_ns = now_ns + 1000000000u;
    for (int i = 0; i < talk->ntalkers; i++) {
        const struct talker *talker = &talk->talkers[i];
        uint64_t number = (talker->sent + talk->size - 1) / talk->size;
        if (number < talk->due && due_ns(talk, talker, number) < next_ns)
            next_ns = due_ns(talk, talker, number);
    }
    return next_ns;
}

/* One turn. 0 = go on, 1 = a signal came, -1 = failed. */
static int talk_turn(struct talk *talk)
{
    uint64_t now_ns = sock_now_ns();
    for (int i = 0; i < talk->ntalkers; i++) {
        struct talker *talker = &talk->talkers[i];
        if (send_due(talk, talker, now_ns) != 0)
            return -1;
        /* Part of a message is in: the rest waits for room. */
        talk->fds[i].events = talker->sent % talk->size ? POLLIN | POLLOUT : POLLIN;
    }
    now_ns = sock_now_ns();
    uint64_t next_ns = next_due_ns(talk, now_ns);
    uint64_t wait_ns = next_ns > now_ns ? next_ns - now_ns : 0;
    struct timespec wait = {.tv_sec = (time_t)(wait_ns / 1000000000u),
                            .tv_nsec = (long)(wait_ns % 1000000000u)};
    if (ppoll(talk->fds, (nfds_t)talk->ntalkers + 1, &wait, NULL) < 0) {
        for (int i = 0; i <= talk->ntalkers; i++)
            talk->fds[i].revents = 0;
        return errno == EINTR ? 0 : say_why("poll");
    }
    for (int i = 0; i < talk->ntalkers; i++)
        if (talk->fds[i].revents & (POLLIN | POLLHUP | POLLERR) &&
            receive(talk, &talk->talkers[i]) != 0)
            return -1;
    return talk->fds[talk->ntalkers].revents != 0;
}

static uint64_t total_due(const struct talk *talk)
{
    return talk->due * (uint64_t)talk->ntalkers;
}

/* After a signal: no new message begins. */
static void send_no_more(struct talk *talk)
{
    talk->due = 0;
    for (int i = 0; i < talk->ntalkers; i++) {
        uint64_t begun = (talk->talkers[i].sent + talk->size - 1) / talk->size;
        talk->due = begun > talk->due ? begun : talk->due;
    }
}

static int talk_until_done(struct talk *talk)
{
    uint64_t end_ns = talk->talkers[0].first_ns + talk->due * talk->interval_ns;
    int result = 0, stopped = 0;
    while (talk->nsamples < total_due(talk) &&
           sock_now_ns() < end_ns + LAST_ANSWER_S * 1000000000ull) {
        result = talk_turn(talk);
        if (result < 0)
            return -1;
        if (result > 0 && stopped)
            break;
        if (result > 0) {
            stopped = 1;
            talk->fds[talk->ntalkers].fd = -1;
            send_no_more(talk);
            end_ns = sock_now_ns();
        }
    }
    printf("{\"missing\":%llu,", (unsigned long long)(total_due(talk) - talk->nsamples));
    load_print_percentiles(talk->samples, talk->nsamples);
    return 0;
}

static int open_talkers(struct talk *talk, const struct load_options *options)
{
    char mode = LOAD_ECHO;
    for (int i = 0; i < talk->ntalkers; i++) {
        int fd = sock_connect(&options->address);
        talk->talkers[i].fd = talk->fds[i].fd = fd;
        if (fd < 0 || sock_write_all(fd, &mode, 1) != 0 || sock_set_nonblocking(fd) != 0)
            return -1;
    }
    /* Not all at once: evenly spread over the interval. */
    uint64_t start_ns = sock_now_ns();
    for (int i = 0; i < talk->ntalkers; i++)
        talk->talkers[i].first_ns =
            start_ns + talk->interval_ns * (uint64_t)i / (uint64_t)talk->ntalkers;
    printf("{\"started\":true}\n");
    fflush(stdout);
    return 0;
}

int load_messages(const struct load_options *options)
{
    size_t ntalkers = (size_t)options->streams;
    struct talk talk = {
        .size = (size_t)options->size,
        .interval_ns = (uint64_t)(options->interval_ms * 1e6),
        .due = (uint64_t)(options->seconds * 1e3 / options->interval_ms) + 1,
        .ntalkers = options->streams,
        .talkers = calloc(ntalkers, sizeof(struct talker)),
        .fds = calloc(ntalkers + 1, sizeof(struct pollfd)),
    };
    int failed = -1;

    talk.samples = calloc(total_due(&talk), sizeof(*talk.samples));
    if (talk.talkers != NULL && talk.fds != NULL && talk.samples != NULL) {
        talk.fds[ntalkers] = (struct pollfd){.fd = sock_signal_fd(), .events = POLLIN};
        failed = open_talkers(&talk, options);
        if (!failed)
            failed = talk_until_done(&talk);
    }
    free(talk.samples); /* the descriptors are closed with the process */
    free(talk.fds);
    free(talk.talkers);
    return failed ? 1 : 0;
}
