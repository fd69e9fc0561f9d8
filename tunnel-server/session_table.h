/*
 * Sessions by their ids, of which there may be many thousands: after a restart all clients ask at
 * once for sessions that are gone.
 *
 * The server draws the ids, so it draws them such that the first four bytes alone tell sessions
 * apart; what a client asks for is compared whole.
 *
 * All workers share the table: it says which of them a session belongs to.
 */
#pragma once

#include <pthread.h>
#include <stdbool.h>

#include "base/idmap.h"
#include "mux/protocol.h"

struct session_table {
    pthread_mutex_t lock;
    struct idmap by_id; /* what was put, by the first four bytes of the id */
};

/* What is put begins with this. */
struct session_entry {
    size_t place; /* the worker's, whose session it is; set before it is put */
    uint8_t id[MUX_SESSION_ID_SIZE];
};

/* key must live as long as the table. */
void session_table_init(struct session_table *table, const struct hash_key *key);
/* Forgets all. */
void session_table_clear(struct session_table *table);
/* Puts the entry under an id that draw makes up, random bytes, and that goes to entry->id. */
void session_table_put(struct session_table *table, struct session_entry *entry,
                       void (*draw)(uint8_t id[MUX_SESSION_ID_SIZE]));
/* The entry must have been put. */
void session_table_remove(struct session_table *table, const struct session_entry *entry);
/* NULL: this worker has none of that id. */
struct session_entry *session_table_find(struct session_table *table, size_t place,
                                         const uint8_t id[MUX_SESSION_ID_SIZE]);
/* Whether some worker has a session of that id, and which. */
bool session_table_locate(struct session_table *table, const uint8_t id[MUX_SESSION_ID_SIZE],
                          size_t *place);
