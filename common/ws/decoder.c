#include "ws/decoder.h"

#include <string.h>

#include "base/bytes.h"
#include "base/utf8.h"
#include "ws/mask.h"

#define SHORTEST_HEADER 2

void ws_decoder_init(struct ws_decoder *d, enum ws_role role)
{
    memset(d, 0, sizeof *d);
    d->role = role;
    d->header_needed = SHORTEST_HEADER;
}

static int fail_ws(struct ws_decoder *d, enum ws_close_code code, const char *error)
{
    d->error_code = (uint16_t)code;
    d->error = error;
    return -1;
}

static int fail_ws_protocol(struct ws_decoder *d, const char *error)
{
    return fail_ws(d, WS_CLOSE_PROTOCOL_ERROR, error);
}

static uint8_t frame_opcode(const struct ws_decoder *d)
{
    return d->header[0] & 0x0f;
}

static bool frame_is_final(const struct ws_decoder *d)
{
    return d->header[0] & 0x80;
}

static bool frame_is_control(const struct ws_decoder *d)
{
    return frame_opcode(d) & 0x08;
}

static bool frame_is_masked(const struct ws_decoder *d)
{
    return d->header[1] & 0x80;
}

static uint8_t frame_short_length(const struct ws_decoder *d)
{
    return d->header[1] & 0x7f;
}

/* What the first two bytes alone can get wrong. */
static int check_start(struct ws_decoder *d)
{
    if (d->header[0] & 0x70)
        return fail_ws_protocol(d, "a reserved bit is set, but no extension was negotiated");
    switch (frame_opcode(d)) {
    case WS_OPCODE_CONTINUATION:
        if (!d->in_message)
            return fail_ws_protocol(d, "a continuation frame without a message to continue");
        break;
    case WS_OPCODE_TEXT:
        return fail_ws(d, WS_CLOSE_UNSUPPORTED, "a text frame; only binary frames are supported");
    case WS_OPCODE_BINARY:
        if (d->in_message)
            return fail_ws_protocol(d, "a new message inside a fragmented message");
        break;
    case WS_OPCODE_CLOSE:
    case WS_OPCODE_PING:
    case WS_OPCODE_PONG:
        if (!frame_is_final(d))
            return fail_ws_protocol(d, "a fragmented control frame");
        if (frame_short_length(d) > WS_CONTROL_PAYLOAD_MAX)
            return fail_ws_protocol(d, "a control frame of more than 125 bytes");
        break;
    default:
        return fail_ws_protocol(d, "a reserved opcode");
    }
    if (d->role == WS_ROLE_SERVER && !frame_is_masked(d))
        return fail_ws_protocol(d, "a frame from a client without a mask");
    if (d->role == WS_ROLE_CLIENT && frame_is_masked(d))
        return fail_ws_protocol(d, "a frame from a server with a mask");
    return 0;
}

static uint8_t length_bytes(const struct ws_decoder *d)
{
    if (frame_short_length(d) < 126)
        return 0;
    return frame_short_length(d) == 126 ? 2 : 8;
}

static int read_payload_length(struct ws_decoder *d)
{
    switch (length_bytes(d)) {
    case 0:
        d->payload_size = frame_short_length(d);
        return 0;
    case 2:
        d->payload_size = byte_load_u16(d->header + 2);
        if (d->payload_size < 126)
            return fail_ws_protocol(d, "a length that is not in its shortest form");
        return 0;
    default:
        d->payload_size = byte_load_u64(d->header + 2);
        if (d->payload_size > INT64_MAX)
            return fail_ws_protocol(d, "a length of 2^63 or more");
        if (d->payload_size <= UINT16_MAX)
            return fail_ws_protocol(d, "a length that is not in its shortest form");
        return 0;
    }
}

static void start_next_frame(struct ws_decoder *d)
{
    d->in_payload = false;
    d->header_size = 0;
    d->header_needed = SHORTEST_HEADER;
}

/* 1004 to 1006 and 1015 never go over the wire; 1016 to 2999 belong to nobody yet. */
static bool is_sendable_code(uint16_t code)
{
    return (code >= 1000 && code <= 1003) || (code >= 1007 && code <= 1014) ||
           (code >= 3000 && code <= 4999);
}

static int read_close(struct ws_decoder *d, struct ws_event *event)
{
    d->closed = true;
    event->code = WS_CLOSE_NO_STATUS;
    if (event->size == 0)
        return WS_CLOSE;
    if (event->size == 1)
        return fail_ws_protocol(d, "a close frame with half a code");
    event->code = byte_load_u16(event->bytes);
    event->bytes += 2;
    event->size -= 2;
    if (!is_sendable_code(event->code))
        return fail_ws_protocol(d, "a close frame with a code that may not be sent");
    if (!utf8_valid(event->bytes, event->size))
        return fail_ws(d, WS_CLOSE_INVALID_DATA, "a close frame with a reason that is not UTF-8");
    return WS_CLOSE;
}

static int finish_control(struct ws_decoder *d, struct ws_event *event)
{
    event->bytes = d->control;
    event->size = (size_t)d->payload_size;
    if (frame_is_masked(d))
        ws_mask(event->bytes, event->size, d->key, 0);
    start_next_frame(d);

    switch (frame_opcode(d)) {
    case WS_OPCODE_PING:
        return WS_PING;
    case WS_OPCODE_PONG:
        return WS_PONG;
    default:
        return read_close(d, event);
    }
}

static int finish_header(struct ws_decoder *d, struct ws_event *event)
{
    if (read_payload_length(d) < 0)
        return -1;
    if (frame_is_masked(d))
        memcpy(d->key, d->header + SHORTEST_HEADER + length_bytes(d), 4);
    d->payload_done = 0;
    d->in_payload = true;
    if (!frame_is_control(d))
        d->in_message = !frame_is_final(d);
    if (d->payload_size > 0)
        return WS_NEED_MORE;
    if (frame_is_control(d))
        return finish_control(d, event);
    start_next_frame(d);
    return WS_NEED_MORE;
}

static int take_header(struct ws_decoder *d, const uint8_t *bytes, size_t size, size_t *taken,
                       struct ws_event *event)
{
    size_t missing = (size_t)d->header_needed - d->header_size;
    size_t part = bytes_at_most(missing, size);

    memcpy(d->header + d->header_size, bytes, part);
    d->header_size += (uint8_t)part;
    *taken = part;
    if (part < missing)
        return WS_NEED_MORE;

    if (d->header_needed == SHORTEST_HEADER) {
        if (check_start(d) < 0)
            return -1;
        d->header_needed += length_bytes(d) + (frame_is_masked(d) ? 4 : 0);
        if (d->header_needed > SHORTEST_HEADER)
            return WS_NEED_MORE;
    }
    return finish_header(d, event);
}

static int take_payload(struct ws_decoder *d, uint8_t *bytes, size_t size, size_t *taken,
                        struct ws_event *event)
{
    size_t part = bytes_at_most(d->payload_size - d->payload_done, size);

    *taken = part;
    if (frame_is_control(d)) {
        memcpy(d->control + d->payload_done, bytes, part);
        d->payload_done += part;
        return d->payload_done == d->payload_size ? finish_control(d, event) : WS_NEED_MORE;
    }

    if (frame_is_masked(d))
        ws_mask(bytes, part, d->key, d->payload_done);
    event->bytes = bytes;
    event->size = part;
    d->payload_done += part;
    if (d->payload_done == d->payload_size)
        start_next_frame(d);
    return WS_DATA;
}

int ws_decoder_next(struct ws_decoder *d, uint8_t *bytes, size_t size, size_t *consumed,
                    struct ws_event *event)
{
    int result = d->error ? -1 : WS_NEED_MORE;
    size_t at = 0;

    memset(event, 0, sizeof *event);
    if (d->closed && !d->error)
        at = size;
    while (result == WS_NEED_MORE && at < size) {
        size_t taken;

        result = d->in_payload ? take_payload(d, bytes + at, size - at, &taken, event)
                               : take_header(d, bytes + at, size - at, &taken, event);
        at += taken;
    }
    if (result < 0)
        *event = (struct ws_event){.code = d->error_code, .error = d->error};
    *consumed = at;
    return result;
}
