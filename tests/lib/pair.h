/* Two ends of a connection in one process, neither of which blocks. */
#pragma once

#include <fcntl.h>
#include <stdlib.h>
#include <sys/socket.h>

static inline void pair_make(int ends[2])
{
    if (socketpair(AF_UNIX, SOCK_STREAM, 0, ends) != 0 || fcntl(ends[0], F_SETFL, O_NONBLOCK) < 0 ||
        fcntl(ends[1], F_SETFL, O_NONBLOCK) < 0)
        abort();
}
