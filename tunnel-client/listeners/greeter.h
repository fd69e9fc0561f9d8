/*
 * What a local program speaks, on a listener that takes TLS: its first byte says (a ClientHello
 * begins with 0x16, RFC 8446, 5.1; a Kafka request with the high byte of its length, which is 0).
 * Then it is a connection as any other, plain or after its handshake.
 *
 * Whoever comes is a stranger until then, perhaps from another machine. So each connection has one
 * deadline from accept on, a bounded number have it at a time (http/handshake_slots.h says who
 * makes way), and nothing of it goes anywhere: no stream is opened before.
 */
#pragma once

#include "io/socket.h"
#include "io/transport.h"
#include "io/worker.h"
#include "listeners/listener_tls.h"

struct greeter;

/* Why a connection is not the owner's to carry. */
enum greeter_end {
    GREETER_LEFT,           /* before it had said anything; or the greeter is cleared */
    GREETER_PLAINTEXT,      /* where only TLS is let in */
    GREETER_HANDSHAKE,      /* failed, or was broken off */
    GREETER_CLIENT_REFUSED, /* the client did not take the listener's certificate, or its TLS */
    GREETER_CERTIFICATE,    /* the client's: none, or none that is trusted */
    GREETER_TIMEOUT,        /* in the handshake */
    GREETER_SILENT,         /* not a byte came in that time */
    GREETER_CROWDED,        /* too many at a time */
};

struct greeter_owner {
    /* All that it has sent is the first that the transport yields, which is the owner's. */
    void (*greeted)(void *context, void *connection, struct transport *transport);
    void (*dismissed)(void *context, void *connection, enum greeter_end end);
};

struct greeter_settings {
    size_t max;          /* connections at a time */
    uint64_t timeout_ms; /* of each, from accept on */
};

struct greeter *greeter_new(struct worker *worker, const struct greeter_settings *settings,
                            const struct greeter_owner *owner, void *context);
/* NULL is fine. */
void greeter_free(struct greeter *greeter);
/* Dismisses whoever is there. NULL is fine. */
void greeter_clear(struct greeter *greeter);
size_t greeter_count(const struct greeter *greeter);

/* An accepted connection. */
struct greeter_guest {
    struct transport *transport; /* the greeter's from now on */
    const struct socket_address *peer;
    enum listener_security security; /* of the listener; not plain */
    SSL_CTX *tls;                    /* takes a reference of its own */
    const char *label; /* the listener, for the log; lives as long as the connection */
    void *connection;  /* what the owner knows it by */
};
/* The owner may hear of it before this returns. */
void greeter_adopt(struct greeter *greeter, const struct greeter_guest *guest);
