/*
 * What let a client in, as long as it is good: a token of the file, or a token that an issuer has
 * signed. A link holds the grant that it came with; when the grant ends, the link is closed.
 *
 * Home ends grants; the links that hold them may be at any worker. Counting and ending is safe from
 * any thread.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

enum grant_state {
    GRANT_GOOD,
    GRANT_REVOKED,  /* by whoever keeps the list */
    GRANT_REPLACED, /* the same, but the same user has another one that is good */
    GRANT_EXPIRED,
    GRANT_LAPSED, /* expired, and its user is expected to come back with a new one */
};

struct grant;

/* With one reference. until: seconds since 1970, when it ends by itself; 0: somebody ends it. */
struct grant *grant_new(int64_t until);
/* NULL is fine, here and below: it stands for what needs no grant, and never ends. */
struct grant *grant_reference(struct grant *grant);
void grant_release(struct grant *grant);
/* Whether others than the caller, who has one reference, hold it. */
bool grant_is_held(const struct grant *grant);
int64_t grant_until(const struct grant *grant);
/* Only the first end counts. */
void grant_end(struct grant *grant, enum grant_state state);
enum grant_state grant_state(const struct grant *grant);
/* For both logs: "the token has been revoked". Of a good one: "". */
const char *grant_reason(enum grant_state state);
/* Whether a session that came with it is kept for a while, so that its user can carry it on with
 * another one. */
bool grant_keeps_session(enum grant_state state);
