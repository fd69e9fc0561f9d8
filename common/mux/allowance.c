#include "mux/allowance.h"

enum {
    MS = 1000,
    /* Also of a link that is slow, or of which nothing is known. */
    LEAST = 32 * 1024,
    /* What may wait in between: else a lost segment, which holds up what comes behind it, would
     * leave the link idle. */
    QUEUE_US = 50 * MS,
    /* A step down takes so many answers. */
    FALL = 4,
};

void mux_allowance_sent(struct mux_allowance *allowance, uint64_t bytes)
{
    allowance->sent += bytes;
}

void mux_allowance_asked(struct mux_allowance *allowance)
{
    allowance->asked = allowance->sent;
}

void mux_allowance_answered(struct mux_allowance *allowance, uint64_t rtt_us, uint64_t rtt_min_us,
                            uint64_t now_us)
{
    uint64_t passed_us = now_us - allowance->answered_us;
    bool first = allowance->answered_us == 0;
    uint64_t bytes = allowance->asked - allowance->arrived;

    allowance->arrived = allowance->asked;
    allowance->answered_us = now_us;
    if (first || passed_us == 0)
        return;
    uint64_t rate = bytes * 1000 * MS / passed_us;
    if (rate > allowance->rate)
        allowance->rate = rate;
    else if (rtt_us > rtt_min_us + rtt_min_us / 4)
        /* Something waited: it is not that there was nothing to send. */
        allowance->rate -= (allowance->rate - rate) / FALL;
}

bool mux_allowance_is_used_up(const struct mux_allowance *allowance, uint64_t in_flight,
                              uint64_t rtt_min_us)
{
    uint64_t under_way = allowance->sent - allowance->arrived;
    uint64_t most = allowance->rate / MS * (2 * rtt_min_us + QUEUE_US) / MS;

    if (in_flight < under_way)
        under_way = in_flight;
    return under_way >= (most > LEAST ? most : LEAST);
}
