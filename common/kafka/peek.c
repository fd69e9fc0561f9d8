#include "kafka/peek.h"

#include "kafka/api.h"
#include "kafka/wire.h"

#include <string.h>

enum { SOFTWARE_VERSION = 3 }; /* of ApiVersions: the first that names the client's software */

void kafka_peek_init(struct kafka_peek *peek)
{
    *peek = (struct kafka_peek){0};
}

static void keep_peeked(char *text, const uint8_t *bytes, size_t size)
{
    if (size > KAFKA_PEEK_TEXT)
        size = KAFKA_PEEK_TEXT;
    for (size_t i = 0; i < size; i++)
        text[i] = kafka_wire_plain(bytes[i]);
    text[size] = '\0';
}

static void keep_string(char *text, struct byte_reader *r, bool flexible)
{
    size_t size = 0;
    const uint8_t *bytes = kafka_wire_string(r, flexible, &size);

    if (!r->failed && bytes)
        keep_peeked(text, bytes, size);
}

/* The frame is whole, or as much of it as is looked at. */
static void look(struct kafka_peek *peek, size_t size)
{
    struct byte_reader r;

    byte_reader_init(&r, peek->bytes + 4, size - 4);
    int16_t key = (int16_t)byte_reader_u16(&r);
    int16_t version = (int16_t)byte_reader_u16(&r);
    byte_reader_u32(&r);
    if (!kafka_api_find(key) || version < 0)
        return;
    keep_string(peek->client_id, &r, false);
    if (key != KAFKA_KEY_API_VERSIONS || version < SOFTWARE_VERSION)
        return;
    kafka_wire_skip_tags(&r);
    keep_string(peek->software, &r, true);
    keep_string(peek->software_version, &r, true);
}

void kafka_peek_requests(struct kafka_peek *peek, const uint8_t *bytes, size_t size)
{
    size_t some = KAFKA_PEEK_MAX - peek->size;
    size_t wanted = KAFKA_PEEK_MAX;

    if (peek->done)
        return;
    if (some > size)
        some = size;
    memcpy(peek->bytes + peek->size, bytes, some);
    peek->size += some;
    if (peek->size < 4)
        return;
    uint32_t length = byte_load_u32(peek->bytes);
    if (length < KAFKA_PEEK_MAX - 4)
        wanted = 4 + length;
    if (peek->size < wanted)
        return;
    look(peek, wanted);
    peek->done = true;
}
