#include "session_table.h"

#include <string.h>

#include "base/bytes.h"

void session_table_init(struct session_table *table, const struct hash_key *key)
{
    idmap_init(&table->by_id, key);
}

void session_table_clear(struct session_table *table)
{
    idmap_clear(&table->by_id);
}

void session_table_put(struct session_table *table, struct session_entry *entry,
                       void (*draw)(uint8_t id[MUX_SESSION_ID_SIZE]))
{
    /* As good as never more than once. */
    do
        draw(entry->id);
    while (idmap_get(&table->by_id, byte_load_u32(entry->id)));
    idmap_put(&table->by_id, byte_load_u32(entry->id), entry);
}

void session_table_remove(struct session_table *table, const struct session_entry *entry)
{
    idmap_remove(&table->by_id, byte_load_u32(entry->id));
}

struct session_entry *session_table_find(const struct session_table *table,
                                         const uint8_t id[MUX_SESSION_ID_SIZE])
{
    struct session_entry *entry = idmap_get(&table->by_id, byte_load_u32(id));

    return entry && memcmp(entry->id, id, MUX_SESSION_ID_SIZE) == 0 ? entry : NULL;
}
