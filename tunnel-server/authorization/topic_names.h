/*
 * The names of a cluster's topics by their ids (KIP-516), as Metadata responses tell them, so that
 * requests that name topics by id can be judged.
 *
 * One for each cluster at each worker. Ids are never given to another topic. When it is full, all
 * are forgotten: a client whose topic is not known is told UNKNOWN_TOPIC_ID, asks for Metadata, and
 * comes again.
 */
#pragma once

#include "base/hash.h"
#include "kafka/guard.h"

#define TOPIC_NAMES_MAX 65536

struct topic_name;

struct topic_names {
    const struct hash_key *key; /* brokers choose ids */
    struct topic_name **buckets;
    size_t bucket_count;
    size_t count;
    size_t max;
};

/* key must live as long. max: TOPIC_NAMES_MAX, or less. */
void topic_names_init(struct topic_names *names, const struct hash_key *key, size_t max);
void topic_names_clear(struct topic_names *names);
void topic_names_learn(struct topic_names *names, const uint8_t id[KAFKA_TOPIC_ID_SIZE],
                       const char *name, size_t size);
/* Until the next of these calls; NULL: not known. */
const char *topic_names_find(const struct topic_names *names, const uint8_t id[KAFKA_TOPIC_ID_SIZE],
                             size_t *size);
