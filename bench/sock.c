#include "sock.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/tcp.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

enum { IO_TIMEOUT_S = 30, BACKLOG = 4096 };

uint64_t sock_now_ns(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}

int sock_parse(const char *text, struct sockaddr_in *address)
{
    char host[INET_ADDRSTRLEN];
    const char *colon = strrchr(text, ':');
    size_t length = colon == NULL ? 0 : (size_t)(colon - text);

    memset(address, 0, sizeof(*address));
    if (length > 0 && length < sizeof(host)) {
        char *end;
        unsigned long port = strtoul(colon + 1, &end, 10);
        memcpy(host, text, length);
        host[length] = '\0';
        address->sin_family = AF_INET;
        address->sin_port = htons((uint16_t)port);
        if (end != colon + 1 && *end == '\0' && port <= 65535 &&
            inet_pton(AF_INET, host, &address->sin_addr) == 1)
            return 0;
    }
    fprintf(stderr, "%s: expected an address such as 127.0.0.1:9092\n", text);
    return -1;
}

static int fail(int fd, const char *what, const struct sockaddr_in *address)
{
    char host[INET_ADDRSTRLEN] = "?";
    int error = errno;
    inet_ntop(AF_INET, &address->sin_addr, host, sizeof(host));
    fprintf(stderr, "cannot %s %s:%d: %s\n", what, host, ntohs(address->sin_port), strerror(error));
    if (fd >= 0)
        close(fd);
    return -1;
}

int sock_listen(const struct sockaddr_in *address, uint16_t *port)
{
    int on = 1;
    struct sockaddr_in bound;
    socklen_t length = sizeof(bound);
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);

    if (fd < 0 || setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on)) != 0 ||
        bind(fd, (const struct sockaddr *)address, sizeof(*address)) != 0 ||
        listen(fd, BACKLOG) != 0 || getsockname(fd, (struct sockaddr *)&bound, &length) != 0)
        return fail(fd, "listen on", address);
    *port = ntohs(bound.sin_port);
    return fd;
}

int sock_connect(const struct sockaddr_in *address)
{
    int on = 1;
    struct timeval timeout = {.tv_sec = IO_TIMEOUT_S};
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

    if (fd < 0 || setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &timeout, sizeof(timeout)) != 0 ||
        setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &timeout, sizeof(timeout)) != 0 ||
        setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on)) != 0 ||
        connect(fd, (const struct sockaddr *)address, sizeof(*address)) != 0)
        return fail(fd, "connect to", address);
    return fd;
}

int sock_set_nonblocking(int fd)
{
    int flags = fcntl(fd, F_GETFL);
    if (flags < 0 || fcntl(fd, F_SETFL, flags | O_NONBLOCK) != 0) {
        perror("fcntl");
        return -1;
    }
    return 0;
}

int sock_write_all(int fd, const void *bytes, size_t length)
{
    const char *next = bytes;
    while (length > 0) {
        ssize_t written = write(fd, next, length);
        if (written < 0 && errno == EINTR)
            continue;
        if (written < 0) {
            perror("write");
            return -1;
        }
        next += written;
        length -= (size_t)written;
    }
    return 0;
}

int sock_read_all(int fd, void *bytes, size_t length)
{
    char *next = bytes;
    while (length > 0) {
        ssize_t got = read(fd, next, length);
        if (got < 0 && errno == EINTR)
            continue;
        if (got <= 0) {
            fprintf(stderr, "read: %s\n", got == 0 ? "connection closed" : strerror(errno));
            return -1;
        }
        next += got;
        length -= (size_t)got;
    }
    return 0;
}

void sock_prepare_process(void)
{
    struct rlimit limit;
    if (getrlimit(RLIMIT_NOFILE, &limit) == 0) {
        limit.rlim_cur = limit.rlim_max;
        setrlimit(RLIMIT_NOFILE, &limit);
    }
    signal(SIGPIPE, SIG_IGN);
}

int sock_signal_fd(void)
{
    sigset_t signals;
    sigemptyset(&signals);
    sigaddset(&signals, SIGTERM);
    sigaddset(&signals, SIGINT);
    int fd = -1;
    if (sigprocmask(SIG_BLOCK, &signals, NULL) == 0)
        fd = signalfd(-1, &signals, SFD_NONBLOCK | SFD_CLOEXEC);
    if (fd < 0)
        perror("signalfd");
    return fd;
}
