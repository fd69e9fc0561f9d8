/*
 * Bytes of a stream that have come over one link before those in front of them, which are still on
 * their way over another. They wait here, sorted by offset, each once.
 *
 * A piece is a run of bytes without a gap. A piece costs more than its bytes, so pieces are bounded
 * as well as bytes: a sender has at most MUX_FLIGHT_RUNS runs of a stream in flight, and a few
 * frames of theirs (MUX_PIECES_MAX) are the most that an honest one can make.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/chunk.h"

#define MUX_PIECES_MAX 2048

/* The queue's own offsets count from where the piece began. */
struct mux_piece {
    uint64_t from;
    struct byte_queue bytes;
};

struct mux_reassembly {
    struct mux_piece **pieces; /* in order, with gaps between them; NULL: none was ever needed */
    uint16_t count;
    uint16_t capacity;
    uint64_t held; /* bytes in all of them */
    size_t chunks; /* bytes of the chunks that those are in */
};

void mux_reassembly_clear(struct mux_reassembly *reassembly);
/* Takes those of the bytes, which begin at offset, that are not there yet. false: there are too
 * many pieces. */
bool mux_reassembly_add(struct mux_reassembly *reassembly, struct chunk_pool *pool, uint64_t offset,
                        const uint8_t *bytes, size_t size);
/* Forgets what is before offset. Then: copies up to size bytes that begin at offset, takes them
 * out, and returns how many; 0: there are none. */
size_t mux_reassembly_take(struct mux_reassembly *reassembly, uint64_t offset, uint8_t *bytes,
                           size_t size);
/* What it takes of memory, as it is charged for: whole chunks, and a record for each piece. */
uint64_t mux_reassembly_cost(const struct mux_reassembly *reassembly);
/* The offset behind the last byte; 0: there is none. */
uint64_t mux_reassembly_end(const struct mux_reassembly *reassembly);
