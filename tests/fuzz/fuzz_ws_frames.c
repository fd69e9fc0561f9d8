/*
 * The frame decoder, fed the same bytes whole and in parts, must come to the same result.
 * Input: one byte for the role, one as the seed of the parts, then the peer's bytes.
 */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "check.h"
#include "ws/decoder.h"

/* Events one after another; adjacent data is one event, wherever it was split. */
struct trace {
    uint8_t *bytes;
    size_t size;
    size_t room;
    size_t consumed;
    bool in_data;
};

static void trace_add(struct trace *t, const uint8_t *bytes, size_t size)
{
    CHECK(size <= t->room - t->size);
    if (size > 0)
        memcpy(t->bytes + t->size, bytes, size);
    t->size += size;
}

static void trace_event(struct trace *t, int kind, const struct ws_event *event)
{
    uint8_t head[3] = {(uint8_t)kind, (uint8_t)(event->code >> 8), (uint8_t)event->code};

    if (kind != WS_DATA || !t->in_data)
        trace_add(t, head, sizeof head);
    trace_add(t, event->bytes, event->size);
    t->in_data = kind == WS_DATA;
}

/* Returns false once the decoder failed. */
static bool feed(struct ws_decoder *d, uint8_t *bytes, size_t size, struct trace *t)
{
    for (;;) {
        struct ws_event event;
        size_t consumed = SIZE_MAX;
        int kind = ws_decoder_next(d, bytes, size, &consumed, &event);

        CHECK(consumed <= size);
        t->consumed += consumed;
        switch (kind) {
        case WS_NEED_MORE:
            CHECK(consumed == size);
            return true;
        case WS_DATA:
            CHECK(event.size > 0 && event.size <= consumed);
            CHECK(event.bytes == bytes + consumed - event.size);
            break;
        case WS_PING:
        case WS_PONG:
        case WS_CLOSE:
            CHECK(event.size <= WS_CONTROL_PAYLOAD_MAX);
            break;
        default:
            CHECK(kind == -1 && event.error && event.code >= 1000);
            trace_event(t, kind, &event);
            CHECK(ws_decoder_next(d, bytes, size, &consumed, &event) == -1 && consumed == 0);
            return false;
        }
        trace_event(t, kind, &event);
        bytes += consumed;
        size -= consumed;
    }
}

/* step 0: all at once; else parts whose sizes follow from it. Each part is memory of its own. */
static void run(enum ws_role role, const uint8_t *bytes, size_t size, uint32_t step,
                struct trace *t)
{
    struct ws_decoder d;
    bool alive = true;

    ws_decoder_init(&d, role);
    while (size > 0 && alive) {
        size_t part = step ? 1 + step % 19 : size;

        if (part > size)
            part = size;
        uint8_t *copy = malloc(part);
        CHECK(copy != NULL);
        memcpy(copy, bytes, part);
        alive = feed(&d, copy, part, t);
        free(copy);
        bytes += part;
        size -= part;
        step = step ? (step * 1664525u + 1013904223u) | 1u : 0;
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size)
{
    if (size < 2)
        return 0;

    /* An event has at most 3 bytes of head, and takes at least 2 bytes of input. */
    size_t room = 3 * size + 16;
    struct trace whole = {.bytes = malloc(room), .room = room};
    struct trace parts = {.bytes = malloc(room), .room = room};
    enum ws_role role = bytes[0] & 1 ? WS_ROLE_SERVER : WS_ROLE_CLIENT;

    CHECK(whole.bytes && parts.bytes);
    run(role, bytes + 2, size - 2, 0, &whole);
    run(role, bytes + 2, size - 2, bytes[1] + 1u, &parts);
    CHECK(whole.size == parts.size && whole.consumed == parts.consumed);
    CHECK(memcmp(whole.bytes, parts.bytes, whole.size) == 0);
    free(whole.bytes);
    free(parts.bytes);
    return 0;
}
