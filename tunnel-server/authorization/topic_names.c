#include "authorization/topic_names.h"

#include <stdlib.h>
#include <string.h>

#include "base/memory.h"

enum { BUCKETS_MIN = 64 };

struct topic_name {
    struct topic_name *next;
    uint8_t id[KAFKA_TOPIC_ID_SIZE];
    size_t size;
    char name[];
};

void topic_names_init(struct topic_names *names, const struct hash_key *key, size_t max)
{
    *names = (struct topic_names){.key = key, .max = max};
}

void topic_names_clear(struct topic_names *names)
{
    for (size_t i = 0; i < names->bucket_count; i++)
        for (struct topic_name *at = names->buckets[i], *next; at; at = next) {
            next = at->next;
            free(at);
        }
    free(names->buckets);
    names->buckets = NULL;
    names->bucket_count = names->count = 0;
}

static struct topic_name **bucket_of_topic(const struct topic_names *names,
                                           const uint8_t id[KAFKA_TOPIC_ID_SIZE])
{
    return &names->buckets[hash_bytes(names->key, id, KAFKA_TOPIC_ID_SIZE) &
                           (names->bucket_count - 1)];
}

static struct topic_name *find_topic(const struct topic_names *names,
                                     const uint8_t id[KAFKA_TOPIC_ID_SIZE])
{
    if (names->bucket_count == 0)
        return NULL;
    struct topic_name *at = *bucket_of_topic(names, id);
    while (at && memcmp(at->id, id, KAFKA_TOPIC_ID_SIZE) != 0)
        at = at->next;
    return at;
}

static void put_topic_name(struct topic_names *names, struct topic_name *topic)
{
    struct topic_name **bucket = bucket_of_topic(names, topic->id);

    topic->next = *bucket;
    *bucket = topic;
}

/* Twice as many buckets, while there is one for each name at the least. */
static void grow_topics(struct topic_names *names)
{
    struct topic_names old = *names;

    names->bucket_count = old.bucket_count > 0 ? 2 * old.bucket_count : BUCKETS_MIN;
    names->buckets = memory_new_array(names->bucket_count, sizeof(struct topic_name *));
    for (size_t i = 0; i < old.bucket_count; i++)
        for (struct topic_name *at = old.buckets[i], *next; at; at = next) {
            next = at->next;
            put_topic_name(names, at);
        }
    free(old.buckets);
}

void topic_names_learn(struct topic_names *names, const uint8_t id[KAFKA_TOPIC_ID_SIZE],
                       const char *name, size_t size)
{
    if (find_topic(names, id))
        return;
    if (names->count == names->max)
        topic_names_clear(names);
    if (names->count == names->bucket_count)
        grow_topics(names);
    struct topic_name *topic = memory_new(sizeof *topic + size);
    memcpy(topic->id, id, KAFKA_TOPIC_ID_SIZE);
    memcpy(topic->name, name, size);
    topic->size = size;
    put_topic_name(names, topic);
    names->count++;
}

const char *topic_names_find(const struct topic_names *names, const uint8_t id[KAFKA_TOPIC_ID_SIZE],
                             size_t *size)
{
    const struct topic_name *topic = find_topic(names, id);

    if (!topic)
        return NULL;
    *size = topic->size;
    return topic->name;
}
