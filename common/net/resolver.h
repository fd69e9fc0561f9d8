/*
 * Names to addresses without blocking the loop.
 *
 * getaddrinfo() runs in a short-lived thread: it is the one resolver that honours everything a
 * laptop has (hosts file, mDNS, VPN split DNS, nsswitch). The callers bound how many run at a time
 * (one a dial, one an upstream connection that is being made). The caller's deadline holds whatever
 * the resolver does: a late answer is dropped.
 */
#pragma once

#include "net/socket.h"
#include "net/worker.h"

#define RESOLVER_ADDRESSES_MAX 16

struct resolver_result {
    const char *error; /* NULL: resolved; else a sentence such as getaddrinfo's */
    size_t count;
    struct socket_address addresses[RESOLVER_ADDRESSES_MAX];
};

typedef void (*resolver_callback)(void *context, const struct resolver_result *result);

struct resolver_query;

/*
 * Always answers later, never from inside this call, also for numeric hosts. The result is valid
 * during the callback. timeout_ms: then the answer is an error.
 */
struct resolver_query *resolver_lookup(struct worker *worker, const char *host, uint16_t port,
                                       unsigned timeout_ms, resolver_callback callback,
                                       void *context);
/* Before the callback only; NULL is fine. */
void resolver_cancel(struct resolver_query *query);
