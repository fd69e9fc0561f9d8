#include "io/route.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

enum { DISCARD_PORT = 9 };

bool route_find(const struct socket_address *to, struct route *route)
{
    struct socket_address address = *to;
    int fd = socket(address.storage.ss_family, SOCK_DGRAM, 0);

    memset(route, 0, sizeof *route);
    /* Without a socket of this family there is no way in it. */
    if (fd < 0)
        return !socket_is_shortage(errno);
    fcntl(fd, F_SETFD, FD_CLOEXEC);
    if (socket_port(&address) == 0)
        socket_set_port(&address, DISCARD_PORT);
    route->local.size = sizeof route->local.storage;
    route->found =
        connect(fd, (const struct sockaddr *)&address.storage, address.size) == 0 &&
        getsockname(fd, (struct sockaddr *)&route->local.storage, &route->local.size) == 0;
    close(fd);
    if (route->found)
        socket_set_port(&route->local, 0);
    else
        memset(&route->local, 0, sizeof route->local);
    return true;
}

bool route_equal(const struct route *a, const struct route *b)
{
    char first[SOCKET_TEXT_MAX];
    char second[SOCKET_TEXT_MAX];

    if (!a->found || !b->found)
        return a->found == b->found;
    socket_format_host(&a->local, first);
    socket_format_host(&b->local, second);
    return strcmp(first, second) == 0;
}
