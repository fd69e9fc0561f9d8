/*
 * Names to addresses without blocking the loop.
 *
 * getaddrinfo() runs in a short-lived thread: it is the one resolver that honours everything a
 * laptop has (hosts file, mDNS, VPN split DNS, nsswitch). One look-up is for all who ask for the
 * same name meanwhile, and a worker has no more than RESOLVER_THREADS at a time; others wait for
 * their turn. The caller's deadline holds whatever the resolver does: a late answer is dropped.
 *
 * localhost and what ends in .localhost is loopback without being looked up (RFC 6761, 6.3).
 */
#pragma once

#include <limits.h>

#include <netdb.h>

#include "io/socket.h"
#include "io/worker.h"

#define RESOLVER_ADDRESSES_MAX 16
#define RESOLVER_THREADS 8

struct resolver_result {
    const char *error; /* NULL: resolved; else a sentence such as getaddrinfo's */
    size_t count;
    struct socket_address addresses[RESOLVER_ADDRESSES_MAX];
};

typedef void (*resolver_callback)(void *context, const struct resolver_result *result);

struct resolver_query;

/*
 * Always answers later, never from inside this call, also for numeric hosts. The result is valid
 * during the callback. timeout_ms: then the answer is an error; RESOLVER_NO_TIMEOUT: the caller has
 * a deadline of its own, and cancels.
 */
#define RESOLVER_NO_TIMEOUT UINT_MAX
struct resolver_query *resolver_lookup(struct worker *worker, const char *host, uint16_t port,
                                       unsigned timeout_ms, resolver_callback callback,
                                       void *context);
/* Before the callback only; NULL is fine. */
void resolver_cancel(struct resolver_query *query);

/* What asks the system, in a thread: as getaddrinfo(), whose place a test's takes. What it finds is
 * freed with freeaddrinfo(). */
typedef int (*resolver_function)(const char *host, const char *service,
                                 const struct addrinfo *hints, struct addrinfo **found);
void resolver_replace(struct worker *worker, resolver_function function);
