/*
 * A byte buffer that grows by doubling as bytes arrive, never beyond a maximum, and gives large
 * memory back. Zero-initialised is empty.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct kafka_buffer {
    uint8_t *bytes;
    size_t size;
    size_t capacity;
};

enum { KAFKA_BUFFER_KEEP = 4 * 1024 }; /* what kafka_buffer_trim leaves allocated, bytes */

/* false, and nothing is changed: that would be more than max bytes in all, or there is no memory.
 */
bool kafka_buffer_append(struct kafka_buffer *b, const void *bytes, size_t size, size_t max);
/* Empties the buffer, and frees it if it had grown large. */
void kafka_buffer_trim(struct kafka_buffer *b);
void kafka_buffer_free(struct kafka_buffer *b);
