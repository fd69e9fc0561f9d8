#include "journal.h"

#include <stdbool.h>
#include <stdio.h>
#include <string.h>

const char *journal_kind_name(enum journal_kind kind)
{
    static const char *const names[] = {
        [JOURNAL_UP] = "up",
        [JOURNAL_RESUMED] = "resumed",
        [JOURNAL_LINK_LOST] = "link_lost",
        [JOURNAL_SESSION_LOST] = "session_lost",
        [JOURNAL_DIAL_FAILED] = "dial_failed",
        [JOURNAL_GOING_AWAY] = "server_going_away",
        [JOURNAL_SMALLER_FRAMES] = "smaller_frames",
    };

    return names[kind];
}

const struct journal_entry *journal_get(const struct journal *journal, size_t index)
{
    if (index >= journal->count)
        return NULL;
    return &journal->entries[(journal->next + 2 * JOURNAL_ENTRIES - 1 - index) % JOURNAL_ENTRIES];
}

/* Many dials that fail alike must not push out what happened before them. */
static bool joins(struct journal_entry *last, const struct journal_entry *entry)
{
    if (!last || entry->kind != JOURNAL_DIAL_FAILED || last->kind != entry->kind ||
        strcmp(last->reason, entry->reason) != 0)
        return false;
    last->times++;
    last->time_us = entry->time_us;
    last->ms = entry->ms;
    return true;
}

void journal_add(struct journal *journal, uint64_t time_us, enum journal_kind kind,
                 const char *reason, uint64_t ms)
{
    struct journal_entry entry = {.time_us = time_us, .kind = kind, .ms = ms, .times = 1};
    struct journal_entry *last =
        journal->count > 0
            ? &journal->entries[(journal->next + JOURNAL_ENTRIES - 1) % JOURNAL_ENTRIES]
            : NULL;

    snprintf(entry.reason, sizeof entry.reason, "%s", reason);
    if (joins(last, &entry))
        return;
    journal->entries[journal->next] = entry;
    journal->next = (journal->next + 1) % JOURNAL_ENTRIES;
    if (journal->count < JOURNAL_ENTRIES)
        journal->count++;
}
