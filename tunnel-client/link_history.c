#include "link_history.h"

#include <stdio.h>

const char *link_cause_name(enum link_cause cause)
{
    static const char *const names[] = {
        [LINK_CAUSE_SESSION] = "session", [LINK_CAUSE_RESUME] = "resume",
        [LINK_CAUSE_REPLACE] = "replace", [LINK_CAUSE_SPARE] = "spare",
        [LINK_CAUSE_ROOM] = "room",       [LINK_CAUSE_SERVER] = "server",
    };

    return names[cause];
}

void link_history_add(struct link_history *history, const struct link_history_entry *entry,
                      const char *reason)
{
    struct link_history_entry *at = &history->entries[history->next];

    *at = *entry;
    snprintf(at->reason, sizeof at->reason, "%s", reason);
    history->next = (history->next + 1) % LINK_HISTORY_ENTRIES;
    if (history->count < LINK_HISTORY_ENTRIES)
        history->count++;
}

const struct link_history_entry *link_history_get(const struct link_history *history, size_t index)
{
    if (index >= history->count)
        return NULL;
    return &history->entries[(history->next + LINK_HISTORY_ENTRIES - 1 - index) %
                             LINK_HISTORY_ENTRIES];
}
