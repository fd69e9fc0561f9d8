#include "mux/frame.h"

void mux_frame_encode_header(uint8_t out[MUX_FRAME_HEADER], const struct mux_frame *frame)
{
    out[0] = frame->type;
    out[1] = 0;
    byte_store_u16(out + 2, frame->size);
    byte_store_u32(out + 4, frame->stream);
}

void mux_frame_decode_header(const uint8_t in[MUX_FRAME_HEADER], struct mux_frame *frame)
{
    frame->type = in[0];
    frame->size = byte_load_u16(in + 2);
    frame->stream = byte_load_u32(in + 4);
}

struct frame_rule {
    uint16_t size_min;
    uint16_t size_max;
    bool control_only; /* the frame speaks of links, not of a stream */
};

/* By version, from 1; what a version does not change is as before. */
static const struct frame_rule rules[][16] = {
    {
        [MUX_HELLO] = {1, MUX_FRAME_PAYLOAD_MAX, true},
        [MUX_WELCOME] = {1, MUX_FRAME_PAYLOAD_MAX, true},
        [MUX_REJECT] = {1, MUX_FRAME_PAYLOAD_MAX, true},
        [MUX_POSITION] = {24, 24, false},
        [MUX_DATA] = {9, MUX_FRAME_PAYLOAD_MAX, false},
        [MUX_WINDOW] = {16, 16, false},
        [MUX_PING] = {8, 8, true},
        [MUX_PONG] = {8, 8, true},
        [MUX_GOAWAY] = {4, MUX_FRAME_PAYLOAD_MAX, true},
        [MUX_SHRINK] = {8, 8, false},
        [MUX_LIMIT] = {8, 8, false},
    },
    {
        [MUX_WINDOW] = {28, 28, false},
        [MUX_SHRINK] = {12, 12, false},
        [MUX_LIMIT] = {12, 12, false},
        [MUX_GONE] = {4, 4, true},
        [MUX_SUSPECT] = {4, 4, true},
        [MUX_MORE_LINKS] = {4, 4, true},
    },
};

static const struct frame_rule *rule_of(uint8_t type, unsigned version)
{
    const struct frame_rule *rule = NULL;

    if (type >= sizeof rules[0] / sizeof rules[0][0])
        return NULL;
    for (unsigned i = 0; i < sizeof rules / sizeof rules[0] && i < version; i++)
        if (rules[i][type].size_max > 0)
            rule = &rules[i][type];
    return rule;
}

const char *mux_frame_check(const struct mux_frame *frame, unsigned version)
{
    if (frame->size > MUX_FRAME_PAYLOAD_MAX)
        return "a frame is larger than the protocol allows";
    if (frame->type & MUX_MAY_IGNORE)
        return NULL;
    const struct frame_rule *rule = rule_of(frame->type, version);
    if (!rule)
        return "a frame has an unknown type";
    if (frame->size < rule->size_min || frame->size > rule->size_max)
        return "a frame has a wrong size for its type";
    if (rule->control_only && frame->stream != MUX_CONTROL_STREAM)
        return "a link frame names a stream";
    return NULL;
}

static void write_header(struct byte_writer *w, enum mux_frame_type type, uint32_t stream,
                         size_t size)
{
    byte_writer_u8(w, (uint8_t)type);
    byte_writer_u8(w, 0);
    byte_writer_u16(w, (uint16_t)size);
    byte_writer_u32(w, stream);
}

void mux_frame_write_data_header(struct byte_writer *w, uint32_t stream, uint64_t offset,
                                 size_t size)
{
    write_header(w, MUX_DATA, stream, size + 8);
    byte_writer_u64(w, offset);
}

void mux_frame_write_window(struct byte_writer *w, unsigned version, uint32_t stream,
                            const struct mux_credit *credit)
{
    if (version < MUX_VERSION_LINKS) {
        write_header(w, MUX_WINDOW, stream, 16);
        byte_writer_u64(w, credit->consumed);
        byte_writer_u64(w, credit->limit);
        return;
    }
    write_header(w, MUX_WINDOW, stream, 28);
    byte_writer_u64(w, credit->received);
    byte_writer_u64(w, credit->consumed);
    byte_writer_u64(w, credit->limit);
    byte_writer_u32(w, credit->shrinks);
}

void mux_frame_read_window(struct byte_reader *r, unsigned version, struct mux_credit *credit)
{
    bool numbered = version >= MUX_VERSION_LINKS;

    credit->received = numbered ? byte_reader_u64(r) : 0;
    credit->consumed = byte_reader_u64(r);
    credit->limit = byte_reader_u64(r);
    credit->shrinks = numbered ? byte_reader_u32(r) : 0;
    if (!numbered)
        credit->received = credit->consumed;
}

void mux_frame_write_position(struct byte_writer *w, uint32_t stream, uint64_t received,
                              uint64_t consumed, uint64_t limit)
{
    write_header(w, MUX_POSITION, stream, 24);
    byte_writer_u64(w, received);
    byte_writer_u64(w, consumed);
    byte_writer_u64(w, limit);
}

void mux_frame_write_u64(struct byte_writer *w, enum mux_frame_type type, uint64_t value)
{
    write_header(w, type, MUX_CONTROL_STREAM, 8);
    byte_writer_u64(w, value);
}

void mux_frame_write_limit(struct byte_writer *w, unsigned version, enum mux_frame_type type,
                           uint32_t stream, uint64_t limit, uint32_t number)
{
    bool numbered = version >= MUX_VERSION_LINKS;

    write_header(w, type, stream, numbered ? 12 : 8);
    byte_writer_u64(w, limit);
    if (numbered)
        byte_writer_u32(w, number);
}

void mux_frame_write_u32(struct byte_writer *w, enum mux_frame_type type, uint32_t value)
{
    write_header(w, type, MUX_CONTROL_STREAM, 4);
    byte_writer_u32(w, value);
}
