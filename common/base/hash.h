/*
 * SipHash-1-3 (Aumasson and Bernstein) of a 32-bit number, little-endian. With a key that nobody
 * else knows, nobody can choose numbers that fall into the same place of a table: for tables whose
 * keys a peer chooses.
 */
#pragma once

#include <stdint.h>

/* Random, and secret, outside of tests. */
struct hash_key {
    uint64_t words[2];
};

uint64_t hash_u32(const struct hash_key *key, uint32_t value);
