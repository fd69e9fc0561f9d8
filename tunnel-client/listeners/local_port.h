/*
 * What is on a local port that a listener is to have: nothing, a tunnel-client, or something else.
 * Asked without the event loop, for the doctor; every wait is bounded.
 */
#pragma once

#include <openssl/x509.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum local_port {
    LOCAL_PORT_FREE,
    LOCAL_PORT_TUNNEL, /* a tunnel-client listens there: brokers are said to be at local ports */
    LOCAL_PORT_OTHER,
};

/* How a tunnel-client names brokers there. */
struct local_port_names {
    const char *advertise; /* a host; "": by loopback addresses */
    bool kept;             /* brokers keep their own names */
};

/* The certificate that is shown there to a client that speaks TLS; NULL: none is. The caller frees
 * it. */
X509 *local_port_certificate(const char *host, uint16_t port);
/* host: numeric. why: for LOCAL_PORT_OTHER, what is known of it. */
enum local_port local_port_look(const char *host, uint16_t port,
                                const struct local_port_names *names, char *why, size_t size);
