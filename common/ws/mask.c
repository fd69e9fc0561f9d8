#include "ws/mask.h"

#include <string.h>

/*
 * What one step of the fast loop handles. gcc and clang turn this type into vector registers where
 * there are any, at every optimisation level; plain words would not be vectorised by gcc's -O2.
 */
typedef uint64_t vector __attribute__((vector_size(16)));
#define BLOCK_SIZE (4 * sizeof(vector))

/* The key twice, turned so that its first byte in memory belongs to the byte at offset. */
static uint64_t key_word(const uint8_t key[4], uint64_t offset)
{
    uint8_t turned[8];
    uint64_t word;

    for (unsigned i = 0; i < 8; i++)
        turned[i] = key[(offset + i) % 4];
    memcpy(&word, turned, 8);
    return word;
}

static inline void mask_vector(uint8_t *out, const uint8_t *bytes, vector key)
{
    vector value;

    memcpy(&value, bytes, sizeof value);
    value ^= key;
    memcpy(out, &value, sizeof value);
}

/* Written out, because a loop over vectors would not be unrolled at -O2. */
static inline void mask_block(uint8_t *out, const uint8_t *bytes, uint64_t word)
{
    const vector key = {word, word};

    mask_vector(out, bytes, key);
    mask_vector(out + 1 * sizeof key, bytes + 1 * sizeof key, key);
    mask_vector(out + 2 * sizeof key, bytes + 2 * sizeof key, key);
    mask_vector(out + 3 * sizeof key, bytes + 3 * sizeof key, key);
}

void ws_mask_copy(uint8_t *out, const uint8_t *bytes, size_t size, const uint8_t key[4],
                  uint64_t offset)
{
    uint64_t word = key_word(key, offset);
    uint8_t tail[8];

    for (; size >= BLOCK_SIZE; size -= BLOCK_SIZE, bytes += BLOCK_SIZE, out += BLOCK_SIZE)
        mask_block(out, bytes, word);
    for (; size >= 8; size -= 8, bytes += 8, out += 8) {
        uint64_t value;

        memcpy(&value, bytes, 8);
        value ^= word;
        memcpy(out, &value, 8);
    }
    memcpy(tail, &word, 8);
    for (size_t i = 0; i < size; i++)
        out[i] = bytes[i] ^ tail[i];
}

void ws_mask(uint8_t *bytes, size_t size, const uint8_t key[4], uint64_t offset)
{
    ws_mask_copy(bytes, bytes, size, key, offset);
}
