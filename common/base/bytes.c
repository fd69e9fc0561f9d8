#include "base/bytes.h"

#include <string.h>

int bytes_hex_digit(char digit)
{
    if (digit >= '0' && digit <= '9')
        return digit - '0';
    if (digit >= 'A' && digit <= 'F')
        return digit - 'A' + 10;
    return digit >= 'a' && digit <= 'f' ? digit - 'a' + 10 : -1;
}

void byte_reader_init(struct byte_reader *r, const void *bytes, size_t size)
{
    static const uint8_t nothing[1];

    r->at = size > 0 ? bytes : nothing;
    r->end = r->at + size;
    r->failed = false;
}

size_t byte_reader_left(const struct byte_reader *r)
{
    return r->failed ? 0 : (size_t)(r->end - r->at);
}

const uint8_t *byte_reader_bytes(struct byte_reader *r, size_t size)
{
    const uint8_t *bytes = r->at;

    if (byte_reader_left(r) < size || r->failed) {
        r->failed = true;
        return NULL;
    }
    r->at += size;
    return bytes;
}

uint8_t byte_reader_u8(struct byte_reader *r)
{
    const uint8_t *at = byte_reader_bytes(r, 1);
    return at ? at[0] : 0;
}

uint16_t byte_reader_u16(struct byte_reader *r)
{
    const uint8_t *at = byte_reader_bytes(r, 2);
    return at ? byte_load_u16(at) : 0;
}

uint32_t byte_reader_u32(struct byte_reader *r)
{
    const uint8_t *at = byte_reader_bytes(r, 4);
    return at ? byte_load_u32(at) : 0;
}

uint64_t byte_reader_u64(struct byte_reader *r)
{
    const uint8_t *at = byte_reader_bytes(r, 8);
    return at ? byte_load_u64(at) : 0;
}

void byte_writer_init(struct byte_writer *w, void *buffer, size_t size)
{
    w->start = w->at = buffer;
    w->end = w->start + size;
    w->failed = false;
}

size_t byte_writer_size(const struct byte_writer *w)
{
    return (size_t)(w->at - w->start);
}

static uint8_t *reserve_bytes(struct byte_writer *w, size_t size)
{
    uint8_t *at = w->at;

    if (w->failed || (size_t)(w->end - w->at) < size) {
        w->failed = true;
        return NULL;
    }
    w->at += size;
    return at;
}

void byte_writer_bytes(struct byte_writer *w, const void *bytes, size_t size)
{
    uint8_t *at = reserve_bytes(w, size);
    if (at && size > 0)
        memcpy(at, bytes, size);
}

void byte_writer_u8(struct byte_writer *w, uint8_t value)
{
    uint8_t *at = reserve_bytes(w, 1);
    if (at)
        *at = value;
}

void byte_writer_u16(struct byte_writer *w, uint16_t value)
{
    uint8_t *at = reserve_bytes(w, 2);
    if (at)
        byte_store_u16(at, value);
}

void byte_writer_u32(struct byte_writer *w, uint32_t value)
{
    uint8_t *at = reserve_bytes(w, 4);
    if (at)
        byte_store_u32(at, value);
}

void byte_writer_u64(struct byte_writer *w, uint64_t value)
{
    uint8_t *at = reserve_bytes(w, 8);
    if (at)
        byte_store_u64(at, value);
}

void byte_wipe(void *secret, size_t size)
{
    volatile uint8_t *at = secret;

    while (size-- > 0)
        *at++ = 0;
}

__attribute__((noinline)) void byte_wipe_stack(void)
{
    uint8_t area[32 * 1024];

    memset(area, 0, sizeof area);
    /* Somebody might read it, as far as the compiler knows. */
    __asm__ volatile("" : : "r"(area) : "memory");
}

bool byte_equal_secret(const void *a, const void *b, size_t size)
{
    const volatile uint8_t *x = a;
    const volatile uint8_t *y = b;
    uint8_t difference = 0;

    for (size_t i = 0; i < size; i++)
        difference |= x[i] ^ y[i];
    return difference == 0;
}
