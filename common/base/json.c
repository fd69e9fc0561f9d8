#include "base/json.h"

#include <assert.h>
#include <inttypes.h>
#include <string.h>

#include "base/utf8.h"

const char *json_escape(uint32_t c, char buffer[JSON_CHARACTER_MAX])
{
    return c == '"' ? "\\\"" : c == '\\' ? "\\\\" : printable_escape(c, buffer);
}

size_t json_character(const uint8_t *bytes, size_t size, char out[JSON_CHARACTER_MAX],
                      size_t *written)
{
    static const char replacement[] = "\xef\xbf\xbd"; /* U+FFFD */
    char buffer[JSON_CHARACTER_MAX];
    uint32_t c = 0;
    size_t taken = utf8_decode(bytes, size, &c);
    const char *escaped = taken > 0 ? json_escape(c, buffer) : replacement;

    *written = escaped ? strlen(escaped) : taken;
    memcpy(out, escaped ? escaped : (const char *)bytes, *written);
    return taken > 0 ? taken : 1;
}

void json_writer_init(struct json_writer *json, struct text *out)
{
    *json = (struct json_writer){.out = out};
}

static void begin_value(struct json_writer *json, const char *key)
{
    if (json->follows)
        text_bytes(json->out, ",", 1);
    json->follows = true;
    assert(!key == (json->depth == 0 || json->arrays >> json->depth & 1));
    if (key) {
        text_bytes(json->out, "\"", 1);
        text_string(json->out, key);
        text_bytes(json->out, "\":", 2);
    }
}

static void open_value(struct json_writer *json, const char *key, bool array)
{
    begin_value(json, key);
    text_bytes(json->out, array ? "[" : "{", 1);
    assert(json->depth < JSON_DEPTH_MAX);
    json->depth++;
    json->arrays &= ~(1u << json->depth);
    json->arrays |= (uint32_t)array << json->depth;
    json->follows = false;
}

void json_put_object(struct json_writer *json, const char *key)
{
    open_value(json, key, false);
}

void json_put_array(struct json_writer *json, const char *key)
{
    open_value(json, key, true);
}

void json_put_end(struct json_writer *json)
{
    assert(json->depth > 0);
    text_bytes(json->out, json->arrays >> json->depth & 1 ? "]" : "}", 1);
    json->depth--;
    json->follows = true;
}

void json_put_bytes(struct json_writer *json, const char *key, const void *bytes, size_t size)
{
    const uint8_t *at = bytes;

    begin_value(json, key);
    text_bytes(json->out, "\"", 1);
    while (size > 0) {
        char out[JSON_CHARACTER_MAX];
        size_t written;
        size_t taken = json_character(at, size, out, &written);
        text_bytes(json->out, out, written);
        at += taken;
        size -= taken;
    }
    text_bytes(json->out, "\"", 1);
}

void json_put_string(struct json_writer *json, const char *key, const char *value)
{
    if (value) {
        json_put_bytes(json, key, value, strlen(value));
        return;
    }
    begin_value(json, key);
    text_string(json->out, "null");
}

void json_put_u64(struct json_writer *json, const char *key, uint64_t value)
{
    begin_value(json, key);
    text_format(json->out, "%" PRIu64, value);
}

void json_put_i64(struct json_writer *json, const char *key, int64_t value)
{
    begin_value(json, key);
    text_format(json->out, "%" PRId64, value);
}

void json_put_bool(struct json_writer *json, const char *key, bool value)
{
    begin_value(json, key);
    text_string(json->out, value ? "true" : "false");
}
