#include "tunnel/pace.h"

enum {
    QUEUE_MS = 20,
    EACH_US = 10 * 1000,
    /* A step down takes so many measurements: a loss halves what arrives for a round trip, and that
     * is no reason to run dry. */
    FALL = 8,
    STEP = 4 * 1024,
    /* As much as a transport with TLS holds: a bound above that is none. */
    PULL_MOST = 256 * 1024,
};

void pace_init(struct pace *pace)
{
    *pace = (struct pace){0};
}

bool pace_is_due(const struct pace *pace, uint64_t now_us)
{
    return now_us >= pace->due_us;
}

void pace_measured(struct pace *pace, uint64_t rate, bool least, uint64_t now_us)
{
    pace->due_us = now_us + EACH_US;
    if (rate == 0)
        return;
    if (rate >= pace->rate) {
        /* "At least" says nothing of a link that was never full. */
        if (pace->rate != 0 || !least)
            pace->rate = rate;
    } else if (!least) {
        pace->rate -= (pace->rate - rate) / FALL;
    }
}

void pace_give_up(struct pace *pace)
{
    *pace = (struct pace){.due_us = UINT64_MAX};
}

/* What the link carries in so many milliseconds, within bounds. */
static size_t carried(const struct pace *pace, unsigned milliseconds, size_t least, size_t most)
{
    if (pace->rate == 0 || pace->rate >= (uint64_t)most * 1000 / milliseconds)
        return most;
    uint64_t bytes = pace->rate * milliseconds / 1000;
    return bytes < least ? least : (size_t)bytes;
}

size_t pace_unsent(const struct pace *pace)
{
    size_t unsent = carried(pace, QUEUE_MS, PACE_UNSENT_LEAST, PACE_UNSENT_MOST);

    return unsent - unsent % STEP;
}

/* The kernel asks for more when half of what may wait is left: the pull is the other half. */
size_t pace_pull(const struct pace *pace)
{
    size_t pull = carried(pace, QUEUE_MS / 2, PACE_PULL_LEAST, PULL_MOST);

    return pull == PULL_MOST ? SIZE_MAX : pull;
}
