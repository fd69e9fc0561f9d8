/*
 * How much of a session's bytes moves at a time. Much at a time is what bulk is fastest with; but a
 * message waits for what has just begun to move. So while messages pass beside bulk, in whatever
 * direction, less moves at a time, and less of it waits in the kernel.
 */
#pragma once

#include <stddef.h>
#include <stdint.h>

/* Four whole frames: with less, bulk beside messages loses more than they win. */
#define MUX_PORTION ((size_t)64 * 1024)

struct mux_portion {
    uint64_t message_us; /* when a message passed last; 0: never */
    uint64_t bulk_us;    /* when bulk did */
};

/* A stream of the session gets so many bytes to send, or sends or receives a frame with so many.
 * stream_bulk_us: when the stream had bulk last; the end of bulk is no message. The time of any
 * monotonic clock, not 0. */
void mux_portion_note(struct mux_portion *portion, uint64_t *stream_bulk_us, size_t size,
                      uint64_t now_us);
/* MUX_PORTION; or SIZE_MAX: as much as there is. */
size_t mux_portion_size(const struct mux_portion *portion, uint64_t now_us);
