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
#include <stdint.h>

enum load_mode {
    LOAD_ECHO = 'e',   /* everything comes back */
    LOAD_SOURCE = 's', /* bytes flow to the client until it closes */
    LOAD_SINK = 'k',   /* bytes are counted; the running count, 8 bytes big-endian, comes back at
                          most every 10 ms: so the client knows what arrived, not what it sent */
    LOAD_ANSWER = 'h', /* bytes are counted until end of file; then the count, then end of file */
    LOAD_CHECKED_SOURCE = 'S', /* as LOAD_SOURCE and LOAD_SINK, but the bytes are those of the */
    LOAD_CHECKED_SINK = 'K',   /* block over and over, and whoever reads them checks that */
};

enum { LOAD_BLOCK = 256 * 1024 }; /* one read or write of bulk data */

struct load_options {
    struct sockaddr_in address; /* to listen on (serve) or to connect to (all others) */
    int streams;                /* bulk, exchange, messages, hold: connections; churn: workers */
    double seconds;             /* length of the measurement */
    double warmup;              /* bulk, exchange: seconds before the measurement */
    int size;                   /* ping, exchange, messages: bytes */
    int in_flight;              /* exchange: messages under way on each connection */
    double interval_ms;         /* messages: between two of a connection */
    int check;                  /* bulk: the receiver compares every byte */
};

/* The bytes of bulk data, 2 * LOAD_BLOCK of them: the block twice, so that LOAD_BLOCK bytes can be
 * sent from any offset in it. Pseudo-random: a tunnel that compresses should find nothing to win.
 */
void load_fill_blocks(uint8_t *blocks);

/* NULL, or where the first byte is that should not be at that offset of a stream of the block. */
const uint8_t *load_find_difference(const uint8_t *blocks, uint64_t offset, const uint8_t *bytes,
                                    size_t length);

/* What a client wants to know of times in nanoseconds, which are sorted for that: the rest of an
 * object from its "count" on. */
void load_print_percentiles(uint64_t *samples, size_t count);

int load_serve(const struct load_options *options);

/* up != 0: to the server. Prints {"started":true} when the warm-up is over, and the result when
 * seconds are over or SIGTERM comes, while the streams are still open: whoever reads these lines
 * can take the tunnel's CPU time for just that interval. */
int load_bulk(const struct load_options *options, int up);

/* "longest_pause_ms" of bulk: the longest time in which nothing arrived on one of the streams. */

int load_messages(
    const struct load_options *options); /* at fixed times, until SIGTERM or the end */
/* Messages on all streams at once, each sent when an earlier one is back. Prints two lines, as
 * load_bulk() does. */
int load_exchange(const struct load_options *options);
int load_ping(const struct load_options *options);  /* one round trip after another */
int load_churn(const struct load_options *options); /* connect, echo, close, over and over */
int load_hold(const struct load_options *options);  /* idle connections until SIGTERM */
int load_half_close(const struct load_options *options);
