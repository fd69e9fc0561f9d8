#include "kafka/peek.h"

#include "kafka/api.h"
#include "kafka/request_reader.h"
#include "kafka/wire.h"

#include <stdlib.h>
#include <string.h>

enum { SOFTWARE_VERSION = 3 }; /* of ApiVersions: the first that names the client's software */

_Static_assert((size_t)KAFKA_PEEK_USER == (size_t)KAFKA_LOGIN_USER_MAX, "a name fits");

/* What is only needed while there is something to learn. */
struct kafka_peek_look {
    uint8_t bytes[KAFKA_PEEK_MAX]; /* the beginning of the first request */
    size_t size;
    bool introduced; /* that has been looked at */
    bool served;     /* a request has come that is no part of a login, or bytes that are no Kafka */
    struct kafka_request_reader reader;
    struct kafka_sasl sasl;
};

void kafka_peek_init(struct kafka_peek *peek)
{
    *peek = (struct kafka_peek){0};
}

void kafka_peek_end(struct kafka_peek *peek)
{
    if (peek->look)
        byte_wipe(peek->look, sizeof *peek->look);
    free(peek->look);
    peek->look = NULL;
    peek->done = true;
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
static void look_at_first(struct kafka_peek *peek, const uint8_t *bytes, size_t size)
{
    struct byte_reader r;

    byte_reader_init(&r, bytes + 4, size - 4);
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

/* Up to so many of its bytes are there; false: more are to come. */
static bool gather_up_to(struct kafka_peek_look *look, size_t wanted, const uint8_t **bytes,
                         size_t *size)
{
    size_t some = bytes_at_most(wanted - look->size, *size);

    memcpy(look->bytes + look->size, *bytes, some);
    look->size += some;
    *bytes += some;
    *size -= some;
    return look->size == wanted;
}

/* Nothing of what comes behind it is copied: that may be a password. */
static void gather_first(struct kafka_peek *peek, const uint8_t *bytes, size_t size)
{
    struct kafka_peek_look *look = peek->look;

    if (look->size < 4 && !gather_up_to(look, 4, &bytes, &size))
        return;
    uint32_t length = byte_load_u32(look->bytes);
    size_t wanted = length < KAFKA_PEEK_MAX - 4 ? 4 + length : KAFKA_PEEK_MAX;
    if (!gather_up_to(look, wanted, &bytes, &size))
        return;
    look_at_first(peek, look->bytes, wanted);
    look->introduced = true;
}

/* The request at hand, as soon as its key is there, is no part of a login. */
static bool is_service(const struct kafka_request_reader *reader, int result)
{
    const struct kafka_request *request = &reader->request;
    bool known = reader->any && (request->api_key >= 0 || result == KAFKA_REQUEST_READY);

    return known && request->type != KAFKA_REQUEST_TOKEN &&
           request->api_key != KAFKA_KEY_API_VERSIONS &&
           request->api_key != KAFKA_KEY_SASL_HANDSHAKE &&
           request->api_key != KAFKA_KEY_SASL_AUTHENTICATE;
}

static void look_for_user(struct kafka_peek *peek, const uint8_t *bytes, size_t size)
{
    struct kafka_peek_look *look = peek->look;

    while (size > 0 && !look->served) {
        size_t used;
        int result = kafka_request_reader_run(&look->reader, &look->sasl, bytes, size, &used);
        look->served = result < 0 || is_service(&look->reader, result);
        bytes += used;
        size -= used;
        /* Not before all of it is there. */
        if (look->reader.user.look == KAFKA_LOGIN_LOOK_NOT && look->reader.user.name[0] != '\0')
            memcpy(peek->user, look->reader.user.name, sizeof peek->user);
    }
}

void kafka_peek_requests(struct kafka_peek *peek, const uint8_t *bytes, size_t size)
{
    if (peek->done)
        return;
    if (!peek->look)
        peek->look = calloc(1, sizeof *peek->look);
    if (!peek->look) {
        peek->done = true;
        return;
    }
    if (!peek->look->introduced)
        gather_first(peek, bytes, size);
    look_for_user(peek, bytes, size);
    if (peek->look->introduced && peek->look->served)
        kafka_peek_end(peek);
}
