#include "ws/frame.h"

#include <assert.h>
#include <string.h>

#include "base/bytes.h"
#include "base/utf8.h"
#include "ws/mask.h"

size_t ws_frame_header(uint8_t out[WS_HEADER_MAX], enum ws_opcode opcode, uint64_t payload_size,
                       const uint8_t *mask_key)
{
    const uint8_t masked = mask_key ? 0x80 : 0;
    size_t size;

    assert(payload_size <= INT64_MAX);
    out[0] = (uint8_t)(0x80 | opcode);
    if (payload_size <= 125) {
        out[1] = (uint8_t)(masked | payload_size);
        size = 2;
    } else if (payload_size <= UINT16_MAX) {
        out[1] = masked | 126;
        byte_store_u16(out + 2, (uint16_t)payload_size);
        size = 4;
    } else {
        out[1] = masked | 127;
        byte_store_u64(out + 2, payload_size);
        size = 10;
    }
    if (mask_key) {
        memcpy(out + size, mask_key, 4);
        size += 4;
    }
    return size;
}

static size_t control_frame(uint8_t *out, enum ws_opcode opcode, const void *payload, size_t size,
                            const uint8_t *mask_key)
{
    size_t header_size = ws_frame_header(out, opcode, size, mask_key);

    assert(size <= WS_CONTROL_PAYLOAD_MAX);
    if (size > 0)
        memcpy(out + header_size, payload, size);
    if (mask_key)
        ws_mask(out + header_size, size, mask_key, 0);
    return header_size + size;
}

size_t ws_frame_pong(uint8_t out[WS_CONTROL_FRAME_MAX], const void *payload, size_t size,
                     const uint8_t *mask_key)
{
    return control_frame(out, WS_OPCODE_PONG, payload, size, mask_key);
}

/* The size of the longest start of text that fits into limit and ends with a whole character. */
static size_t whole_characters(const char *text, size_t limit)
{
    size_t length = strlen(text);
    size_t size = 0;

    while (size < length) {
        uint32_t code_point;
        size_t next = utf8_decode((const uint8_t *)text + size, length - size, &code_point);

        if (next == 0 || size + next > limit)
            break;
        size += next;
    }
    return size;
}

size_t ws_frame_close(uint8_t out[WS_CONTROL_FRAME_MAX], enum ws_close_code code,
                      const char *reason, const uint8_t *mask_key)
{
    uint8_t payload[WS_CONTROL_PAYLOAD_MAX];
    size_t reason_size = reason ? whole_characters(reason, sizeof payload - 2) : 0;

    if (code == WS_CLOSE_NO_STATUS)
        return control_frame(out, WS_OPCODE_CLOSE, NULL, 0, mask_key);
    byte_store_u16(payload, (uint16_t)code);
    if (reason_size > 0)
        memcpy(payload + 2, reason, reason_size);
    return control_frame(out, WS_OPCODE_CLOSE, payload, 2 + reason_size, mask_key);
}
