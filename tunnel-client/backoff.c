#include "backoff.h"

enum {
    MIN_MS = 100,
    MAX_MS = 10 * 1000,
    SHORT_MS = 1000,
    /* So many short pauses in a row; then they become as long as the others. */
    SHORT_PAUSES = 8,
    /* Whatever the other side asks for. */
    ASKED_MAX_MS = 60 * 1000,
};

/* After a link that worked. */
static unsigned first_pause(const struct backoff_facts *facts, uint32_t random)
{
    return facts->dialled_us < BACKOFF_PACE_US ? MIN_MS + random % MIN_MS : 0;
}

static unsigned own_pause(const struct backoff_facts *facts, uint32_t random)
{
    bool is_short = facts->patience == BACKOFF_SHORT && facts->failures <= SHORT_PAUSES;
    unsigned max = is_short ? SHORT_MS : MAX_MS;
    unsigned cap = MIN_MS;

    if (facts->patience == BACKOFF_REFUSED)
        return BACKOFF_REFUSED_MS + random % (BACKOFF_REFUSED_MS / 2);
    if (facts->failures == 0)
        return first_pause(facts, random);
    for (unsigned i = 0; i < facts->failures && cap < max; i++)
        cap *= 2;
    if (cap > max)
        cap = max;
    return MIN_MS + random % (cap - MIN_MS + 1);
}

unsigned backoff_ms(const struct backoff_facts *facts, uint32_t random)
{
    unsigned asked = facts->asked_ms < ASKED_MAX_MS ? facts->asked_ms : ASKED_MAX_MS;
    unsigned own = own_pause(facts, random);

    return asked > own ? asked + random % (asked / 4 + 1) : own;
}
