#include "session_table.h"

#include <string.h>

#include "base/bytes.h"

void session_table_init(struct session_table *table, const struct hash_key *key)
{
    pthread_mutex_init(&table->lock, NULL);
    idmap_init(&table->by_id, key);
}

void session_table_clear(struct session_table *table)
{
    idmap_clear(&table->by_id);
    pthread_mutex_destroy(&table->lock);
}

void session_table_put(struct session_table *table, struct session_entry *entry,
                       void (*draw)(uint8_t id[MUX_SESSION_ID_SIZE]))
{
    pthread_mutex_lock(&table->lock);
    /* As good as never more than once. */
    do
        draw(entry->id);
    while (idmap_get(&table->by_id, byte_load_u32(entry->id)));
    idmap_put(&table->by_id, byte_load_u32(entry->id), entry);
    pthread_mutex_unlock(&table->lock);
}

void session_table_remove(struct session_table *table, const struct session_entry *entry)
{
    pthread_mutex_lock(&table->lock);
    idmap_remove(&table->by_id, byte_load_u32(entry->id));
    pthread_mutex_unlock(&table->lock);
}

/* The lock is held. */
static struct session_entry *get_entry(const struct session_table *table,
                                       const uint8_t id[MUX_SESSION_ID_SIZE])
{
    struct session_entry *entry = idmap_get(&table->by_id, byte_load_u32(id));

    return entry && memcmp(entry->id, id, MUX_SESSION_ID_SIZE) == 0 ? entry : NULL;
}

struct session_entry *session_table_find(struct session_table *table, size_t place,
                                         const uint8_t id[MUX_SESSION_ID_SIZE])
{
    pthread_mutex_lock(&table->lock);
    struct session_entry *entry = get_entry(table, id);
    bool found = entry && entry->place == place;
    pthread_mutex_unlock(&table->lock);
    return found ? entry : NULL;
}

bool session_table_locate(struct session_table *table, const uint8_t id[MUX_SESSION_ID_SIZE],
                          size_t *place)
{
    pthread_mutex_lock(&table->lock);
    const struct session_entry *entry = get_entry(table, id);
    if (entry)
        *place = entry->place;
    pthread_mutex_unlock(&table->lock);
    return entry != NULL;
}
