/*
 * Kafka's primitive encodings over a byte_reader (kafka.apache.org/protocol, KIP-482).
 *
 * Classic versions write strings as INT16 length and arrays as INT32 count, both -1 for null.
 * Flexible versions write both as UVARINT (length + 1), 0 for null, and end every struct with a
 * section of tags. Errors stick to the reader, as in base/bytes.h.
 */
#pragma once

#include "base/bytes.h"

enum {
    KAFKA_UVARINT_MAX = 5, /* bytes */
    KAFKA_HEAD_SIZE = 8,   /* a frame's INT32 length and, in a response, INT32 correlation id */
};

/* Unsigned LEB128 of at most 32 bits; longer ones, padded to five bytes or less, are accepted. */
uint32_t kafka_wire_uvarint(struct byte_reader *r);
/* Writes the shortest form, yields its size: 1 to KAFKA_UVARINT_MAX. */
size_t kafka_wire_put_uvarint(uint8_t *at, uint32_t value);
size_t kafka_wire_uvarint_size(uint32_t value);

/* Points text at the string's bytes, which stay where they are; null reads as size 0. */
const uint8_t *kafka_wire_string(struct byte_reader *r, bool flexible, size_t *size);

/* A character of a client's text as it is kept for the log: '?' for what is not plain and
 * printable.
 */
static inline char kafka_wire_plain(uint8_t c)
{
    return c >= 0x20 && c < 0x7f && c != '"' && c != '\\' ? (char)c : '?';
}

/* An array's count; null reads as 0. A count that the bytes left cannot hold is a failure. */
uint32_t kafka_wire_count(struct byte_reader *r, bool flexible);

/* One tag's number and payload out of a section whose count has been read. */
const uint8_t *kafka_wire_tag(struct byte_reader *r, uint32_t *number, size_t *size);
void kafka_wire_skip_tags(struct byte_reader *r);
