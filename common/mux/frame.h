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
 * wrong in that version of the protocol. */
const char *mux_frame_check(const struct mux_frame *frame, unsigned version);

/* Writes header and payload of the small frames. */
void mux_frame_write_data_header(struct byte_writer *w, uint32_t stream, uint64_t offset,
                                 size_t size);
/* What WINDOW tells. In version 1: consumed and limit. */
struct mux_credit {
    uint64_t received;
    uint64_t consumed;
    uint64_t limit;
    uint32_t shrinks; /* the number of the latest SHRINK */
};
void mux_frame_write_window(struct byte_writer *w, unsigned version, uint32_t stream,
                            const struct mux_credit *credit);
void mux_frame_read_window(struct byte_reader *r, unsigned version, struct mux_credit *credit);
void mux_frame_write_position(struct byte_writer *w, uint32_t stream, uint64_t received,
                              uint64_t consumed, uint64_t limit);
/* PING and PONG carry one u64. */
void mux_frame_write_u64(struct byte_writer *w, enum mux_frame_type type, uint64_t value);
/* SHRINK and LIMIT, with the number of that SHRINK; version 1 does not number them. */
void mux_frame_write_limit(struct byte_writer *w, unsigned version, enum mux_frame_type type,
                           uint32_t stream, uint64_t limit, uint32_t number);
/* GONE, SUSPECT and MORE_LINKS carry one u32. */
void mux_frame_write_u32(struct byte_writer *w, enum mux_frame_type type, uint32_t value);

/* Sizes of the larger version. */
#define MUX_WINDOW_FRAME (MUX_FRAME_HEADER + 28u)
#define MUX_LIMIT_FRAME (MUX_FRAME_HEADER + 12u)
#define MUX_U32_FRAME (MUX_FRAME_HEADER + 4u)
#define MUX_POSITION_FRAME (MUX_FRAME_HEADER + 24u)
#define MUX_U64_FRAME (MUX_FRAME_HEADER + 8u)
