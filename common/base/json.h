/*
 * Writing JSON (RFC 8259): how a character stands in a string, for the log as well, and a writer
 * that puts the commas.
 *
 *     json_put_object(&json, NULL);
 *     json_put_u64(&json, "answer", 42);
 *     json_put_array(&json, "words");
 *     json_put_string(&json, NULL, "one");
 *     json_put_end(&json);
 *     json_put_end(&json);                     {"answer":42,"words":["one"]}
 *
 * Strings are of peers' bytes, too: what base/printable.h keeps from people is escaped, and invalid
 * UTF-8 becomes U+FFFD.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/printable.h"
#include "base/text.h"

#define JSON_CHARACTER_MAX PRINTABLE_MAX
#define JSON_DEPTH_MAX 31

/* The escape of a character; NULL if it may stand for itself. */
const char *json_escape(uint32_t c, char buffer[JSON_CHARACTER_MAX]);
/*
 * How the first character of bytes (size > 0) stands in a string: *written bytes in out. Returns
 * how many bytes it is made of; one that is no UTF-8 becomes U+FFFD.
 */
size_t json_character(const uint8_t *bytes, size_t size, char out[JSON_CHARACTER_MAX],
                      size_t *written);

struct json_writer {
    struct text *out;
    unsigned depth;
    uint32_t arrays; /* a bit for each depth: it is an array */
    bool follows;    /* something stands before at this depth: a comma is due */
};

void json_writer_init(struct json_writer *json, struct text *out);
/* key: plain characters that need no escape; NULL within an array, and for the outermost value. */
void json_put_object(struct json_writer *json, const char *key);
void json_put_array(struct json_writer *json, const char *key);
/* Ends the innermost object or array. */
void json_put_end(struct json_writer *json);
/* A NULL string is null. */
void json_put_string(struct json_writer *json, const char *key, const char *value);
void json_put_bytes(struct json_writer *json, const char *key, const void *bytes, size_t size);
void json_put_u64(struct json_writer *json, const char *key, uint64_t value);
void json_put_i64(struct json_writer *json, const char *key, int64_t value);
void json_put_bool(struct json_writer *json, const char *key, bool value);
