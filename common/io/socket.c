#include "io/socket.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

enum { ANSWER_MS = 100 };

/* IPv4 and IPv6 addresses have their port at the same place; keep the cast in one function. */
static in_port_t *port_of(struct sockaddr_storage *storage)
{
    if (storage->ss_family == AF_INET6)
        return &((struct sockaddr_in6 *)(void *)storage)->sin6_port;
    return &((struct sockaddr_in *)(void *)storage)->sin_port;
}

uint16_t socket_port(const struct socket_address *address)
{
    struct sockaddr_storage copy = address->storage;

    return ntohs(*port_of(&copy));
}

void socket_set_port(struct socket_address *address, uint16_t port)
{
    *port_of(&address->storage) = htons(port);
}

void socket_format_host(const struct socket_address *address, char text[SOCKET_TEXT_MAX])
{
    struct sockaddr_storage copy = address->storage;

    snprintf(text, SOCKET_TEXT_MAX, "?");
    if (copy.ss_family == AF_INET6)
        inet_ntop(AF_INET6, &((struct sockaddr_in6 *)(void *)&copy)->sin6_addr, text,
                  SOCKET_TEXT_MAX);
    else if (copy.ss_family == AF_INET)
        inet_ntop(AF_INET, &((struct sockaddr_in *)(void *)&copy)->sin_addr, text, SOCKET_TEXT_MAX);
}

void socket_format(const struct socket_address *address, char text[SOCKET_TEXT_MAX])
{
    bool v6 = address->storage.ss_family == AF_INET6;
    char host[SOCKET_TEXT_MAX];

    socket_format_host(address, host);
    snprintf(text, SOCKET_TEXT_MAX, v6 ? "[%.60s]:%u" : "%.60s:%u", host,
             (unsigned)socket_port(address));
}

bool socket_is_loopback(const struct socket_address *address)
{
    struct sockaddr_storage copy = address->storage;

    if (copy.ss_family == AF_INET6) {
        /* Not const: musl's macros take it away. */
        struct in6_addr *v6 = &((struct sockaddr_in6 *)(void *)&copy)->sin6_addr;
        return IN6_IS_ADDR_LOOPBACK(v6) || (IN6_IS_ADDR_V4MAPPED(v6) && v6->s6_addr[12] == 127);
    }
    return ntohl(((struct sockaddr_in *)(void *)&copy)->sin_addr.s_addr) >> 24 == 127;
}

static bool is_bound_to(int fd, const struct socket_address *address)
{
    struct socket_address local = {.size = sizeof local.storage};

    return getsockname(fd, (struct sockaddr *)&local.storage, &local.size) == 0 &&
           socket_port(&local) == socket_port(address);
}

/* A connection to a port from which the system takes those of outgoing ones may reach itself. */
bool socket_is_answered(const struct socket_address *address)
{
    const int kept = errno;
    if (socket_port(address) == 0 || !socket_is_loopback(address))
        return false;
    int fd = socket_new(address->storage.ss_family);
    struct pollfd connected = {.fd = fd, .events = POLLOUT};
    int error = 0;
    socklen_t size = sizeof error;

    if (fd < 0)
        return false;
    bool answered = connect(fd, (const struct sockaddr *)&address->storage, address->size) == 0 ||
                    (errno == EINPROGRESS && poll(&connected, 1, ANSWER_MS) == 1 &&
                     getsockopt(fd, SOL_SOCKET, SO_ERROR, &error, &size) == 0 && error == 0);
    bool itself = answered && is_bound_to(fd, address);
    if (itself) /* the port shall be free at once */
        socket_reset(fd);
    else
        close(fd);
    errno = kept;
    return answered && !itself;
}

bool socket_parse(const char *host, uint16_t port, struct socket_address *address)
{
    struct sockaddr_in *v4 = (struct sockaddr_in *)(void *)&address->storage;
    struct sockaddr_in6 *v6 = (struct sockaddr_in6 *)(void *)&address->storage;

    memset(address, 0, sizeof *address);
    if (inet_pton(AF_INET, host, &v4->sin_addr) == 1) {
        v4->sin_family = AF_INET;
        address->size = sizeof *v4;
    } else if (inet_pton(AF_INET6, host, &v6->sin6_addr) == 1) {
        v6->sin6_family = AF_INET6;
        address->size = sizeof *v6;
    } else {
        return false;
    }
    socket_set_port(address, port);
    return true;
}

void socket_ip(const struct socket_address *address, uint8_t ip[16])
{
    static const uint8_t mapped[12] = {[10] = 0xff, [11] = 0xff};
    const void *storage = &address->storage;

    if (address->storage.ss_family == AF_INET6) {
        memcpy(ip, &((const struct sockaddr_in6 *)storage)->sin6_addr, 16);
        return;
    }
    memcpy(ip, mapped, sizeof mapped);
    memcpy(ip + sizeof mapped, &((const struct sockaddr_in *)storage)->sin_addr, 4);
}

void socket_keep_subscriber(struct socket_address *address)
{
    struct in6_addr *v6 = &((struct sockaddr_in6 *)(void *)&address->storage)->sin6_addr;

    if (address->storage.ss_family == AF_INET6 && !IN6_IS_ADDR_V4MAPPED(v6))
        memset(v6->s6_addr + 8, 0, 8);
}

bool socket_is_shortage(int error)
{
    return error == EMFILE || error == ENFILE || error == ENOBUFS || error == ENOMEM;
}

#ifndef __linux__
static int make_nonblocking(int fd)
{
    if (fcntl(fd, F_SETFL, O_NONBLOCK) < 0 || fcntl(fd, F_SETFD, FD_CLOEXEC) < 0) {
        int error = errno;
        close(fd);
        errno = error;
        return -1;
    }
    return fd;
}
#endif

int socket_new(int family)
{
#ifdef __linux__
    return socket(family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
#else
    int fd = socket(family, SOCK_STREAM, 0);

    return fd < 0 ? -1 : make_nonblocking(fd);
#endif
}

int socket_accept(int listener, struct socket_address *peer)
{
    peer->size = sizeof peer->storage;
#ifdef __linux__
    return accept4(listener, (struct sockaddr *)&peer->storage, &peer->size,
                   SOCK_NONBLOCK | SOCK_CLOEXEC);
#else
    int fd = accept(listener, (struct sockaddr *)&peer->storage, &peer->size);
    return fd < 0 ? -1 : make_nonblocking(fd);
#endif
}

void socket_tune(int fd)
{
    int on = 1;

    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    setsockopt(fd, SOL_SOCKET, SO_KEEPALIVE, &on, sizeof on);
#ifdef SO_NOSIGPIPE
    setsockopt(fd, SOL_SOCKET, SO_NOSIGPIPE, &on, sizeof on);
#endif
}

void socket_tune_accepted(int fd)
{
#ifdef __linux__
    (void)fd;
#else
    socket_tune(fd);
#endif
}

void socket_bound_unsent(int fd, int bytes)
{
#ifdef TCP_NOTSENT_LOWAT
    setsockopt(fd, IPPROTO_TCP, TCP_NOTSENT_LOWAT, &bytes, sizeof bytes);
#else
    (void)fd;
    (void)bytes;
#endif
}

bool socket_has_failed(int fd)
{
    int error = 0;
    socklen_t size = sizeof error;

    return getsockopt(fd, SOL_SOCKET, SO_ERROR, &error, &size) != 0 || error != 0;
}

enum socket_end socket_peer_end(int fd)
{
#ifdef POLLRDHUP
    struct pollfd look = {.fd = fd, .events = POLLRDHUP};
    const short finished = POLLRDHUP;
    const short broken = POLLERR | POLLHUP;
#else
    struct pollfd look = {.fd = fd, .events = POLLIN};
    const short finished = POLLHUP;
    const short broken = POLLERR;
#endif

    if (poll(&look, 1, 0) <= 0)
        return SOCKET_OPEN;
    return look.revents & broken     ? SOCKET_BROKEN
           : look.revents & finished ? SOCKET_FINISHED
                                     : SOCKET_OPEN;
}

void socket_reset(int fd)
{
    struct linger linger = {.l_onoff = 1, .l_linger = 0};

    setsockopt(fd, SOL_SOCKET, SO_LINGER, &linger, sizeof linger);
    close(fd);
}

bool socket_pipe(int ends[2])
{
    int made[2];

    if (pipe(made) != 0)
        return false;
    for (int i = 0; i < 2; i++) {
        ends[i] = fcntl(made[i], F_DUPFD_CLOEXEC, STDERR_FILENO + 1);
        close(made[i]);
    }
    if (ends[0] >= 0 && ends[1] >= 0)
        return true;
    for (int i = 0; i < 2; i++)
        if (ends[i] >= 0)
            close(ends[i]);
    return false;
}
