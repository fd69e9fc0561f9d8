/*
 * Which of this machine's addresses the system would use towards another one. It is asked by
 * connecting a UDP socket, which sends nothing and works everywhere.
 */
#pragma once

#include "io/socket.h"

struct route {
    bool found;                  /* there is a way */
    struct socket_address local; /* without a port */
};

/* false: it could not be asked (no descriptor). */
bool route_find(const struct socket_address *to, struct route *route);
bool route_equal(const struct route *a, const struct route *b);
