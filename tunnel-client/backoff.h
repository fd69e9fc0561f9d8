/*
 * How long a client waits before its next dial. At once after a link that worked, unless that was
 * dialled for just now; after failures, longer each time, up to ten seconds. Spread, so that the
 * clients of a server that is gone do not meet.
 *
 * No sockets and no clock: the owner dials.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

enum backoff_patience {
    BACKOFF_USUAL,
    BACKOFF_REFUSED, /* who dials is not admitted: the next dial will hardly be */
    BACKOFF_SHORT,   /* another server is near, or this one soon */
};

struct backoff_facts {
    unsigned failures; /* dials in a row, with the last one, that led to no link that worked */
    enum backoff_patience patience;
    uint64_t dialled_us; /* so long ago the last dial began */
    unsigned asked_ms;   /* the pause that the other side wants, of all of its clients; or 0 */
};

/* The pause, in ms. Any random number spreads it. */
unsigned backoff_ms(const struct backoff_facts *facts, uint32_t random);

/* After a link that worked the next dial is immediate, but for this pace: another command for a
 * token and another handshake cost both ends something. */
#define BACKOFF_PACE_US (1000u * 1000)
/* A refusal is repeated so soon at the earliest. */
#define BACKOFF_REFUSED_MS (30u * 1000)
