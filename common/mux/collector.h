/*
 * Something that comes in pieces and is acted upon when it is whole: a frame, a message. Its size
 * stands in its head, so first the head is collected, then the rest.
 *
 * Most are small, and few come in pieces at all. So there is room for a small one; a larger one
 * gets memory for as long as it takes to come, and no more than its own size.
 */
#pragma once

#include <stddef.h>
#include <stdint.h>

#define MUX_COLLECTOR_SMALL 64

struct mux_collector {
    uint8_t small[MUX_COLLECTOR_SMALL];
    uint8_t *large; /* NULL: small is enough */
    size_t fill;
};

/* What has been collected: fill bytes. Valid until the next call of the other functions. */
const uint8_t *mux_collector_bytes(const struct mux_collector *collector);
/* Adds of the bytes what is missing to a whole of want bytes, which never becomes less than what
 * has been collected. Returns how many it has taken. Aborts without memory. */
size_t mux_collect(struct mux_collector *collector, const uint8_t *bytes, size_t size, size_t want);
/* Nothing has been collected. */
void mux_collector_clear(struct mux_collector *collector);
