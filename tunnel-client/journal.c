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
        [JOURNAL_LINK_JOINED] = "link_joined",
        [JOURNAL_LINK_LEFT] = "link_left",
        [JOURNAL_JOIN_FAILED] = "join_failed",
        [JOURNAL_SMALLER_FRAMES] = "smaller_frames",
    };

    return names[kind];
}

/* How many of the latest entries are looked at for the same; 0: it is always an entry of its own.
 */
static size_t looks_back(enum journal_kind kind)
{
    switch (kind) {
    case JOURNAL_DIAL_FAILED:
        return 1;
    /* They take turns: a link is lost, and another one comes. */
    case JOURNAL_LINK_JOINED:
    case JOURNAL_LINK_LEFT:
    case JOURNAL_JOIN_FAILED:
        return 3;
    default:
        return 0;
    }
}

static size_t entry_slot(const struct journal *journal, size_t index)
{
    return (journal->next + 2 * JOURNAL_ENTRIES - 1 - index) % JOURNAL_ENTRIES;
}

const struct journal_entry *journal_get(const struct journal *journal, size_t index)
{
    return index < journal->count ? &journal->entries[entry_slot(journal, index)] : NULL;
}

/* The newest one is last. */
static bool counts_only(struct journal *journal, struct journal_entry *entry)
{
    for (size_t i = 0; i < looks_back(entry->kind) && i < journal->count; i++) {
        const struct journal_entry *same = &journal->entries[entry_slot(journal, i)];
        if (same->kind != entry->kind || strcmp(same->reason, entry->reason) != 0)
            continue;
        entry->times += same->times;
        for (; i > 0; i--)
            journal->entries[entry_slot(journal, i)] = journal->entries[entry_slot(journal, i - 1)];
        journal->entries[entry_slot(journal, 0)] = *entry;
        return true;
    }
    return false;
}

void journal_add(struct journal *journal, uint64_t time_us, enum journal_kind kind,
                 const char *reason, uint64_t ms)
{
    struct journal_entry entry = {.time_us = time_us, .kind = kind, .ms = ms, .times = 1};

    snprintf(entry.reason, sizeof entry.reason, "%s", reason);
    if (counts_only(journal, &entry))
        return;
    journal->entries[journal->next] = entry;
    journal->next = (journal->next + 1) % JOURNAL_ENTRIES;
    if (journal->count < JOURNAL_ENTRIES)
        journal->count++;
}
