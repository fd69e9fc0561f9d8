/*
 * What the kernel knows of the path that a TCP connection takes: how long it is, how fast, what it
 * loses, and what waits.
 *
 * Linux tells all of it (TCP_INFO), macOS a part (TCP_CONNECTION_INFO), others nothing. It is a
 * system call of a microsecond or so: ask when bytes move, and not for each of them.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

/* 0: none, or the kernel does not tell. */
struct path_sample {
    uint32_t round_trip_us; /* smoothed */
    uint32_t shortest_round_trip_us;
    /* Bytes a second that arrived at the peer, over about the last round trip. */
    uint64_t rate;
    /* The sender had less to send than the path would have taken: it carries at least the rate. */
    bool rate_is_least;
    uint32_t unsent;         /* bytes in the kernel that were never sent */
    uint32_t unacknowledged; /* bytes that were, and are under way or lost */
    uint32_t lost;           /* segments that are thought lost now */
    /* Since the connection was made. */
    uint64_t retransmitted; /* bytes */
    uint32_t retransmitted_segments;
    uint32_t segments;     /* with data, these included */
    uint32_t segment_size; /* bytes that one holds */
};

/* false: this is no TCP connection, or the kernel tells nothing; the sample is all 0 then. */
bool path_measure(int fd, struct path_sample *sample);
