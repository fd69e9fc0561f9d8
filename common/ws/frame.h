/*
 * WebSocket frames, RFC 6455 section 5.2: the constants, and writing.
 *
 * The room ws/ turns bytes into payload and back. It does no input or output, knows no handshake,
 * no sockets, no clock, no randomness and nothing of the protocol inside; it may use base/ only.
 * A frame is written as its header (ws_frame_header) followed by the payload, which the caller
 * masks with ws_mask() if the header carries a key. A client masks every frame with a
 * fresh key that a peer cannot guess (section 5.3), a server masks none.
 */
#pragma once

#include <stddef.h>
#include <stdint.h>

#define WS_HEADER_MAX 14
/* Payload of a control frame, and a whole control frame with its header. */
#define WS_CONTROL_PAYLOAD_MAX 125
#define WS_CONTROL_FRAME_MAX (2 + 4 + WS_CONTROL_PAYLOAD_MAX)

enum ws_opcode {
    WS_OPCODE_CONTINUATION = 0x0,
    WS_OPCODE_TEXT = 0x1,
    WS_OPCODE_BINARY = 0x2,
    WS_OPCODE_CLOSE = 0x8,
    WS_OPCODE_PING = 0x9,
    WS_OPCODE_PONG = 0xa,
};

/* Those of section 7.4.1, and of the registry it opens, that are sent or looked for here. */
enum ws_close_code {
    WS_CLOSE_NORMAL = 1000,
    WS_CLOSE_GOING_AWAY = 1001,
    WS_CLOSE_PROTOCOL_ERROR = 1002,
    WS_CLOSE_UNSUPPORTED = 1003,
    WS_CLOSE_NO_STATUS = 1005, /* never sent: a close frame without a code */
    WS_CLOSE_INVALID_DATA = 1007,
    WS_CLOSE_TOO_BIG = 1009,
};

/*
 * Writes the header of a whole message (FIN set) of payload_size bytes, less than 2^63.
 * mask_key is NULL on a server. Returns the header's size, at most WS_HEADER_MAX.
 */
size_t ws_frame_header(uint8_t out[WS_HEADER_MAX], enum ws_opcode opcode, uint64_t payload_size,
                       const uint8_t *mask_key);

/* Writes a whole pong and returns its size. payload: that of the ping that it answers, at most
 * WS_CONTROL_PAYLOAD_MAX bytes. */
size_t ws_frame_pong(uint8_t out[WS_CONTROL_FRAME_MAX], const void *payload, size_t size,
                     const uint8_t *mask_key);

/*
 * Writes a whole close frame and returns its size. WS_CLOSE_NO_STATUS writes a close frame without
 * payload. reason is UTF-8 and may be NULL; what does not fit is left out.
 */
size_t ws_frame_close(uint8_t out[WS_CONTROL_FRAME_MAX], enum ws_close_code code,
                      const char *reason, const uint8_t *mask_key);
