#include "mux/window.h"

#include <string.h>

bool mux_window_open(struct mux_window *window, const struct mux_window_limits *limits,
                     struct mux_budget *budget)
{
    memset(window, 0, sizeof *window);
    if (!mux_budget_grant(budget, limits->initial))
        return false;
    window->reserved = window->granted = window->limit = limits->initial;
    window->size = limits->initial;
    return true;
}

void mux_window_close(struct mux_window *window, struct mux_budget *budget)
{
    mux_budget_return(budget, window->granted);
    window->granted = 0;
}

/* Growth takes half of the budget at the most: the rest is for the first windows of streams yet to
 * open. */
static uint64_t room_to_grow(const struct mux_budget *budget)
{
    uint64_t half = budget->receive_cap / 2;

    return budget->receive_granted < half ? half - budget->receive_granted : 0;
}

/* Doubles size when a whole window went through within two round trips. */
static void measure(struct mux_window *window, uint64_t now_us, uint64_t rtt_us,
                    const struct mux_window_limits *limits, const struct mux_budget *budget)
{
    if (window->epoch_us == 0) {
        window->epoch_us = now_us;
        window->epoch_consumed = window->consumed;
        return;
    }
    if (window->consumed - window->epoch_consumed < window->size)
        return;
    /* A stream that carries data gets its base; one that only says hello does not take it from
     * others. */
    if (window->size < limits->base) {
        window->size = limits->base;
        window->epoch_us = now_us;
        window->epoch_consumed = window->consumed;
        return;
    }
    bool limits_us = now_us - window->epoch_us < 2 * rtt_us;
    bool keeps_up = window->received - window->consumed < window->size / 4;
    bool fits = window->size <= room_to_grow(budget);
    if (limits_us && keeps_up && fits && window->size < limits->max)
        window->size = window->size * 2 < limits->max ? window->size * 2 : limits->max;
    window->epoch_us = now_us;
    window->epoch_consumed = window->consumed;
}

enum mux_window_due mux_window_consume(struct mux_window *window, uint64_t bytes, uint64_t now_us,
                                       uint64_t rtt_us, const struct mux_window_limits *limits,
                                       const struct mux_budget *budget)
{
    window->consumed += bytes;
    window->active_us = now_us;
    measure(window, now_us, rtt_us, limits, budget);
    /* In large steps: a peer that is told of each byte sends each byte in a frame. */
    uint64_t whole = window->size < window->granted ? window->size : window->granted;
    return window->consumed - window->announced >= whole / 4 ? MUX_WINDOW_NOW : MUX_WINDOW_LATER;
}

/* Gives back what is no longer outstanding; the first window stays reserved, so that no stream
 * starves. */
static void settle(struct mux_window *window, struct mux_budget *budget)
{
    uint64_t held = window->limit - window->consumed;
    uint64_t keep = held > window->reserved ? held : window->reserved;

    if (keep < window->granted) {
        mux_budget_return(budget, window->granted - keep);
        window->granted = keep;
    }
}

void mux_window_announce(struct mux_window *window, struct mux_budget *budget)
{
    uint64_t wanted = window->consumed + window->size;

    settle(window, budget);
    window->announced = window->consumed;
    if (wanted <= window->limit || window->shrinking)
        return;
    uint64_t spare = window->granted - (window->limit - window->consumed);
    uint64_t more = wanted - window->limit;
    if (more > spare) {
        uint64_t room = room_to_grow(budget);
        uint64_t extra = more - spare < room ? more - spare : room;
        mux_budget_grant(budget, extra);
        window->granted += extra;
        more = spare + extra;
    }
    window->limit += more;
}

uint64_t mux_window_told_limit(const struct mux_window *window)
{
    if (!window->shrinking)
        return window->limit;
    return window->shrink_to > window->consumed ? window->shrink_to : window->consumed;
}

uint64_t mux_window_shrink(struct mux_window *window, uint64_t now_us, uint64_t idle_us,
                           const struct mux_window_limits *limits)
{
    if (window->shrinking || now_us - window->active_us < idle_us)
        return 0;
    window->size = limits->initial;
    window->epoch_us = 0;
    uint64_t wanted = window->consumed + limits->initial;
    if (wanted < window->received)
        wanted = window->received;
    if (wanted >= window->limit)
        return 0;
    window->shrinking = true;
    window->shrink_to = wanted;
    return wanted;
}

bool mux_window_limited(struct mux_window *window, uint64_t limit, struct mux_budget *budget)
{
    if (!window->shrinking || limit > window->limit || limit < window->received)
        return false;
    window->shrinking = false;
    window->limit = limit;
    settle(window, budget);
    return true;
}
