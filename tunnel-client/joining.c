#include "joining.h"

#include <stdio.h>
#include <string.h>

enum {
    MS = 1000,
    FAILED_MS = 1000,
    REFUSED_MS = 30 * 1000,
    PAUSE_MAX_MS = 10 * 60 * 1000,
    /* Another command for a token and another handshake cost both ends something. */
    PACE_US = 1000 * MS,
    /* Whoever closes an old link for a new one does so within this, */
    DISPLACED_US = 500 * MS,
    /* and so often that it is no coincidence. */
    DISPLACED_TIMES = 3,
    /* Who wants fewer links now does not want more at once. */
    CLOSED_US = 5 * 1000 * MS,
    /* What goes wrong so long after a pause has nothing to do with what went wrong before it. */
    CALM_US = 10 * 1000 * MS,
};

void joining_init(struct joining *joining)
{
    memset(joining, 0, sizeof *joining);
}

void joining_forget(struct joining *joining)
{
    const unsigned most = joining->most;

    joining_init(joining);
    joining->most = most;
}

static uint64_t later(uint64_t a, uint64_t b)
{
    return a > b ? a : b;
}

/* Spread, so that clients do not meet. */
static uint64_t pause_ms(uint64_t first_ms, unsigned times, uint64_t asked_ms, uint32_t random)
{
    uint64_t pause = first_ms;

    for (unsigned i = 1; i < times && pause < PAUSE_MAX_MS; i++)
        pause *= 2;
    pause = later(pause, asked_ms);
    if (pause > PAUSE_MAX_MS)
        pause = PAUSE_MAX_MS;
    return pause + random % (pause / 4 + 1);
}

static uint64_t allow_no_more(struct joining *joining, unsigned links, uint64_t asked_ms,
                              uint32_t random, uint64_t now_us)
{
    if (links < joining->refused_at || now_us > joining->more_us + CALM_US)
        joining->refusals = 0;
    joining->refused_at = links;
    joining->refusals++;
    uint64_t pause = pause_ms(REFUSED_MS, joining->refusals, asked_ms, random);
    joining->more_us = now_us + pause * MS;
    return pause;
}

static uint64_t fail(struct joining *joining, uint64_t asked_ms, uint32_t random, uint64_t now_us)
{
    if (now_us > joining->again_us + CALM_US)
        joining->failures = 0;
    joining->failures++;
    uint64_t pause = pause_ms(FAILED_MS, joining->failures, asked_ms, random);
    joining->again_us = now_us + pause * MS;
    return pause;
}

void joining_succeeded(struct joining *joining, unsigned links, uint64_t now_us)
{
    /* It may be closed again at once: pauses, also one that began while it was dialled for, and
     * what makes the next one longer, go on. */
    joining->joined_us = now_us;
    if (links > 1)
        joining->is_spread = false;
    else
        joining->displaced = 0;
    if (links > joining->most)
        joining->most = links;
    if (links <= joining->refused_at || now_us < joining->more_us)
        return;
    joining->refused_at = 0;
    joining->reason[0] = '\0';
    if (joining->displaced < DISPLACED_TIMES)
        joining->refusals = 0;
}

uint64_t joining_failed(struct joining *joining, enum joining_failure failure, const char *reason,
                        uint64_t asked_ms, unsigned links, uint32_t random, uint64_t now_us)
{
    snprintf(joining->reason, sizeof joining->reason, "%s", reason);
    joining->is_spread = failure == JOINING_UNKNOWN;
    if (failure != JOINING_FAILED || links >= joining->most)
        return allow_no_more(joining, links, asked_ms, random, now_us);
    return fail(joining, asked_ms, random, now_us);
}

bool joining_lost(struct joining *joining, unsigned links, bool worked, uint64_t dialled_us,
                  uint32_t random, uint64_t now_us)
{
    bool displaced = joining->joined_us != 0 && now_us - joining->joined_us < DISPLACED_US;

    joining->displaced = displaced ? joining->displaced + 1 : 0;
    if (joining->displaced >= DISPLACED_TIMES) {
        snprintf(joining->reason, sizeof joining->reason,
                 "each time that another link came up, one was closed");
        allow_no_more(joining, links, 0, random, now_us);
    } else if (worked) {
        joining->failures = 0;
        joining->again_us = later(joining->again_us, dialled_us + PACE_US);
        return true;
    } else if (joining->again_us <= now_us) {
        fail(joining, 0, random, now_us); /* those that are lost together count once */
    }
    return false;
}

void joining_closed(struct joining *joining, uint64_t now_us)
{
    joining->again_us = later(joining->again_us, now_us + CLOSED_US);
}

uint64_t joining_due(const struct joining *joining, unsigned wanted, unsigned links)
{
    if (links >= wanted)
        return UINT64_MAX;
    if (joining->refused_at != 0 && links >= joining->refused_at)
        return later(joining->again_us, joining->more_us);
    return joining->again_us;
}
