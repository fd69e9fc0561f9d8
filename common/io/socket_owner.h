/*
 * Which user of this machine has the other end of a local TCP connection. Only Linux tells
 * (sock_diag(7)).
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

enum socket_owner_answer {
    SOCKET_OWNER_FOUND,
    SOCKET_OWNER_ELSEWHERE, /* no socket of this network namespace is the other end: it is another
                               machine's, or a container's */
    SOCKET_OWNER_GONE,      /* whoever had it has closed it */
    SOCKET_OWNER_UNKNOWN,   /* the system does not answer */
};

struct socket_owners;

/* Tries it with a connection of its own. NULL: the system does not tell; error has a sentence part.
 */
struct socket_owners *socket_owners_new(char *error, size_t size);
/* NULL is fine. */
void socket_owners_free(struct socket_owners *owners);
/* fd: an accepted connection. The owner is the user who has made the socket at its other end. The
 * kernel answers at once. */
enum socket_owner_answer socket_owners_find(struct socket_owners *owners, int fd, uid_t *uid);
