/*
 * What of a stream is in flight, and on which link: the sender's record of the bytes that it has
 * sent and that the peer is not known to have received.
 *
 *     acknowledged ... | run | run | run | ... sent
 *
 * Runs lie side by side, in order of offsets, without a gap. Each is on a link, or on two when it
 * was sent again, or lost with its link. Links are named by their slot (struct mux_link). A run
 * grows while its stream stays on a link, so there are few; MUX_FLIGHT_RUNS bounds them: a stream
 * that has so many goes on on the link of its last run alone.
 *
 * in_flight, an array by slot, is kept up to date: bytes that are on their way on each link.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "mux/protocol.h"

#define MUX_FLIGHT_RUNS 1024
/* No link: the run is lost; or it was not sent a second time. */
#define MUX_SLOT_NONE 0xff
/* It is to be sent a second time. */
#define MUX_SLOT_WANTED 0xfe

struct mux_run {
    uint64_t from;
    uint64_t to;
    uint8_t slot;  /* MUX_SLOT_NONE: lost */
    uint8_t again; /* the second link that has it; MUX_SLOT_WANTED, MUX_SLOT_NONE */
};

struct mux_flight {
    struct mux_run *runs; /* NULL: none was ever needed */
    uint16_t first;       /* runs before it are done with */
    uint16_t count;       /* from first on */
    uint16_t capacity;
    uint16_t lost;   /* of them */
    uint16_t wanted; /* of them: to be sent a second time */
};

void mux_flight_clear(struct mux_flight *flight, uint64_t *in_flight);
/* Bytes are sent for the first time, behind all others. mux_flight_may_send() was true. */
void mux_flight_sent(struct mux_flight *flight, uint64_t from, uint64_t to, uint8_t slot,
                     uint64_t *in_flight);
/* Whether there is room to write down that new bytes go over this link. */
bool mux_flight_may_send(const struct mux_flight *flight, uint8_t slot);
/* The peer has everything before offset. Adds to carried, by slot, what each link is known to have
 * carried. */
void mux_flight_received(struct mux_flight *flight, uint64_t offset, uint64_t *in_flight,
                         uint64_t *carried);
/* The run that the peer waits for; NULL: nothing is in flight. */
const struct mux_run *mux_flight_head(const struct mux_flight *flight);
/* A link is gone. true: there are lost runs now. */
bool mux_flight_link_lost(struct mux_flight *flight, uint8_t slot, uint64_t *in_flight);

/* The first lost run, or the first one that is to be sent again and is not on this link; NULL:
 * there is none, or no room to write down that a part of it went. Valid until the next call. */
const struct mux_run *mux_flight_next_lost(const struct mux_flight *flight, uint8_t slot);
const struct mux_run *mux_flight_next_wanted(const struct mux_flight *flight, uint8_t slot);
/* That run was sent over this link, from its beginning up to offset. */
void mux_flight_sent_again(struct mux_flight *flight, const struct mux_run *run, uint64_t to,
                           uint8_t slot, uint64_t *in_flight);
/* Wants up to bytes of what is on this link, and on no other, to be sent a second time, the first
 * of them first. Returns how many bytes that are. */
uint64_t mux_flight_want_again(struct mux_flight *flight, uint8_t slot, uint64_t bytes);
/* Runs that are on slot, and were sent again over second: they count as if that were not so. */
void mux_flight_forget_second(struct mux_flight *flight, uint8_t slot, uint8_t second,
                              uint64_t *in_flight);
