/*
 * SipHash-1-3 (Aumasson and Bernstein). With a key that nobody else knows, nobody can choose what
 * falls into the same place of a table: for tables whose keys a peer chooses.
 */
#pragma once

#include <stddef.h>
#include <stdint.h>

/* Random, and secret, outside of tests. */
struct hash_key {
    uint64_t words[2];
};

/* Of the number's four bytes, little-endian. */
uint64_t hash_u32(const struct hash_key *key, uint32_t value);
uint64_t hash_bytes(const struct hash_key *key, const void *bytes, size_t size);
