/*
 * What the doctor has measured of the path to the server, in words: what one link carries, and what
 * several would bring.
 *
 * Where segments get lost by chance, a congestion control that takes each loss for a full line
 * settles at a rate that follows from the loss and the round trip, however fast the line is
 * (Mathis, Semke, Mahdavi, Ott: The Macroscopic Behavior of the TCP Congestion Avoidance Algorithm,
 * 1997): segment / round trip * 1.22 / sqrt(loss). Each link has its own share of that.
 */
#pragma once

#include <stddef.h>
#include <stdint.h>

struct path_report {
    /* By pings, from end to end; 0: none was answered. */
    unsigned pings;
    uint64_t rtt_least_us;
    uint64_t rtt_median_us;
    /* Bytes that arrived at the server, and in how long; 0: that was not measured. */
    uint64_t bytes;
    uint64_t took_us;
    /* What the kernel tells of the link meanwhile, up to the next hop. 0 segments: it does not. */
    uint64_t hop_rtt_us;      /* the shortest */
    uint64_t hop_rtt_peak_us; /* smoothed, at its longest: with what waits in front of the line */
    uint32_t segments;
    uint32_t retransmitted;
    uint32_t segment_size;
    const char *congestion_control; /* "": it does not */
    unsigned links;                 /* --links */
};

/* Bytes a second that one link settles at; 0: that cannot be told. */
uint64_t path_report_settles_at(const struct path_report *report);
/* What one link carried. "": nothing. */
void path_report_carried(const struct path_report *report, char *text, size_t size);
/* What several links would bring. "": nothing can be said. */
void path_report_advice(const struct path_report *report, char *text, size_t size);
/* "11.5 Mbit/s". */
#define PATH_RATE_TEXT 24
void path_report_rate(uint64_t bytes_a_second, char text[PATH_RATE_TEXT]);
