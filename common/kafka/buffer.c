#include "kafka/buffer.h"

#include <stdlib.h>
#include <string.h>

/* Room for size more bytes; false: over max bytes in all, or no memory. */
static bool reserve_buffer(struct kafka_buffer *b, size_t size, size_t max)
{
    size_t capacity = b->capacity > 0 ? b->capacity : 512;

    if (b->size > max || size > max - b->size)
        return false;
    if (b->size + size <= b->capacity)
        return true;
    while (capacity < b->size + size)
        capacity *= 2;
    uint8_t *bytes = realloc(b->bytes, capacity);
    if (!bytes)
        return false;
    b->bytes = bytes;
    b->capacity = capacity;
    return true;
}

bool kafka_buffer_append(struct kafka_buffer *b, const void *bytes, size_t size, size_t max)
{
    if (!reserve_buffer(b, size, max))
        return false;
    if (size > 0)
        memcpy(b->bytes + b->size, bytes, size);
    b->size += size;
    return true;
}

void kafka_buffer_trim(struct kafka_buffer *b)
{
    if (b->capacity > KAFKA_BUFFER_KEEP)
        kafka_buffer_free(b);
    b->size = 0;
}

void kafka_buffer_free(struct kafka_buffer *b)
{
    free(b->bytes);
    *b = (struct kafka_buffer){0};
}
