/*
 * Bounded byte cursors.
 *
 * The room base/ holds what every other room needs and what needs nothing but libc: byte cursors,
 * the chunk pool and queue, lists, the id map, the log. It may not use any other room.
 *
 * A reader walks over memory that it does not own. Its error is sticky: once a read passes the end,
 * every later read yields zero (or NULL) and failed stays set, so a parser reads a whole message
 * and checks once. A writer is the mirror image over a buffer of fixed size.
 *
 * All integers are big-endian, as in Kafka (kafka.apache.org/protocol) and in the tunnel protocol.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* How many of left bytes size holds: the smaller of both. */
static inline size_t bytes_at_most(uint64_t left, size_t size)
{
    return left < size ? (size_t)left : size;
}

/* Of a hexadecimal digit in ASCII, 0 to 15; -1: it is none. */
int bytes_hex_digit(char digit);

struct byte_reader {
    const uint8_t *at;
    const uint8_t *end;
    bool failed;
};

void byte_reader_init(struct byte_reader *r, const void *bytes, size_t size);
size_t byte_reader_left(const struct byte_reader *r);
uint8_t byte_reader_u8(struct byte_reader *r);
uint16_t byte_reader_u16(struct byte_reader *r);
uint32_t byte_reader_u32(struct byte_reader *r);
uint64_t byte_reader_u64(struct byte_reader *r);
/* Points at the next size bytes and steps over them; NULL (and failed) if there are fewer. */
const uint8_t *byte_reader_bytes(struct byte_reader *r, size_t size);

struct byte_writer {
    uint8_t *start;
    uint8_t *at;
    uint8_t *end;
    bool failed;
};

void byte_writer_init(struct byte_writer *w, void *buffer, size_t size);
size_t byte_writer_size(const struct byte_writer *w);
void byte_writer_u8(struct byte_writer *w, uint8_t value);
void byte_writer_u16(struct byte_writer *w, uint16_t value);
void byte_writer_u32(struct byte_writer *w, uint32_t value);
void byte_writer_u64(struct byte_writer *w, uint64_t value);
void byte_writer_bytes(struct byte_writer *w, const void *bytes, size_t size);

/* Plain big-endian loads and stores, for callers that have checked the bounds: an instruction each.
 */
static inline uint16_t byte_load_u16(const uint8_t *at)
{
    return (uint16_t)((unsigned)at[0] << 8 | at[1]);
}

static inline uint32_t byte_load_u32(const uint8_t *at)
{
    return (uint32_t)byte_load_u16(at) << 16 | byte_load_u16(at + 2);
}

static inline uint64_t byte_load_u64(const uint8_t *at)
{
    return (uint64_t)byte_load_u32(at) << 32 | byte_load_u32(at + 4);
}

static inline void byte_store_u16(uint8_t *at, uint16_t value)
{
    at[0] = (uint8_t)(value >> 8);
    at[1] = (uint8_t)value;
}

static inline void byte_store_u32(uint8_t *at, uint32_t value)
{
    byte_store_u16(at, (uint16_t)(value >> 16));
    byte_store_u16(at + 2, (uint16_t)value);
}

static inline void byte_store_u64(uint8_t *at, uint64_t value)
{
    byte_store_u32(at, (uint32_t)(value >> 32));
    byte_store_u32(at + 4, (uint32_t)value);
}

/* Overwrites a secret; the compiler cannot leave it out. */
void byte_wipe(void *secret, size_t size);
/* Overwrites what calls that have returned left on the stack: vector registers with parts of a
 * secret are saved there when a function of a shared library is called for the first time. */
void byte_wipe_stack(void);
/* Compares in a time that depends on size alone. */
bool byte_equal_secret(const void *a, const void *b, size_t size);
