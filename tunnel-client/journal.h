/*
 * The last things that happened to the links, for the status page: a ring of a fixed size.
 *
 * What happens again and again must not push out what happened before. A dial that fails as the one
 * before it only counts. So does what happens to one of several links, if the same is among the
 * latest entries.
 */
#pragma once

#include <stddef.h>
#include <stdint.h>

#define JOURNAL_ENTRIES 32
/* Whole: what a dial says (HTTP_REASON_MAX), and its hop. */
#define JOURNAL_REASON_MAX 1136

enum journal_kind {
    JOURNAL_UP,           /* a new session began */
    JOURNAL_RESUMED,      /* the session goes on over a new link */
    JOURNAL_LINK_LOST,    /* ms: how long it had lived */
    JOURNAL_SESSION_LOST, /* its connections were reset */
    JOURNAL_DIAL_FAILED,  /* ms: the pause before the next dial */
    JOURNAL_GOING_AWAY,   /* the server is about to stop */
    JOURNAL_LINK_JOINED,  /* the session has one more link */
    JOURNAL_LINK_LEFT,    /* one of several is lost; ms: how long it had lived */
    JOURNAL_JOIN_FAILED,  /* no more links can be had; ms: the pause before the next dial for one */
    JOURNAL_SMALLER_FRAMES, /* something on the way cuts large ones */
};

/* "up", "resumed", ... */
const char *journal_kind_name(enum journal_kind kind);

struct journal_entry {
    uint64_t time_us; /* since the epoch */
    enum journal_kind kind;
    uint64_t ms;
    uint64_t times; /* 1, or how often it happened in a row */
    char reason[JOURNAL_REASON_MAX];
};

struct journal {
    struct journal_entry entries[JOURNAL_ENTRIES];
    size_t count;
    size_t next;
};

void journal_add(struct journal *journal, uint64_t time_us, enum journal_kind kind,
                 const char *reason, uint64_t ms);
/* The newest is 0; NULL: there are not so many. */
const struct journal_entry *journal_get(const struct journal *journal, size_t index);
