#include "authentication/grant.h"

#include <stdatomic.h>
#include <stdlib.h>

#include "base/memory.h"

struct grant {
    atomic_size_t references;
    atomic_int state; /* enum grant_state */
    int64_t until;
};

struct grant *grant_new(int64_t until)
{
    struct grant *grant = memory_new(sizeof *grant);

    atomic_init(&grant->references, 1);
    atomic_init(&grant->state, GRANT_GOOD);
    grant->until = until;
    return grant;
}

struct grant *grant_reference(struct grant *grant)
{
    if (grant)
        atomic_fetch_add(&grant->references, 1);
    return grant;
}

void grant_release(struct grant *grant)
{
    if (grant && atomic_fetch_sub(&grant->references, 1) == 1)
        free(grant);
}

bool grant_is_held(const struct grant *grant)
{
    return grant && atomic_load(&grant->references) > 1;
}

int64_t grant_until(const struct grant *grant)
{
    return grant ? grant->until : 0;
}

void grant_end(struct grant *grant, enum grant_state state)
{
    int good = GRANT_GOOD;

    if (grant)
        atomic_compare_exchange_strong(&grant->state, &good, (int)state);
}

enum grant_state grant_state(const struct grant *grant)
{
    return grant ? (enum grant_state)atomic_load(&grant->state) : GRANT_GOOD;
}

const char *grant_reason(enum grant_state state)
{
    switch (state) {
    case GRANT_REVOKED:
    case GRANT_REPLACED:
        return "the token has been revoked";
    case GRANT_EXPIRED:
    case GRANT_LAPSED:
        return "the token has expired";
    default:
        return "";
    }
}

bool grant_keeps_session(enum grant_state state)
{
    return state == GRANT_REPLACED || state == GRANT_LAPSED;
}
