/*
 * How much bulk may be on its way on a link whose TCP connection ends before the peer, in an
 * ingress or a proxy. Its kernel sees only the way there, which is short and takes everything:
 * megabytes can wait in between, where the path is narrow, and what they hold up are a stream's
 * other bytes, and whatever is sent over that link later.
 *
 * So no more is sent than arrives within two of the link's round trips and a little. An answered
 * PING proves that what went before it has arrived: that tells the rate.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

struct mux_allowance {
    uint64_t sent;        /* bytes of streams */
    uint64_t asked;       /* of them, before the latest PING */
    uint64_t arrived;     /* of them, before the latest PING that was answered */
    uint64_t answered_us; /* when that was; 0: none was */
    uint64_t rate;        /* bytes/s that arrive when there is enough to send; 0: unknown */
};

void mux_allowance_sent(struct mux_allowance *allowance, uint64_t bytes);
/* A PING goes out; no other one is unanswered. */
void mux_allowance_asked(struct mux_allowance *allowance);
/* It is answered after rtt_us; rtt_min_us: the link's shortest, more than 0. */
void mux_allowance_answered(struct mux_allowance *allowance, uint64_t rtt_us, uint64_t rtt_min_us,
                            uint64_t now_us);
/* Whether no more should be sent. in_flight: bytes that are not known to have arrived by what the
 * peer says of its streams. */
bool mux_allowance_is_used_up(const struct mux_allowance *allowance, uint64_t in_flight,
                              uint64_t rtt_min_us);
