/*
 * Which congestion control a TCP connection has: how its sender tells from losses and delays what
 * the path carries. Linux has several, by name; most other systems have one.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>

struct socket_address;

/* A name with its end, as Linux has it (TCP_CA_NAME_MAX). */
#define CONGESTION_NAME_SIZE 16

/* Whether this process may choose that one. false: error holds a sentence that says why not, and
 * which ones there are. */
bool congestion_check(const char *name, char *error, size_t size);
/* For a socket before it connects, or a listening one, for all that it accepts. false: errno. */
bool congestion_choose(int fd, const char *name);
/*
 * For a socket before it connects to that address, or listens at it. On loopback there is no path
 * to learn about, but bbr sets a timer for each burst; in a virtual machine that halves what two
 * programs carry between them. There, a socket that has bbr gets reno, which every Linux has and
 * lets everybody use; all others stay as they are. Before, because what bbr has begun is paced for
 * good.
 */
void congestion_unpace_loopback(int fd, const struct socket_address *address);
/* The one that a socket has; "unknown" where the system does not tell. */
void congestion_name(int fd, char name[CONGESTION_NAME_SIZE]);
