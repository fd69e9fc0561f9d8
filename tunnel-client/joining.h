/*
 * When a client dials for one more link of a session that has some. Nobody misses such a link, so
 * one that cannot be had is no failure of the client's: it is dialled for again rarely, and how
 * many there could be is remembered.
 *
 *   - An answer that is a refusal (an HTTP status, REJECT), or any failure to have more links than
 *     there have ever been: what is in between allows no more than there are. One more is tried in
 *     half a minute, and then after pauses that double, up to ten minutes.
 *   - Any other failure is like that of a first link: a second, doubling likewise.
 *   - A link that was lost is replaced at once, unless the last dial was just now. When links are
 *     lost several times in a row right after one more has come up, somebody makes room for the new
 *     by closing the old, and that is a refusal, too.
 *   - Links that were closed because fewer were wanted are not dialled for again for some seconds,
 *     however often the server changes its mind.
 *   - That a link has come up ends no pause, and makes the next one no shorter: only one that
 *     worked does, or some time without trouble.
 *
 * No sockets and no clock: the owner dials.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#define JOINING_REASON_MAX 1136 /* as in the journal */

struct joining {
    unsigned most;       /* links at a time that there have been */
    unsigned refused_at; /* links that there were when one more was refused; 0: it was not */
    unsigned refusals;   /* of that, in a row */
    uint64_t more_us;    /* no more links than refused_at before this */
    unsigned failures;   /* others, in a row */
    uint64_t again_us;   /* no dial at all before this */
    uint64_t joined_us;  /* when the last link came up */
    unsigned displaced;  /* links lost right after another one came up, in a row */
    bool is_spread;      /* the ingress leads to instances that do not have the session */
    char reason[JOINING_REASON_MAX]; /* why the last dial failed; "": it did not */
};

enum joining_failure {
    JOINING_FAILED,  /* no answer came */
    JOINING_REFUSED, /* an answer came, and it was no */
    JOINING_UNKNOWN, /* an instance answered that does not have the session */
};

void joining_init(struct joining *joining);
/* What was learnt counts no more: another network, or somebody has asked for it. */
void joining_forget(struct joining *joining);
/* A link is up; links: with it. */
void joining_succeeded(struct joining *joining, unsigned links, uint64_t now_us);
/* A dial, or what it led to, has failed. asked_ms: the pause that the other side wants, or 0;
 * links: that are up; any random number spreads the pauses. Returns the pause, in ms. */
uint64_t joining_failed(struct joining *joining, enum joining_failure failure, const char *reason,
                        uint64_t asked_ms, unsigned links, uint32_t random, uint64_t now_us);
/* One of several is lost. links: that are left; worked: it has carried something; dialled_us: when
 * the last dial began. false: one that is under way makes no sense any more. */
bool joining_lost(struct joining *joining, unsigned links, bool worked, uint64_t dialled_us,
                  uint32_t random, uint64_t now_us);
/* A link was closed, for fewer are wanted. */
void joining_closed(struct joining *joining, uint64_t now_us);
/* When to dial for one more; UINT64_MAX: there are as many as are wanted. */
uint64_t joining_due(const struct joining *joining, unsigned wanted, unsigned links);
