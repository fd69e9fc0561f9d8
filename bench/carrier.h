#pragma once
/*
 * What a long path does to packets: in each direction a bottleneck with a drop-tail queue before
 * it, random loss, delay and jitter; and faults, of the whole path or of one TCP connection
 * (flows.h). Sans-I/O: it is given packets and the time, and gives packets back when they are due.
 *
 * Packets live in slots of a pool of fixed size. The caller takes a slot, fills it, and hands it
 * over; what comes out it gives back. Nothing is allocated after carrier_new().
 */
#include "flows.h"

enum {
    CARRIER_MTU = 1500,
    CARRIER_SLOTS = 128 * 1024, /* one direction's packets of 1500 bytes at 1 Gbit/s for 1.5 s */
};

struct carrier_settings {
    double delay_ms, jitter_ms; /* jitter is added: evenly spread from 0 to that much */
    double loss_percent;
    double rate_mbit; /* 0: no bottleneck, no queue */
    double queue_ms;  /* what may wait before the bottleneck, as time at its rate */
};

struct carrier_counts {
    uint64_t passed, bytes; /* packets that came out, and their bytes */
    uint64_t lost;          /* at random */
    uint64_t overflowed;    /* the queue was full */
    uint64_t cut;           /* by a fault */
};

struct carrier_slot {
    uint16_t length;
    uint16_t near_port; /* of its connection, 0 if it is no TCP; set by the carrier */
    uint8_t bytes[CARRIER_MTU];
};

struct carrier;

/* NULL without memory. All settings are 0. */
struct carrier *carrier_new(void);
void carrier_free(struct carrier *carrier);

/* The same packets have the same fate with the same seed. */
void carrier_seed(struct carrier *carrier, uint64_t seed);

/* For packets from that end from now on. Packets stay in order also when the delay shrinks. */
struct carrier_settings *carrier_settings(struct carrier *carrier, enum flow_end from);
/* Jitter may let packets overtake each other from now on. */
void carrier_reorder(struct carrier *carrier, bool on);

/* A slot to be filled, or NULL: all are under way. */
struct carrier_slot *carrier_take_slot(struct carrier *carrier);
void carrier_give_slot(struct carrier *carrier, struct carrier_slot *slot);

/* A packet has come from that end; the carrier owns the slot. */
void carrier_put(struct carrier *carrier, enum flow_end from, struct carrier_slot *slot,
                 uint64_t now_ns);
/* The next packet from that end that is due, to be written to the other one; NULL when none is. */
struct carrier_slot *carrier_get(struct carrier *carrier, enum flow_end from, uint64_t now_ns);
/* When the next packet is due, in any direction; UINT64_MAX when none is under way. */
uint64_t carrier_next_ns(const struct carrier *carrier);

/* All packets vanish, those under way as well; or no more. */
void carrier_cut(struct carrier *carrier, bool on);
/* FLOW_RESET also sends resets to both ends, when it is known what they accept. */
void carrier_treat(struct carrier *carrier, struct flow *flow, enum flow_treatment treatment,
                   uint64_t now_ns);
/* The path is whole again: no cut, no connection is treated specially or slower than others. */
void carrier_heal(struct carrier *carrier);

const struct carrier_counts *carrier_counts(const struct carrier *carrier, enum flow_end from);
struct flows *carrier_flows(struct carrier *carrier);
