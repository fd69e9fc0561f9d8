/*
 * Connects to a broker or target: TCP, then TLS where it is wanted, with one deadline for both.
 */
#pragma once

#include "io/connector.h"
#include "io/transport.h"

/* How to speak TLS to a peer. */
struct dial_tls {
    SSL_CTX *context;        /* NULL: plain TCP */
    const char *server_name; /* what certificates must be for; NULL: the host that is dialled */
};

enum dial_failure {
    DIAL_FAILURE_NONE = 0,
    DIAL_FAILURE_NAME,      /* the host's name did not resolve */
    DIAL_FAILURE_FORBIDDEN, /* the guard permits none of its addresses */
    DIAL_FAILURE_TCP,
    DIAL_FAILURE_TLS,
};

struct dial_result {
    struct transport *transport; /* connected, the callback's; NULL: failed */
    enum dial_failure failure;
    enum tls_failure tls; /* with DIAL_FAILURE_TLS */
    bool timed_out;
    const char *error; /* what the last attempt said */
};

typedef void (*dial_callback)(void *context, const struct dial_result *result);

struct dial;

/* Answers later, never from inside this call. host and tls's texts must live until then. */
struct dial *dial_start(struct worker *worker, const char *host, uint16_t port,
                        const struct dial_tls *tls, unsigned timeout_ms, dial_callback callback,
                        void *context);
/* Right after dial_start(): as connector_guard(); context is the one of dial_start(). */
void dial_guard(struct dial *dial, connector_permit permit);
/* Before the callback only; NULL is fine. */
void dial_cancel(struct dial *dial);
