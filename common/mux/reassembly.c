#include "mux/reassembly.h"

#include <stdlib.h>
#include <string.h>

#include "base/memory.h"

enum {
    CAPACITY_LEAST = 8,
    /* Bytes go into small chunks, so that a short piece does not take a large one. */
    PART = 1024,
    /* An array of more than so many is given back when it is empty. */
    CAPACITY_KEPT = 64,
};

static uint64_t piece_end(const struct mux_piece *piece)
{
    return piece->from + byte_queue_unread(&piece->bytes);
}

static void piece_free(struct mux_piece *piece)
{
    byte_queue_clear(&piece->bytes);
    free(piece);
}

void mux_reassembly_clear(struct mux_reassembly *reassembly)
{
    for (unsigned i = 0; i < reassembly->count; i++)
        piece_free(reassembly->pieces[i]);
    free(reassembly->pieces);
    memset(reassembly, 0, sizeof *reassembly);
}

uint64_t mux_reassembly_cost(const struct mux_reassembly *reassembly)
{
    const size_t piece = sizeof(struct mux_piece) + 2 * sizeof(struct mux_piece *);

    return reassembly->chunks + (uint64_t)reassembly->count * piece;
}

uint64_t mux_reassembly_end(const struct mux_reassembly *reassembly)
{
    return reassembly->count > 0 ? piece_end(reassembly->pieces[reassembly->count - 1u]) : 0;
}

/* The first piece that ends at offset or behind it. */
static unsigned find_piece(const struct mux_reassembly *reassembly, uint64_t offset)
{
    unsigned low = 0;
    unsigned high = reassembly->count;

    while (low < high) {
        unsigned middle = (low + high) / 2;
        if (piece_end(reassembly->pieces[middle]) < offset)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

static bool insert_piece(struct mux_reassembly *reassembly, struct chunk_pool *pool, unsigned index,
                         uint64_t from)
{
    if (reassembly->count == MUX_PIECES_MAX)
        return false;
    if (reassembly->count == reassembly->capacity) {
        unsigned capacity = reassembly->capacity ? reassembly->capacity * 2u : CAPACITY_LEAST;
        struct mux_piece **pieces = memory_new_array(capacity, sizeof(struct mux_piece *));
        if (reassembly->count > 0)
            memcpy(pieces, reassembly->pieces, reassembly->count * sizeof(struct mux_piece *));
        free(reassembly->pieces);
        reassembly->pieces = pieces;
        reassembly->capacity = (uint16_t)capacity;
    }
    struct mux_piece *piece = memory_new(sizeof *piece);
    piece->from = from;
    byte_queue_init(&piece->bytes, pool);
    struct mux_piece **at = reassembly->pieces + index;
    memmove(at + 1, at, (reassembly->count - index) * sizeof(struct mux_piece *));
    *at = piece;
    reassembly->count++;
    return true;
}

static void take_piece_out(struct mux_reassembly *reassembly, unsigned index)
{
    struct mux_piece **at = reassembly->pieces + index;

    piece_free(*at);
    reassembly->count--;
    memmove(at, at + 1, (reassembly->count - index) * sizeof(struct mux_piece *));
    if (reassembly->count > 0 || reassembly->capacity <= CAPACITY_KEPT)
        return;
    free(reassembly->pieces);
    reassembly->pieces = NULL;
    reassembly->capacity = 0;
}

static void append_to_piece(struct mux_reassembly *reassembly, struct mux_piece *piece,
                            const uint8_t *bytes, size_t size)
{
    reassembly->held += size;
    while (size > 0) {
        size_t part = size < PART ? size : PART;
        byte_queue_append(&piece->bytes, bytes, part);
        bytes += part;
        size -= part;
    }
}

static bool add_to_pieces(struct mux_reassembly *reassembly, struct chunk_pool *pool,
                          uint64_t offset, const uint8_t *bytes, size_t size)
{
    unsigned index = find_piece(reassembly, offset);

    while (size > 0) {
        struct mux_piece *piece = index < reassembly->count ? reassembly->pieces[index] : NULL;
        if (!piece || piece->from > offset) {
            if (!insert_piece(reassembly, pool, index, offset))
                return false;
            piece = reassembly->pieces[index];
        }
        /* What the piece has already. */
        uint64_t known = piece_end(piece) - offset;
        if (known >= size)
            return true;
        bytes += known;
        offset += known;
        size -= known;
        struct mux_piece *next =
            index + 1u < reassembly->count ? reassembly->pieces[index + 1u] : NULL;
        size_t part = size;
        if (next && next->from - offset < part)
            part = (size_t)(next->from - offset);
        append_to_piece(reassembly, piece, bytes, part);
        bytes += part;
        offset += part;
        size -= part;
        if (next && next->from == offset) {
            byte_queue_join(&piece->bytes, &next->bytes);
            take_piece_out(reassembly, index + 1u);
        }
    }
    return true;
}

bool mux_reassembly_add(struct mux_reassembly *reassembly, struct chunk_pool *pool, uint64_t offset,
                        const uint8_t *bytes, size_t size)
{
    size_t before = pool->allocated;
    bool added = add_to_pieces(reassembly, pool, offset, bytes, size);

    reassembly->chunks += pool->allocated - before;
    return added;
}

static size_t take_from_pieces(struct mux_reassembly *reassembly, uint64_t offset, uint8_t *bytes,
                               size_t size)
{
    while (reassembly->count > 0) {
        struct mux_piece *piece = reassembly->pieces[0];
        if (piece->from > offset)
            return 0;
        uint64_t old = offset - piece->from;
        uint64_t there = byte_queue_unread(&piece->bytes);
        if (old > there)
            old = there;
        byte_queue_skip(&piece->bytes, old);
        size_t taken = byte_queue_read(&piece->bytes, bytes, size);
        byte_queue_drop(&piece->bytes, piece->bytes.read);
        piece->from += old + taken;
        reassembly->held -= old + taken;
        if (byte_queue_unread(&piece->bytes) == 0)
            take_piece_out(reassembly, 0);
        if (taken > 0)
            return taken;
    }
    return 0;
}

size_t mux_reassembly_take(struct mux_reassembly *reassembly, uint64_t offset, uint8_t *bytes,
                           size_t size)
{
    if (reassembly->count == 0)
        return 0;
    const struct chunk_pool *pool = reassembly->pieces[0]->bytes.pool;
    size_t before = pool->allocated;
    size_t taken = take_from_pieces(reassembly, offset, bytes, size);

    reassembly->chunks -= before - pool->allocated;
    return taken;
}
