#include "mux/growth.h"

#include <string.h>

enum {
    MS = 1000,
    LOOK_US = 200 * MS,
    /* More than pings and their like. */
    LITTLE = 256,
    TRIAL_US = 1500 * MS,
    CONTENT_US = 60 * 1000 * MS,
    IDLE_US = 60 * 1000 * MS,
    SHORT_US = 60 * 1000 * MS,
    /* Bytes, about. */
    SEGMENT = 1448,
    RETRANSMITTED_LEAST = 3,
};

void mux_growth_init(struct mux_growth *growth)
{
    memset(growth, 0, sizeof *growth);
    growth->wanted = 1;
}

void mux_growth_sent(struct mux_growth *growth, uint64_t bytes)
{
    growth->sent += bytes;
}

void mux_growth_press(struct mux_growth *growth, bool pressed, uint64_t now_us)
{
    if (growth->pressed_us != 0)
        growth->waited_us += now_us - growth->pressed_us;
    growth->pressed_us = pressed ? now_us : 0;
    if (growth->looked_us == 0)
        growth->looked_us = now_us;
}

uint64_t mux_growth_deadline(const struct mux_growth *growth)
{
    if (growth->looked_us == 0)
        return UINT64_MAX;
    if (growth->sent == 0 && growth->pressed_us == 0)
        return growth->wanted > 2 ? growth->busy_us + IDLE_US + LOOK_US : UINT64_MAX;
    return growth->looked_us + LOOK_US;
}

/* More links would take what waits. */
static void grow(struct mux_growth *growth, const struct mux_growth_facts *facts, uint64_t rate)
{
    if (facts->lossy || facts->hidden) {
        growth->wanted = facts->links * 2;
        growth->trial_us = 0;
        return;
    }
    if (growth->trial_us != 0) {
        if (facts->now_us - growth->trial_us < TRIAL_US)
            return;
        growth->trial_us = 0;
        if (rate < growth->rate_before + growth->rate_before / 10)
            growth->content_us = facts->now_us + CONTENT_US;
    }
    if (facts->now_us < growth->content_us)
        return;
    growth->rate_before = rate;
    growth->trial_us = facts->now_us;
    growth->wanted = facts->links + 1;
}

/* On a short path a lost segment costs little: only many of them are worth another link. Loopback
 * loses none, but a kernel sends some again when an acknowledgement is late. */
static bool loses_much(const struct mux_growth *growth, const struct mux_growth_facts *facts)
{
    return facts->rtt_us > 0 && facts->retransmitted >= RETRANSMITTED_LEAST &&
           facts->retransmitted > growth->sent / SEGMENT / 1000;
}

static void decide(struct mux_growth *growth, const struct mux_growth_facts *facts,
                   uint64_t passed_us)
{
    bool helps = facts->rtt_us >= MUX_GROWTH_LONG_US || loses_much(growth, facts);
    bool pressed = growth->waited_us > passed_us / 2;
    uint64_t rate = growth->sent * 1000 * MS / passed_us;

    if (growth->sent > LITTLE)
        growth->busy_us = facts->now_us;
    if (helps)
        growth->helped_us = facts->now_us;
    else if (growth->wanted > 1 && facts->now_us - growth->helped_us >= SHORT_US)
        growth->wanted = 1;
    if (growth->busy_us == 0)
        return;
    /* Whatever the path is like by now: the deadline waits for it. */
    if (facts->now_us - growth->busy_us >= IDLE_US) {
        growth->wanted = growth->wanted > 2 ? 2 : growth->wanted;
        return;
    }
    if (!helps)
        return;
    if (growth->wanted < 2)
        growth->wanted = 2;
    /* Only when those that were asked for have come: otherwise they cannot be had. */
    else if (pressed && facts->links >= growth->wanted)
        grow(growth, facts, rate);
}

bool mux_growth_look(struct mux_growth *growth, const struct mux_growth_facts *facts)
{
    unsigned before = growth->wanted;
    uint64_t passed_us = facts->now_us - growth->looked_us;

    if (growth->looked_us == 0 || passed_us == 0)
        return false;
    mux_growth_press(growth, growth->pressed_us != 0, facts->now_us);
    decide(growth, facts, passed_us);
    if (growth->wanted > facts->most)
        growth->wanted = facts->most;
    growth->looked_us = facts->now_us;
    growth->waited_us = growth->sent = 0;
    return growth->wanted != before;
}
