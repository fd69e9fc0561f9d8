/* Frames of the tunnel protocol: headers and the payloads of fixed shape (docs/protocol.md). */
#pragma once

#include "base/bytes.h"
#include "mux/protocol.h"

struct mux_frame {
    uint8_t type;  /* enum mux_frame_type, or a later one */
    uint16_t size; /* payload bytes, at most MUX_FRAME_PAYLOAD_MAX */
    uint32_t stream;
};

void mux_frame_encode_header(uint8_t out[MUX_FRAME_HEADER], const struct mux_frame *frame);
void mux_frame_decode_header(const uint8_t in[MUX_FRAME_HEADER], struct mux_frame *frame);

/* Checks type, size and stream number of a frame before its payload has come. NULL, or what is
 * wrong. */
const char *mux_frame_check(const struct mux_frame *frame);

/* Writes header and payload of the small frames. */
void mux_frame_write_data_header(struct byte_writer *w, uint32_t stream, uint64_t offset,
                                 size_t size);
void mux_frame_write_window(struct byte_writer *w, uint32_t stream, uint64_t consumed,
                            uint64_t limit);
void mux_frame_write_position(struct byte_writer *w, uint32_t stream, uint64_t received,
                              uint64_t consumed, uint64_t limit);
/* PING, PONG, SHRINK and LIMIT carry one u64. */
void mux_frame_write_u64(struct byte_writer *w, enum mux_frame_type type, uint32_t stream,
                         uint64_t value);

#define MUX_WINDOW_FRAME (MUX_FRAME_HEADER + 16u)
#define MUX_POSITION_FRAME (MUX_FRAME_HEADER + 24u)
#define MUX_U64_FRAME (MUX_FRAME_HEADER + 8u)
