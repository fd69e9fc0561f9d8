#pragma once
/*
 * load: traffic for measuring tunnels. One program, two ends: `load serve` is what the tunnel
 * connects to, the other commands are what connects to the tunnel.
 *
 * The first byte that a client sends on a connection says what the server does with it (enum
 * load_mode). Each command prints its result as JSON, one object a line, and returns an exit code:
 * 0 = measured, 1 = failed (said on stderr).
 */
#include <netinet/in.h>
#include <stddef.h>

enum load_mode {
    LOAD_ECHO = 'e',   /* everything comes back */
    LOAD_SOURCE = 's', /* bytes flow to the client until it closes */
    LOAD_SINK = 'k',   /* bytes are counted; the running count, 8 bytes big-endian, comes back at
                          most every 10 ms: so the client knows what arrived, not what it sent */
    LOAD_ANSWER = 'h', /* bytes are counted until end of file; then the count, then end of file */
};

enum { LOAD_BLOCK = 256 * 1024 }; /* one read or write of bulk data */

struct load_options {
    struct sockaddr_in address; /* to listen on (serve) or to connect to (all others) */
    int streams;                /* bulk: connections; churn: workers; hold: connections */
    double seconds;             /* length of the measurement */
    double warmup;              /* bulk: seconds before the measurement */
    int size;                   /* ping: bytes a round trip */
};

int load_serve(const struct load_options *options);

/* up != 0: to the server. Prints {"started":true} when the warm-up is over, and the result when
 * seconds are over or SIGTERM comes, while the streams are still open: whoever reads these lines
 * can take the tunnel's CPU time for just that interval. */
int load_bulk(const struct load_options *options, int up);

int load_ping(const struct load_options *options);  /* one round trip after another */
int load_churn(const struct load_options *options); /* connect, echo, close, over and over */
int load_hold(const struct load_options *options);  /* idle connections until SIGTERM */
int load_half_close(const struct load_options *options);
