/*
 * What is on a local port that a listener is to have: nothing, a tunnel-client, or something else.
 * Asked without the event loop, for the doctor; every wait is bounded.
 */
#pragma once

#include <stddef.h>
#include <stdint.h>

enum local_port {
    LOCAL_PORT_FREE,
    LOCAL_PORT_TUNNEL, /* a tunnel-client listens there: brokers are said to be at local ports */
    LOCAL_PORT_OTHER,
};

/* host: numeric. advertise: the host that a tunnel-client names brokers by, "" for loopback
 * addresses. why: for LOCAL_PORT_OTHER, what is known of it. */
enum local_port local_port_look(const char *host, uint16_t port, const char *advertise, char *why,
                                size_t size);
