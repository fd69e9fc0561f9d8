/*
 * Chunk pool and byte queue: the one buffer type of the data path.
 *
 * A byte_queue is a window on an endless byte stream, addressed by absolute offsets from 0:
 *
 *     start ........ read ........ end
 *     retained, read | held, unread | free space
 *
 * start <= read <= end always holds. Bytes are appended at end, read at read, and freed up to
 * start. A queue that only buffers drops what it reads; a queue that must be able to send again
 * keeps bytes until they are acknowledged, and rewinds.
 *
 * Memory comes in chunks from a pool that all queues of a worker share. There are two sizes, so
 * that a thousand idle streams with a few bytes each do not cost a thousand large chunks. The pool
 * keeps some free chunks for reuse (the most recently used first: they are still in cache) and
 * gives the rest back to the system. An empty queue owns no chunk.
 *
 * The pool bounds nothing by itself: who appends must have asked a budget first
 * (base/memory_budget.h). Allocation failure aborts: memory is bounded by configuration, running
 * out is a configuration error.
 */
#pragma once

#include <stddef.h>
#include <stdint.h>
#include <sys/uio.h>

#define CHUNK_SMALL_SIZE ((size_t)2048)
#define CHUNK_LARGE_SIZE ((size_t)64 * 1024)

struct chunk {
    struct chunk *next;
    uint32_t capacity;
    uint32_t fill;
    uint8_t bytes[];
};

struct chunk_free_list {
    struct chunk *first;
    size_t count;
};

struct chunk_pool {
    struct chunk_free_list small;
    struct chunk_free_list large;
    size_t allocated; /* bytes of chunks in queues */
};

void chunk_pool_init(struct chunk_pool *pool);
/* Every queue of the pool must have been cleared. */
void chunk_pool_clear(struct chunk_pool *pool);

struct byte_queue {
    struct chunk_pool *pool;
    struct chunk *first;
    struct chunk *last;
    struct chunk *spare;      /* reserved, not yet committed; follows last */
    struct chunk *read_chunk; /* holds the byte at offset read; NULL: find it from first */
    uint32_t first_skip;      /* bytes of first that lie before start */
    uint32_t read_skip;       /* position of read in read_chunk */
    uint64_t start;
    uint64_t read;
    uint64_t end;
};

void byte_queue_init(struct byte_queue *queue, struct chunk_pool *pool);
/* Frees all memory; the offsets stay as they are, with start = read = end. */
void byte_queue_clear(struct byte_queue *queue);

/*
 * Offers free space for about size bytes (at least 1, at most size rounded up to whole chunks) in
 * up to count iovecs. Returns how many were filled in. Must be followed by byte_queue_commit(),
 * with 0 if nothing was written; unused chunks go back to the pool then.
 */
size_t byte_queue_reserve(struct byte_queue *queue, size_t size, struct iovec *spaces,
                          size_t count);
void byte_queue_commit(struct byte_queue *queue, size_t size);

void byte_queue_append(struct byte_queue *queue, const void *bytes, size_t size);

/* Unread bytes. */
static inline uint64_t byte_queue_unread(const struct byte_queue *queue)
{
    return queue->end - queue->read;
}

/* Copies up to size unread bytes and steps read over them; returns how many. */
size_t byte_queue_read(struct byte_queue *queue, void *bytes, size_t size);
/* Points iovecs at the unread bytes without stepping; returns how many iovecs were filled in. */
size_t byte_queue_peek(struct byte_queue *queue, struct iovec *spans, size_t count);
/* Steps read over size bytes (size <= unread). */
void byte_queue_skip(struct byte_queue *queue, uint64_t size);
/* Frees everything before offset (start <= offset <= read). */
void byte_queue_drop(struct byte_queue *queue, uint64_t offset);
/* Sets read back to offset (start <= offset <= end). */
void byte_queue_rewind(struct byte_queue *queue, uint64_t offset);
/* Copies size bytes that begin at offset (start <= offset, offset + size <= end); read stays. */
void byte_queue_copy(const struct byte_queue *queue, uint64_t offset, void *bytes, size_t size);
/* Appends what next holds, which is empty then. Of next, nothing was dropped or read yet; both are
 * of one pool, and nothing is reserved in either. Small pieces that are joined one by one take at
 * most twice the memory of their bytes, and one chunk. */
void byte_queue_join(struct byte_queue *queue, struct byte_queue *next);
