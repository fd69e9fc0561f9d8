#include "base/chunk.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "base/memory.h"

/* Free chunks that are kept for reuse; more are given back to the system. */
enum { SMALL_KEPT = 512, LARGE_KEPT = 48 };

void chunk_pool_init(struct chunk_pool *pool)
{
    memset(pool, 0, sizeof *pool);
}

static void free_list_clear(struct chunk_free_list *list)
{
    while (list->first) {
        struct chunk *chunk = list->first;
        list->first = chunk->next;
        free(chunk);
    }
    list->count = 0;
}

void chunk_pool_clear(struct chunk_pool *pool)
{
    assert(pool->allocated == 0);
    free_list_clear(&pool->small);
    free_list_clear(&pool->large);
}

static struct chunk *chunk_take(struct chunk_pool *pool, size_t wanted)
{
    size_t size =
        wanted > CHUNK_SMALL_SIZE - sizeof(struct chunk) ? CHUNK_LARGE_SIZE : CHUNK_SMALL_SIZE;
    struct chunk_free_list *list = size == CHUNK_LARGE_SIZE ? &pool->large : &pool->small;
    struct chunk *chunk = list->first;

    if (chunk) {
        list->first = chunk->next;
        list->count--;
    } else {
        chunk = memory_raw(size);
        chunk->capacity = (uint32_t)(size - sizeof *chunk);
    }
    chunk->next = NULL;
    chunk->fill = 0;
    pool->allocated += size;
    return chunk;
}

static void chunk_give(struct chunk_pool *pool, struct chunk *chunk)
{
    size_t size = chunk->capacity + sizeof *chunk;
    struct chunk_free_list *list = size == CHUNK_LARGE_SIZE ? &pool->large : &pool->small;
    size_t kept = size == CHUNK_LARGE_SIZE ? LARGE_KEPT : SMALL_KEPT;

    pool->allocated -= size;
    if (list->count >= kept) {
        free(chunk);
        return;
    }
    chunk->next = list->first;
    list->first = chunk;
    list->count++;
}

static void chunk_give_chain(struct chunk_pool *pool, struct chunk *chunk)
{
    while (chunk) {
        struct chunk *next = chunk->next;
        chunk_give(pool, chunk);
        chunk = next;
    }
}

void byte_queue_init(struct byte_queue *queue, struct chunk_pool *pool)
{
    memset(queue, 0, sizeof *queue);
    queue->pool = pool;
}

void byte_queue_clear(struct byte_queue *queue)
{
    chunk_give_chain(queue->pool, queue->first);
    chunk_give_chain(queue->pool, queue->spare);
    queue->first = queue->last = queue->spare = queue->read_chunk = NULL;
    queue->first_skip = queue->read_skip = 0;
    queue->start = queue->read = queue->end;
}

size_t byte_queue_reserve(struct byte_queue *queue, size_t size, struct iovec *spaces, size_t count)
{
    struct chunk **link = &queue->spare;
    size_t filled = 0;

    assert(!queue->spare && size > 0 && count > 0);
    if (queue->last && queue->last->fill < queue->last->capacity) {
        size_t left = queue->last->capacity - queue->last->fill;
        spaces[filled++] = (struct iovec){queue->last->bytes + queue->last->fill, left};
        size -= size < left ? size : left;
    }
    while (size > 0 && filled < count) {
        struct chunk *chunk = chunk_take(queue->pool, size);
        spaces[filled++] = (struct iovec){chunk->bytes, chunk->capacity};
        size -= size < chunk->capacity ? size : chunk->capacity;
        *link = chunk;
        link = &chunk->next;
    }
    return filled;
}

static size_t fill_chunk(struct chunk *chunk, size_t size)
{
    size_t left = chunk->capacity - chunk->fill;

    if (size > left)
        size = left;
    chunk->fill += (uint32_t)size;
    return size;
}

/* Who reserves much and gets little must not hold much: the bytes move to a small chunk. */
static struct chunk *make_small(struct chunk_pool *pool, struct chunk *large)
{
    struct chunk *small = chunk_take(pool, large->fill);

    memcpy(small->bytes, large->bytes, large->fill);
    small->fill = large->fill;
    chunk_give(pool, large);
    return small;
}

void byte_queue_commit(struct byte_queue *queue, size_t size)
{
    queue->end += size;
    if (queue->last)
        size -= fill_chunk(queue->last, size);
    while (size > 0) {
        struct chunk *chunk = queue->spare;
        assert(chunk);
        queue->spare = chunk->next;
        chunk->next = NULL;
        size_t part = fill_chunk(chunk, size);
        size -= part;
        if (part <= CHUNK_SMALL_SIZE - sizeof *chunk && chunk->capacity > CHUNK_SMALL_SIZE)
            chunk = make_small(queue->pool, chunk);
        if (queue->last)
            queue->last->next = chunk;
        else
            queue->first = chunk;
        queue->last = chunk;
    }
    chunk_give_chain(queue->pool, queue->spare);
    queue->spare = NULL;
}

void byte_queue_append(struct byte_queue *queue, const void *bytes, size_t size)
{
    const uint8_t *from = bytes;

    while (size > 0) {
        struct iovec space;
        byte_queue_reserve(queue, size, &space, 1);
        size_t part = size < space.iov_len ? size : space.iov_len;
        memcpy(space.iov_base, from, part);
        byte_queue_commit(queue, part);
        from += part;
        size -= part;
    }
}

/* Makes read_chunk hold the byte at read; the caller has checked that there is one. */
static void find_read_chunk(struct byte_queue *queue)
{
    if (!queue->read_chunk) {
        uint64_t distance = queue->read - queue->start + queue->first_skip;
        queue->read_chunk = queue->first;
        while (distance > queue->read_chunk->fill) {
            distance -= queue->read_chunk->fill;
            queue->read_chunk = queue->read_chunk->next;
        }
        queue->read_skip = (uint32_t)distance;
    }
    while (queue->read_skip == queue->read_chunk->fill) {
        queue->read_chunk = queue->read_chunk->next;
        queue->read_skip = 0;
    }
}

size_t byte_queue_read(struct byte_queue *queue, void *bytes, size_t size)
{
    uint8_t *to = bytes;
    size_t copied = 0;

    while (copied < size && queue->read < queue->end) {
        find_read_chunk(queue);
        size_t part = queue->read_chunk->fill - queue->read_skip;
        if (part > size - copied)
            part = size - copied;
        memcpy(to + copied, queue->read_chunk->bytes + queue->read_skip, part);
        copied += part;
        queue->read += part;
        queue->read_skip += (uint32_t)part;
    }
    return copied;
}

size_t byte_queue_peek(struct byte_queue *queue, struct iovec *spans, size_t count)
{
    size_t filled = 0;

    if (queue->read == queue->end)
        return 0;
    find_read_chunk(queue);
    uint32_t skip = queue->read_skip;
    for (struct chunk *chunk = queue->read_chunk; chunk && filled < count; chunk = chunk->next) {
        if (chunk->fill > skip)
            spans[filled++] = (struct iovec){chunk->bytes + skip, chunk->fill - skip};
        skip = 0;
    }
    return filled;
}

void byte_queue_skip(struct byte_queue *queue, uint64_t size)
{
    assert(size <= byte_queue_unread(queue));
    while (size > 0) {
        find_read_chunk(queue);
        uint64_t part = queue->read_chunk->fill - queue->read_skip;
        if (part > size)
            part = size;
        queue->read += part;
        queue->read_skip += (uint32_t)part;
        size -= part;
    }
}

void byte_queue_drop(struct byte_queue *queue, uint64_t offset)
{
    assert(queue->start <= offset && offset <= queue->read);
    uint64_t left = offset - queue->start;

    queue->start = offset;
    while (queue->first && left >= queue->first->fill - queue->first_skip) {
        struct chunk *chunk = queue->first;
        left -= chunk->fill - queue->first_skip;
        queue->first_skip = 0;
        queue->first = chunk->next;
        if (queue->read_chunk == chunk)
            queue->read_chunk = NULL;
        if (queue->last == chunk)
            queue->last = NULL;
        chunk_give(queue->pool, chunk);
    }
    queue->first_skip += (uint32_t)left;
}

void byte_queue_rewind(struct byte_queue *queue, uint64_t offset)
{
    assert(queue->start <= offset && offset <= queue->end);
    queue->read = offset;
    queue->read_chunk = NULL;
}

void byte_queue_copy(const struct byte_queue *queue, uint64_t offset, void *bytes, size_t size)
{
    const struct chunk *chunk = queue->first;
    uint64_t skip = offset - queue->start + queue->first_skip;
    uint8_t *to = bytes;

    assert(queue->start <= offset && offset + size <= queue->end);
    for (; size > 0; chunk = chunk->next) {
        if (skip >= chunk->fill) {
            skip -= chunk->fill;
            continue;
        }
        size_t part = chunk->fill - (size_t)skip;
        if (part > size)
            part = size;
        memcpy(to, chunk->bytes + skip, part);
        to += part;
        size -= part;
        skip = 0;
    }
}

/* Chunks with little in them do not add up: of two neighbours, one is always more than half full.
 */
static void move_first_chunk(struct byte_queue *queue, struct byte_queue *next)
{
    struct chunk *last = queue->last;
    struct chunk *first = next->first;

    if (!last || first->fill > last->capacity - last->fill)
        return;
    memcpy(last->bytes + last->fill, first->bytes, first->fill);
    last->fill += first->fill;
    next->first = first->next;
    chunk_give(queue->pool, first);
}

void byte_queue_join(struct byte_queue *queue, struct byte_queue *next)
{
    assert(queue->pool == next->pool && !queue->spare && !next->spare);
    assert(next->first_skip == 0 && next->read == next->start);
    if (!next->first)
        return;
    move_first_chunk(queue, next);
    if (!queue->last)
        queue->first = next->first;
    else if (next->first)
        queue->last->next = next->first;
    if (next->first)
        queue->last = next->last;
    queue->end += next->end - next->start;
    next->first = next->last = next->read_chunk = NULL;
    next->start = next->read = next->end;
}
