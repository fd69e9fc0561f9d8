/*
 * Reading WebSocket frames, RFC 6455 section 5: bytes in, in any split, events out.
 *
 * Data is never copied or collected: an event points at payload inside the caller's own buffer,
 * unmasked there in place, so a frame of any size passes through a decoder of fixed size. Messages
 * mean nothing here: the payload of binary frames is one stream of bytes, however it is framed.
 *
 * The decoder is strict. Each of these ends the connection: reserved bits or opcodes, a control
 * frame that is fragmented or longer than 125, a length not in its shortest form or above 2^63 - 1,
 * a mask where none may be or none where one must be, a continuation without a start, a new message
 * inside another, text, and a close frame with half a code, a code that may not be sent, or a
 * reason that is not UTF-8.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "ws/frame.h"

/* Which end the decoder is on: a server requires masked frames, a client requires unmasked ones. */
enum ws_role {
    WS_ROLE_CLIENT,
    WS_ROLE_SERVER,
};

enum ws_event_kind {
    WS_NEED_MORE = 0, /* everything was consumed */
    WS_DATA,          /* bytes: a piece of binary payload, in the caller's buffer, never empty */
    WS_PING,          /* bytes: to be sent back in a pong; in the decoder, until the next call */
    WS_PONG,          /* bytes: as for a ping */
    WS_CLOSE,         /* code, or WS_CLOSE_NO_STATUS; bytes: the reason, UTF-8, as for a ping */
};

struct ws_event {
    uint8_t *bytes;
    size_t size;
    uint16_t code;
    const char *error; /* static; set when ws_decoder_next fails */
};

struct ws_decoder {
    enum ws_role role;
    bool in_payload;
    bool in_message; /* between the fragments of a message */
    bool closed;     /* a close frame came: what follows is ignored (section 5.5.1) */
    uint8_t header[WS_HEADER_MAX];
    uint8_t header_size;   /* collected so far */
    uint8_t header_needed; /* 2 until the first two bytes tell more */
    uint8_t key[4];
    uint64_t payload_size;
    uint64_t payload_done;
    uint8_t control[WS_CONTROL_PAYLOAD_MAX];
    uint16_t error_code;
    const char *error;
};

void ws_decoder_init(struct ws_decoder *d, enum ws_role role);

/*
 * Takes bytes up to the next event and sets consumed to how many it took. Call it again with the
 * rest until it returns WS_NEED_MORE. Returns an enum ws_event_kind, or -1: the peer broke the
 * protocol; event->code is the close code to answer with, event->error says what was wrong. A
 * failed decoder stays failed, and consumes nothing more.
 */
int ws_decoder_next(struct ws_decoder *d, uint8_t *bytes, size_t size, size_t *consumed,
                    struct ws_event *event);
