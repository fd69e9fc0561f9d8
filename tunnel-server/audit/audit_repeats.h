/*
 * What is refused again and again must not fill the audit record. Of what is refused for the same
 * reason, the first AUDIT_REPEATS_TOLD in AUDIT_REPEATS_US are told of one by one; the rest is
 * counted, and the count is told when that time is over. Nothing is left out unseen.
 *
 * So many different ones are told apart at a time. Nobody takes the room of others: what somebody
 * is refused for beyond AUDIT_REPEATS_EACH reasons is one kind, and no event has more than half of
 * the room. What comes beside that is counted together, by event. No clock here, and no lock.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define AUDIT_REPEATS_TOLD 5
#define AUDIT_REPEATS_US (10 * 1000 * 1000)
#define AUDIT_REPEATS_MAX 256
#define AUDIT_REPEATS_EACH 8                        /* kinds of who, not counting the rest */
#define AUDIT_REPEATS_EVENT (AUDIT_REPEATS_MAX / 2) /* kinds of an event */
#define AUDIT_REPEATS_OTHERS 8                      /* events; the last place is for all others */
#define AUDIT_WHO_MAX 256
#define AUDIT_WHAT_MAX 200

/* Several of a kind. */
struct audit_repeat {
    const char *event; /* a literal; NULL: various */
    uint64_t count;    /* not told of one by one */
    uint64_t since_us;
    unsigned told;
    /* What is longer is cut, and told apart by what is left. "": various. */
    char who[AUDIT_WHO_MAX];
    char what[AUDIT_WHAT_MAX];
};

struct audit_repeats {
    struct audit_repeat others[AUDIT_REPEATS_OTHERS];
    struct audit_repeat kinds[AUDIT_REPEATS_MAX];
    size_t count;
};

/* Whether one more is to be told of now; false: it is counted. */
bool audit_repeats_admit(struct audit_repeats *repeats, uint64_t now_us, const char *event,
                         const char *who, const char *what);
/* Calls tell for each of which something was counted, and whose time is over, and forgets those.
 * all: whether it is over or not. */
void audit_repeats_settle(struct audit_repeats *repeats, uint64_t now_us, bool all,
                          void (*tell)(void *context, const struct audit_repeat *repeat),
                          void *context);
