#include "io/congestion.h"

#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "io/socket.h"

#ifdef TCP_CONGESTION

bool congestion_choose(int fd, const char *name)
{
    size_t length = strlen(name);

    /* The kernel would take the beginning of a longer name for the whole. */
    if (length == 0 || length >= CONGESTION_NAME_SIZE) {
        errno = ENOENT;
        return false;
    }
    return setsockopt(fd, IPPROTO_TCP, TCP_CONGESTION, name, (socklen_t)length) == 0;
}

void congestion_name(int fd, char name[CONGESTION_NAME_SIZE])
{
    char text[CONGESTION_NAME_SIZE] = "";
    socklen_t size = sizeof text - 1;

    if (getsockopt(fd, IPPROTO_TCP, TCP_CONGESTION, text, &size) != 0 || text[0] == '\0')
        snprintf(text, sizeof text, "unknown");
    memcpy(name, text, sizeof text);
}

void congestion_unpace_loopback(int fd, const struct socket_address *address)
{
    char name[CONGESTION_NAME_SIZE];

    if (!socket_is_loopback(address))
        return;
    congestion_name(fd, name);
    if (strncmp(name, "bbr", 3) == 0)
        congestion_choose(fd, "reno");
}

/* The names in a file of the kernel's. false: it can't be read, or has none. */
static bool read_names(const char *path, char *names, size_t size)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    ssize_t got = fd >= 0 ? read(fd, names, size - 1) : -1;

    if (fd >= 0)
        close(fd);
    while (got > 0 && (names[got - 1] == '\n' || names[got - 1] == ' '))
        got--;
    names[got > 0 ? got : 0] = '\0';
    return got > 0;
}

#define CONGESTION_SETTINGS "/proc/sys/net/ipv4/"

static void explain(int reason, char *error, size_t size)
{
    const char *available = CONGESTION_SETTINGS "tcp_available_congestion_control";
    const char *allowed = CONGESTION_SETTINGS "tcp_allowed_congestion_control";
    char names[400];

    if (reason == ENOENT && read_names(available, names, sizeof names))
        snprintf(error, size,
                 "the kernel has no congestion control of this name: it has %s (%s). Others are "
                 "kernel modules, which root can load: modprobe tcp_NAME",
                 names, available);
    else if (reason == ENOENT)
        snprintf(error, size, "the kernel has no congestion control of this name");
    else if (reason == EPERM && read_names(allowed, names, sizeof names))
        snprintf(error, size,
                 "the kernel reserves this congestion control for privileged processes: others may "
                 "use %s. Root can allow more with sysctl net.ipv4.tcp_allowed_congestion_control",
                 names);
    else
        snprintf(error, size, "the kernel refuses this congestion control: %s", strerror(reason));
}

bool congestion_check(const char *name, char *error, size_t size)
{
    int fd = socket_new(AF_INET);
    int reason = errno;
    bool chosen = fd >= 0 && congestion_choose(fd, name);

    if (fd >= 0) {
        reason = errno;
        close(fd);
    }
    if (!chosen)
        explain(reason, error, size);
    return chosen;
}

#else

bool congestion_choose(int fd, const char *name)
{
    (void)fd;
    (void)name;
    errno = ENOPROTOOPT;
    return false;
}

void congestion_name(int fd, char name[CONGESTION_NAME_SIZE])
{
    (void)fd;
    snprintf(name, CONGESTION_NAME_SIZE, "unknown");
}

void congestion_unpace_loopback(int fd, const struct socket_address *address)
{
    (void)fd;
    (void)address;
}

bool congestion_check(const char *name, char *error, size_t size)
{
    (void)name;
    snprintf(error, size,
             "this system does not let a program choose a connection's congestion control; Linux "
             "does");
    return false;
}

#endif
