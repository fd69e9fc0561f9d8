#include "mux/handshake.h"

#include <string.h>

#include "mux/frame.h"

enum { FLAG_RESUME = 1, FLAG_JOIN = 2, FLAG_NAMES = 4 };

/* Writes a frame header whose size is filled in by end_frame(). */
static size_t begin_frame(struct byte_writer *w, enum mux_frame_type type)
{
    uint8_t header[MUX_FRAME_HEADER];
    struct mux_frame frame = {.type = (uint8_t)type, .size = 0, .stream = MUX_CONTROL_STREAM};
    size_t at = byte_writer_size(w);

    mux_frame_encode_header(header, &frame);
    byte_writer_bytes(w, header, sizeof header);
    return at;
}

static void end_frame(struct byte_writer *w, size_t at)
{
    if (!w->failed)
        byte_store_u16(w->start + at + 2, (uint16_t)(byte_writer_size(w) - at - MUX_FRAME_HEADER));
}

static void write_text(struct byte_writer *w, struct mux_text text)
{
    size_t size = text.size < UINT8_MAX ? text.size : UINT8_MAX;

    byte_writer_u8(w, (uint8_t)size);
    byte_writer_bytes(w, text.bytes, size);
}

static struct mux_text read_text(struct byte_reader *r)
{
    struct mux_text text;

    text.size = byte_reader_u8(r);
    text.bytes = (const char *)byte_reader_bytes(r, text.size);
    return text;
}

/* A field that an older peer does not write. */
static uint32_t read_optional_u32(struct byte_reader *r)
{
    return !r->failed && byte_reader_left(r) >= 4 ? byte_reader_u32(r) : 0;
}

static void write_key(struct byte_writer *w, const struct mux_session_key *key)
{
    byte_writer_bytes(w, key->id, sizeof key->id);
    byte_writer_bytes(w, key->secret, sizeof key->secret);
}

static void read_key(struct byte_reader *r, struct mux_session_key *key)
{
    const uint8_t *id = byte_reader_bytes(r, sizeof key->id);
    const uint8_t *secret = byte_reader_bytes(r, sizeof key->secret);

    if (id && secret) {
        memcpy(key->id, id, sizeof key->id);
        memcpy(key->secret, secret, sizeof key->secret);
    }
}

void mux_hello_encode(struct byte_writer *w, const struct mux_hello *hello)
{
    size_t at = begin_frame(w, MUX_HELLO);

    byte_writer_u32(w, MUX_MAGIC);
    byte_writer_u16(w, hello->version_min);
    byte_writer_u16(w, hello->version_max);
    byte_writer_u16(w, hello->join ? FLAG_JOIN : hello->resume ? FLAG_RESUME : 0);
    byte_writer_u32(w, hello->attempt);
    byte_writer_u32(w, hello->initial_window);
    write_key(w, &hello->key);
    write_text(w, hello->software);
    byte_writer_u32(w, hello->message_max);
    end_frame(w, at);
}

bool mux_hello_decode(const uint8_t *payload, size_t size, struct mux_hello *hello)
{
    struct byte_reader r;

    memset(hello, 0, sizeof *hello);
    byte_reader_init(&r, payload, size);
    if (byte_reader_u32(&r) != MUX_MAGIC)
        return false;
    hello->version_min = byte_reader_u16(&r);
    hello->version_max = byte_reader_u16(&r);
    uint16_t flags = byte_reader_u16(&r);
    hello->resume = flags & FLAG_RESUME;
    hello->join = !hello->resume && (flags & FLAG_JOIN);
    hello->attempt = byte_reader_u32(&r);
    hello->initial_window = byte_reader_u32(&r);
    read_key(&r, &hello->key);
    hello->software = read_text(&r);
    hello->message_max = read_optional_u32(&r);
    return !r.failed;
}

void mux_welcome_encode(struct byte_writer *w, const struct mux_welcome *welcome)
{
    size_t at = begin_frame(w, MUX_WELCOME);

    byte_writer_u16(w, welcome->version);
    byte_writer_u16(w, (welcome->joined    ? FLAG_JOIN
                        : welcome->resumed ? FLAG_RESUME
                                           : 0) |
                           (welcome->tells_names ? FLAG_NAMES : 0));
    byte_writer_u32(w, welcome->initial_window);
    byte_writer_u32(w, welcome->resume_window_ms);
    write_key(w, &welcome->key);
    write_text(w, welcome->software);
    byte_writer_u16(w, welcome->offer_count);
    byte_writer_u16(w, (uint16_t)welcome->offers.size);
    byte_writer_bytes(w, welcome->offers.bytes, welcome->offers.size);
    write_text(w, welcome->identity);
    byte_writer_u32(w, welcome->message_max);
    if (welcome->rights.size > 0) {
        byte_writer_u16(w, (uint16_t)welcome->rights.size);
        byte_writer_bytes(w, welcome->rights.bytes, welcome->rights.size);
    }
    end_frame(w, at);
}

bool mux_welcome_decode(const uint8_t *payload, size_t size, struct mux_welcome *welcome)
{
    struct byte_reader r;

    memset(welcome, 0, sizeof *welcome);
    byte_reader_init(&r, payload, size);
    welcome->version = byte_reader_u16(&r);
    uint16_t flags = byte_reader_u16(&r);
    welcome->resumed = flags & FLAG_RESUME;
    welcome->joined = flags & FLAG_JOIN;
    welcome->tells_names = flags & FLAG_NAMES;
    welcome->initial_window = byte_reader_u32(&r);
    welcome->resume_window_ms = byte_reader_u32(&r);
    read_key(&r, &welcome->key);
    welcome->software = read_text(&r);
    welcome->offer_count = byte_reader_u16(&r);
    welcome->offers.size = byte_reader_u16(&r);
    welcome->offers.bytes = (const char *)byte_reader_bytes(&r, welcome->offers.size);
    if (byte_reader_left(&r) > 0)
        welcome->identity = read_text(&r);
    welcome->message_max = read_optional_u32(&r);
    if (byte_reader_left(&r) > 0) {
        welcome->rights.size = byte_reader_u16(&r);
        welcome->rights.bytes = (const char *)byte_reader_bytes(&r, welcome->rights.size);
    }
    return !r.failed;
}

void mux_reject_encode(struct byte_writer *w, const struct mux_reject *reject)
{
    size_t at = begin_frame(w, MUX_REJECT);

    byte_writer_u16(w, reject->code);
    byte_writer_u32(w, reject->retry_after_ms);
    write_text(w, reject->reason);
    end_frame(w, at);
}

bool mux_reject_decode(const uint8_t *payload, size_t size, struct mux_reject *reject)
{
    struct byte_reader r;

    byte_reader_init(&r, payload, size);
    reject->code = byte_reader_u16(&r);
    reject->retry_after_ms = byte_reader_u32(&r);
    reject->reason = read_text(&r);
    return !r.failed;
}

int mux_hello_receive(const uint8_t *bytes, size_t size, struct mux_hello *hello, size_t *consumed,
                      const char **reason)
{
    struct mux_frame frame;

    if (size < MUX_FRAME_HEADER)
        return MUX_HELLO_NEED_MORE;
    mux_frame_decode_header(bytes, &frame);
    *reason = mux_frame_check(&frame, MUX_VERSION_MIN);
    if (!*reason && frame.type != MUX_HELLO)
        *reason = "the first frame is not HELLO";
    if (*reason)
        return MUX_HELLO_MALFORMED;
    if (size - MUX_FRAME_HEADER < frame.size)
        return MUX_HELLO_NEED_MORE;
    if (!mux_hello_decode(bytes + MUX_FRAME_HEADER, frame.size, hello)) {
        *reason = "HELLO is malformed";
        return MUX_HELLO_MALFORMED;
    }
    *consumed = MUX_FRAME_HEADER + frame.size;
    return 0;
}

uint16_t mux_version_choose(uint16_t peer_min, uint16_t peer_max)
{
    uint16_t highest = peer_max < MUX_VERSION_MAX ? peer_max : MUX_VERSION_MAX;

    return highest >= MUX_VERSION_MIN && highest >= peer_min ? highest : 0;
}

bool mux_offer_next(struct mux_text *rest, enum mux_target_kind *kind, struct mux_text *name)
{
    struct byte_reader r;

    byte_reader_init(&r, rest->bytes, rest->size);
    *kind = (enum mux_target_kind)byte_reader_u8(&r);
    *name = read_text(&r);
    if (r.failed)
        return false;
    rest->bytes = (const char *)r.at;
    rest->size = byte_reader_left(&r);
    return true;
}

void mux_offer_write(struct byte_writer *w, enum mux_target_kind kind, struct mux_text name)
{
    byte_writer_u8(w, (uint8_t)kind);
    write_text(w, name);
}
