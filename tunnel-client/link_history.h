/*
 * Why links are opened, and how the last ones ended, for the status page: a ring of a fixed size.
 */
#pragma once

#include <stddef.h>
#include <stdint.h>

#define LINK_HISTORY_ENTRIES 8
#define LINK_HISTORY_REASON_MAX 400

enum link_cause {
    LINK_CAUSE_SESSION, /* a session begins */
    LINK_CAUSE_RESUME,  /* all its links were lost */
    LINK_CAUSE_REPLACE, /* one of several was lost */
    LINK_CAUSE_SPARE,   /* the path is long or loses: another one stands by */
    LINK_CAUSE_ROOM,    /* bytes waited, and no link had room */
    LINK_CAUSE_SERVER,  /* the server has asked for it, for what it sends */
};

/* "session", "resume", ... */
const char *link_cause_name(enum link_cause cause);

struct link_history_entry {
    uint32_t number; /* of the link in its session */
    enum link_cause cause;
    uint64_t time_us; /* of its end, since the epoch */
    uint64_t lived_ms;
    const char *end; /* link_end_name() */
    char reason[LINK_HISTORY_REASON_MAX];
};

struct link_history {
    struct link_history_entry entries[LINK_HISTORY_ENTRIES];
    size_t count;
    size_t next;
};

/* entry->reason is not looked at; a reason that is too long is cut. */
void link_history_add(struct link_history *history, const struct link_history_entry *entry,
                      const char *reason);
/* The newest is 0; NULL: there are not so many. */
const struct link_history_entry *link_history_get(const struct link_history *history, size_t index);
