/*
 * Connects a TCP socket: resolves the name, tries its addresses one after the other (the next one
 * also starts when the one before has not answered within a quarter of a second, RFC 8305), and
 * gives up at a deadline.
 */
#pragma once

#include "io/resolver.h"

struct connector_result {
    int fd; /* connected, non-blocking, tuned, now the callback's; -1: failed */
    struct socket_address address;
    bool timed_out;
    bool name_failed;  /* the name did not resolve; else connecting failed */
    bool forbidden;    /* the guard permits none of the addresses */
    const char *error; /* what the last failed attempt said */
};

typedef void (*connector_callback)(void *context, const struct connector_result *result);

struct connector;

/* Answers later, never from inside this call. timeout_ms may be RESOLVER_NO_TIMEOUT. */
struct connector *connector_start(struct worker *worker, const char *host, uint16_t port,
                                  unsigned timeout_ms, connector_callback callback, void *context);
/* The same for addresses that are known already (at least one). */
struct connector *connector_start_known(struct worker *worker,
                                        const struct socket_address *addresses, size_t count,
                                        unsigned timeout_ms, connector_callback callback,
                                        void *context);
/* Whether that address may be connected to; context is the one of connector_start(). */
typedef bool (*connector_permit)(void *context, const struct socket_address *address);
/* Right after connector_start(): only addresses that are permitted are tried. It is asked about
 * each that the name has resolved to, and what it has seen is what is connected to. */
void connector_guard(struct connector *connector, connector_permit permit);
/* Right after connector_start(): the sockets have that congestion control, if the kernel lets them
 * (io/congestion.h). name must live until the callback; NULL: the system's, which on loopback is
 * not one that paces. */
void connector_use_congestion_control(struct connector *connector, const char *name);
/* Before the callback only; NULL is fine. */
void connector_cancel(struct connector *connector);
