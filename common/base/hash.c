#include "base/hash.h"

struct sip {
    uint64_t v0, v1, v2, v3;
};

static uint64_t rotate(uint64_t x, unsigned bits)
{
    return x << bits | x >> (64 - bits);
}

static void sip_round(struct sip *s)
{
    s->v0 += s->v1;
    s->v1 = rotate(s->v1, 13) ^ s->v0;
    s->v0 = rotate(s->v0, 32);
    s->v2 += s->v3;
    s->v3 = rotate(s->v3, 16) ^ s->v2;
    s->v0 += s->v3;
    s->v3 = rotate(s->v3, 21) ^ s->v0;
    s->v2 += s->v1;
    s->v1 = rotate(s->v1, 17) ^ s->v2;
    s->v2 = rotate(s->v2, 32);
}

static struct sip sip_begin(const struct hash_key *key)
{
    return (struct sip){
        .v0 = key->words[0] ^ UINT64_C(0x736f6d6570736575),
        .v1 = key->words[1] ^ UINT64_C(0x646f72616e646f6d),
        .v2 = key->words[0] ^ UINT64_C(0x6c7967656e657261),
        .v3 = key->words[1] ^ UINT64_C(0x7465646279746573),
    };
}

static void sip_word(struct sip *s, uint64_t word)
{
    s->v3 ^= word;
    sip_round(s);
    s->v0 ^= word;
}

static uint64_t sip_end(struct sip *s)
{
    s->v2 ^= 0xff;
    for (unsigned i = 0; i < 3; i++)
        sip_round(s);
    return s->v0 ^ s->v1 ^ s->v2 ^ s->v3;
}

/* The last word of a message: what is left of it, and its size in the highest byte. */
static uint64_t last_word(uint64_t rest, size_t size)
{
    return (uint64_t)size << 56 | rest;
}

uint64_t hash_u32(const struct hash_key *key, uint32_t value)
{
    struct sip s = sip_begin(key);

    sip_word(&s, last_word(value, sizeof value));
    return sip_end(&s);
}

static uint64_t load_little_endian(const uint8_t *bytes, size_t size)
{
    uint64_t word = 0;

    for (size_t i = 0; i < size; i++)
        word |= (uint64_t)bytes[i] << 8 * i;
    return word;
}

uint64_t hash_bytes(const struct hash_key *key, const void *bytes, size_t size)
{
    const uint8_t *at = bytes;
    struct sip s = sip_begin(key);
    size_t left = size;

    for (; left >= 8; left -= 8, at += 8)
        sip_word(&s, load_little_endian(at, 8));
    sip_word(&s, last_word(load_little_endian(at, left), size));
    return sip_end(&s);
}
